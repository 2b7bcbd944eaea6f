"""Sizes of stored frames, packed: a mapping like any other."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.catalog.stored_sizes import StoredSizes
from imaging_db.model import FrameCoords

index = st.integers(0, 5) | st.just(2**31 - 1)
sizes = st.dictionaries(
    st.builds(FrameCoords, index, index, index, index), st.none() | st.integers(0, 2**62)
)


def _packed(known: dict[FrameCoords, int | None], page: int = 3) -> StoredSizes:
    rows = sorted((*coords, size) for coords, size in known.items())
    found = StoredSizes()
    for start in range(0, len(rows) + 1, page):
        found.extend(rows[start : start + page])
    return found


@given(sizes, st.builds(FrameCoords, index, index, index, index))
def test_it_is_the_dict_that_it_was_made_of(
    known: dict[FrameCoords, int | None], any_coords: FrameCoords
) -> None:
    found = _packed({coords: size for coords, size in known.items() if size != -1})
    assert found == known
    assert list(found) == sorted(known)
    assert len(found) == len(known)
    assert bool(found) is bool(known)
    assert found.get(any_coords, -2) == known.get(any_coords, -2)


def test_what_is_not_there_is_not_found() -> None:
    found = _packed({FrameCoords(0, 0, 0, 1): 7})
    for absent in (FrameCoords(0, 0, 0, 0), FrameCoords(0, 0, 0, 2)):
        with pytest.raises(KeyError):
            found[absent]


def test_a_frame_takes_few_bytes() -> None:
    many = StoredSizes()
    many.extend([(0, z, 0, 0, 3_700_000) for z in range(10_000)])
    held = [*many._axes, many._sizes]
    assert sum(map(sys.getsizeof, held)) < 10_000 * 30
