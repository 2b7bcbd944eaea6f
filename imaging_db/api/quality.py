"""The quality of a dataset's frames as a table, and what makes a frame suspicious."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from imaging_db.model import FrameQuality, StoredFrame

if TYPE_CHECKING:
    import pandas as pd

_SATURATED = 0.01
_BLURRED = 0.25
RULES = {
    "blank": "every sample has the same value",
    "saturated": "more than 1 % of the samples have the largest value of their type",
    "blurred": "a focus below a quarter of the median of its channel, blank frames left out",
    "repeat": "the same pixels as a frame before it in the order of the names",
}
"""What makes a frame suspicious, by the word that flags it."""

FRAME_COLUMNS = (
    "channel_idx",
    "slice_idx",
    "time_idx",
    "pos_idx",
    "channel_name",
    "position_name",
    "file_name",
    "intensity_min",
    "intensity_p01",
    "intensity_mean",
    "intensity_p99",
    "intensity_max",
    "saturated_share",
    "focus",
    "blank",
    "is_repeat",
    "flagged",
)
"""The columns of `frame_table`."""
_FIGURES = FRAME_COLUMNS[7:14]


def frame_table(frames: Iterable[StoredFrame]) -> pd.DataFrame:
    """Return a pandas table with the quality of each frame, in the order given: `FRAME_COLUMNS`.

    Figures are NaN, and ``blank`` and ``is_repeat`` NA, where they are not known. ``flagged`` holds words
    of `RULES` with spaces between, "" for a frame that nothing is wrong with.
    """
    import pandas as pd

    names = [name for name in FRAME_COLUMNS if name != "flagged"]
    table = pd.DataFrame(map(_record, frames), columns=names)
    kinds = dict.fromkeys(_FIGURES, "float64") | dict.fromkeys(("blank", "is_repeat"), "boolean")
    table = table.astype(kinds)
    table["flagged"] = _flags(table)
    return table


def _record(frame: StoredFrame) -> tuple[Any, ...]:
    found = frame.quality
    names = (frame.channel_name, frame.position_name, frame.file_name)
    blank = None if found is None else found.blank
    return (*frame.coords, *names, *_figures(found), blank, frame.is_repeat)


def _figures(found: FrameQuality | None) -> tuple[float | None, ...]:
    if found is None:
        return (None,) * len(_FIGURES)
    levels = (found.minimum, found.p01, found.mean, found.p99, found.maximum)
    return (*levels, found.saturated, found.focus)


def _flags(table: pd.DataFrame) -> list[str]:
    blank = table["blank"].fillna(False)
    sharp = table["focus"].mask(blank.astype(bool))
    usual = sharp.groupby(table["channel_idx"]).transform("median")
    found = {
        "blank": blank,
        "saturated": table["saturated_share"] > _SATURATED,
        "blurred": sharp < _BLURRED * usual,
        "repeat": table["is_repeat"].fillna(False),
    }
    columns = ([word if one else "" for one in told] for word, told in found.items())
    return [" ".join(filter(None, words)) for words in zip(*columns, strict=True)]


def channel_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Return what a `frame_table` comes to, one row a channel.

    ``intensity_min`` and ``intensity_max`` are the extremes, ``saturated_share`` the largest share,
    ``focus_min`` the least focus; the other figures are medians over the frames. ``unmeasured`` counts
    frames without figures, or without some of them.
    """
    import pandas as pd

    rows = [_channel(index, part) for index, part in frames.groupby("channel_idx", sort=True)]
    return pd.DataFrame(rows)


def _channel(index: Any, part: pd.DataFrame) -> dict[str, Any]:
    names = part["channel_name"].dropna()
    return {
        "channel_idx": int(index),
        "channel_name": None if names.empty else str(names.iloc[0]),
        "frames": len(part),
        "intensity_min": part["intensity_min"].min(),
        "intensity_p01": part["intensity_p01"].median(),
        "intensity_mean": part["intensity_mean"].median(),
        "intensity_p99": part["intensity_p99"].median(),
        "intensity_max": part["intensity_max"].max(),
        "saturated_share": part["saturated_share"].max(),
        "focus": part["focus"].median(),
        "focus_min": part["focus"].min(),
        "blank": int(part["blank"].sum()),
        "repeats": int(part["is_repeat"].sum()),
        "suspicious": int((part["flagged"] != "").sum()),
        "unmeasured": int((part["intensity_min"].isna() | part["intensity_p01"].isna()).sum()),
    }
