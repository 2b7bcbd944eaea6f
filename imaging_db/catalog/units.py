"""Units as rows: written once, in bulk, each where the one before ends; then only their state changes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, literal_column, select, text

from imaging_db.catalog import job_rows
from imaging_db.catalog.columns import Column
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.rows import insert_rows
from imaging_db.catalog.tables_jobs import UnitRow
from imaging_db.errors import Conflict
from imaging_db.model.job import JobState, Unit, UnitState

# spelled out in the statements: an index of some rows only is used where the condition is seen
IS_READY = UnitRow.state == literal_column(f"'{UnitState.READY.value}'")
IS_LEASED = UnitRow.state == literal_column(f"'{UnitState.LEASED.value}'")
IS_DONE = UnitRow.state == literal_column(f"'{UnitState.DONE.value}'")
IS_TROUBLED = UnitRow.error_kind.is_not(None)
IS_FAILED = IS_TROUBLED & (UnitRow.state == literal_column(f"'{UnitState.FAILED.value}'"))
OF_JOB = UnitRow.job_id == bindparam("job")

_LAST = (
    select(UnitRow.ordinal, UnitRow.first_frame, UnitRow.nbr_frames)
    .where(OF_JOB)
    .order_by(UnitRow.ordinal.desc())
    .limit(1)
)
_FIRST = select(UnitRow.ordinal).where(OF_JOB).limit(1)
# ordered, or a database that counted long ago reads all units to find the one that is left
_UNDONE = select(
    func.coalesce(
        _FIRST.where(IS_READY).order_by(UnitRow.alone, UnitRow.attempt).scalar_subquery(),
        _FIRST.where(IS_LEASED).order_by(UnitRow.lease_until).scalar_subquery(),
        _FIRST.where(IS_FAILED).order_by(UnitRow.ordinal).scalar_subquery(),
    )
)


def to_unit(row: AnyRow) -> Unit:
    """Return ordinal, first frame and number of frames of a row as a model object."""
    return Unit(row.ordinal, row.first_frame, row.nbr_frames)


def there(connection: Connection, job_id: int) -> tuple[int, int]:
    """Return how many units of a job are written, and how many frames these have."""
    last = connection.execute(_LAST, {"job": job_id}).one_or_none()
    return (0, 0) if last is None else (last.ordinal + 1, to_unit(last).stop)


def any_undone(connection: Connection, job_id: int) -> bool:
    """Return True where a unit that is written is not done."""
    return connection.scalar(_UNDONE, {"job": job_id}) is not None


def count_anew(connection: Connection) -> None:
    """Let PostgreSQL know at once that a million units are no few; SQLite finds them without.

    A login that may not, because the tables are another's, is warned by the server, and it waits for that
    to happen by itself.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE ingest_unit"))


def add(connection: Connection, job_id: int, units: Sequence[Unit]) -> int:
    """Return how many units there are once the new ones of ``units`` are written, by ordinal.

    Raises
    ------
    Conflict
        They leave a gap, or go beyond the job.
    JobOver
        It was cancelled meanwhile.
    """
    job = job_rows.held(connection, job_id, alone=True)
    job_rows.require_going_on(job)
    count, frames = there(connection, job_id)
    fresh = [unit for unit in units if unit.ordinal >= count]
    if not fresh:
        return count
    if job.state != JobState.PREPARING.value:
        raise Conflict(f"job {job_id} is {job.state}: its units are all there")
    _require_chain(fresh, count, frames, job)
    insert_rows(connection, UnitRow, _columns(job_id, fresh))
    return count + len(fresh)


def _require_chain(units: Sequence[Unit], ordinal: int, frame: int, job: AnyRow) -> None:
    for unit in units:
        if (unit.ordinal, unit.first) != (ordinal, frame) or unit.count < 1:
            raise Conflict(
                f"job {job.id}: unit {unit.ordinal} begins at frame {unit.first} where unit {ordinal} "
                f"is to begin at {frame}",
                hint="cancel the job and create it again",
            )
        ordinal, frame = ordinal + 1, unit.stop
    if ordinal > job.nbr_units or frame > job.nbr_frames:
        raise Conflict(
            f"job {job.id} has {job.nbr_units} units of {job.nbr_frames} frames, "
            f"these would be {ordinal} of {frame}",
            hint="cancel the job and create it again",
        )


def _columns(job_id: int, units: Sequence[Unit]) -> dict[str, Column]:
    count = len(units)
    return {
        "job_id": [job_id] * count,
        "ordinal": [unit.ordinal for unit in units],
        "first_frame": [unit.first for unit in units],
        "nbr_frames": [unit.count for unit in units],
        "state": [UnitState.READY.value] * count,
        "attempt": [0] * count,
        "alone": [False] * count,
    }
