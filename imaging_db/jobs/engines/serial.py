"""The engine that does one unit after the other in the caller's thread: for tests, and to look closely."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from imaging_db.jobs.work import close_work, do_units, flush_work, open_work
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model.job import Lease, UnitResult


class SerialEngine:
    """Does a unit whenever results are asked for; satisfies `imaging_db.jobs.engines.base.Engine`."""

    name = "serial"
    isolated = False
    workers = 1

    def __init__(self, order: WorkOrder) -> None:
        self._order = order
        self._todo: deque[Lease] = deque()

    def submit(self, leases: Sequence[Lease]) -> None:
        """Take units to do; a source or store that cannot be opened here is no fault of theirs, and is raised."""
        open_work(self._order)
        self._todo.extend(leases)

    def finished(self, seconds: float) -> list[UnitResult]:
        """Return what became of the next unit; none where there is no more, without waiting."""
        return do_units(self._order, [self._todo.popleft()]) if self._todo else []

    def flush(self) -> None:
        """Return once all that came back as done survives a power cut."""
        flush_work(self._order)

    def close(self, *, now: bool = False) -> None:
        """Close source and store; what was not done is dropped."""
        self._todo.clear()
        close_work(self._order)
