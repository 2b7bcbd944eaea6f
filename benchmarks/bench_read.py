"""The read side: how soon a dataset is open, a frame on the screen, a stack in memory, a query answered."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.catalog_fill import Grid
from benchmarks.catalogs import Database, databases, filled
from benchmarks.read_frames import measure_frames
from benchmarks.read_queries import measure_queries
from benchmarks.result import Result
from benchmarks.scratch import is_quick, working_folder
from imaging_db import ImagingDB
from imaging_db.catalog import Catalog
from imaging_db.config import Settings, StoreSettings

_GROUP = "Read"
_FRAMES = 100_000
_SHAPES = {
    "4 channels, 25 slices, 1000 timepoints": Grid(4, 25, 1000, 1),
    "100 000 timepoints": Grid(1, 1, _FRAMES, 1),
    "100 channels, 1000 positions": Grid(100, 1, 1, 1000),
}
_QUICK_SHAPES = {"4 channels, 25 slices, 10 timepoints": Grid(4, 25, 10, 1)}
_MOST_SECONDS = 1.0
_NOTE = (
    "db.open connects to the database anew each time. PostgreSQL's autovacuum comes a minute after an upload;"
    " from then on the indexes alone tell which frames there are."
)


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give seconds to open and to query on both databases, milliseconds of a frame, MB/s of a stack."""
    with working_folder("read") as folder:
        yield from measure_frames(folder, repeats)
        with databases(folder) as both:
            for name, database in both.items():
                yield from _opening(name, database, folder, repeats)
            yield from measure_queries(both, repeats)


def _opening(name: str, database: Database, folder: Path, repeats: int) -> Iterator[Result]:
    """Open datasets of 100 000 frames; the database is connected to anew each time."""
    shapes = _QUICK_SHAPES if is_quick() else _SHAPES
    with database.settings() as (settings, admin):
        with Catalog.open(settings, create=True) as catalog:
            serials = filled(catalog, list(shapes.values()), admin)
        place = Settings(settings, StoreSettings("local", str(folder)))
        ways = {
            shape: _opener(place, serial, grid.frames)
            for (shape, grid), serial in zip(shapes.items(), serials, strict=True)
        }
        if admin is not None:
            yield from _opened(f"imaging_db, {name} before its autovacuum", shapes, ways, repeats)
            admin("VACUUM ANALYZE frames")
        yield from _opened(f"imaging_db, {name}", shapes, ways, repeats)


def _opened(
    contender: str,
    shapes: Mapping[str, Grid],
    ways: Mapping[str, Callable[[], float]],
    repeats: int,
) -> Iterator[Result]:
    for shape, opened in ways.items():
        opened()
        seconds = tuple(opened() for _ in range(repeats))
        case = f"db.open of {shapes[shape].frames} frames: {shape}"
        yield Result(
            _GROUP,
            case,
            contender,
            "s",
            seconds,
            target=f"db.open of {_FRAMES} frames under {_MOST_SECONDS:.0f} s",
            met=statistics.median(seconds) < _MOST_SECONDS,
            note=_NOTE,
        )


def _opener(place: Settings, serial: str, frames: int) -> Callable[[], float]:
    """Return what connects and opens a dataset and gives the seconds of it."""

    def opened() -> float:
        started = time.perf_counter()
        with ImagingDB(place) as db:
            array = db.open(serial)
        seconds = time.perf_counter() - started
        if array.size != frames * array.sizes["Y"] * array.sizes["X"]:
            raise RuntimeError(f"{serial} has the shape {array.shape}")
        return seconds

    return opened
