"""Jobs as rows: made together with the claim on their dataset, held while units change, found by any name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from imaging_db.catalog import claims, live_jobs, serials
from imaging_db.catalog.claims import STALE_AFTER
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import UtcNow
from imaging_db.catalog.tables_jobs import JobRow
from imaging_db.catalog.types import LARGEST_INTEGER
from imaging_db.errors import JobNotFound, JobOver
from imaging_db.model import DatasetDraft
from imaging_db.model.job import Job, JobDraft, JobState, job_token

PAGE = 500

_LOCK = 0x6A6F6273  # "jobs": one advisory lock for each job, beside those of serials
_NEWEST = 500
_NEAREST = 3
_TABLE = JobRow.__table__
_BY_ID = select(_TABLE, UtcNow().label("now")).where(JobRow.id == bindparam("job"))


def to_job(row: AnyRow) -> Job:
    """Return a row as a model object; ``dataset_id`` is 0 where the dataset was deleted since."""
    return Job(
        id=row.id,
        uuid=row.uuid,
        serial=row.dataset_serial,
        dataset_id=row.dataset_id or 0,
        state=JobState(row.state),
        source=row.source,
        config=row.config,
        config_sha256=row.config_sha256,
        nbr_units=row.nbr_units,
        nbr_frames=row.nbr_frames,
        most_attempts=row.most_attempts,
        origin=row.origin,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def create(
    connection: Connection,
    dataset: DatasetDraft,
    job: JobDraft,
    *,
    manual: bool,
    evict: str | None,
) -> Job:
    """Return a new job that holds its dataset, or the live one that does the same already.

    Raises
    ------
    DatasetBusy
        Another job, or a live run, holds the dataset.
    ConfigError, DatasetExists, Conflict
        As `imaging_db.catalog.claims.take`.
    """
    serials.lock(connection, dataset.serial)
    found = _existing(connection, dataset.serial, job)
    if found is not None:
        return to_job(found)
    claim = claims.take(
        connection, dataset, token=job_token(job.uuid), stale_after=STALE_AFTER, evict=evict
    )
    connection.execute(
        insert(JobRow).values(
            uuid=job.uuid,
            dataset_id=claim.dataset_id,
            dataset_serial=dataset.serial,
            state=JobState.PREPARING.value,
            source=job.source,
            config=job.config,
            config_sha256=job.config_sha256,
            nbr_units=job.nbr_units,
            nbr_frames=job.nbr_frames,
            most_attempts=job.most_attempts,
            origin=job.origin,
            manual=manual,
            created_at=UtcNow(),
        )
    )
    return to_job(connection.execute(select(_TABLE).where(JobRow.uuid == job.uuid)).one())


def _existing(connection: Connection, serial: str, job: JobDraft) -> AnyRow | None:
    live = (JobRow.dataset_serial == serial) & JobRow.state.in_(live_jobs.LIVE)
    found = connection.execute(
        select(_TABLE).where(or_(JobRow.uuid == job.uuid, live)).order_by(JobRow.id.desc()).limit(1)
    ).one_or_none()
    if found is None or found.uuid == job.uuid or found.config_sha256 == job.config_sha256:
        return found
    raise live_jobs.busy(serial, found.id)


def held(connection: Connection, job_id: int, *, alone: bool = False) -> AnyRow:
    """Return a job's row, whose state stays until the transaction ends, and ``now`` by the database's clock.

    Any number of transactions may hold it, one that changes its state holds it ``alone``. The lock is not
    the row's own: those who share a row would let nobody change it as long as one of them comes after another.
    SQLite needs none: it has one writer at a time.

    Raises
    ------
    JobNotFound
        There is no such job.
    """
    if connection.dialect.name == "postgresql":
        lock = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
        connection.execute(select(lock(_LOCK, job_id)))
    return by_id(connection, job_id)


def by_id(connection: Connection, job_id: int) -> AnyRow:
    """Return a job's row, and ``now`` by the database's clock. Raises `JobNotFound`."""
    found = connection.execute(_BY_ID, {"job": job_id}).one_or_none()
    if found is None:
        raise JobNotFound(f"there is no job {job_id}")
    return found


def change(connection: Connection, job_id: int, state: JobState) -> None:
    """Write the state of a job that is held alone."""
    values: dict[str, Any] = {"state": state.value}
    if state.is_over:
        values["finished_at"] = UtcNow()
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


def over(row: AnyRow) -> JobOver:
    """Return the error that a job takes no more work of the kind that was asked for."""
    hints = {
        JobState.COMPLETE: "its dataset can be read",
        JobState.CANCELLED: "create it again: what it stored counts",
        JobState.CANCELLING: f"imaging-db ingest cancel {row.id} goes on with that",
    }
    state = JobState(row.state)
    message = f"job {row.id} ({row.dataset_serial}) is {state.value}"
    return JobOver(message, state=state.value, hint=hints.get(state, ""))


def require_not_cancelled(row: AnyRow) -> None:
    """Let pass a job that is neither cancelled nor being so. Raises `JobOver`."""
    if row.state in (JobState.CANCELLED.value, JobState.CANCELLING.value):
        raise over(row)


def require_going_on(row: AnyRow) -> None:
    """Let pass a job that is neither over nor being cancelled. Raises `JobOver`."""
    require_not_cancelled(row)
    if JobState(row.state).is_over:
        raise over(row)


def find(connection: Connection, name: str) -> Job:
    """Return the job of an id, a uuid, or the newest of a dataset's serial.

    Raises
    ------
    JobNotFound
        There is none; ``nearest`` holds similar serials.
    """
    wanted = select(_TABLE).order_by(JobRow.id.desc()).limit(1)
    if re.fullmatch("[0-9]{1,10}", name) and int(name) <= LARGEST_INTEGER:
        wanted = wanted.where(JobRow.id == int(name))
    else:
        wanted = wanted.where(or_(JobRow.uuid == name.lower(), JobRow.dataset_serial == name))
    found = connection.execute(wanted).one_or_none()
    if found is None:
        raise _unknown(connection, name)
    return to_job(found)


def page(connection: Connection, states: Collection[JobState] | None, after: int) -> list[Job]:
    """Return up to `PAGE` jobs by id that come after one; all states without ``states``."""
    wanted = select(_TABLE).where(JobRow.id > after).order_by(JobRow.id).limit(PAGE)
    if states is not None:
        wanted = wanted.where(JobRow.state.in_([state.value for state in states]))
    return [to_job(row) for row in connection.execute(wanted)]


def _unknown(connection: Connection, name: str) -> JobNotFound:
    newest = select(JobRow.dataset_serial).order_by(JobRow.id.desc()).limit(_NEWEST)
    serials_there = list(dict.fromkeys(connection.scalars(newest)))
    near = difflib.get_close_matches(name, serials_there, n=_NEAREST)
    hint = f"did you mean {' or '.join(near)}?" if near else "imaging-db ingest list tells them"
    return JobNotFound(f"there is no job {name!r}", nearest=near, hint=hint)
