"""Leases: which runner has which units, and for how long, by the database's clock.

Locks are taken in one order: the job's, shared; the runner's row; rows of units, and those that another
transaction holds are passed over. So no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, false, func, null, select, true, update

from imaging_db.catalog import job_rows, runners
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.tables_jobs import UnitRow
from imaging_db.catalog.units import IS_LEASED, IS_READY, OF_JOB, to_unit
from imaging_db.model.job import JobState, Lease, Runner, UnitState

WORKER_DIED = "WorkerDied"
"""The kind of error of a unit whose worker, or whose runner, was not heard of any more."""

_MOST_AT_ONCE = 10_000  # SQLite refuses statements with more than 32 766 parameters
_UNHEARD = "its runner was not heard of any more"
_DIED = "its runner died"
_READY = UnitState.READY.value
_LEASED = UnitState.LEASED.value
_FAILED = UnitState.FAILED.value

_COLUMNS = (
    UnitRow.ordinal,
    UnitRow.first_frame,
    UnitRow.nbr_frames,
    UnitRow.state,
    UnitRow.attempt,
)
_SOME = select(*_COLUMNS).limit(bindparam("count")).with_for_update(skip_locked=True)
_RUN_OUT = _SOME.where(OF_JOB, IS_LEASED, UnitRow.lease_until < bindparam("now")).order_by(
    UnitRow.lease_until
)
_WAITING = _SOME.where(OF_JOB, IS_READY).order_by(UnitRow.attempt, UnitRow.ordinal)
_ALONE = _WAITING.where(UnitRow.alone == true())
_OTHERS = _WAITING.where(UnitRow.alone == false())

_THESE = (OF_JOB, UnitRow.ordinal.in_(bindparam("ordinals", expanding=True)))
_MINE = (OF_JOB, IS_LEASED, UnitRow.runner_id == bindparam("runner"))
_TAKE = (
    update(UnitRow)
    .where(*_THESE)
    .values(
        state=_LEASED,
        runner_id=bindparam("runner"),
        lease_until=bindparam("until"),
        attempt=UnitRow.attempt + 1,
    )
)
_BLAMED = {"alone": true(), "error_kind": WORKER_DIED, "error_attempt": UnitRow.attempt}
_BLAME = update(UnitRow).where(*_THESE).values(error=_UNHEARD, **_BLAMED)
_EVICT = (
    update(UnitRow)
    .where(*_MINE)
    .values(state=_READY, lease_until=null(), runner_id=null(), error=_DIED, **_BLAMED)
)
_GIVE_UP = (
    update(UnitRow)
    .where(*_THESE)
    .values(state=_FAILED, lease_until=null(), error=bindparam("told"))
)
_RENEW = update(UnitRow).where(*_MINE).values(lease_until=bindparam("until"))
_RELEASE = (
    update(UnitRow)
    .where(*_MINE)
    .values(state=_READY, lease_until=null(), runner_id=null(), attempt=UnitRow.attempt - 1)
)
_TAKEN = select(*_COLUMNS).where(*_THESE, *_MINE).order_by(UnitRow.attempt, UnitRow.ordinal)
_LONGEST = select(func.max(UnitRow.lease_until)).where(OF_JOB, IS_LEASED)
_MY_LONGEST = select(func.max(UnitRow.lease_until)).where(*_MINE)


def claim(
    connection: Connection, runner: Runner, count: int, *, lease_seconds: float, key: str
) -> list[Lease]:
    """Return units that the runner has from now on: one that may kill it by itself, else up to ``count``.

    ``key`` names this claim: done again after the answer to its COMMIT was lost, it returns what it took.
    """
    job = job_rows.held(connection, runner.job_id)
    mine = runners.locked(connection, runner.id)
    if mine.claim is not None and mine.claim.get("key") == key:
        return _taken(connection, runner, mine.claim["ordinals"])
    if job.state != JobState.UPLOADING.value or count < 1:
        return []
    _keep_order(connection)
    found = _suspect(connection, job) or _others(connection, job, min(count, _MOST_AT_ONCE))
    ordinals = [row.ordinal for row in found]
    if found:
        until = job.now + timedelta(seconds=lease_seconds)
        taken = {"job": job.id, "ordinals": ordinals, "runner": runner.id, "until": until}
        connection.execute(_TAKE, taken)
    runners.note_claim(connection, runner.id, {"key": key, "ordinals": ordinals})
    return [Lease(to_unit(row), row.attempt + 1) for row in found]


def _keep_order(connection: Connection) -> None:
    """Let PostgreSQL walk along indexes until the transaction ends.

    Where it has not counted the units of a new job yet, it takes them for few, and sorts a million for each
    claim.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.set_config("enable_sort", "off", true())))


