"""The driver of one runner: claims units, hands them to an engine, commits what comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.errors import StoreUnavailable
from imaging_db.jobs.engines.base import Engine, EngineLost
from imaging_db.jobs.held_leases import HeldLeases
from imaging_db.model.job import Job, JobState, Lease, Runner, UnitResult, UnitState
from imaging_db.transfer.report import Progress, Silent
from imaging_db.transfer.run_token import is_dead

_AHEAD_SECONDS = 3.0
"""Work that waits for each worker: while rows are written and bytes made durable, nothing is claimed."""
_LEAST_AHEAD, _MOST_AHEAD = 2, 32
"""Units that wait for each worker."""
_MOST_CLAIMED = 256
_COMMIT_SECONDS = 3.0
_COMMIT_FRAMES = 1000
_WAIT_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 1.0
_MOST_TEMPORARY = 20
"""Failures in a row that are the store's fault, after which the runner gives up for now."""


@dataclass(slots=True)
class Tally:
    """What one runner did: units and frames that counted, bytes of pixels, units that failed under it."""

    units: int = 0
    frames: int = 0
    raw_bytes: int = 0
    failed: int = 0


@dataclass
class Driver:
    """Works on a job until nothing is left that it could do; used by one thread, `stop` by any.

    After `run` every unit that this runner had is done, failed, or back in the queue. Where its workers are
    ``outliving`` it, because they are another's, what they were left with waits until its lease has run out:
    they may still write, and a cancellation must not sweep before they have.
    """

    catalog: Catalog
    job: Job
    runner: Runner
    engine: Engine
    lease_seconds: float
    outliving: bool = False
    progress: Progress = field(default_factory=Silent)
    tally: Tally = field(default_factory=Tally)
    _in_flight: dict[int, Lease] = field(default_factory=dict)
    _results: list[UnitResult] = field(default_factory=list)
    _draining: threading.Event = field(default_factory=threading.Event)
    _leaving: threading.Event = field(default_factory=threading.Event)
    _committed_at: float = field(default_factory=time.monotonic)
    _begun: float = field(default_factory=time.monotonic)
    _returned: int = 0
    _temporary: int = 0
    _complaint: str = ""
    _suspect: Lease | None = None
    _by_itself: bool = False

    def stop(self, *, now: bool = False) -> None:
        """Let the runner end: after what it is at, with ``now`` at once; its other units go back."""
        if now:
            self._leaving.set()
        self._draining.set()

    def run(self) -> JobState:
        """Return the job's state once no unit waits any more, or the runner was stopped.

        Raises
        ------
        StoreUnavailable
            The store fails unit after unit; or the engine's workers are gone. What was done is committed.
        """
        held = HeldLeases(self.catalog, self.runner, lease_seconds=self.lease_seconds)
        lost = False
        try:
            with held:
                try:
                    return self._loop(held)
                finally:
                    self.engine.close(now=bool(self._in_flight))
        except EngineLost as error:
            lost = True
            raise StoreUnavailable(f"the workers are gone: {error}", hint="join again") from error
        finally:
            if not (lost or (self.outliving and self._in_flight)):
                self.catalog.jobs.release(self.runner)
            self.catalog.jobs.leave(self.runner)

    def _loop(self, held: HeldLeases) -> JobState:
        while not self._leaving.is_set():
            state = held.check()
            if state is JobState.UPLOADING and not self._draining.is_set():
                self._fill()
            if not self._in_flight:
                self._commit()
                if self._draining.is_set() or self._is_over():
                    break
                if not self.catalog.jobs.evict(self.job, is_dead):
                    time.sleep(_LOOK_AGAIN_SECONDS)
                continue
            if state is not JobState.UPLOADING and not (self.outliving and self.engine.workers):
                break  # cancelled: what is at work will not count
            self._collect()
        return held.state

    def _fill(self) -> None:
        """Claim so many units that no worker waits for the next."""
        if self._suspect is not None or self._by_itself:
            self._try_suspect()
            if self._by_itself or self._suspect is not None:
                return
        wanted = self._wanted()
        if 2 * len(self._in_flight) > wanted:
            return  # a claim for every single unit would cost more than it gains
        while (missing := min(wanted - len(self._in_flight), _MOST_CLAIMED)) > 0:
            leases = self.catalog.jobs.claim(self.runner, missing, self.lease_seconds)
            failpoints.reach("units.claimed")
            if not leases:
                return
            if self._may_kill(leases):
                self._suspect = leases[0]
                self._try_suspect()
                return
            self._submit(leases)

    def _wanted(self) -> int:
        """Return how many units shall be in flight: by how long one took so far."""
        workers, seconds = self.engine.workers, time.monotonic() - self._begun
        if not self._returned:
            return workers * (1 + _LEAST_AHEAD)
        each = max(seconds * workers / self._returned, 1e-3)
        ahead = min(max(_LEAST_AHEAD, round(_AHEAD_SECONDS / each)), _MOST_AHEAD)
        return workers * (1 + ahead)

    def _may_kill(self, leases: Sequence[Lease]) -> bool:
        """Return True for a unit tried before that came by itself, where it would take this process along."""
        return not self.engine.isolated and len(leases) == 1 and leases[0].attempt > 1

    def _try_suspect(self) -> None:
        """Do a unit that may have killed its runner while no other unit is at work, so that none is blamed."""
        if self._in_flight:
            return
        self._by_itself = self._suspect is not None
        if self._suspect is not None:
            self._submit([self._suspect])
            self._suspect = None

    def _submit(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._in_flight[lease.unit.ordinal] = lease
        self.engine.submit(leases)

    def _is_over(self) -> bool:
        """Return True where no unit waits, here or with another runner."""
        progress = self.catalog.jobs.progress(self.job)
        open_units = progress.count(UnitState.READY) + progress.count(UnitState.LEASED)
        return (
            not open_units or self.catalog.jobs.find(self.job.uuid).state is not JobState.UPLOADING
        )

    def _collect(self) -> None:
        try:
            results = self.engine.finished(_WAIT_SECONDS)
        except EngineLost:
            self._commit()
            raise
        for result in results:
            self._in_flight.pop(result.lease.unit.ordinal, None)
            self._note(result)
        self._returned += len(results)
        self._results += results
        waiting = sum(len(result.frames) for result in self._results)
        late = time.monotonic() - self._committed_at > _COMMIT_SECONDS
        if late or waiting >= _COMMIT_FRAMES or not self._in_flight:
            self._commit()
        if self._temporary >= _MOST_TEMPORARY:
            self._commit()
            raise StoreUnavailable(self._complaint, hint="join again later")

    def _note(self, result: UnitResult) -> None:
        self._temporary = self._temporary + 1 if result.temporary else 0
        if result.temporary:
            self._complaint = result.message
            time.sleep(min(_LOOK_AGAIN_SECONDS, 0.05 * self._temporary))

    def _commit(self) -> None:
        """Write the rows of what is in the store, after its bytes were made durable."""
        results = self._results
        self._committed_at = time.monotonic()
        if not results:
            return
        if any(result.is_done for result in results):
            failpoints.reach("objects.flushing")
            self.engine.flush()
            failpoints.reach("objects.flushed")
        counted = self.catalog.jobs.commit(self.runner, results)
        failpoints.reach("units.committed")
        self._results = []
        done = [one for one in results if one.lease.unit.ordinal in counted and one.is_done]
        frames, raw_bytes = sum(len(one.frames) for one in done), sum(one.raw_bytes for one in done)
        self.tally.units += len(done)
        self.tally.frames += frames
        self.tally.raw_bytes += raw_bytes
        self.tally.failed += sum(not one.is_done and not one.temporary for one in results)
        self.progress.advance(frames, raw_bytes)
