"""Jobs that are not over: each holds the claim on its dataset, whether anybody works on it or not."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from imaging_db.catalog.tables_jobs import JobRow
from imaging_db.errors import DatasetBusy
from imaging_db.model.job import JobState, job_token

LIVE = tuple(state.value for state in JobState if not state.is_over)

_PREFIX = job_token("")
_LIVE_JOBS = select(JobRow.id, JobRow.uuid).where(JobRow.state.in_(LIVE))
_OF_UUID = _LIVE_JOBS.where(JobRow.uuid == bindparam("uuid"))


def number_of(connection: Connection, token: str | None) -> int | None:
    """Return the id of the live job that claims with a token, None where it is of none."""
    if token is None or not token.startswith(_PREFIX):
        return None
    found = connection.execute(_OF_UUID, {"uuid": token.removeprefix(_PREFIX)}).one_or_none()
    return None if found is None else int(found.id)


def numbers(connection: Connection) -> dict[str, int]:
    """Return the id of every live job, by the token with which it claims."""
    return {job_token(row.uuid): row.id for row in connection.execute(_LIVE_JOBS)}


def busy(serial: str, number: int) -> DatasetBusy:
    """Return the error that a job, which may wait for a runner since long, keeps others from a dataset."""
    found = DatasetBusy(serial, f"job {number}", 0.0)
    found.message = f"{serial} is being ingested by job {number}"
    found.hint = f"join it with imaging-db ingest join {number}, or cancel it"
    return found
