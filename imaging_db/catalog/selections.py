"""Selections of frames as SQL conditions; every value is a bound parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, false, or_
from sqlalchemy.orm import InstrumentedAttribute

from imaging_db.catalog.edges import Places
from imaging_db.catalog.expressions import Compiler, joins
from imaging_db.catalog.extent import Extent, extent_of
from imaging_db.catalog.tables import AcquisitionRow, FrameRow
from imaging_db.errors import UsageError
from imaging_db.model import FrameSelection, IndexRange
from imaging_db.model.expression import Expression

Axis: TypeAlias = InstrumentedAttribute[int]
Ranges: TypeAlias = "tuple[IndexRange, ...] | None"

_MOST_RANGES = 500  # SQLite refuses expressions deeper than 1000
_MOST_VALUES = 30_000  # SQLite refuses statements with more than 32 766 parameters
_MOST_FRAMES = (
    5000  # a page: more than one is found sooner by walking along an index from page to page
)
_MOST_PLACES = 2000

_NAMES = {
    FrameRow.channel_idx: "channels",
    FrameRow.slice_idx: "slices",
    FrameRow.time_idx: "timepoints",
    FrameRow.pos_idx: "positions",
}
# the columns of the two indexes of the table, after the acquisition; frames are listed in the first order
_ORDERED = (FrameRow.channel_idx, FrameRow.slice_idx, FrameRow.time_idx, FrameRow.pos_idx)
_INDEXES = (
    _ORDERED,
    (FrameRow.pos_idx, FrameRow.time_idx, FrameRow.channel_idx, FrameRow.slice_idx),
)


def conditions(
    connection: Connection, acquisition_id: int, selection: FrameSelection
) -> list[ColumnElement[bool]]:
    """Return the condition that a frame is of an acquisition, and those that a selection makes.

    Raises
    ------
    UsageError
        More ranges or names than one statement can hold.
    """
    chosen: dict[Axis, Ranges] = {
        FrameRow.channel_idx: selection.channels,
        FrameRow.slice_idx: selection.slices,
        FrameRow.time_idx: selection.timepoints,
        FrameRow.pos_idx: selection.positions,
    }
    found = {axis: _axis(axis, ranges) for axis, ranges in chosen.items() if ranges is not None}
    named = _named(selection)
    if found:
        found |= _places(chosen, extent_of(connection, acquisition_id))
    own = FrameRow.frames_global_id == acquisition_id
    return [own, *found.values(), *named, *_asked(connection, acquisition_id, selection.where)]


def _asked(
    connection: Connection, acquisition_id: int, where: Expression | None
) -> list[ColumnElement[bool]]:
    """Return what an expression asks of the frames of one acquisition, its row and that of its dataset.

    These rows are found by the id, before any frame, so that frames are still read along their index.
    """
    if where is None:
        return []
    found = joins(where)
    if found:
        found.append(AcquisitionRow.id == acquisition_id)
    settled = Places(connection, acquisition_id).settled(where)
    return [*found, Compiler(connection.dialect).condition(settled)]


def _places(chosen: dict[Axis, Ranges], extent: Extent) -> dict[Axis, ColumnElement[bool]]:
    """Return the conditions that let a few frames of a large acquisition be looked up one by one.

    An index is followed straight to a frame only where each of its columns is compared with single
    values, up to the last that matters: a stride, a range or an axis left open before it makes the
    database read all that lies between. So those become lists, for the index that needs the fewest of
    them, and for the one that gives the order, if it does not need many.
    """
    found = {axis: _values(ranges, extent[axis.key]) for axis, ranges in chosen.items()}
    values = {axis: indices for axis, indices in found.items() if indices is not None}
    numbers = {axis: len(indices) for axis, indices in values.items()}
    if len(numbers) < len(found) or math.prod(numbers.values()) > _MOST_FRAMES:
        return {}
    lists = {axis for axis, ranges in chosen.items() if ranges and not _is_one_stretch(ranges)}
    places = {
        index: math.prod(numbers[one] for one in _leading(index, chosen)) for index in _INDEXES
    }
    for index in {_ORDERED, min(_INDEXES, key=places.__getitem__)}:
        if places[index] <= _MOST_PLACES:
            lists.update(_leading(index, chosen))
    return {axis: axis.in_(values[axis]) for axis in lists}


def _is_one_stretch(ranges: Sequence[IndexRange]) -> bool:
    return len(ranges) == 1 and ranges[0].step == 1


def _leading(index: Sequence[Axis], chosen: dict[Axis, Ranges]) -> Sequence[Axis]:
    """Return the columns of an index that come before the last one which a selection narrows."""
    last = max(number for number, axis in enumerate(index) if chosen[axis] is not None)
    return index[:last]


def _values(ranges: Ranges, end: int | None) -> list[int] | None:
    """Return the single indices below ``end`` that ranges mean; None where they are many or unknown."""
    if end is None:
        return None
    spans = [
        range(one.start, end if one.stop is None else min(end, one.stop), one.step)
        for one in ranges or (IndexRange(0, None),)
    ]
    if sum(map(len, spans)) > _MOST_FRAMES:
        return None
    return sorted({index for span in spans for index in span})


def _named(selection: FrameSelection) -> list[ColumnElement[bool]]:
    if selection.channel_names is None:
        return []
    names = sorted(set(selection.channel_names))
    _check_number(len(names), _MOST_VALUES, "channel names")
    return [FrameRow.channel_name.in_(names)]


def _axis(column: Axis, ranges: Sequence[IndexRange]) -> ColumnElement[bool]:
    """Return the condition that an index lies in one of the ranges; single indices share one IN."""
    name = _NAMES[column]
    single = sorted({found.start for found in ranges if found.stop == found.start + 1})
    several = sorted(
        {found for found in ranges if found.stop != found.start + 1}, key=lambda found: found.start
    )
    _check_number(len(single), _MOST_VALUES // 4, name)
    _check_number(len(several), _MOST_RANGES, f"ranges of {name}")
    parts: list[ColumnElement[bool]] = [_range(column, found) for found in several]
    if single:
        parts.append(column.in_(single))
    return parts[0] if len(parts) == 1 else or_(false(), *parts)


def _range(column: Axis, found: IndexRange) -> ColumnElement[bool]:
    parts: list[Any] = [column >= found.start]
    if found.stop is not None:
        parts.append(column < found.stop)
    if found.step != 1:
        parts.append((column - found.start) % found.step == 0)
    return and_(*parts)


def _check_number(number: int, most: int, what: str) -> None:
    if number > most:
        raise UsageError(
            f"{number} {what} are more than one selection can hold ({most})",
            hint="give ranges such as 0:100:5",
        )
