"""Acquisitions taken in as jobs, through the commands, each job in a lab of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.children import Outcome
from benchmarks.lab import Lab, serial
from benchmarks.timed import Took
from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings

ENGINES = {"threads": "threads", "Dask": "local"}
"""The engines of one computer, as the command names them."""


def uploaded(source: Path, folder: Path) -> Took:
    """Upload a source by ``data_uploader``; return what the command cost."""
    outcome = Lab.new(folder).upload([source])
    return Took(outcome.wall, outcome.cpu, outcome)


def job_of(source: Path, folder: Path, *options: str) -> Took:
    """Create a job and join it with a worker a core; return what both commands cost together."""
    lab = Lab.new(folder)
    created, number = _created(lab, source)
    joined = lab.call("imaging-db", "ingest", "join", number, *options)
    whole = Outcome(
        created.wall + joined.wall,
        created.cpu + joined.cpu,
        max(created.peak_rss, joined.peak_rss),
        joined.output,
    )
    return Took(whole.wall, whole.cpu, whole)


def joining(source: Path, engine: str, workers: int) -> Callable[[Path], Took]:
    """Return what joins a job that is there; ``wall`` is from the start of the runner to its last row.

    The whole command, with its start and that of the workers, is in ``whole``.
    """

    def run(folder: Path) -> Took:
        lab = Lab.new(folder)
        _, number = _created(lab, source)
        chosen = ("--engine", ENGINES[engine], "-p", str(workers))
        outcome = lab.call("imaging-db", "ingest", "join", number, *chosen)
        return Took(_seconds_joined(folder), outcome.cpu, outcome)

    return run


def small_units(source: Path, engine: str) -> Callable[[Path], Took]:
    """Return what joins a job with two workers whose units are of one frame each: nearly all is overhead."""

    def run(folder: Path) -> Took:
        lab = Lab.new(folder)
        _, number = _created(lab, source, "--unit_frames", "1")
        chosen = ("--engine", ENGINES[engine], "-p", "2")
        outcome = lab.call("imaging-db", "ingest", "join", number, *chosen)
        return Took(_seconds_joined(folder), outcome.cpu, outcome)

    return run


def _created(lab: Lab, source: Path, *options: str) -> tuple[Outcome, str]:
    """Return what creating a job cost, and its number."""
    asked = ("ingest", "create", str(source), "--serial", serial(1), "--json", *options)
    outcome = lab.call("imaging-db", *asked)
    told = json.loads(outcome.output[outcome.output.index("{") :])
    return outcome, str(told["job"])


def _seconds_joined(folder: Path) -> float:
    """Return the seconds between the start of the only runner and the last of its units, by the catalog."""
    from sqlalchemy import func, select

    from imaging_db.catalog.tables_jobs import RunnerRow, UnitRow

    wanted = select(
        select(func.min(RunnerRow.started_at)).scalar_subquery(),
        select(func.max(UnitRow.done_at)).scalar_subquery(),
    )
    with Catalog.open(DatabaseSettings("sqlite", str(folder / "catalog.sqlite"))) as catalog:
        started, ended = catalog._transactions.read(lambda c: c.execute(wanted).one())
    if started is None or ended is None:
        raise RuntimeError("the job had no runner, or no unit was done")
    return float((ended - started).total_seconds())
