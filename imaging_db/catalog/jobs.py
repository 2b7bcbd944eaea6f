"""Jobs: a dataset that is written unit by unit, by many runners, however often these come and go."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TypeAlias

from imaging_db.catalog import claims, job_progress, job_rows, job_states, lost_units, units
from imaging_db.catalog.running import Running
from imaging_db.catalog.transactions import Transactions
from imaging_db.model import Dataset, DatasetDraft, FrameCoords
from imaging_db.model.job import Failure, Job, JobDraft, JobProgress, JobState, Unit

_UNITS_AT_ONCE = 50_000
_Failures: TypeAlias = "list[Failure]"


class Jobs(Running):
    """The side of an open catalog that keeps jobs; each call is a transaction, or one a batch.

    While a job is not over, its dataset is its own: nobody else uploads, replaces, deletes or collects it.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    # --- creating and finding

    def create(
        self,
        dataset: DatasetDraft,
        job: JobDraft,
        *,
        manual: bool = False,
        evict: str | None = None,
    ) -> Job:
        """Return a job that is being prepared and holds its dataset, which is pending.

        The same draft again, by ``config_sha256``, is the job that there is. Frames that an earlier job, or
        upload, of the same source left keep their rows. ``manual`` says that only a command completes it;
        ``evict`` names the owner of a claim, known to be dead.

        Raises
        ------
        DatasetBusy
            Another job that is not over, or a live run, holds the dataset.
        DatasetExists
            It is ready, or being deleted.
        ConfigError, Conflict
            Its parent is not there; its serial differs only by case from another.
        """
        return self._transactions.write(
            partial(job_rows.create, dataset=dataset, job=job, manual=manual, evict=evict)
        )

    def add_units(self, job: Job, new: Sequence[Unit]) -> int:
        """Return how many units the job has, ``new`` among them, which are ordered and leave no gap.

        Those that are there already are passed over: an interrupted run goes on where it stopped.

        Raises
        ------
        Conflict
            There is a gap, or they are more than the job announced.
        JobOver
            It is complete, cancelled, or being cancelled.
        """
        count = self._transactions.write(partial(units.add, job_id=job.id, units=()))
        start = bisect_left(new, count, key=attrgetter("ordinal"))
        for first in range(start, len(new), _UNITS_AT_ONCE):
            some = new[first : first + _UNITS_AT_ONCE]
            count = self._transactions.write(partial(units.add, job_id=job.id, units=some))
        return count

    def start(self, job: Job) -> Job:
        """Return the job, whose units are all there: runners may claim them, or may since long.

        Raises
        ------
        Conflict
            Units are missing.
        JobOver
            The job was cancelled.
        """
        return self._transactions.write(partial(job_states.start, job_id=job.id))

    def find(self, name: str) -> Job:
        """Return the job of an id, a uuid or a dataset's serial: the newest of that.

        Raises
        ------
        JobNotFound
            There is none; ``nearest`` holds similar serials.
        """
        return self._transactions.read(partial(job_rows.find, name=name))

    def is_manual(self, job: Job) -> bool:
        """Return True where only a command completes the job."""
        return self._transactions.read(lambda c: bool(job_rows.by_id(c, job.id).manual))

    def list(self, states: Collection[JobState] | None = None) -> Iterator[Job]:
        """Yield the jobs in some states, or all of them, the oldest first."""
        last = 0
        while True:
            page = self._transactions.read(partial(job_rows.page, states=states, after=last))
            yield from page
            if len(page) < job_rows.PAGE:
                return
            last = page[-1].id

    # --- how far it is

    def progress(self, job: Job) -> JobProgress:
        """Return how far a job came, by counts that take no longer for a million units."""
        return self._transactions.read(partial(job_progress.progress, job_id=job.id))

    def failures(self, job: Job, *, after: int | None = None, limit: int = 1000) -> _Failures:
        """Return up to ``limit`` units that met an error and are not done, by ordinal, after that of one."""
        return self._transactions.read(
            partial(job_progress.failures, job_id=job.id, after=after, limit=limit)
        )

    def retry(self, job: Job, ordinals: Collection[int] | None = None) -> int:
        """Return how many failed units, of these or of all, are ready again, with all their attempts.

        Raises
        ------
        JobOver
            The job is complete, cancelled, or being cancelled.
        """
        retried = 0
        for some in self._portions_to_retry(job, ordinals):
            retried += self._transactions.write(
                partial(job_progress.retry, job_id=job.id, ordinals=some)
            )
        return retried

    def _portions_to_retry(
        self, job: Job, ordinals: Collection[int] | None
    ) -> Iterator[Sequence[int]]:
        """Yield ordinals for one transaction each; the first has none, and tells whether anything may be."""
        yield ()
        most = job_progress.RETRIED_AT_ONCE
        if ordinals is not None:
            named = sorted(set(ordinals))
            yield from (named[start : start + most] for start in range(0, len(named), most))
            return
        while some := self._transactions.read(partial(job_progress.some_failed, job_id=job.id)):
            yield some

    # --- coming to an end

    def begin_completing(self, job: Job) -> JobProgress:
        """Return the progress; where every unit is done, the job is completing, and nothing is committed.

        Raises
        ------
        JobOver
            The job was cancelled.
        """
        return self._transactions.write(partial(job_states.begin_completing, job_id=job.id))

    def reopen(self, job: Job, lost: Mapping[int, Sequence[FrameCoords]]) -> None:
        """Let units be done once more, by ordinal with the frames whose objects are lost: the job is uploading.

        Where that is interrupted, what was not reopened is found lost the next time.

        Raises
        ------
        JobOver
            The job is neither uploading nor completing.
        """
        for some in lost_units.portions(lost):
            self._transactions.write(partial(lost_units.reopen, job_id=job.id, lost=some))

    def finish(self, job: Job) -> Dataset:
        """Make the dataset visible and the job complete, and return the dataset; it may be so already.

        Raises
        ------
        IntegrityError
            Rows are missing, or too many.
        Conflict
            Not every unit is done; see `begin_completing`.
        JobOver, DatasetNotFound
            The job was cancelled; its dataset was deleted since it was complete.
        """
        while True:
            dataset = self._transactions.write(
                partial(job_states.finish, job_id=job.id),
                longer=claims.seconds_to_publish(job.nbr_frames),
            )
            if dataset is not None:
                return dataset

    def begin_cancel(self, job: Job) -> JobState:
        """Let nothing be claimed or committed any more; workers may still write until `leases_left` is 0.

        Returns ``cancelling``, or ``cancelled`` where that was finished before: then nothing may be swept,
        because the dataset may be another job's by now.

        Raises
        ------
        JobOver
            The job is complete.
        """
        return self._transactions.write(partial(job_states.begin_cancel, job_id=job.id))

    def finish_cancel(self, job: Job) -> None:
        """Give the dataset back, pending, with the rows that were committed; it may be given back already.

        Raises
        ------
        Conflict
            It was not begun to cancel the job.
        """
        self._transactions.write(partial(job_states.finish_cancel, job_id=job.id))
