"""What looks at jobs: status, list."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.ingest_work import failure_line
from imaging_db.cli.options import open_db

if TYPE_CHECKING:
    from imaging_db.jobs.ingest import Ingest
    from imaging_db.model.job import Failure, Job, JobProgress, Runner

_WATCH_SECONDS = 2.0
_SHOWN = 20
_MOST_RECORDED = 1000


def status(args: argparse.Namespace) -> int:
    """Tell how far a job is, or all that are not over."""
    from imaging_db.jobs.ingest import Ingest

    with open_db(args) as db:
        ingest = Ingest(db)
        while True:
            jobs = [ingest.find(args.job)] if args.job else _not_over(ingest)
            _tell(ingest, jobs, as_json=args.json)
            if not args.watch or all(job.state.is_over for job in jobs):
                return OK
            try:
                time.sleep(_WATCH_SECONDS)
            except KeyboardInterrupt:  # the way to stop watching
                return OK


def _not_over(ingest: Ingest) -> list[Job]:
    from imaging_db.model.job import JobState

    return list(ingest.jobs([state for state in JobState if not state.is_over]))


def _tell(ingest: Ingest, jobs: list[Job], *, as_json: bool) -> None:
    found = [(job, ingest.progress(job)) for job in jobs]
    if as_json:
        output.result_json([_record(ingest, job, progress) for job, progress in found])
    elif not found:
        output.result("no job is at work")
    for job, progress in () if as_json else found:
        for line in _lines(ingest, job, progress):
            output.result(line)


def _lines(ingest: Ingest, job: Job, progress: JobProgress) -> list[str]:
    states = ", ".join(f"{count} {state.value}" for state, count in progress.units.items() if count)
    lines = [
        f"job {job.id} {job.serial}: {job.state.value}",
        f"  units: {states or 'none'} of {job.nbr_units}",
        f"  frames: {progress.frames_done} of {job.nbr_frames}{_rate(job, progress)}",
    ]
    lines += [f"  runner: {_runner(one)}" for one in progress.runners]
    troubles = ingest.failures(job, limit=_SHOWN + 1)
    lines += [f"  {_trouble(one)}: {failure_line(one)}" for one in troubles[:_SHOWN]]
    return [*lines, "  ... and others"] if len(troubles) > _SHOWN else lines


def _trouble(failure: Failure) -> str:
    from imaging_db.model.job import UnitState

    return "failed" if failure.state is UnitState.FAILED else "to be tried again"


def _rate(job: Job, progress: JobProgress) -> str:
    rate = units_a_second(progress)
    left = seconds_left(job, progress)
    if rate is None or left is None:
        return ""
    return f", {rate:.1f} units/s, {_duration(left)} left"


def units_a_second(progress: JobProgress) -> float | None:
    """Return how many units were done a second of late, None where nothing was."""
    if not progress.units_recently_done or not progress.recent_seconds:
        return None
    return progress.units_recently_done / progress.recent_seconds


def seconds_left(job: Job, progress: JobProgress) -> float | None:
    """Return how long the rest takes at that rate, None where there is none or nobody works."""
    from imaging_db.model.job import UnitState

    rate = units_a_second(progress)
    if rate is None or not progress.runners or job.state.is_over:
        return None
    return (progress.count(UnitState.READY) + progress.count(UnitState.LEASED)) / rate


def _duration(seconds: float) -> str:
    for name, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"


def _runner(one: Runner) -> str:
    from imaging_db.transfer.run_token import owner_name

    heard = "" if one.seconds_ago is None else f", heard of {one.seconds_ago:.0f} s ago"
    workers = output.count(one.workers, "worker")
    return f"{owner_name(one.token)}, {one.engine}, {workers}, {one.units_done} units{heard}"


def _record(ingest: Ingest, job: Job, progress: JobProgress) -> dict[str, object]:
    return {
        "job": job.id,
        "uuid": job.uuid,
        "dataset_id": job.serial,
        "state": job.state,
        "nbr_units": job.nbr_units,
        "nbr_frames": job.nbr_frames,
        "units": {state.value: count for state, count in progress.units.items()},
        "frames_done": progress.frames_done,
        "units_a_second": units_a_second(progress),
        "seconds_left": seconds_left(job, progress),
        "runners": progress.runners,
        "failures": ingest.failures(job, limit=_MOST_RECORDED),
        "created_at": job.created_at,
        "finished_at": job.finished_at,
    }


def list_jobs(args: argparse.Namespace) -> int:
    """List the jobs, oldest first."""
    from imaging_db.jobs.ingest import Ingest

    with open_db(args) as db:
        ingest = Ingest(db)
        jobs = list(ingest.jobs()) if args.all else _not_over(ingest)
        rows = [(job, ingest.progress(job)) for job in jobs]
        if args.json:
            output.result_json([_record(ingest, job, progress) for job, progress in rows])
            return OK
    if not rows:
        output.result(
            "no jobs" if args.all else "no job is at work; --all lists those that are over"
        )
        return OK
    output.table(
        (
            job.id,
            job.serial,
            job.state.value,
            f"{progress.frames_done} of {output.count(job.nbr_frames, 'frame')}",
            f"{job.created_at:%Y-%m-%d %H:%M}",
        )
        for job, progress in rows
    )
    return OK
