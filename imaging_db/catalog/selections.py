"""Selections of frames as SQL conditions; every value is a bound parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_
from sqlalchemy.orm import InstrumentedAttribute

from imaging_db.catalog.tables import FrameRow
from imaging_db.errors import UsageError
from imaging_db.model import FrameSelection, IndexRange

_MOST_RANGES = 500  # SQLite refuses expressions deeper than 1000
_MOST_VALUES = 30_000  # SQLite refuses statements with more than 32 766 parameters


def conditions(selection: FrameSelection) -> list[ColumnElement[bool]]:
    """Return a selection as conditions on `FrameRow`; none where everything is meant.

    Raises
    ------
    UsageError
        More ranges or names than one statement can hold.
    """
    axes = (
        (FrameRow.channel_idx, selection.channels, "channels"),
        (FrameRow.slice_idx, selection.slices, "slices"),
        (FrameRow.time_idx, selection.timepoints, "timepoints"),
        (FrameRow.pos_idx, selection.positions, "positions"),
    )
    found = [_axis(column, ranges, name) for column, ranges, name in axes if ranges is not None]
    if selection.channel_names is not None:
        names = sorted(set(selection.channel_names))
        _check_number(len(names), _MOST_VALUES, "channel names")
        found.append(FrameRow.channel_name.in_(names))
    return found


def _axis(
    column: InstrumentedAttribute[int], ranges: Sequence[IndexRange], name: str
) -> ColumnElement[bool]:
    """Return the condition that an index lies in one of the ranges; single indices share one IN."""
    single = sorted({found.start for found in ranges if found.stop == found.start + 1})
    several = sorted(
        {found for found in ranges if found.stop != found.start + 1}, key=lambda found: found.start
    )
    _check_number(len(single), _MOST_VALUES // 4, name)
    _check_number(len(several), _MOST_RANGES, f"ranges of {name}")
    parts: list[ColumnElement[bool]] = [_range(column, found) for found in several]
    if single:
        parts.append(column.in_(single))
    return or_(false(), *parts)


def _range(column: InstrumentedAttribute[int], found: IndexRange) -> ColumnElement[bool]:
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
