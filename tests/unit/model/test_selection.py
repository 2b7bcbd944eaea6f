"""A selection is read from command-line words or from Python values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import UsageError
from imaging_db.model import FrameSelection, IndexRange


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("7", [7]),
        ("0:5", [0, 1, 2, 3, 4]),
        ("0:10:4", [0, 4, 8]),
        ("17:", [17, 18, 19]),
        ("::9", [0, 9, 18]),
        (":2", [0, 1]),
    ],
)
def test_ranges_are_half_open_as_in_python(text: str, meant: list[int]) -> None:
    chosen = IndexRange.parse(text, "-z")
    assert [index for index in range(20) if index in chosen] == meant


@pytest.mark.parametrize("text", ["", "-1", "a", "5:5", "9:2", "0:5:0", "1:2:3:4", "1.5", "9" * 30])
def test_what_is_no_range_is_refused_by_option_and_word(text: str) -> None:
    with pytest.raises(UsageError, match=r"-z"):
        IndexRange.parse(text, "-z")


@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 9))
def test_a_range_holds_what_pythons_range_holds(start: int, length: int, step: int) -> None:
    chosen = IndexRange.parse(f"{start}:{start + length}:{step}", "-t")
    assert [i for i in range(120) if i in chosen] == list(range(start, start + length, step))
    assert IndexRange.parse(str(chosen), "-t") == chosen


def test_channels_are_indices_or_names_never_a_mixture() -> None:
    assert FrameSelection.from_text(["0", "2:4"]).channels is not None
    assert FrameSelection.from_text(["GFP", "Cy5"]).channel_names == ("GFP", "Cy5")
    with pytest.raises(UsageError, match="mixes indices and names"):
        FrameSelection.from_text(["0", "GFP"])


def test_python_values_mean_the_same_as_words() -> None:
    words = FrameSelection.from_text(
        ["GFP"], slices=["3"], timepoints=["0:9:2"], positions=["1", "4"]
    )
    values = FrameSelection.of(
        "GFP", slices=3, timepoints=range(0, 9, 2), positions=[1, np.int64(4)]
    )
    assert values == words
    assert FrameSelection.of(slices=np.array([0, 1])) == FrameSelection.from_text(slices=["0", "1"])
    assert FrameSelection.of(slices=slice(2, None)) == FrameSelection.from_text(slices=["2:"])
    with pytest.raises(UsageError, match="slices"):
        FrameSelection.of(slices=[1.5])  # type: ignore[list-item]


def test_an_empty_list_never_means_everything() -> None:
    with pytest.raises(UsageError, match="positions: an empty list"):
        FrameSelection.of(positions=[])


def test_no_words_select_everything() -> None:
    assert FrameSelection.from_text(None).everything
    assert not FrameSelection.from_text(["0"]).everything
