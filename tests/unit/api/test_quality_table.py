"""What makes a frame suspicious, and what a channel comes to."""

from __future__ import annotations

from dataclasses import replace

from imaging_db.api.quality import FRAME_COLUMNS, channel_table, frame_table
from imaging_db.model import FrameQuality
from tests.support.catalog_rows import frame

GOOD = FrameQuality(100.0, 4000.0, 500.0, 0.0, 80.0, 110.0, 3000.0)


def flagged(*qualities: FrameQuality | None) -> list[str]:
    frames = [frame(0, t=t, quality=quality) for t, quality in enumerate(qualities)]
    return list(frame_table(frames)["flagged"])


def test_a_good_frame_is_not_suspicious() -> None:
    assert flagged(GOOD, GOOD) == ["", ""]


def test_a_frame_of_one_value_is_blank_and_not_blurred_as_well() -> None:
    blank = FrameQuality(7.0, 7.0, 7.0, 0.0, 0.0, 7.0, 7.0)
    assert flagged(GOOD, GOOD, blank) == ["", "", "blank"]


def test_blank_frames_do_not_make_blurred_ones_usual() -> None:
    blank = FrameQuality(7.0, 7.0, 7.0, 0.0, 0.0, 7.0, 7.0)
    blurred = replace(GOOD, focus=19.9)
    assert flagged(*[blank] * 5, GOOD, GOOD, blurred)[-1] == "blurred"


def test_more_than_a_hundredth_of_the_samples_is_saturated() -> None:
    assert flagged(replace(GOOD, saturated=0.01), replace(GOOD, saturated=0.011)) == [
        "",
        "saturated",
    ]


def test_a_focus_below_a_quarter_of_the_median_is_blurred() -> None:
    edge, below = replace(GOOD, focus=20.0), replace(GOOD, focus=19.9)
    assert flagged(*[GOOD] * 5, edge, below)[-2:] == ["", "blurred"]


def test_each_channel_has_its_own_median() -> None:
    other = replace(GOOD, focus=8000.0)
    frames = [frame(c, t=t, quality=q) for c, q in ((0, GOOD), (1, other)) for t in range(3)]
    assert set(frame_table(frames)["flagged"]) == {""}


def test_a_repeat_may_be_saturated_too() -> None:
    new = frame(0, quality=replace(GOOD, saturated=0.5), is_repeat=True)
    assert list(frame_table([new])["flagged"]) == ["saturated repeat"]


def test_of_frames_that_were_not_measured_nothing_is_said() -> None:
    found = frame_table([frame(0), frame(1, quality=GOOD)])
    assert list(found["flagged"]) == ["", ""]
    assert found["blank"].isna().tolist() == [True, False]
    assert found["focus"].isna().tolist() == [True, False]
    assert found["is_repeat"].isna().all()
    channels = channel_table(found)
    assert channels["unmeasured"].tolist() == [1, 0]
    assert channels["blank"].tolist() == [0, 0]


def test_a_channel_tells_extremes_and_medians() -> None:
    bright = replace(GOOD, maximum=9000.0, mean=700.0, saturated=0.25, focus=90.0)
    frames = [frame(3, t=t, quality=q) for t, q in enumerate((GOOD, bright, GOOD))]
    (row,) = channel_table(frame_table(frames)).to_dict("records")
    assert (row["channel_idx"], row["channel_name"], row["frames"]) == (3, "channel 3", 3)
    assert (row["intensity_min"], row["intensity_max"]) == (100.0, 9000.0)
    assert (row["intensity_mean"], row["intensity_p01"], row["intensity_p99"]) == (
        500.0,
        110.0,
        3000.0,
    )
    assert (row["saturated_share"], row["focus"], row["focus_min"]) == (0.25, 80.0, 80.0)
    assert row["suspicious"] == 1


def test_no_frames_make_an_empty_table() -> None:
    assert list(frame_table([]).columns) == list(FRAME_COLUMNS)
