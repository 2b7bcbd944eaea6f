"""The engine of one computer: threads of this process, because all heavy work lets go of the interpreter."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from imaging_db.jobs.work import close_work, do_units, flush_work, open_work
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model.job import Lease, UnitResult
from imaging_db.transfer.cores import usable_cores
from imaging_db.transfer.pool import StopFlag


class ThreadEngine:
    """Does units in threads; satisfies `imaging_db.jobs.engines.base.Engine`."""

    name = "threads"
    isolated = False

    def __init__(self, order: WorkOrder, *, workers: int | None = None) -> None:
        self._order = order
        self._todo: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[UnitResult | BaseException] = queue.SimpleQueue()
        self._stop = StopFlag()
        count = workers or usable_cores()
        self._threads = [
            threading.Thread(target=self._run, name=f"imaging_db-unit-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        """Return how many threads there are."""
        return len(self._threads)

    def submit(self, leases: Sequence[Lease]) -> None:
        """Take units to do; a source or store that cannot be opened here is no fault of theirs, and is raised."""
        open_work(self._order)
        for lease in leases:
            self._todo.put(lease)

    def finished(self, seconds: float) -> list[UnitResult]:
        """Return what came to an end since the last call; waits up to ``seconds`` for the first."""
        found: list[UnitResult] = []
        try:
            found.append(self._taken(self._done.get(timeout=seconds)))
            while True:
                found.append(self._taken(self._done.get_nowait()))
        except queue.Empty:
            return found

    def _taken(self, result: UnitResult | BaseException) -> UnitResult:
        if isinstance(result, BaseException):
            raise result
        return result

    def flush(self) -> None:
        """Return once all that came back as done survives a power cut."""
        flush_work(self._order)

    def close(self, *, now: bool = False) -> None:
        """End the threads; with ``now`` each after the frame that it is at, else after what was submitted."""
        if now:
            self._stop.set()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
        close_work(self._order)

    def _run(self) -> None:
        while (lease := self._todo.get()) is not None:
            try:
                for result in do_units(self._order, [lease], self._stop):
                    self._done.put(result)
            except BaseException as error:  # noqa: BLE001 - raised where the results are read
                self._done.put(error)
