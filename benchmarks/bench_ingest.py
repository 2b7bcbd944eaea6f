"""Durable jobs: what they cost beside a plain upload, how they grow with workers, and with millions of units."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.acquisitions import Synthetic
from benchmarks.catalogs import Database
from benchmarks.ingest_jobs import ENGINES, job_of, joining, small_units, uploaded
from benchmarks.ingest_units import UnitJob
from benchmarks.result import Result, ratios
from benchmarks.scratch import is_quick, working_folder
from benchmarks.servers import Meter, Spent, durable_databases
from benchmarks.turns import Contender, Turns, compared, in_turns, rates

_COST, _WORKERS, _UNITS = "Ingest job beside an upload", "Ingest workers", "Units of a job"
_JOB, _PLAIN = "imaging_db, job created and joined", "imaging_db, data_uploader"
_MOST_OVERHEAD, _LEAST_GAIN = 1.10, 1.7
_MANY, _CREATE_SECONDS, _CLAIMS = 1_500_000, 180, 5_000
_UNIT_FRAMES = 16
_BATCHES = {"a driver of 2 workers": 6, "of 16": 24, "of 170 or more": 256}
_COMMIT = 64  # units of 16 frames: what a driver commits at once


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give MB/s of jobs and uploads, the gain of a second worker, units a second, the cost of a status."""
    quick = is_quick()
    source = Synthetic("ome_tiff", frames=60 if quick else 2000)
    case = f"{source.frames} frames of {source.side} x {source.side} uint16, OME-TIFF, to a folder"
    yield from _beside_upload(source, case, repeats)
    # half as many: what all contenders write has to fit into the file cache, or the disk is measured
    half = Synthetic("ome_tiff", frames=60 if quick else 1000)
    yield from _with_workers(half, case.replace(str(source.frames), str(half.frames), 1), repeats)
    yield from _small_units(40 if quick else 1000, repeats)
    yield from _many_units(20_000 if quick else _MANY, repeats)


def _beside_upload(source: Synthetic, case: str, repeats: int) -> Iterator[Result]:
    """Compare whole commands: create and join beside data_uploader, with every start of Python counted."""
    path = source.path()
    contenders: dict[str, Contender] = {
        _PLAIN: partial(uploaded, path),
        _JOB: partial(job_of, path),
    }
    turns = in_turns(contenders, repeats)
    yield from rates(_COST, case, turns, source.raw_bytes).values()
    for what, values in _overheads(turns).items():
        met = statistics.median(values) <= _MOST_OVERHEAD
        target = f"11. A job costs at most {_MOST_OVERHEAD:.2f} times data_uploader"
        yield Result(_COST, case, _JOB, f"times data_uploader's {what}", values, target, met)


def _overheads(turns: Turns) -> dict[str, tuple[float, ...]]:
    pairs = list(zip(turns[_JOB], turns[_PLAIN], strict=True))
    return {
        "seconds": tuple(job.wall / plain.wall for job, plain in pairs),
        "CPU seconds": tuple(job.cpu / plain.cpu for job, plain in pairs),
    }


def _with_workers(source: Synthetic, case: str, repeats: int) -> Iterator[Result]:
    """Compare two workers with one, from when the runner has its workers to its last row."""
    path = source.path()
    contenders: dict[str, Contender] = {
        _named(engine, workers): joining(path, engine, workers)
        for engine in ENGINES
        for workers in (1, 2)
    }
    turns = in_turns(contenders, repeats)
    found = rates(_WORKERS, case, turns, source.raw_bytes)
    yield from found.values()
    for engine in ENGINES:
        gain = compared(found[_named(engine, 2)], found[_named(engine, 1)], _LEAST_GAIN)
        yield Result(**_fields(gain, target=f"11. Two workers: {_LEAST_GAIN} times one"))
        yield _whole_gain(engine, case, turns)


def _whole_gain(engine: str, case: str, turns: Turns) -> Result:
    """Return the gain of whole commands, the start of Python and of the workers included."""
    two, one = (
        Result("", "", "", "MB/s", tuple(1 / took.whole.wall for took in turns[_named(engine, n)]))
        for n in (2, 1)
    )
    unit = f"times {_named(engine, 1)}, whole commands"
    return Result(_WORKERS, case, _named(engine, 2), unit, ratios(two, one), ours=True)


