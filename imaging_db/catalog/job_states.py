"""The states of a job: each change happens while nobody else holds the job, and may be repeated."""

from __future__ import annotations

from sqlalchemy import Connection

from imaging_db.catalog import claims, datasets, job_progress, job_rows, units
from imaging_db.catalog.datasets import AnyRow
from imaging_db.errors import Conflict, DatasetNotFound
from imaging_db.model import Claim, Dataset
from imaging_db.model.job import Job, JobProgress, JobState, job_token

_PREPARING = JobState.PREPARING.value
_UPLOADING = JobState.UPLOADING.value
_COMPLETING = JobState.COMPLETING.value


def start(connection: Connection, job_id: int) -> Job:
    """Return a job whose units are all there, and which runners may join. Raises `Conflict`, `JobOver`."""
    job = job_rows.held(connection, job_id, alone=True)
    job_rows.require_not_cancelled(job)
    if job.state != _PREPARING:
        return job_rows.to_job(job)
    count, nbr_frames = units.there(connection, job_id)
    if (count, nbr_frames) != (job.nbr_units, job.nbr_frames):
        raise Conflict(
            f"job {job_id} has {count} of {job.nbr_units} units, {nbr_frames} of {job.nbr_frames} frames",
            hint="create it again to go on",
        )
    job_rows.change(connection, job_id, JobState.UPLOADING)
    units.count_anew(connection)
    return job_rows.to_job(job_rows.by_id(connection, job_id))


def begin_completing(connection: Connection, job_id: int) -> JobProgress:
    """Return the progress; where every unit is done, nothing is committed from now on. Raises `JobOver`."""
    job = job_rows.held(connection, job_id, alone=True)
    job_rows.require_not_cancelled(job)
    if job.state == _UPLOADING and not units.any_undone(connection, job_id):
        job_rows.change(connection, job_id, JobState.COMPLETING)
    return job_progress.progress(connection, job_id)


def finish(connection: Connection, job_id: int) -> Dataset | None:
    """Return the dataset, visible from now on; None where that takes another transaction.

    Raises
    ------
    IntegrityError
        Rows are missing, or too many.
    Conflict
        Not every unit is done.
    JobOver, DatasetNotFound
        The job was cancelled; it is complete, and its dataset deleted since.
    """
    job = job_rows.held(connection, job_id, alone=True)
    job_rows.require_not_cancelled(job)
    if job.state == JobState.COMPLETE.value:
        return _completed(connection, job)
    if job.state != _COMPLETING or units.any_undone(connection, job_id):
        raise Conflict(f"job {job_id} is {job.state}: not every unit is done")
    dataset = claims.publish(connection, _claim(job))
    if dataset is not None:
        job_rows.change(connection, job_id, JobState.COMPLETE)
    return dataset


def begin_cancel(connection: Connection, job_id: int) -> JobState:
    """Let nothing be claimed or committed any more; return the state: cancelling, or cancelled before.

    Raises
    ------
    JobOver
        The job is complete.
    """
    job = job_rows.held(connection, job_id, alone=True)
    state = JobState(job.state)
    if state is JobState.COMPLETE:
        raise job_rows.over(job)
    if state in (JobState.CANCELLING, JobState.CANCELLED):
        return state
    job_rows.change(connection, job_id, JobState.CANCELLING)
    return JobState.CANCELLING


def finish_cancel(connection: Connection, job_id: int) -> None:
    """Give the dataset back, for good; units stay as they are. Raises `Conflict`."""
    job = job_rows.held(connection, job_id, alone=True)
    if job.state == JobState.CANCELLED.value:
        return
    if job.state != JobState.CANCELLING.value:
        raise Conflict(f"job {job_id} is {job.state}", hint="begin to cancel it first")
    claims.release(connection, _claim(job))
    job_rows.change(connection, job_id, JobState.CANCELLED)


def _claim(job: AnyRow) -> Claim:
    return Claim(job.dataset_id, job.dataset_serial, job_token(job.uuid), resumed=True)


def _completed(connection: Connection, job: AnyRow) -> Dataset:
    if job.dataset_id is None:
        raise DatasetNotFound(
            f"{job.dataset_serial} was deleted since job {job.id} completed it",
            hint="delete what is left of it and create the job again",
        )
    return datasets.by_id(connection, job.dataset_id)
