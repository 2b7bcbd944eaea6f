"""Measuring what one unit costs: the driver, PostgreSQL, a worker, Dask; a few minutes on a quiet machine."""

from __future__ import annotations

import datetime
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.acquisitions import Synthetic
from benchmarks.bench_upload import serve
from benchmarks.ingest_units import UnitJob
from benchmarks.lab import serial
from benchmarks.machine import machine
from benchmarks.s3_clients import SECRETS
from benchmarks.scale_costs import Cost, Costs, fitted
from benchmarks.scratch import is_quick, working_folder
from benchmarks.servers import Meter, Spent, durable_databases
from benchmarks.timed import BUCKET
from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings, Settings, StoreSettings
from imaging_db.jobs.engines.dask import DaskEngine
from imaging_db.jobs.engines.dask_local import start
from imaging_db.jobs.planning import JobRequest, plan_job
from imaging_db.jobs.work import close_work, do_units
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model import JSONObject
from imaging_db.model.job import Job, Lease, Runner, Unit

Measured = dict[str, Any]
_FEW, _MANY, _ROWS = 6, 256, 32
_WINDOW = 3000
"""Units in flight of a driver of a thousand workers."""


def measured() -> Costs:
    """Return what everything costs on this machine."""
    found: Measured = {"machine": machine(), "quick": is_quick()}
    found["day"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    with working_folder("scale") as folder:
        with durable_databases(folder) as both:
            for name, (database, server) in both.items():
                with database.fresh() as (catalog, admin):
                    sizes = _Sizes(catalog, admin)
                    found |= _of_catalog(catalog, Meter(server), sizes, name == "PostgreSQL")
        found |= _of_worker(folder)
        found |= _of_dask(folder)
    return Costs(**found)


def _of_catalog(catalog: Catalog, meter: Meter, sizes: _Sizes, of_server: bool) -> Measured:
    count, frames = (8_000, 8_000) if is_quick() else (20_000, 200_000)
    units = UnitJob(catalog, count, 1, meter)
    empty = sizes.units()
    with meter.measured():
        job = units.created()
    create = meter.spent[-1].wall / count
    unit_bytes = (sizes.units() - empty) / count
    rows = UnitJob(catalog, frames // _ROWS, _ROWS, meter)
    rows_job = rows.created()
    frames_before = sizes.frames()
    found = _of_transactions(units, job, rows, rows_job) if of_server else {}
    found |= _of_completion(units, job, rows, rows_job)
    frame_bytes = (sizes.frames() - frames_before) / (count + frames)
    if not of_server:
        return {"unit_bytes_sqlite": unit_bytes, "frame_bytes_sqlite": frame_bytes}
    worked = sizes.units() / (count + frames // _ROWS)
    told = {"unit_bytes": unit_bytes, "unit_bytes_worked": worked, "frame_bytes": frame_bytes}
    return {"create_unit": create, **told, **found}


def _of_transactions(units: UnitJob, job: Job, rows: UnitJob, rows_job: Job) -> Measured:
    """Fit claims and commits to transactions of few units, of many, and of units with many rows."""
    runner, other = units.joined(job), rows.joined(rows_job)
    for one, its_runner in ((units, runner), (rows, other)):  # connected and compiled
        first, _ = one.claimed(its_runner, 1, 3)
        one.committed(its_runner, first)
    claims, commits = [], []
    for batch, count in ((_FEW, 40 * _FEW), (_MANY, 8 * _MANY)):
        found, claim = units.claimed(runner, batch, count)
        claims.append((batch, 1, claim, len(found)))
        commits.append((batch, 1, units.committed(runner, found), len(found)))
    renew = _renewed(units, runner)
    found, _ = rows.claimed(other, _ROWS, 4 * _ROWS)
    commits.append((_ROWS, _ROWS, rows.committed(other, found), len(found)))
    return {"claim": _cost(claims), "commit": _cost(commits), "renew": renew}


def _cost(points: Sequence[tuple[int, int, Spent, int]]) -> Cost:
    parts = {
        what: fitted([(u, r, getattr(spent, what) / times) for u, r, spent, times in points])
        for what in ("own", "server", "log")
    }
    return Cost(**parts)


def _renewed(units: UnitJob, runner: Runner) -> Cost:
    """Measure a renewal without units and with many."""
    points = []
    for count in (0, 4 * _MANY):
        if count:
            units.claimed(runner, _MANY, count)
        with units.meter.measured():
            for _ in range(20):
                units.catalog.jobs.renew(runner)
        points.append((count, 0, units.meter.spent[-1], 20))
    units.catalog.jobs.release(runner)
    return _cost(points)


def _of_completion(units: UnitJob, job: Job, rows: UnitJob, rows_job: Job) -> Measured:
    """Work both jobs off; measure what the end of the one with many rows takes."""
    from imaging_db.jobs.objects import claim_of

    status = []
    for one, its_job, batch in ((units, job, _MANY), (rows, rows_job, _ROWS)):
        runner, jobs = one.joined(its_job), one.catalog.jobs
        while leases := jobs.claim(runner, batch):
            one.committed(runner, [leases])
            with one.meter.measured():
                jobs.progress(its_job)
            status.append(one.meter.spent[-1].wall)
        jobs.begin_completing(its_job)
    claim, meter, frames = claim_of(rows_job), rows.meter, rows_job.nbr_frames
    with meter.measured():
        known = len(rows.catalog.stored_coords(claim))
    if known != frames:
        raise RuntimeError(f"{known} frames instead of {frames}")
    with meter.measured():
        rows.catalog.jobs.finish(rows_job)
    known_spent, publish = meter.spent[-2:]
    told = {"known_row": known_spent.wall / frames, "publish_row": publish.wall / frames}
    return told | {"status": statistics.median(status)}


def _of_worker(folder: Path) -> Measured:
    """Measure one worker that puts frames of 2 MiB into a server of S3 in another process."""
    source = Synthetic("ome_tiff", frames=64 if is_quick() else 320)
    with serve(folder / "s3") as url, _environment(SECRETS):
        store = StoreSettings("s3", BUCKET, url)
        catalog = DatabaseSettings("sqlite", str(folder / "none.sqlite"))
        plan = plan_job(JobRequest(str(source.path()), serial(1)), Settings(catalog, store))
        order = WorkOrder(plan.job.uuid, plan.job.source, plan.dataset.storage_dir, "png", store)
        with plan.source.open() as reader:
            leases = [Lease(unit, 1) for unit in plan.source.units(reader, source.frames)]
        do_units(order, leases[:1])  # opened, connected
        started = time.process_time()
        results = do_units(order, leases[1:])
        spent = time.process_time() - started
        close_work(order)
    failed = [one for one in results if not one.is_done]
    if failed:
        raise RuntimeError(failed[0].message)
    sizes = [row.object_size or 0 for one in results for row in one.frames]
    told = {"raw_bytes": source.raw_bytes / source.frames}
    return told | {"frame_cpu": spent / len(sizes), "object_bytes": statistics.fmean(sizes)}


def _of_dask(folder: Path) -> Measured:
    """Measure what units without work take of the process that drives them and schedules for Dask."""
    count = 600 if is_quick() else 6_000
    gone: JSONObject = {"reader": "ome_tiff", "path": str(folder / "gone"), "positions": None}
    source: JSONObject = gone | {
        "filename_parser": None,
        "max_frame_bytes": 1,
        "max_metadata_bytes": 1,
    }
    source |= {"settings": {}, "mark": None, "unit_frames": 1, "unit_bytes": 1}
    place = StoreSettings("local", str(folder))
    order = WorkOrder("0" * 32, source, "raw_frames/none", "png", place, flush=True)
    leases: Iterator[Lease] = (Lease(Unit(n, n, 1), 1) for n in range(count))
    engine = DaskEngine(order, start("dask", workers=1))
    ahead = min(_WINDOW, count // 2)
    try:
        engine.submit(list(islice(leases, ahead)))
        running, done, started = ahead, 0, _own_cpu()
        while done < count:
            found = len(engine.finished(1.0))
            running, done = running - found, done + found
            more = list(islice(leases, ahead - running))
            engine.submit(more)
            running += len(more)
        spent = _own_cpu() - started
    finally:
        engine.close(now=True)
    return {"task_cpu": spent / count}


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Sizes:
    """The bytes of the tables of units and of frames with their indexes."""

    def __init__(self, catalog: Catalog, admin: Any) -> None:
        self._catalog, self._admin = catalog, admin

    def units(self) -> float:
        """Return the bytes of the table of units."""
        return self._of("ingest_unit")

    def frames(self) -> float:
        """Return the bytes of the table of frames."""
        return self._of("frames")

    def _of(self, table: str) -> float:
        if self._admin is None:  # a file grows by nothing else between two of these calls
            read = self._catalog._transactions.read
            pages, size = (
                read(lambda c, what=what: c.exec_driver_sql(f"PRAGMA {what}").scalar_one())  # type: ignore[misc]
                for what in ("page_count", "page_size")
            )
            return float(pages * size)
        ((size,),) = self._admin(f"SELECT pg_total_relation_size('{table}')")
        return float(size)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
