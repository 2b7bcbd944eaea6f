"""How far jobs came: counted from what is few, for a job may have millions of units."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from operator import attrgetter

from sqlalchemy import Connection, bindparam, func, null, select, update

from imaging_db.catalog import job_rows, runners, units
from imaging_db.catalog.datasets import AnyRow, AnySelect
from imaging_db.catalog.tables_jobs import UnitRow
from imaging_db.catalog.units import IS_DONE, IS_FAILED, IS_LEASED, IS_TROUBLED, OF_JOB, to_unit
from imaging_db.model.job import Failure, JobProgress, UnitState

RETRIED_AT_ONCE = 10_000
"""Failed units that one transaction makes ready; a statement of SQLite takes some more."""

_RECENT = 60.0
_LEASED = select(func.count()).select_from(UnitRow).where(OF_JOB, IS_LEASED)
_FAILED = select(func.count()).select_from(UnitRow).where(OF_JOB, IS_FAILED)
_OF_LATE = (
    select(func.count())
    .select_from(UnitRow)
    .where(OF_JOB, IS_DONE, UnitRow.done_at > bindparam("since"))
)
_TROUBLED = (
    select(
        UnitRow.ordinal,
        UnitRow.first_frame,
        UnitRow.nbr_frames,
        UnitRow.state,
        UnitRow.error_kind,
        UnitRow.error,
        UnitRow.error_attempt,
    )
    .where(
        OF_JOB,
        IS_TROUBLED,
        UnitRow.state == bindparam("state"),
        UnitRow.ordinal > bindparam("after"),
    )
    .order_by(UnitRow.ordinal)
    .limit(bindparam("count"))
)
_SOME_FAILED = select(UnitRow.ordinal).where(OF_JOB, IS_FAILED)
_RETRY = (
    update(UnitRow)
    .where(OF_JOB, IS_FAILED, UnitRow.ordinal.in_(bindparam("ordinals", expanding=True)))
    .values(
        state=UnitState.READY.value,
        attempt=0,
        runner_id=null(),
        error_kind=null(),
        error=null(),
        error_attempt=null(),
    )
)


def progress(connection: Connection, job_id: int) -> JobProgress:
    """Return how far a job came: what is done is summed over its runners, what is ready is the rest."""
    job = job_rows.by_id(connection, job_id)
    joined = runners.every(connection, job_id)
    there, _ = units.there(connection, job_id)
    done = sum(row.units_done for row in joined)
    leased, failed = (_count(connection, one, job_id) for one in (_LEASED, _FAILED))
    since = job.now - timedelta(seconds=_RECENT)
    recent = connection.execute(_OF_LATE, {"job": job_id, "since": since}).scalar_one()
    counts = {
        UnitState.READY: there - done - leased - failed,
        UnitState.LEASED: leased,
        UnitState.DONE: done,
        UnitState.FAILED: failed,
    }
    return JobProgress(
        units={state: count for state, count in counts.items() if count},
        frames_done=sum(row.frames_done for row in joined),
        units_recently_done=recent,
        recent_seconds=_recent_seconds(joined),
        runners=tuple(runners.to_runner(row) for row in joined if runners.is_alive(row)),
    )


def _count(connection: Connection, counted: AnySelect, job_id: int) -> int:
    return int(connection.scalar(counted, {"job": job_id}) or 0)


def _recent_seconds(joined: Sequence[AnyRow]) -> float:
    """Return how much of the last minute anybody was at work, from the first to join on."""
    ages = [row.age for row in joined if abs(row.seconds_ago) < _RECENT]
    return min(_RECENT, max(0.0, *ages)) if ages else _RECENT


def failures(
    connection: Connection, job_id: int, *, after: int | None, limit: int
) -> list[Failure]:
    """Return the units in trouble by ordinal, those that come after one."""
    asked = {"job": job_id, "after": -1 if after is None else after, "count": limit}
    found = [
        Failure(
            to_unit(row), row.error_attempt, UnitState(row.state), row.error_kind, row.error or ""
        )
        for state in UnitState  # one by one: so an index has each in order
        for row in connection.execute(_TROUBLED, asked | {"state": state.value})
    ]
    return sorted(found, key=attrgetter("unit"))[:limit]


def some_failed(connection: Connection, job_id: int) -> list[int]:
    """Return the ordinals of up to `RETRIED_AT_ONCE` failed units."""
    some = _SOME_FAILED.order_by(UnitRow.ordinal).limit(RETRIED_AT_ONCE)
    return list(connection.scalars(some, {"job": job_id}))


def retry(connection: Connection, job_id: int, ordinals: Sequence[int]) -> int:
    """Return how many of these units had failed and are ready again, as if never tried.

    Raises
    ------
    JobOver
        The job is complete, cancelled, or being cancelled.
    """
    job_rows.require_going_on(job_rows.held(connection, job_id))
    if not ordinals:
        return 0
    return connection.execute(_RETRY, {"job": job_id, "ordinals": ordinals}).rowcount
