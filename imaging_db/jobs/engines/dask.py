"""The engine of Dask: units on the workers of a scheduler, of our own or of somebody else's.

One task is one unit, some hundred milliseconds of work beside some three that Dask takes for it. A future is
let go as soon as its result was read, because Dask does finished work again where a worker dies on which a
result lies. Which unit killed a worker is not known when several were there, so those come back to be done
again, one after the other: only what dies alone is to blame.
"""

from __future__ import annotations

import functools
import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from imaging_db.api.extras import require
from imaging_db.errors import ConfigError
from imaging_db.jobs.engines.base import EngineLost
from imaging_db.jobs.engines.dask_cluster import EXTRA, DaskCluster
from imaging_db.jobs.work import do_units
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model.job import Lease, UnitResult

_PENDING = ("pending", "lost")
_COUNTED_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_TELL_SECONDS = 60.0
_log = logging.getLogger(__name__)


class DaskEngine:
    """Does units on a Dask cluster; satisfies `imaging_db.jobs.engines.base.Engine`."""

    isolated = True

    def __init__(self, order: WorkOrder, cluster: DaskCluster) -> None:
        self.name = cluster.name
        self._order = order
        self._cluster = cluster
        self._client = cluster.client
        self._distributed: Any = require("distributed", EXTRA)
        self._running: dict[Any, Lease] = {}
        self._suspects: deque[Lease] = deque()
        self._accused: Any = None
        self._is_closed = False
        self._seats = 0
        self._counted_at = float("-inf")
        self._seen_at = time.monotonic()

    @property
    def workers(self) -> int:
        """Return how many threads all workers have, as of a second ago; 0 where none has come yet."""
        if time.monotonic() - self._counted_at > _COUNTED_SECONDS and self._is_connected:
            self._count()
        return self._seats

    def submit(self, leases: Sequence[Lease]) -> None:
        """Take units to do; returns at once. That the scheduler is gone is told by `finished`."""
        if leases and self._is_connected:
            self._start(leases)

    def finished(self, seconds: float) -> list[UnitResult]:
        """Return what came to an end since the last call; waits up to ``seconds`` for the first.

        Raises
        ------
        EngineLost
            The scheduler is gone, or somebody has ended our tasks.
        ConfigError
            The workers cannot run this program.
        """
        self._accuse_next()
        if not self._running and self._is_connected:
            time.sleep(seconds)
            return []
        found: list[UnitResult] = []
        for future in self._ended(seconds):
            try:
                found += self._taken(future)
            except EngineLost:
                if not found:
                    raise
                break  # the next call tells it
        return found

    def flush(self) -> None:
        """Do nothing: each worker has made durable what it put before it told of it."""

    def close(self, *, now: bool = False) -> None:
        """End the workers that are ours; without ``now`` after what was submitted.

        Workers of somebody else end what they are at, and its result is dropped.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if not now and self._running and self._is_connected:
            # where the scheduler goes meanwhile, so do all tasks
            with suppress(self._distributed.CancelledError):
                self._wait(None, until="ALL_COMPLETED")
        for future in self._running:
            future.release()
        self._running.clear()
        self._suspects.clear()
        self._cluster.end()

    @property
    def _is_connected(self) -> bool:
        return bool(self._client.status == "running")

    def _count(self) -> None:
        """Count the workers' threads; a scheduler that does not answer is told of by `finished`."""
        self._counted_at = time.monotonic()
        try:
            threads = self._client.sync(
                self._client.scheduler.ncores, callback_timeout=_ANSWER_SECONDS
            )
        except (OSError, TimeoutError) as error:
            _log.debug("%s does not answer: %s", self._cluster.address, error)
            return
        self._seats = sum(threads.values())
        if self._seats:
            self._seen_at = self._counted_at
        elif self._counted_at - self._seen_at > _TELL_SECONDS:
            _log.warning("%s has no workers; waiting for some", self._cluster.address)
            self._seen_at = float("inf")

    def _start(self, leases: Sequence[Lease]) -> list[Any]:
        """Return the futures of units that were handed to the scheduler."""
        keys = [f"ing-{self._order.uuid}-{secrets.token_hex(8)}" for _ in leases]
        work = functools.partial(_do_unit, self._order)
        self._require_connection()
        futures = self._client.map(work, list(leases), key=keys, pure=False, retries=0)
        self._running.update(zip(futures, leases, strict=True))
        return list(futures)

    def _require_connection(self) -> None:
        if not self._is_connected:
            raise EngineLost(f"the scheduler {self._cluster.address} is gone")

    def _ended(self, seconds: float) -> list[Any]:
        """Return the futures that have come to an end, waiting for the first."""
        self._require_connection()
        try:
            self._wait(seconds)
        except TimeoutError:
            return []
        except self._distributed.CancelledError as error:
            raise self._lost() from error
        return [future for future in self._running if future.status not in _PENDING]

    def _wait(self, seconds: float | None, *, until: str = "FIRST_COMPLETED") -> None:
        with self._client.as_current():
            self._distributed.wait(list(self._running), timeout=seconds, return_when=until)

    def _taken(self, future: Any) -> list[UnitResult]:
        """Return what became of a unit; nothing where it is done again, or its worker does not answer."""
        lease = self._running[future]
        try:
            found: list[UnitResult] = future.result(timeout=_ANSWER_SECONDS)
        except self._distributed.CancelledError as error:
            raise self._lost() from error
        except Exception as error:  # noqa: BLE001 - whatever the task raised is told, by kind
            self._require_connection()
            is_late = isinstance(error, TimeoutError) and future.status != "error"
            if is_late or future.status in _PENDING:
                return []
            found = self._failed(future, lease, error)
        del self._running[future]
        future.release()
        if future is self._accused:
            self._accused = None
        return found

    def _failed(self, future: Any, lease: Lease, error: Exception) -> list[UnitResult]:
        """Return what is told of a unit whose task raised; nothing where it will be done again."""
        if isinstance(error, ModuleNotFoundError):
            raise ConfigError(
                f"the workers of {self._cluster.address} lack {error.name}",
                hint="install the same imaging_db for them, with what it needs",
            ) from error
        if not isinstance(error, self._distributed.KilledWorker):
            return [UnitResult(lease, kind=type(error).__name__, message=str(error))]
        if future is not self._accused:
            self._suspects.append(lease)
            return []
        return [UnitResult(lease, kind="WorkerDied", message=self._death(error))]

    def _death(self, error: Any) -> str:
        times = error.allowed_failures + 1
        how = self._cluster.last_death() or "died"
        often = f", {times} times on different workers" if times > 1 else ""
        return f"its worker {error.last_worker.address} {how}{often}"

    def _accuse_next(self) -> None:
        """Do the next unit again that may have killed a worker, one at a time."""
        if self._accused is None and self._suspects:
            (self._accused,) = self._start([self._suspects[0]])
            self._suspects.popleft()

    def _lost(self) -> EngineLost:
        return EngineLost(f"the scheduler {self._cluster.address} is gone, or ended our tasks")


def _do_unit(order: WorkOrder, lease: Lease) -> list[UnitResult]:
    """Return what became of a unit; runs in a worker, found there by its name."""
    return do_units(order, [lease])
