"""Where the frames of a source lie: checks and counts over all of them together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging_db.errors import UnsupportedFormat
from imaging_db.model import FrameCoords

_LARGEST_INDEX = 2**31 - 1  # the catalog's columns are 32-bit integers


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one frame lies, and what the source calls its channel and position."""

    coords: FrameCoords
    channel_name: str | None = None
    position_name: str | None = None


def first_collision(placements: Sequence[Placement]) -> tuple[int, int] | None:
    """Return the first two frames (by number) that lie in the same place, None where all differ."""
    seen: dict[FrameCoords, int] = {}
    for number, placement in enumerate(placements):
        earlier = seen.setdefault(placement.coords, number)
        if earlier != number:
            return earlier, number
    return None


def collisions(placements: Sequence[Placement]) -> dict[FrameCoords, list[int]]:
    """Return the places that more than one frame claims, with the frames' numbers."""
    places: dict[FrameCoords, list[int]] = {}
    for number, placement in enumerate(placements):
        places.setdefault(placement.coords, []).append(number)
    return {coords: numbers for coords, numbers in places.items() if len(numbers) > 1}


def out_of_range(placements: Sequence[Placement]) -> int | None:
    """Return the first frame (by number) with an index that the catalog cannot hold, None if all fit."""
    bad = (
        n
        for n, p in enumerate(placements)
        if not 0 <= min(p.coords) <= max(p.coords) <= _LARGEST_INDEX
    )
    return next(bad, None)


def missing_places(
    placements: Sequence[Placement], *, most: int = 1000
) -> tuple[int, list[FrameCoords]]:
    """Return how many places of the full grid no frame takes, and the first ``most`` of them.

    The grid runs on every axis from the lowest index present to the highest.
    """
    present = {placement.coords for placement in placements}
    axes = [range(min(axis), max(axis) + 1) for axis in zip(*present, strict=True)]
    count = math.prod(len(axis) for axis in axes) - len(present)
    if not count:
        return 0, []
    absent = (FrameCoords(*place) for place in itertools.product(*axes))
    return count, list(itertools.islice((place for place in absent if place not in present), most))


def stopped_early(placements: Sequence[Placement]) -> bool:
    """True where the frames are the beginning of a full grid in an order that acquisitions run in.

    Slowest is the timepoint or the position; channels and slices, in either order, are fastest.
    """
    present = {placement.coords for placement in placements}
    axes = [sorted(set(axis)) for axis in zip(*present, strict=True)]
    for order in ((2, 3, 0, 1), (2, 3, 1, 0), (3, 2, 0, 1), (3, 2, 1, 0)):
        ranks = [{value: n for n, value in enumerate(axis)} for axis in axes]
        numbers = {
            _number(
                [ranks[axis][place[axis]] for axis in order], [len(axes[axis]) for axis in order]
            )
            for place in present
        }
        if max(numbers) == len(numbers) - 1:
            return True
    return False


def _number(digits: Sequence[int], bases: Sequence[int]) -> int:
    number = 0
    for digit, base in zip(digits, bases, strict=True):
        number = number * base + digit
    return number


def check_positions(path: Path, wanted: Collection[int], present: Collection[int]) -> None:
    """Refuse positions that the source does not have.

    Raises
    ------
    UnsupportedFormat
        Names the positions that are missing and those that are there.
    """
    absent = sorted(set(wanted) - set(present))
    if absent:
        there = sorted(present)
        shown = ", ".join(map(str, there[:10])) + (", ..." if len(there) > 10 else "")
        cause = f"has no position {', '.join(map(str, absent))}; it has {shown}"
        raise UnsupportedFormat(path, cause, hint="mend 'positions' in the CSV")
