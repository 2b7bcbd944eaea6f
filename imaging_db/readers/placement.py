"""Where the frames of a source lie: checks and counts over all of them together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imaging_db.model import FrameCoords

_WAVELENGTH = 100  # nobody counts channels that far: such numbers are nanometres
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

    The grid runs over slices and timepoints from the lowest index present to the highest, in their
    constant step; over positions that are present, for some may be left out; and over channels from the
    lowest to the highest, or those present where their numbers are names such as 405 and 488.
    """
    present = {placement.coords for placement in placements}
    channels, slices, timepoints, positions = zip(*present, strict=True)
    axes: list[Sequence[int]] = [
        channel_range(channels),
        range(min(slices), max(slices) + 1, constant_step(slices)),
        range(min(timepoints), max(timepoints) + 1, constant_step(timepoints)),
        sorted(set(positions)),
    ]
    count = math.prod(len(axis) for axis in axes) - len(present)
    if not count:
        return 0, []
    absent = (FrameCoords(*place) for place in itertools.product(*axes))
    return count, list(itertools.islice((place for place in absent if place not in present), most))


def channel_range(numbers: Iterable[int]) -> Sequence[int]:
    """Return the channels that are to be expected where these are present."""
    present = sorted(set(numbers))
    named = present[-1] >= _WAVELENGTH
    return present if named else range(present[0], present[-1] + 1)


def constant_step(numbers: Iterable[int]) -> int:
    """Return the step in which three numbers or more follow each other, 1 where it is not constant.

    Of two numbers alone nobody can say whether one between them was lost.
    """
    distinct = sorted(set(numbers))
    steps = {after - before for before, after in itertools.pairwise(distinct)}
    return steps.pop() if len(steps) == 1 and len(distinct) > 2 else 1


def stopped_early(placements: Sequence[Placement], planned: Sequence[int]) -> bool:
    """True where the frames are the beginning of what was planned, in an order that acquisitions run in.

    ``planned`` counts channels, slices, timepoints and positions. Slowest is the timepoint or the
    position; channels and slices, in either order, are fastest.
    """
    present = {placement.coords for placement in placements}
    if any(
        index >= count for coords in present for index, count in zip(coords, planned, strict=True)
    ):
        return False
    for order in ((2, 3, 0, 1), (2, 3, 1, 0), (3, 2, 0, 1), (3, 2, 1, 0)):
        last = max(_rank([(coords[axis], planned[axis]) for axis in order]) for coords in present)
        if last == len(present) - 1:
            return True
    return False


def _rank(digits: Iterable[tuple[int, int]]) -> int:
    """Return the number that digits, each with its base, spell."""
    number = 0
    for digit, base in digits:
        number = number * base + digit
    return number