def _named(engine: str, workers: int) -> str:
    return f"imaging_db, {engine}, {workers} worker{'s' if workers > 1 else ''}"


def _fields(result: Result, **changed: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in Result.__dataclass_fields__} | changed


def _small_units(count: int, repeats: int) -> Iterator[Result]:
    """Units of one frame of 16 x 16 pixels: what a unit costs that has no work."""
    path = Synthetic("ome_tiff", frames=count, side=16).path()
    contenders = {engine: small_units(path, engine) for engine in ENGINES}
    for engine, runs in in_turns(contenders, repeats).items():
        values = tuple(count / took.wall for took in runs)
        name = f"imaging_db, {engine}, 2 workers"
        yield Result(_UNITS, f"{count} units without work, joined", name, "units/s", values)


def _many_units(count: int, repeats: int) -> Iterator[Result]:
    with working_folder("units") as folder, durable_databases(folder) as both:
        for name, (database, server) in both.items():
            yield from _units_in(name, database, Meter(server), count, repeats)


def _units_in(
    name: str, database: Database, meter: Meter, count: int, repeats: int
) -> Iterator[Result]:
    """Create a job of so many units, once for each of up to three repeats; work on the last."""
    created: list[float] = []
    for turn in range(last := min(repeats, 3)):
        with database.fresh() as (catalog, _):
            jobs = UnitJob(catalog, count, _UNIT_FRAMES, meter)
            with meter.measured():
                job = jobs.created()
            created.append(meter.spent[-1].wall)
            if turn == last - 1:
                case = f"{count} units in {name}"
                asked: dict[str, Any] = {
                    "target": f"11. {count} units created in {_CREATE_SECONDS} s on {name}"
                }
                met = statistics.median(created) < _CREATE_SECONDS
                yield Result(
                    _UNITS, case, "imaging_db, create", "s", tuple(created), met=met, **asked
                )
                yield from _work(jobs, job, case, name, repeats)


def _work(jobs: UnitJob, job: Any, case: str, name: str, repeats: int) -> Iterator[Result]:
    portion = min(10_000, jobs.nbr_units // (2 * len(_BATCHES) * repeats) - max(_BATCHES.values()))
    claims: dict[str, list[float]] = {words: [] for words in _BATCHES}
    commits: list[float] = []
    status: list[float] = []
    runner = jobs.joined(job)
    for _ in range(repeats):
        for words, batch in _BATCHES.items():
            found, spent = jobs.claimed(runner, batch, portion)
            claims[words].append(len(found) * batch / spent.wall)
        some = [leases for leases in found if leases][: max(1, 2_000 // max(_BATCHES.values()))]
        parts = [part[i : i + _COMMIT] for part in some for i in range(0, len(part), _COMMIT)]
        commits.append(sum(map(len, parts)) / jobs.committed(runner, parts).wall)
        status.append(1000 * _status(jobs, job).wall)
        jobs.catalog.jobs.release(runner)
    for words, values in claims.items():
        asked: dict[str, Any] = {}
        if _BATCHES[words] == max(_BATCHES.values()):
            asked["target"] = f"11. {_CLAIMS} units/s claimed on {name}"
            asked["met"] = statistics.median(values) >= _CLAIMS
        way = f"imaging_db, claim {_BATCHES[words]} at once: {words}"
        yield Result(_UNITS, case, way, "units/s", tuple(values), **asked)
    way = f"imaging_db, commit {_COMMIT} at once, {jobs.unit_frames} frames each"
    yield Result(_UNITS, case, way, "units/s", tuple(commits))
    yield Result(_UNITS, case, "imaging_db, status", "ms", tuple(status))


def _status(jobs: UnitJob, job: Any) -> Spent:
    """Return what it takes to tell how far a job is, with its failures, as the command asks for them."""
    with jobs.meter.measured():
        jobs.catalog.jobs.progress(job)
        jobs.catalog.jobs.failures(job, limit=20)
    return jobs.meter.spent[-1]
