"""What runners hand in: rows of frames, and the end of the units that these are of, in one transaction.

A result counts while its unit is leased by the same runner for the same attempt. So a runner that was
given up writes nothing, however late it comes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Boolean, Connection, bindparam, null, or_, select, update
from sqlalchemy.exc import DBAPIError

from imaging_db.catalog import frames, job_rows, runners
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import UtcNow
from imaging_db.catalog.leases import WORKER_DIED
from imaging_db.catalog.tables_jobs import UnitRow
from imaging_db.catalog.units import OF_JOB
from imaging_db.errors import Conflict
from imaging_db.model.job import JobState, Runner, UnitResult, UnitState

_LONGEST_MESSAGE = 4000
_DONE = UnitState.DONE.value
_THESE = (OF_JOB, UnitRow.ordinal.in_(bindparam("ordinals", expanding=True)))
_HELD = (
    select(UnitRow.ordinal, UnitRow.attempt, UnitRow.state)
    .where(*_THESE, UnitRow.runner_id == bindparam("runner"))
    .order_by(UnitRow.ordinal)
    .with_for_update()
)
_FINISH = (
    update(UnitRow)
    .where(*_THESE)
    .values(
        state=_DONE,
        done_at=UtcNow(),
        lease_until=null(),
        error_kind=null(),
        error=null(),
        error_attempt=null(),
    )
)
_FAIL = (
    update(UnitRow)
    .where(OF_JOB, UnitRow.ordinal == bindparam("unit"))
    .values(
        state=bindparam("becomes"),
        attempt=bindparam("counted"),
        alone=or_(UnitRow.alone, bindparam("suspect", type_=Boolean())),
        lease_until=null(),
        runner_id=null(),
        error_kind=bindparam("kind"),
        error=bindparam("told"),
        error_attempt=bindparam("met"),
    )
)


def commit(connection: Connection, runner: Runner, results: Sequence[UnitResult]) -> set[int]:
    """Return the ordinals of the units that are done by this runner's attempt, their frames being rows.

    A unit that failed, or whose rows the catalog refuses, waits for its next attempt, or is given up.
    """
    job = job_rows.held(connection, runner.job_id)
    runners.locked(connection, runner.id)
    given = {one.lease.unit.ordinal: one for one in sorted(results, key=lambda one: one.is_done)}
    rows = _held(connection, runner, list(given))
    valid = [row for row in rows if _is_of(given[row.ordinal], row)]
    # those that are done already: the answer to the COMMIT was lost
    counted = {row.ordinal for row in valid if row.state == _DONE}
    if job.state != JobState.UPLOADING.value:
        return counted
    mine = [given[row.ordinal] for row in valid if row.state == UnitState.LEASED.value]
    judged = _write_rows(connection, job.dataset_id, mine)
    done = [one for one in judged if one.is_done]
    _finish(connection, runner, done)
    _fail(connection, job, [one for one in judged if not one.is_done])
    return counted | {one.lease.unit.ordinal for one in done}


def _held(connection: Connection, runner: Runner, ordinals: Sequence[int]) -> Sequence[AnyRow]:
    if not ordinals:
        return []
    these = {"job": runner.job_id, "runner": runner.id, "ordinals": ordinals}
    return connection.execute(_HELD, these).all()


def _is_of(result: UnitResult, row: AnyRow) -> bool:
    """Return True where a result is of the attempt that a unit is at, or was done by."""
    return result.lease.attempt == row.attempt and (result.is_done or row.state != _DONE)


def _write_rows(
    connection: Connection, dataset_id: int, results: Sequence[UnitResult]
) -> list[UnitResult]:
    """Return the results once the rows of those done are written; one that is refused became a failure."""
    judged = [_counted(one) for one in results]
    done = [one for one in judged if one.is_done]
    if not done or not _refusal(connection, dataset_id, done):
        return judged
    return [_judged(connection, dataset_id, one) for one in judged]


def _counted(result: UnitResult) -> UnitResult:
    found, count = len(result.frames), result.lease.unit.count
    if not result.is_done or found == count:
        return result
    return replace(result, kind="Conflict", message=f"it has {count} frames, and came with {found}")


def _judged(connection: Connection, dataset_id: int, result: UnitResult) -> UnitResult:
    """Return a result as it is where its rows can be written, else as a failure."""
    refusal = _refusal(connection, dataset_id, [result]) if result.is_done else ""
    return replace(result, kind="Conflict", message=refusal) if refusal else result


def _refusal(connection: Connection, dataset_id: int, results: Sequence[UnitResult]) -> str:
    """Write the rows of all results, or of none; return why the catalog refuses them, empty where written."""
    rows = [frame for one in results for frame in one.frames]
    savepoint = connection.begin_nested()
    try:
        frames.add_frames(connection, dataset_id, rows)
    except (Conflict, OverflowError, DBAPIError) as error:
        if isinstance(error, DBAPIError) and not _breaks_constraint(error):
            raise  # the transaction ends; where the disk is full, SQLite has ended it already
        inner = connection.get_nested_transaction()
        if inner is not None and inner is not savepoint:
            inner.rollback()  # of the rows, left open where another constraint than a unique one broke
        savepoint.rollback()
        return _told(error)
    savepoint.commit()
    return ""


def _breaks_constraint(error: DBAPIError) -> bool:
    code = getattr(error.orig, "pgcode", None) or ""
    number = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code.startswith("23") or number == sqlite3.SQLITE_CONSTRAINT


def _told(error: Exception) -> str:
    if isinstance(error, Conflict):
        return error.message
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    return f"the catalog refuses its rows: {said.splitlines()[0]}"


def _finish(connection: Connection, runner: Runner, done: Sequence[UnitResult]) -> None:
    ordinals = [one.lease.unit.ordinal for one in done]
    if ordinals:
        connection.execute(_FINISH, {"job": runner.job_id, "ordinals": ordinals})
    runners.count_done(connection, runner.id, len(done), sum(one.lease.unit.count for one in done))


def _fail(connection: Connection, job: AnyRow, failed: Sequence[UnitResult]) -> None:
    if failed:
        connection.execute(_FAIL, [_failure(job, one) for one in failed])


def _failure(job: AnyRow, result: UnitResult) -> dict[str, Any]:
    """Return what becomes of a unit: what is not its fault costs no attempt, what killed is tried alone."""
    attempt = result.lease.attempt
    again = result.temporary or attempt < job.most_attempts
    return {
        "job": job.id,
        "unit": result.lease.unit.ordinal,
        "becomes": (UnitState.READY if again else UnitState.FAILED).value,
        "counted": attempt - 1 if result.temporary else attempt,
        "suspect": result.kind == WORKER_DIED and not result.temporary,
        "kind": result.kind,
        "told": result.message[:_LONGEST_MESSAGE],
        "met": attempt,
    }
