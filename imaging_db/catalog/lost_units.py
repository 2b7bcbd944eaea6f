"""Units whose objects were lost before their job was complete: their frames lose the rows, and they wait again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection, bindparam, delete, null, select, tuple_, update

from imaging_db.catalog import job_rows, runners
from imaging_db.catalog.frame_rows import ORDER
from imaging_db.catalog.tables import AcquisitionRow, FrameRow
from imaging_db.catalog.tables_jobs import UnitRow
from imaging_db.catalog.units import IS_DONE, OF_JOB
from imaging_db.model import FrameCoords
from imaging_db.model.job import JobState, UnitState

Lost = Mapping[int, Sequence[FrameCoords]]

_AT_ONCE = 1000
_THESE = (OF_JOB, IS_DONE, UnitRow.ordinal.in_(bindparam("ordinals", expanding=True)))
_DONE = (
    select(UnitRow.ordinal, UnitRow.runner_id, UnitRow.nbr_frames)
    .where(*_THESE)
    .order_by(UnitRow.runner_id, UnitRow.ordinal)
)
_UNDO = (
    update(UnitRow)
    .where(*_THESE)
    .values(state=UnitState.READY.value, attempt=0, runner_id=null(), done_at=null())
)


def portions(lost: Lost) -> Iterator[Lost]:
    """Yield parts of what is lost, each for one transaction; one that is empty where nothing is."""
    ordinals = sorted(lost)
    for start in range(0, max(1, len(ordinals)), _AT_ONCE):
        yield {ordinal: lost[ordinal] for ordinal in ordinals[start : start + _AT_ONCE]}


def reopen(connection: Connection, job_id: int, lost: Lost) -> None:
    """Let runners join the job again, and do these units once more.

    Raises
    ------
    JobOver
        The job is neither uploading nor completing.
    """
    job = job_rows.held(connection, job_id, alone=True)
    if job.state not in (JobState.UPLOADING.value, JobState.COMPLETING.value):
        raise job_rows.over(job)
    these = {"job": job_id, "ordinals": list(lost)}
    done = connection.execute(_DONE, these).all()
    _remove(connection, job.dataset_id, [one for row in done for one in lost[row.ordinal]])
    connection.execute(_UNDO, these)
    for runner_id, of_runner in groupby(done, key=attrgetter("runner_id")):
        counts = [row.nbr_frames for row in of_runner]
        runners.discount(connection, runner_id, len(counts), sum(counts))
    if job.state == JobState.COMPLETING.value:
        job_rows.change(connection, job_id, JobState.UPLOADING)


def _remove(connection: Connection, dataset_id: int, coords: Sequence[FrameCoords]) -> None:
    acquisition = select(AcquisitionRow.id).where(AcquisitionRow.dataset_id == dataset_id)
    acquisition_id = connection.scalar(acquisition)
    for start in range(0, len(coords), _AT_ONCE):
        some = [tuple(one) for one in coords[start : start + _AT_ONCE]]
        connection.execute(
            delete(FrameRow).where(
                FrameRow.frames_global_id == acquisition_id, tuple_(*ORDER).in_(some)
            )
        )
