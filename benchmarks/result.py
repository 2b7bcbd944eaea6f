"""One measured figure: its repeats, and what it is held against."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """What one contender did in one benchmark; repeats were made in turns with the other contenders.

    ``group`` is the section of the report, ``case`` the content or size, ``name`` the contender.
    ``values`` are the repeats in ``unit``; ``target`` says in words what the figure must reach and ``met``
    whether it does, None where nothing is asked of it. ``note`` goes below the table; without ``values``
    it says why nothing was measured. ``cpu_per_gb`` (CPU seconds a GB of raw pixels) and ``peak_rss`` (MB)
    are what the same repeats cost besides, empty where that was not measured. ``size`` is the number of
    frames or rows, for figures of cost against size. ``ours`` tells our contenders from peers; a name that
    begins with imaging_db is ours without it.
    """

    group: str
    case: str
    name: str
    unit: str
    values: tuple[float, ...]
    target: str = ""
    met: bool | None = None
    note: str = ""
    cpu_per_gb: tuple[float, ...] = ()
    peak_rss: tuple[float, ...] = ()
    size: int | None = None
    ours: bool = False

    @property
    def median(self) -> float:
        """Return the middle of the repeats."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Return the least and the largest repeat."""
        return min(self.values), max(self.values)

    @property
    def is_ours(self) -> bool:
        """Return True for a contender of this project."""
        return self.ours or self.name.lower().startswith(("imaging_db", "ours"))

    @property
    def is_relative(self) -> bool:
        """Return True for a figure that is a ratio already: no further ratio is made of it."""
        return self.unit.startswith("times ")

    @property
    def more_is_better(self) -> bool:
        """Return True for rates and gains, False for times, bytes and costs."""
        return self.unit.endswith(("/s", "per second", "a second", "CPU-second", "CPU second"))


def ratios(ours: Result, theirs: Result) -> tuple[float, ...]:
    """Return ours by theirs, repeat by repeat: what ran next to each other is compared."""
    return tuple(a / b for a, b in zip(ours.values, theirs.values, strict=True))
