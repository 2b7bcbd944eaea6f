"""What changes a job: create, join, retry, complete, cancel."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import open_db
from imaging_db.cli.question import agreed, can_ask
from imaging_db.errors import ImagingDBError, UsageError

if TYPE_CHECKING:
    from imaging_db.jobs.cancellation import CancelReport
    from imaging_db.jobs.ingest import Ingest
    from imaging_db.jobs.joining import EngineChoice, JoinReport
    from imaging_db.jobs.planning import JobPlan
    from imaging_db.model.job import Failure, Job

_SOME_FAILED = 3
_OVER = 7
_DECLINED = UsageError.exit_code


def create(args: argparse.Namespace) -> int:
    """Create a job, or tell what would be created."""
    created(args)
    return OK


def created(args: argparse.Namespace, *, is_result: bool = True) -> str | None:
    """Print what is created and return the job's number, None in a dry run.

    Where it is not the result of the command, it is not printed as JSON: a script reads one value.
    """
    from imaging_db.jobs.ingest import Ingest
    from imaging_db.jobs.planning import JobRequest, plan_job

    request = JobRequest(
        args.source,
        args.serial,
        args.description,
        args.pattern,
        settings=pairs(args.set, "--set"),
        unit_frames=args.unit_frames,
        most_attempts=args.attempts,
    )
    with open_db(args) as db:
        plan = plan_job(request, db.settings)
        for text in plan.notes:
            output.note(text)
        if args.dry_run:
            _show_plan(plan, as_json=args.json)
            return None
        job = Ingest(db).create(plan, manual=args.manual_complete)
    if args.json:
        if is_result:
            made = {"job": job.id, "uuid": job.uuid, **_planned(plan), "state": job.state}
            output.result_json(made)
        return str(job.id)
    output.result(f"job {job.id}: {_amount(plan)}; {job.state.value}")
    if not job.state.is_over:
        output.result(f"join it, on as many computers as you like: imaging-db ingest join {job.id}")
    return str(job.id)


def _show_plan(plan: JobPlan, *, as_json: bool) -> None:
    if as_json:
        output.result_json(_planned(plan))
        return
    output.result(f"would create a job: {_amount(plan)}")
    if plan.sampled:
        output.result(f"{output.count(plan.sampled, 'frame')} were read to try")
    output.result("nothing was written")


def _planned(plan: JobPlan) -> dict[str, object]:
    acquisition = output.plain(plan.dataset.acquisition)
    del acquisition["metadata"]
    return {
        "dataset_id": plan.dataset.serial,
        "nbr_units": plan.job.nbr_units,
        "nbr_frames": plan.job.nbr_frames,
        "raw_bytes": plan.raw_bytes,
        "sampled": plan.sampled,
        "source": plan.job.source,
        "acquisition": acquisition,
    }


def _amount(plan: JobPlan) -> str:
    units, frames = (
        output.count(plan.job.nbr_units, "unit"),
        output.count(plan.job.nbr_frames, "frame"),
    )
    return f"{plan.dataset.serial}, {frames} in {units}, {output.size(plan.raw_bytes)}"


def join(args: argparse.Namespace) -> int:
    """Work on a job; 3 where units of it failed."""
    from imaging_db.jobs.ingest import Ingest

    if args.dry_run:
        return _show_engine(args)
    if args.engine == "mpi":
        from imaging_db.jobs.engines.mpi import take_part

        if not take_part(pairs(args.engine_option, "--engine_option")):
            return OK  # the other ranks, which worked for the runner
    with open_db(args) as db:
        report = Ingest(db).join(
            args.job,
            engine=_engine(args),
            lease_seconds=float(args.lease),
            manual=args.manual_complete,
            progress=output.progress(quiet=args.json),
            told=output.note,
        )
    return told(report, as_json=args.json)


def _show_engine(args: argparse.Namespace) -> int:
    """Print the script that a batch system would be given."""
    from imaging_db.jobs.engines.registry import job_script

    choice = _engine(args)
    script = job_script(choice.name, options=choice.options)
    output.result_text(script or f"the engine {choice.name} submits no job")
    return OK


def _engine(args: argparse.Namespace) -> EngineChoice:
    from imaging_db.jobs.joining import EngineChoice

    name = args.engine or ("dask" if args.scheduler else "threads")
    name = "dask" if name == "local" else name
    options = pairs(args.engine_option, "--engine_option")
    return EngineChoice(name, args.nbr_workers, args.scheduler, options)


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Return what ``KEY=VALUE`` words say. Raises `UsageError` where one has no equals sign."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {word}: write KEY=VALUE")
        found[key] = value
    return found


def told(report: JoinReport, *, as_json: bool) -> int:
    """Print what came of joining and return the exit code."""
    from imaging_db.model.job import JobState

    for failure in report.failures:
        output.errors(
            ImagingDBError(failure_line(failure)), where=f"job {report.job} {report.serial}"
        )
    if as_json:
        output.result_json(report)
    else:
        amount = f"{output.count(report.units, 'unit')}, {output.count(report.frames, 'frame')}"
        size = f"{output.size(report.raw_bytes)} in {report.seconds:.1f} s"
        output.result(f"job {report.job} {report.state.value}: {amount}, {size} by this runner")
    if report.state is JobState.COMPLETE:
        return OK
    if report.failed:
        output.note(
            f"{output.count(report.failed, 'unit')} failed: mend the cause, then "
            f"imaging-db ingest retry {report.job}, and join again"
        )
        return _SOME_FAILED
    if report.state in (JobState.CANCELLING, JobState.CANCELLED):
        return _OVER
    output.note(f"every unit is done; imaging-db ingest complete {report.job} makes it visible")
    return OK


def failure_line(failure: Failure) -> str:
    """Return one line on a unit that failed."""
    unit = failure.unit
    tries = output.count(failure.attempt, "attempt")
    return (
        f"unit {unit.ordinal} (frames {unit.first} to {unit.stop - 1}, {tries}): {failure.message}"
    )


def retry(args: argparse.Namespace) -> int:
    """Let failed units wait again."""
    from imaging_db.jobs.ingest import Ingest

    with open_db(args) as db:
        job, count = Ingest(db).retry(args.job)
    if args.json:
        output.result_json({"job": job.id, "retried": count})
        return OK
    output.result(f"job {job.id}: {output.count(count, 'unit')} wait again")
    if count:
        output.result(f"imaging-db ingest join {job.id}")
    return OK


def complete(args: argparse.Namespace) -> int:
    """Look at every object and make the dataset visible; 6 where some are lost."""
    from imaging_db.jobs.ingest import Ingest
    from imaging_db.model import Dataset

    with open_db(args) as db:
        job, found = Ingest(db).complete(args.job)
    if isinstance(found, Dataset):
        _said(
            args, {"job": job.id, "dataset_id": job.serial}, f"job {job.id} complete: {job.serial}"
        )
        return OK
    text = f"job {job.id}: objects of {output.count(found, 'unit')} are gone from the store"
    output.note(f"{text}; imaging-db ingest join {job.id} puts them there again")
    _said(args, {"job": job.id, "reopened": found}, f"job {job.id} uploading")
    return 6


def cancel(args: argparse.Namespace) -> int:
    """Ask, cancel, sweep."""
    from imaging_db.jobs.ingest import Ingest

    with open_db(args) as db:
        ingest = Ingest(db)
        if not (args.yes or _agreed(ingest, ingest.find(args.job), purge=args.purge)):
            output.note("nothing was cancelled")
            return _DECLINED
        report = ingest.cancel(args.job, purge=args.purge, told=_waiting)
    _said(args, report, _swept(report))
    return OK


def _agreed(ingest: Ingest, job: Job, *, purge: bool) -> bool:
    if not can_ask():
        raise UsageError("there is no terminal to ask at", hint="say --yes")
    done = ingest.progress(job).frames_done
    fate = "go, too" if purge else "stay, unseen"
    lines = [
        f"job {job.id}: {job.serial}, {job.state.value}, {done} of {job.nbr_frames} frames done",
        f"Cancel it? Its frames {fate}.",
    ]
    return agreed(lines)


def _waiting(seconds: float) -> None:
    output.note(f"waiting up to {seconds:.0f} s until runners have left, or their leases end")


def _swept(report: CancelReport) -> str:
    if report.already and not report.swept:
        return f"job {report.job} is cancelled; nothing is left to do"
    swept = f"{output.count(report.swept, 'object')} swept, {output.size(report.nbr_bytes)}"
    kept = (
        f"; {output.count(report.kept, 'frame')} that have a row stay, unseen"
        if report.kept
        else ""
    )
    return f"job {report.job} cancelled: {swept}{kept}"


def _said(args: argparse.Namespace, as_json: object, text: str) -> None:
    if args.json:
        output.result_json(as_json)
    else:
        output.result(text)
