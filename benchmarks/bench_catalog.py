"""The catalog: how many rows a second go in, and how long a hundred frames out of ten million take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.catalog_fill import Grid
from benchmarks.catalog_inserts import Way, core, driver_alone, frames, orm, ours
from benchmarks.catalogs import OWNER, Database, databases, filled
from benchmarks.result import Result
from benchmarks.scratch import is_quick, working_folder
from imaging_db.catalog import Catalog
from imaging_db.model import FrameSelection, StoredFrame
from tests.support.catalog_rows import draft

_GROUP = "Catalog"
_ROWS = 100_000
_OURS = "imaging_db, one call"
_RATES = {"SQLite": 150_000, "PostgreSQL": 60_000}
_SMALL, _LARGE = Grid(4, 25, 20, 5), Grid(4, 50, 500, 10)
_SIZES = (10**4, 10**5, 10**6, 10**7)
_MOST_MS = 10
_IN_A_ROW = 5  # selections of which one repeat is the median
_SELECTIONS = {
    "channel and slice": FrameSelection.of(1, slices=5, timepoints=range(20), positions=range(5)),
    "channel name and strides": FrameSelection.of(
        "channel 1", slices=slice(0, 25, 5), timepoints=slice(0, 20, 5), positions=range(5)
    ),
    "slices at a timepoint": FrameSelection.of(slices=range(5), timepoints=3, positions=range(5)),
}


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give rows a second of inserts and milliseconds of selections, on both databases."""
    with working_folder("catalog") as folder, databases(folder) as both:
        for name, database in both.items():
            yield from _inserts(name, database, repeats)
        for size in _SIZES[:2] if is_quick() else _SIZES:
            for name, database in both.items():
                yield from _selections(name, database, size, repeats)


def _inserts(name: str, database: Database, repeats: int) -> Iterator[Result]:
    """Compare our inserts with peers, slow ones with fewer rows, and with the driver's own limit."""
    count = _ROWS // 10 if is_quick() else _ROWS
    new = frames(count)
    contenders: dict[str, tuple[Way, int]] = {
        _OURS: (ours(count), count),
        "imaging_db, 1000 rows a call": (ours(1000), count),
        "the driver alone, on ready values": (driver_alone, count),
        "SQLAlchemy Core, insertmanyvalues": (core, count // 5),
        "one ORM object a row, as imagingDB": (orm, count // 10),
    }
    rates: dict[str, list[float]] = {contender: [] for contender in contenders}
    for _ in range(repeats):
        for contender, (way, rows) in contenders.items():
            rates[contender].append(_rate(database, way, new[:rows]))
    for contender, found in rates.items():
        asked: dict[str, Any] = {}
        if contender == _OURS:
            asked["target"] = f"6. {_RATES[name]} frame rows/s into {name}"
            asked["met"] = statistics.median(found) >= _RATES[name]
        yield Result(_GROUP, f"insert into {name}", contender, "rows/s", tuple(found), **asked)


def _rate(database: Database, way: Way, new: Sequence[StoredFrame]) -> float:
    """Return the rows a second of one contender, in a catalog of its own."""
    first, others = new[:10], new[10:]
    with database.fresh() as (catalog, _):
        claim = catalog.claim(draft(nbr_objects=len(new)), token=OWNER)
        catalog.add_frames(claim, first)  # connected and compiled
        put = way(catalog, claim, others)
        started = time.perf_counter()
        put()
        seconds = time.perf_counter() - started
    return len(others) / seconds


def _selections(name: str, database: Database, size: int, repeats: int) -> Iterator[Result]:
    """Select a hundred frames of a dataset in the middle, and of the largest, in a warm catalog."""
    grids = _grids(size)
    with database.fresh() as (catalog, admin):
        serials = filled(catalog, grids, admin)
        asked = {f"{size} rows": serials[len(serials) // 2]}
        if grids[-1] is _LARGE:
            asked[f"{size} rows, a dataset of {_LARGE.frames}"] = serials[-1]
        found: dict[tuple[str, str], list[float]] = {}
        for _ in range(repeats + 1):  # the first warms up
            for case, serial in asked.items():
                for words, selection in _SELECTIONS.items():
                    found.setdefault((case, words), []).append(
                        _duration(catalog, serial, selection)
                    )
    for (case, words), values in found.items():
        yield _selected(name, case, words, values[1:], size)


def _selected(name: str, case: str, words: str, values: list[float], size: int) -> Result:
    met: dict[str, Any] = {}
    if size == max(_SIZES):
        met["target"] = f"6. 100 frames of {size} rows under {_MOST_MS} ms on {name}"
        met["met"] = statistics.median(values) < _MOST_MS
    number = size if case == f"{size} rows" else None
    contender = f"imaging_db, {words}, {name}"
    return Result(_GROUP, case, contender, "ms", tuple(values), size=number, **met)


def _duration(catalog: Catalog, serial: str, selection: FrameSelection) -> float:
    """Return the milliseconds of a selection of a hundred frames with their metadata."""
    times = []
    for _ in range(_IN_A_ROW):
        started = time.perf_counter()
        count = sum(1 for _ in catalog.frames(serial, selection))
        times.append(time.perf_counter() - started)
        if count != 100:
            raise RuntimeError(f"{count} frames instead of 100")
    return 1000 * statistics.median(times)


def _grids(size: int) -> list[Grid]:
    large = [_LARGE] if size > _LARGE.frames else []
    small = (size - sum(grid.frames for grid in large)) // _SMALL.frames
    return [_SMALL] * small + large
