"""Jobs, units and results for tests of the catalog, with valid values where a test names none."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from imaging_db.catalog import Catalog
from imaging_db.catalog.functions import now
from imaging_db.catalog.tables import Base
from imaging_db.catalog.tables_jobs import RunnerRow, UnitRow
from imaging_db.config.settings import DatabaseSettings
from imaging_db.model.job import (
    Job,
    JobDraft,
    JobProgress,
    Lease,
    Runner,
    Unit,
    UnitResult,
    UnitState,
)
from tests.support.catalog_rows import SERIAL, acquisition, digest, draft, frame

HERE = "scope-pc@1a2b3c4d.4026531836"
"""A computer as the tokens of runs name it: host, boot, namespace."""

_tokens = itertools.count()


@contextmanager
def kept_open(request: pytest.FixtureRequest, folder: Path) -> Iterator[Catalog]:
    """Return a catalog of the kind that a fixture's parameter names, for many tests: see `emptied`."""
    if request.param == "sqlite":
        with Catalog.open(
            DatabaseSettings("sqlite", str(folder / "c.sqlite")), create=True
        ) as opened:
            yield opened
        return
    server = request.getfixturevalue("postgres_server")
    where = server.create(template=request.getfixturevalue("postgres_template"))
    with Catalog.open(where) as opened:
        yield opened
    server.drop(where)


def emptied(catalog: Catalog) -> Catalog:
    """Return a catalog without its rows: a new database for each test would take longer than the test."""

    def work(connection: Any) -> None:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())

    catalog._transactions.write(work)
    return catalog


def token(host: str = HERE) -> str:
    """Return the token of a new process on a computer."""
    return f"{host}/{next(_tokens)}/1/abc"


def units(count: int, frames: int = 2) -> list[Unit]:
    """Return units of equally many frames."""
    return [Unit(ordinal, ordinal * frames, frames) for ordinal in range(count)]


def job_draft(count: int = 4, frames: int = 2, **values: Any) -> JobDraft:
    """Return a job of units of equally many frames."""
    known: dict[str, Any] = {
        "uuid": f"{next(_tokens):032x}",
        "source": {"reader": "grid", "path": "/data/Öl 🔬"},
        "config": {"asked": [1, 2.5, None]},
        "config_sha256": digest("config"),
        "nbr_units": count,
        "nbr_frames": count * frames,
        "origin": token(),
    }
    return JobDraft(**(known | values))


def created(
    catalog: Catalog,
    count: int = 4,
    frames: int = 2,
    serial: str = SERIAL,
    dataset: dict[str, Any] | None = None,
    **values: Any,
) -> Job:
    """Return a job that is uploading, its units of equally many frames."""
    nbr_frames = count * frames
    stack = acquisition(nbr_frames, nbr_timepoints=nbr_frames)
    wanted = draft(serial, nbr_frames, acquisition=stack, **(dataset or {}))
    job = catalog.jobs.create(wanted, job_draft(count, frames, **values))
    catalog.jobs.add_units(job, units(count, frames))
    return catalog.jobs.start(job)


def joined(catalog: Catalog, job: Job, host: str = HERE) -> Runner:
    """Return a new runner of a job."""
    return catalog.jobs.join(job, token=token(host), engine="threads", workers=2)


def done(lease: Lease, **values: Any) -> UnitResult:
    """Return the result of a unit whose frames, timepoints of one stack, are all stored."""
    unit = lease.unit
    return UnitResult(lease, tuple(frame(t=t, **values) for t in range(unit.first, unit.stop)))


def all_done(leases: Iterable[Lease]) -> list[UnitResult]:
    """Return the results of units that are all stored."""
    return [done(lease) for lease in leases]


def failed(lease: Lease, kind: str = "CorruptSource", **values: Any) -> UnitResult:
    """Return the result of a unit that failed."""
    return UnitResult(lease, kind=kind, **({"message": "a.tif: cut off"} | values))


def work_off(catalog: Catalog, job: Job) -> Runner:
    """Return a new runner that did all that was ready."""
    runner = joined(catalog, job)
    while leases := catalog.jobs.claim(runner, 100):
        catalog.jobs.commit(runner, all_done(leases))
    return runner


def completed(catalog: Catalog, job: Job) -> None:
    """Do all that a job waits for, and finish it."""
    work_off(catalog, job)
    catalog.jobs.begin_completing(job)
    catalog.jobs.finish(job)


def run_out(catalog: Catalog, runner: Runner, seconds: float = 1.0) -> None:
    """Let the leases of a runner have run out ``seconds`` ago, and its heartbeat be as old as that tells."""

    def work(connection: Any) -> None:
        past = now(connection) - timedelta(seconds=seconds)
        leased = (UnitRow.runner_id == runner.id, UnitRow.state == "leased")
        connection.execute(update(UnitRow).where(*leased).values(lease_until=past))
        heard = past - timedelta(seconds=120)
        connection.execute(
            update(RunnerRow).where(RunnerRow.id == runner.id).values(heartbeat=heard)
        )

    catalog._transactions.write(work)


def rows(catalog: Catalog, job: Job) -> dict[int, Any]:
    """Return the rows of a job's units by ordinal."""
    wanted = select(UnitRow.__table__).where(UnitRow.job_id == job.id).order_by(UnitRow.ordinal)
    found = catalog._transactions.read(lambda c: c.execute(wanted).all())
    return {row.ordinal: row for row in found}


def counted(catalog: Catalog, job: Job) -> dict[UnitState, int]:
    """Return how many units are in each state, counted one by one."""
    wanted = (
        select(UnitRow.state, func.count()).where(UnitRow.job_id == job.id).group_by(UnitRow.state)
    )
    found = catalog._transactions.read(lambda c: c.execute(wanted).all())
    return {UnitState(state): count for state, count in found}


def progress(catalog: Catalog, job: Job) -> JobProgress:
    """Return the progress of a job, after comparing it with what is counted one by one."""
    told = catalog.jobs.progress(job)
    assert told.units == counted(catalog, job)
    finished = [row.nbr_frames for row in rows(catalog, job).values() if row.state == "done"]
    assert told.frames_done == sum(finished)
    return told


def ordinals(leases: Sequence[Lease]) -> list[int]:
    """Return the ordinals of units, in the order in which they were leased."""
    return [lease.unit.ordinal for lease in leases]


def twice(counts: Iterable[int]) -> list[int]:
    """Return what comes more than once."""
    return [one for one, count in Counter(counts).items() if count > 1]
