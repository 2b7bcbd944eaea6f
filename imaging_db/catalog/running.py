"""The side of jobs by which runners share them: units are claimed, done, and committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

from imaging_db.catalog import leases, runners, unit_results
from imaging_db.catalog.transactions import Transactions
from imaging_db.model.job import LEASE_SECONDS, Job, JobState, Lease, Runner, UnitResult


class Running:
    """What `imaging_db.catalog.jobs.Jobs` can do for runners; each call is a transaction.

    A call that is done again, because the answer to its COMMIT was lost, returns what the first had done.
    One thread of a runner claims; any may renew.
    """

    _transactions: Transactions

    def join(self, job: Job, *, token: str, engine: str, workers: int) -> Runner:
        """Return a runner, known by its token, that may claim units once the job is uploading.

        ``token`` is ``host/process/start/random``, as runs are named. The same may join again.

        Raises
        ------
        JobOver
            The job is complete, cancelled, or being cancelled.
        Conflict
            The catalog is a SQLite file, and another computer works with it.
        """
        return self._transactions.write(
            partial(runners.join, job_id=job.id, token=token, engine=engine, workers=workers)
        )

    def evict(self, job: Job, is_dead: Callable[[str], bool]) -> int:
        """Return how many units were taken back from runners of whose tokens ``is_dead`` is sure.

        Each will be tried by itself: it may be what killed its runner. The attempt counts.
        """
        dead = self._transactions.read(partial(runners.dead, job_id=job.id, is_dead=is_dead))
        if not dead:
            return 0
        return self._transactions.write(partial(leases.evict, job_id=job.id, dead=dead))

    def claim(
        self, runner: Runner, count: int, lease_seconds: float = LEASE_SECONDS
    ) -> list[Lease]:
        """Return up to ``count`` units, which nobody else gets for ``lease_seconds`` or while it is renewed.

        A unit whose lease ran out comes first, and by itself: it may have killed who had it. What was
        leased as often as the job allows is given up as failed. Then come those that are ready, the least
        tried first. Nothing comes where the job is not uploading, or others hold all that is ready.
        """
        key = uuid4().hex
        return self._transactions.write(
            partial(leases.claim, runner=runner, count=count, lease_seconds=lease_seconds, key=key)
        )

    def renew(self, runner: Runner, lease_seconds: float = LEASE_SECONDS) -> JobState:
        """Return the job's state; show that a runner is alive, and keep all its units for so long from now."""
        return self._transactions.write(
            partial(leases.renew, runner=runner, lease_seconds=lease_seconds)
        )

    def commit(self, runner: Runner, results: Sequence[UnitResult]) -> set[int]:
        """Return the ordinals of the units that are done by these results, and write the rows of their frames.

        A result counts while the runner has its unit for that attempt, and the job is uploading; any other
        is left out, and nothing of it is written. Rows that are there already count where they are equal;
        where they are not, that unit fails. A failed unit waits for its next attempt until there were
        enough; one that was not to blame (``temporary``) has lost none.
        """
        return self._transactions.write(
            partial(unit_results.commit, runner=runner, results=results)
        )

    def release(self, runner: Runner) -> int:
        """Return how many units of a runner were given back; they are as if it had never claimed them."""
        return self._transactions.write(partial(leases.release, runner=runner))

    def leave(self, runner: Runner) -> None:
        """Note that a runner has left; units that it did not release wait until their leases run out."""
        self._transactions.write(partial(runners.leave, runner_id=runner.id))

    def leases_left(self, job: Job) -> float:
        """Return after how many seconds nobody has a unit of a job any more, 0.0 where nobody has one."""
        return self._transactions.read(partial(leases.seconds_left, job_id=job.id))
