"""Durable ingest for Python: create jobs, join them, look at them, complete or cancel them.

with ImagingDB.connect() as db:
    ingest = Ingest(db)
    job = ingest.create(plan_job(JobRequest(Path("ingest.json")), db.settings))
    print(ingest.join(job.uuid).state)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from imaging_db import failpoints
from imaging_db.api import ImagingDB
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import (
    Conflict,
    DatasetExists,
    DatasetNotFound,
    JobNotFound,
    JobOver,
    ObjectsInTheWay,
    StoreDenied,
    UsageError,
)
from imaging_db.jobs.cancellation import Cancellation, CancelReport
from imaging_db.jobs.completion import Completion
from imaging_db.jobs.joining import EngineChoice, Joining, JoinReport
from imaging_db.jobs.objects import claim_of, directory_of, without_row
from imaging_db.jobs.planning import JobPlan
from imaging_db.jobs.source import JobSource
from imaging_db.model import Dataset
from imaging_db.model.job import LEASE_SECONDS, Failure, Job, JobProgress, JobState
from imaging_db.stores.base import Store
from imaging_db.transfer.claims import claimed
from imaging_db.transfer.emptied import check_mounted
from imaging_db.transfer.report import Progress, Silent

_UNITS_AT_ONCE = 20_000


class Ingest:
    """The jobs of one open database."""

    def __init__(self, db: ImagingDB) -> None:
        self._db = db

    def create(self, plan: JobPlan, *, manual: bool = False) -> Job:
        """Return the job of a plan, its units in the catalog; what an earlier call began is gone on with.

        The same plan again gives the same job. ``manual`` jobs are completed by command alone.

        Raises
        ------
        DatasetBusy
            Another job, or a live upload, writes this dataset.
        DatasetExists
            It can be seen already.
        JobOver
            The same job is there, and its cancellation is not over.
        Conflict
            It has frames of another source that no one can see yet, or objects that no row tells of.
        """
        self._db.init()
        check_mounted(self._db.catalog, self._db.settings.store)
        self._require_same_source(plan)
        jobs = self._db.catalog.jobs
        try:
            job = claimed(
                lambda token, evict: jobs.create(plan.dataset, plan.job, manual=manual, evict=evict)
            )
        except DatasetExists as error:
            earlier = self._earlier(plan)
            if earlier is None:
                error.hint = "give it another id, or remove what is there with imaging-db delete"
                raise
            return earlier
        if job.state is JobState.CANCELLING:
            raise JobOver(
                f"job {job.id} ({job.serial}) of the same source is being cancelled",
                state=job.state.value,
                hint=f"imaging-db ingest cancel {job.id} goes on with that; then create it again",
            )
        return self._prepared(job, plan.source) if job.state is JobState.PREPARING else job

    def _prepared(self, job: Job, source: JobSource) -> Job:
        """Return a job once all its units are in the catalog."""
        jobs = self._db.catalog.jobs
        failpoints.reach("job.created")
        there = jobs.add_units(job, ())
        if not there:
            self._require_free(job)
        with source.open() as reader:
            units = islice(source.units(reader, job.nbr_frames), there, None)
            while portion := tuple(islice(units, _UNITS_AT_ONCE)):
                jobs.add_units(job, portion)
                failpoints.reach("units.added")
        jobs.start(job)
        return jobs.find(job.uuid)

    def _require_same_source(self, plan: JobPlan) -> None:
        """Refuse a plan where frames of another were stored and nobody holds them: they would lose their rows."""
        draft = plan.dataset
        for one in self._db.unfinished():
            found = one.dataset
            if found.serial != draft.serial or one.owner is not None or one.job is not None:
                continue
            if one.stored and found.fingerprint != draft.fingerprint:
                raise Conflict(
                    f"{draft.serial} has {one.stored} frames of an unfinished job or upload of another source",
                    hint="create it from that source again, choose another id, or remove them with "
                    "imaging-db delete",
                )

    def _require_free(self, job: Job) -> None:
        """Refuse a job below whose prefix lies what no row tells of: of another source, or another catalog."""
        catalog, store = self._db.catalog, self._db.store
        if catalog.stored_amount(claim_of(job))[0]:
            return  # it goes on from an earlier job, or upload, of the same source
        in_the_way = next(without_row(catalog, store, job), None)
        if in_the_way is None:
            return
        catalog.jobs.begin_cancel(job)
        catalog.jobs.finish_cancel(job)
        error = ObjectsInTheWay(f"{directory_of(job)}/", 1, store.address)
        error.hint = (
            f"if an earlier job left it, imaging-db ingest cancel {job.id} --purge removes all that is "
            "there; or choose another id"
        )
        raise error

    def _earlier(self, plan: JobPlan) -> Job | None:
        """Return the job of the same plan that made the dataset which is there, None where it was another."""
        try:
            job = self.find(plan.dataset.serial)
        except JobNotFound:
            return None
        return job if job.config_sha256 == plan.job.config_sha256 else None

    def find(self, name: str) -> Job:
        """Return a job by its number, its uuid or the id of its dataset. Raises `JobNotFound`."""
        return self._db.catalog.jobs.find(name)

    def jobs(self, states: Sequence[JobState] | None = None) -> Iterator[Job]:
        """Yield the jobs, oldest first."""
        return self._db.catalog.jobs.list(states)

    def progress(self, job: Job) -> JobProgress:
        """Return how far a job came."""
        return self._db.catalog.jobs.progress(job)

    def failures(self, job: Job, *, limit: int = 20) -> list[Failure]:
        """Return why units failed, by their order."""
        return self._db.catalog.jobs.failures(job, limit=limit)

    def join(
        self,
        name: str,
        *,
        engine: EngineChoice | None = None,
        lease_seconds: float = LEASE_SECONDS,
        manual: bool = False,
        progress: Progress | None = None,
        told: Callable[[str], None] = lambda text: None,
    ) -> JoinReport:
        """Return what a runner did that worked until nothing was left; see `Joining.run` for what it raises."""
        job = self.find(name)
        store, place = self._store_of(job)
        store.probe()
        return Joining(
            self._db.catalog,
            store,
            place,
            job,
            engine or EngineChoice(),
            lease_seconds,
            manual,
            progress or Silent(),
            told,
        ).run()

    def retry(self, name: str) -> tuple[Job, int]:
        """Return a job and how many of its failed units wait again."""
        job = self.find(name)
        return job, self._db.catalog.jobs.retry(job)

    def complete(self, name: str) -> tuple[Job, Dataset | int]:
        """Return a job and its dataset, or how many units wait again; see `Completion.run`."""
        job = self.find(name)
        store, _ = self._store_of(job)
        store.probe()
        return job, Completion(self._db.catalog, store, job).run()

    def cancel(
        self,
        name: str,
        *,
        purge: bool = False,
        told: Callable[[float], None] = lambda seconds: None,
    ) -> CancelReport:
        """Return what was swept: objects without a row; with ``purge`` the frames that have one, too."""
        job = self.find(name)
        store, _ = self._store_of(job)
        store.probe()
        report = Cancellation(self._db.catalog, store, job, told).run()
        if not (purge and self._is_still_of(job)):
            return report
        try:
            gone = self._db.delete(job.serial)
        except DatasetNotFound:  # an earlier call removed it
            return replace(report, kept=0)
        return replace(
            report,
            kept=0,
            swept=report.swept + gone.objects,
            nbr_bytes=report.nbr_bytes + gone.nbr_bytes,
        )

    def _is_still_of(self, job: Job) -> bool:
        """Return True where a cancelled job's dataset is what it left: not complete, nor of a later job."""
        pending = any(one.dataset.serial == job.serial for one in self._db.unfinished())
        return pending and self.find(job.serial).uuid == job.uuid

    def _store_of(self, job: Job) -> tuple[Store, StoreSettings]:
        """Return the store that a job's objects go to, as it was when the job was created."""
        recorded = StoreSettings(str(job.config["storage"]), str(job.config["storage_access"]))
        configured = self._db.settings.store
        if self._db.store_named:
            _require_stand_in(job, recorded, configured)
            recorded = configured
        elif recorded.storage == configured.storage:
            recorded = replace(recorded, endpoint_url=configured.endpoint_url)
        if recorded.storage == "local" and not Path(recorded.access).is_dir():
            raise StoreDenied(
                f"{recorded.access}, where job {job.id} keeps its frames, is not here",
                hint="mount it, or name it with --storage and --storage_access",
            )
        self._require_mounted(job, recorded)
        return self._db._store(recorded), recorded

    def _require_mounted(self, job: Job, place: StoreSettings) -> None:
        """Refuse the mount point of a disk that is not mounted: what went there would vanish below the disk."""
        check_mounted(self._db.catalog, place)
        root, folder = Path(place.access), directory_of(job).partition("/")[0]
        if place.storage != "local" or job.state.is_over or (root / folder).is_dir():
            return
        if self._db.catalog.stored_amount(claim_of(job))[0]:
            raise StoreDenied(
                f"{root} holds nothing, and frames of job {job.id} are to be there",
                hint=f"mount the disk or share; if its content is lost for good, make the folder {root / folder}",
            )


def _require_stand_in(job: Job, recorded: StoreSettings, named: StoreSettings) -> None:
    """Let pass the store of a job by another name: the rows tell the recorded one, and none looks elsewhere."""
    if recorded == replace(named, endpoint_url=None):
        return
    if recorded.storage == named.storage == "local":
        here, there = Path(recorded.access), Path(named.access)
        if not here.is_dir() or (there.is_dir() and here.samefile(there)):
            return
    raise UsageError(
        f"job {job.id} keeps its frames in {recorded.access} ({recorded.storage}), not in {named.access}",
        hint="leave --storage and --storage_access out",
    )
