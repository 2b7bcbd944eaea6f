"""Quality in the catalog: which frames repeat others, which were never measured, and filling that in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Update,
    bindparam,
    false,
    func,
    or_,
    select,
    true,
    update,
)

from imaging_db.catalog.frame_rows import ORDER
from imaging_db.catalog.selections import conditions
from imaging_db.catalog.tables import AcquisitionRow, FrameRow
from imaging_db.model import FrameCoords, FrameQuality, FrameSelection

UNMEASURED = or_(FrameRow.intensity_min.is_(None), FrameRow.intensity_p01.is_(None))
"""The condition that figures of a frame are missing."""

_DECIDED_AT_ONCE = 50_000  # rows of a transaction, for which others wait

_ACQUISITION = select(AcquisitionRow.id).where(AcquisitionRow.dataset_id == bindparam("dataset"))
_OF_ACQUISITION = FrameRow.frames_global_id == bindparam("acquisition")
_CONTENTS = (
    select(
        FrameRow.sha256,
        func.count().label("frames"),
        func.count(FrameRow.is_repeat).label("decided"),
    )
    .where(_OF_ACQUISITION, FrameRow.sha256.is_not(None))
    .group_by(FrameRow.sha256)
    .subquery()
)
_SEEN = select(
    func.max(_CONTENTS.c.frames), func.sum(_CONTENTS.c.frames), func.sum(_CONTENTS.c.decided)
)
_NUMBERED = (
    select(
        FrameRow.id,
        FrameRow.is_repeat,
        func.row_number().over(partition_by=FrameRow.sha256, order_by=ORDER).label("number"),
    )
    .where(
        _OF_ACQUISITION,
        FrameRow.sha256.in_(select(_CONTENTS.c.sha256).where(_CONTENTS.c.frames > 1)),
    )
    .subquery()
)
_REPEATS = select(_NUMBERED.c.id).where(_NUMBERED.c.number > 1)
_UNDECIDED = (_OF_ACQUISITION, FrameRow.sha256.is_not(None), FrameRow.is_repeat.is_(None))

# The acquisition is named outside, too: else the database may look through the frames of all of them.
_MARK = update(FrameRow).where(_OF_ACQUISITION)
_MOST: BindParameter[int] = bindparam("most")
_MARK_SOME = _MARK.where(
    FrameRow.id.in_(_REPEATS.where(_NUMBERED.c.is_repeat.is_not(true())).limit(_MOST))
).values(is_repeat=true())
_MARK_SOME_OTHERS = _MARK.where(
    FrameRow.id.in_(select(FrameRow.id).where(*_UNDECIDED).limit(_MOST))
).values(is_repeat=false())

_FIGURES = {
    "minimum": FrameRow.intensity_min,
    "maximum": FrameRow.intensity_max,
    "mean": FrameRow.intensity_mean,
    "saturated": FrameRow.saturated_share,
    "focus": FrameRow.focus,
    "p01": FrameRow.intensity_p01,
    "p99": FrameRow.intensity_p99,
}
_FILL = (
    update(FrameRow)
    .where(
        _OF_ACQUISITION,
        FrameRow.channel_idx == bindparam("c"),
        FrameRow.slice_idx == bindparam("z"),
        FrameRow.time_idx == bindparam("t"),
        FrameRow.pos_idx == bindparam("p"),
    )
    .values(
        {
            column: func.coalesce(column, bindparam(name, type_=column.type))
            for name, column in _FIGURES.items()
        }
    )
)


def mark_repeats(connection: Connection, dataset_id: int) -> bool:
    """Tell of frames whether one before them, in the order of the names, has their pixels; True where of all.

    Frames come in as no repeats, so that where all differ, as they do of most cameras, no row changes.
    Where very many repeat others it is told of some of them: one transaction has no time for all.
    """
    acquisition = connection.scalar(_ACQUISITION, {"dataset": dataset_id})
    most, frames, decided = connection.execute(_SEEN, {"acquisition": acquisition}).one()
    repeats = most is not None and most > 1
    if repeats and _marked(connection, _MARK_SOME, acquisition) == _DECIDED_AT_ONCE:
        return False
    if frames == decided:
        return True
    # rows of a run before frames had this column
    return _marked(connection, _MARK_SOME_OTHERS, acquisition) < _DECIDED_AT_ONCE


def decide_repeats(connection: Connection, dataset_id: int) -> int:
    """Return of how many frames it was told, once more, whether they are repeats; 0 where all are known.

    Repeats come first, so that what is left at the end is none.
    """
    acquisition = connection.scalar(_ACQUISITION, {"dataset": dataset_id})
    if acquisition is None:
        return 0
    some = _marked(connection, _MARK_SOME, acquisition)
    return some or _marked(connection, _MARK_SOME_OTHERS, acquisition)


def _marked(connection: Connection, change: Update, acquisition: int | None) -> int:
    """Return how many rows a change marked."""
    bound = {"acquisition": acquisition, "most": _DECIDED_AT_ONCE}
    return connection.execute(change, bound).rowcount


def count_unmeasured(connection: Connection, dataset_id: int, selection: FrameSelection) -> int:
    """Return how many frames of a selection have no figures, or not all of them."""
    acquisition = connection.scalar(_ACQUISITION, {"dataset": dataset_id})
    if acquisition is None:
        return 0
    wanted = select(func.count()).select_from(FrameRow)
    wanted = wanted.where(*conditions(connection, acquisition, selection), UNMEASURED)
    return int(connection.scalar(wanted) or 0)


def fill(
    connection: Connection, dataset_id: int, measured: Iterable[tuple[FrameCoords, FrameQuality]]
) -> None:
    """Write figures of frames where none are; what was measured before stays."""
    acquisition = connection.scalar(_ACQUISITION, {"dataset": dataset_id})
    rows = [_values(acquisition, coords, quality) for coords, quality in measured]
    if acquisition is not None and rows:
        connection.execute(_FILL, rows)


def _values(acquisition: int | None, coords: FrameCoords, quality: FrameQuality) -> dict[str, Any]:
    c, z, t, p = coords
    figures = {name: getattr(quality, name) for name in _FIGURES}
    return {"acquisition": acquisition, "c": c, "z": z, "t": t, "p": p, **figures}
