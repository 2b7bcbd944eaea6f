"""Cancelling a job: nothing is committed any more, then what has no row leaves the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.jobs.objects import directory_of, without_row
from imaging_db.model.job import Job, JobState
from imaging_db.stores.base import Store
from imaging_db.transfer.run_token import is_dead

_LOOK_AGAIN_SECONDS = 0.5
_TELL_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class CancelReport:
    """What a cancellation swept: objects without a row, and their bytes. ``kept`` frames have a row and stay.

    ``already`` tells that the job was cancelled before, and nothing was left to do.
    """

    job: int
    serial: str
    swept: int
    nbr_bytes: int
    kept: int
    already: bool = False


@dataclass(frozen=True)
class Cancellation:
    """Cancels one job; every step may be repeated. ``told`` hears how many seconds leases still last.

    Before each deletion the job is looked at: where another call has ended the cancellation meanwhile, as while
    this computer slept, the dataset may be a later job's, and what lies there too.
    """

    catalog: Catalog
    store: Store
    job: Job
    told: Callable[[float], None] = lambda seconds: None

    def run(self) -> CancelReport:
        """Return what was swept. Runners that hear of it leave; the lease of a lost one is waited for.

        Raises
        ------
        JobOver
            The job is complete: its dataset can be deleted.
        """
        if self.catalog.jobs.begin_cancel(self.job) is JobState.CANCELLED:
            return self._report(0, 0, already=True)
        failpoints.reach("job.cancelling")
        self._wait()
        swept = nbr_bytes = 0
        for found in without_row(self.catalog, self.store, self.job):
            if self._is_over():
                return self._report(swept, nbr_bytes, already=True)
            if self.store.delete(found.key):
                swept, nbr_bytes = swept + 1, nbr_bytes + found.size
            failpoints.reach("object.deleted")
        for leftover in self.store.leftovers(directory_of(self.job)):
            if self._is_over():
                return self._report(swept, nbr_bytes, already=True)
            self.store.discard(leftover)
        self.catalog.jobs.finish_cancel(self.job)
        failpoints.reach("job.cancelled")
        return self._report(swept, nbr_bytes)

    def _is_over(self) -> bool:
        return self.catalog.jobs.find(self.job.uuid).state.is_over

    def _wait(self) -> None:
        """Return once nobody writes any more; whoever died on this computer is not waited for."""
        told_at: float | None = None
        while True:
            self.catalog.jobs.evict(self.job, is_dead)
            seconds = self.catalog.jobs.leases_left(self.job)
            if seconds <= 0:
                return
            if told_at is None or time.monotonic() - told_at > _TELL_AGAIN_SECONDS:
                told_at = time.monotonic()
                self.told(seconds)
            time.sleep(min(seconds, _LOOK_AGAIN_SECONDS))

    def _report(self, swept: int, nbr_bytes: int, *, already: bool = False) -> CancelReport:
        kept = self.catalog.jobs.progress(self.job).frames_done
        return CancelReport(self.job.id, self.job.serial, swept, nbr_bytes, kept, already)