def _suspect(connection: Connection, job: AnyRow) -> Sequence[AnyRow]:
    """Return a unit whose lease ran out, or that was in such a lease before; give up those tried enough."""
    one = {"job": job.id, "now": job.now, "count": 1}
    while True:
        row = connection.execute(_RUN_OUT, one).first() or connection.execute(_ALONE, one).first()
        if row is None:
            return []
        this: dict[str, Any] = {"job": job.id, "ordinals": [row.ordinal]}
        if row.state == _LEASED:
            connection.execute(_BLAME, this)
        if row.attempt < job.most_attempts:
            return [row]
        told = f"{_DIED}, at attempt {row.attempt} of {job.most_attempts}"
        connection.execute(_GIVE_UP, this | {"told": told})


def _others(connection: Connection, job: AnyRow, count: int) -> Sequence[AnyRow]:
    return connection.execute(_OTHERS, {"job": job.id, "count": count}).all()


def _taken(connection: Connection, runner: Runner, ordinals: Sequence[int]) -> list[Lease]:
    these = {"job": runner.job_id, "ordinals": ordinals, "runner": runner.id}
    return [Lease(to_unit(row), row.attempt) for row in connection.execute(_TAKEN, these)]


def renew(connection: Connection, runner: Runner, *, lease_seconds: float) -> JobState:
    """Return the job's state once every lease of a runner is renewed.

    Those of a job that is being cancelled, too: its workers may still write, which has to be waited for.
    """
    runners.locked(connection, runner.id)
    job = job_rows.by_id(connection, runner.job_id)
    until = job.now + timedelta(seconds=lease_seconds)
    connection.execute(_RENEW, {"job": job.id, "runner": runner.id, "until": until})
    runners.beat(connection, runner.id)
    return JobState(job.state)


def release(connection: Connection, runner: Runner) -> int:
    """Return how many units were given back, as if they had never been tried."""
    runners.locked(connection, runner.id)
    given = connection.execute(_RELEASE, {"job": runner.job_id, "runner": runner.id}).rowcount
    runners.note_claim(connection, runner.id, None)
    return given


def evict(connection: Connection, job_id: int, dead: Sequence[int]) -> int:
    """Return how many units of dead runners wait again, each to be tried by itself; the attempt counts.

    To do them twice is harmless, to sweep while workers of a dead runner still write is not: until when they
    may is noted with the runner.
    """
    freed = 0
    for runner_id in sorted(dead):
        runners.locked(connection, runner_id)
        these = {"job": job_id, "runner": runner_id}
        until = connection.scalar(_MY_LONGEST, these)
        freed += connection.execute(_EVICT, these).rowcount
        runners.leave(connection, runner_id)
        if until is not None:
            runners.note_cut_off(connection, runner_id, until)
    return freed


def seconds_left(connection: Connection, job_id: int) -> float:
    """Return after how many seconds the last lease of a job will have run out, 0 where none is left.

    That of a dead runner counts, too, where its workers may have outlived it.
    """
    leased = connection.scalar(_LONGEST, {"job": job_id})
    ends = [*runners.cut_off(connection, job_id), *([] if leased is None else [leased])]
    if not ends:
        return 0.0
    now = job_rows.by_id(connection, job_id).now
    return max(0.0, float((max(ends) - now).total_seconds()))
