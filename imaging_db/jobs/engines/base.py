"""What a runner asks of an engine: take units, give back what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imaging_db.model.job import Lease, UnitResult


class EngineLost(Exception):
    """The workers cannot be reached any more, such as after the scheduler died; nothing is known of their units."""


class Engine(Protocol):
    """Does units, several at a time. Used by one thread; every unit comes back once, in any order.

    An engine never touches the catalog and never decides whether a unit is tried again.
    """

    @property
    def name(self) -> str:
        """Return the engine's name as the user gave it, such as ``threads``."""

    @property
    def workers(self) -> int:
        """Return how many units can be worked on at the same time, now."""

    @property
    def isolated(self) -> bool:
        """Return True where a unit that kills its worker kills neither the runner nor other units."""

    def submit(self, leases: Sequence[Lease]) -> None:
        """Take units to do; returns at once."""

    def finished(self, seconds: float) -> list[UnitResult]:
        """Return what came to an end since the last call; waits up to ``seconds`` for the first.

        A unit whose worker died comes back with ``kind`` ``"WorkerDied"``.

        Raises
        ------
        EngineLost
            The cluster is gone; units that were submitted may still be written by workers that are cut off.
        """

    def flush(self) -> None:
        """Return once all that came back as done survives a power cut.

        Raises
        ------
        StoreUnavailable
            The disk could not write; none of it may get a row.
        """

    def close(self, *, now: bool = False) -> None:
        """End the workers, with ``now`` without waiting for what they are at; closing twice is allowed."""
