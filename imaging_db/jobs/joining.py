"""Joining a job: a runner that works until nothing is left, and completes the job if it is the last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from imaging_db.catalog import Catalog
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import Conflict, IntegrityError, Interrupted
from imaging_db.jobs.completion import Completion
from imaging_db.jobs.driver import Driver, Tally
from imaging_db.jobs.engines.registry import open_engine
from imaging_db.jobs.objects import directory_of
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model import Dataset
from imaging_db.model.job import LEASE_SECONDS, Failure, Job, JobState, UnitState
from imaging_db.stores.base import Store
from imaging_db.transfer.report import Progress, Silent
from imaging_db.transfer.run_token import is_dead, new_token

_FAILURES_TOLD = 20
_IN_PROCESS = ("threads", "serial")
_LISTEN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Who does the work: an engine by name, how many workers, an existing scheduler, the engine's own options."""

    name: str = "threads"
    workers: int | None = None
    scheduler: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JoinReport:
    """What one runner did, and how the job stands: ``units`` and ``frames`` counted, ``state`` at the end.

    ``failed`` counts the job's units that were given up, ``failures`` tells the first of them.
    """

    job: int
    serial: str
    state: JobState
    units: int
    frames: int
    raw_bytes: int
    seconds: float
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    dataset: Dataset | None = None


@dataclass
class Joining:
    """Works on one job with one engine. ``told`` hears remarks, such as that Ctrl-C was understood."""

    catalog: Catalog
    store: Store
    place: StoreSettings
    job: Job
    choice: EngineChoice
    lease_seconds: float = LEASE_SECONDS
    manual: bool = False
    progress: Progress = field(default_factory=Silent)
    told: Callable[[str], None] = lambda text: None

    def run(self) -> JoinReport:
        """Return what came of it. The last runner completes the job, unless ``manual``.

        Raises
        ------
        Interrupted
            Ctrl-C: what was at work is committed, or after a second one left to others.
        Conflict
            The job is over, or not prepared yet.
        StoreUnavailable, CatalogUnavailable
            Join again later; nothing is lost.
        IntegrityError
            What was put again is gone from the store again.
        """
        started, tally, dataset = time.monotonic(), Tally(), None
        if self.job.state is JobState.COMPLETE:
            return self._report(tally, 0.0, dataset)
        self.progress.start(self.job.serial, self.job.nbr_frames)
        self.progress.advance(self.catalog.jobs.progress(self.job).frames_done, 0)
        reopened = 0
        try:
            while True:
                state = self._work(tally)
                if not self._is_mine_to_complete(state):
                    break
                found = Completion(self.catalog, self.store, self.job).run()
                if isinstance(found, Dataset):
                    dataset = found
                    break
                if reopened:
                    raise self._gone_again(found)
                reopened = found
                self.told(f"{found} units wait again: objects of theirs are gone from the store")
        finally:
            self.progress.finish()
        return self._report(tally, time.monotonic() - started, dataset)

    def _work(self, tally: Tally) -> JobState:
        job = self.catalog.jobs.find(self.job.uuid)
        if job.state is JobState.COMPLETING:
            return job.state
        if job.state is JobState.PREPARING:
            raise Conflict(
                f"job {job.id} is not prepared yet", hint="run the command that created it again"
            )
        self.catalog.jobs.evict(job, is_dead)
        token, name = new_token(), self.choice.name
        engine = open_engine(
            name,
            self._order(),
            workers=self.choice.workers,
            scheduler=self.choice.scheduler,
            options=self.choice.options,
        )
        try:
            runner = self.catalog.jobs.join(
                job, token=token, engine=engine.name, workers=engine.workers
            )
        except BaseException:
            engine.close(now=True)
            raise
        driver = Driver(
            self.catalog,
            job,
            runner,
            engine,
            self.lease_seconds,
            outliving=self._is_outliving(),
            progress=self.progress,
            tally=tally,
        )
        return _Run(driver, self.told).result()

    def _gone_again(self, count: int) -> IntegrityError:
        """Return the error that ends what would go on for ever: workers write where the runner sees nothing."""
        return IntegrityError(
            f"job {self.job.id}: objects of {count} units were put again, and are gone from "
            f"{self.store.address} again",
            hint="see that it is the same folder on every computer that works on the job, then join again",
        )

    def _is_outliving(self) -> bool:
        """Return True where workers may go on after this process: they are another's, or on other computers."""
        named = self.choice.name not in (*_IN_PROCESS, "dask")
        return named or self.choice.scheduler is not None

    def _order(self) -> WorkOrder:
        return WorkOrder(
            self.job.uuid,
            self.job.source,
            directory_of(self.job),
            str(self.job.config.get("codec") or "png"),
            self.place,
            flush=self.choice.name not in _IN_PROCESS,
        )

    def _is_mine_to_complete(self, state: JobState) -> bool:
        if self.manual or self.catalog.jobs.is_manual(self.job):
            return False
        if state not in (JobState.UPLOADING, JobState.COMPLETING):
            return False
        progress = self.catalog.jobs.progress(self.job)
        return progress.count(UnitState.DONE) == self.job.nbr_units

    def _report(self, tally: Tally, seconds: float, dataset: Dataset | None) -> JoinReport:
        jobs = self.catalog.jobs
        failures = [
            one
            for one in jobs.failures(self.job, limit=_FAILURES_TOLD)
            if one.state is UnitState.FAILED
        ]
        return JoinReport(
            self.job.id,
            self.job.serial,
            jobs.find(self.job.uuid).state,
            tally.units,
            tally.frames,
            tally.raw_bytes,
            seconds,
            jobs.progress(self.job).count(UnitState.FAILED),
            tuple(failures),
            dataset,
        )


class _Run:
    """A driver in a thread of its own, so that Ctrl-C never cuts a commit in two."""

    def __init__(self, driver: Driver, told: Callable[[str], None]) -> None:
        self._driver = driver
        self._told = told
        self._state = JobState.UPLOADING
        self._error: BaseException | None = None
        # not Thread.join, which takes a thread for ended where Ctrl-C interrupts it
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="imaging_db-driver")

    def result(self) -> JobState:
        """Return the job's state at the end. Ctrl-C once drains, twice leaves."""
        stop: KeyboardInterrupt | None = None
        self._thread.start()
        while not self._ended.is_set():
            try:
                self._ended.wait(_LISTEN_SECONDS)
            except KeyboardInterrupt as error:
                self._driver.stop(now=stop is not None)
                if stop is None:
                    self._told("finishing what is at work; Ctrl-C again leaves it to others")
                stop = stop or error
        if stop is not None:
            if self._error is not None:
                self._told(f"while leaving: {self._error}")
            raise Interrupted(
                f"interrupted: {self._driver.tally.units} units done by this runner; "
                "join again to continue",
                signal_number=getattr(stop, "signal_number", 2),
            ) from (self._error or stop)
        if self._error is not None:
            raise self._error
        return self._state

    def _run(self) -> None:
        try:
            self._state = self._driver.run()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._ended.set()
