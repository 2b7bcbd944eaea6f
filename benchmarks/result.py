"""One measured figure: its repeats, and what it is held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """What one contender did in one benchmark; repeats were made in turns with the other contenders.

    ``group`` is the section of the report, ``case`` the content or size, ``name`` the contender.
    ``values`` are the repeats in ``unit``; ``target`` says in words what the figure must reach and ``met``
    whether it does, None where nothing is asked of it. ``note`` goes below the table.
    """

    group: str
    case: str
    name: str
    unit: str
    values: tuple[float, ...]
    target: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Return the middle of the repeats."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Return the least and the largest repeat."""
        return min(self.values), max(self.values)


def ratios(ours: Result, theirs: Result) -> tuple[float, ...]:
    """Return ours by theirs, repeat by repeat: what ran next to each other is compared."""
    return tuple(a / b for a, b in zip(ours.values, theirs.values, strict=True))
