"""What opening a source costs a page: CPU time and memory, against the number of pages.

Every source is opened in full as an upload's plan does: all pages walked and checked, every frame listed with
its metadata. The peer walks the same pages with tifffile and reads their tags, without any check.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.mmwriter import Sizes, file_name, write_position
from benchmarks.result import Result
from benchmarks.scratch import is_quick, working_folder
from imaging_db.readers import registry
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.tiff_source import TiffSource

_GROUP = "Parsing"
_SIDE = 16  # pixels are not read here
_SIZES = (100, 1_000, 10_000, 100_000)
_MOST_FILES = 10_000
_MOST_TURNS = {100_000: 3}  # they take minutes
_UNIT = "us CPU a page"


@dataclass(frozen=True)
class _Format:
    """How a source is made, what reads it, and how many us a page its walk and its opening may take."""

    name: str
    make: Callable[[Path, int], Path]
    reader: str
    most_walk: float | None = None
    most_open: float | None = None


def run(repeats: int = 5) -> Iterator[Result]:
    """Give us of CPU a page, and bytes a page, for each format and number of pages."""
    for form in _FORMATS:
        costs: dict[int, float] = {}
        for pages in _SIZES[:2] if is_quick() else _SIZES:
            if form.reader == "tif_folder" and pages > _MOST_FILES:
                continue
            with working_folder("parse") as folder:
                source = form.make(folder, pages)
                turns = min(repeats, _MOST_TURNS.get(pages, repeats))
                results = list(_measured(form, source, pages, turns))
            yield from results
            costs[pages] = next(r.median for r in results if r.name == "imaging_db, open and list")
        largest, reference = max(costs), sorted(costs)[-2]
        yield Result(
            _GROUP,
            f"{form.name}, growth",
            "imaging_db, open and list",
            f"times the cost a page of {reference} pages",
            (costs[largest] / costs[reference],),
            note=f"at {largest} pages: 1 is a cost that grows as the pages do",
        )


def _measured(form: _Format, source: Path, pages: int, repeats: int) -> Iterator[Result]:
    contenders: dict[str, Callable[[], object]] = {
        "imaging_db, open and list": lambda: _open_and_list(form.reader, source),
        "tifffile, pages and tags": lambda: _tifffile_tags(source),
    }
    if source.is_file():
        contenders["imaging_db, walk and checks"] = lambda: TiffSource(source).close()
    for work in contenders.values():
        work()  # imports, caches of the file system
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, work in contenders.items():
            seconds[name].append(_cpu(work))
    case = f"{form.name}, {pages} pages"
    targets = {
        "imaging_db, open and list": form.most_open,
        "imaging_db, walk and checks": form.most_walk,
    }
    for name, values in seconds.items():
        each = tuple(1e6 * value / pages for value in values)
        most = targets.get(name) if pages >= 1000 else None
        yield Result(
            _GROUP,
            case,
            name,
            _UNIT,
            each,
            target="" if most is None else f"at most {most:g} us",
            met=None if most is None else statistics.median(each) <= most,
            size=pages,
        )
    held, peak = _memory(form.reader, source)
    for what, size in (("held while open", held), ("peak of opening", peak)):
        yield Result(
            _GROUP, case, f"imaging_db, {what}", "bytes a page", (size / pages,), size=pages
        )


def _cpu(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.thread_time()
    work()
    return time.thread_time() - start


def _open_and_list(reader: str, source: Path) -> int:
    with registry.get(reader).open(source, ReaderOptions()) as opened:
        return sum(len(frame.metadata) >= 0 for frame in opened.frames())


def _tifffile_tags(source: Path) -> int:
    count = 0
    for path in [source] if source.is_file() else sorted(source.iterdir()):
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                count += len({tag.name: tag.value for tag in page.tags})
    return count


def _memory(reader: str, source: Path) -> tuple[int, int]:
    """Return the bytes that an open reader holds, and the most while it was opened."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        with registry.get(reader).open(source, ReaderOptions()):
            _, peak = tracemalloc.get_traced_memory()
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held - before, peak - before


def _pages(pages: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    frame = np.arange(_SIDE * _SIDE, dtype=np.uint16).reshape(_SIDE, _SIDE)
    return np.broadcast_to(frame, (pages, _SIDE, _SIDE))


def _plain(folder: Path, pages: int) -> Path:
    tifffile.imwrite(folder / "plain.tif", _pages(pages), metadata=None, photometric="minisblack")
    return folder / "plain.tif"


def _ome(folder: Path, pages: int) -> Path:
    path = folder / "run.ome.tif"
    tifffile.imwrite(path, _pages(pages), ome=True, metadata={"axes": "TYX"})
    return path


def _imagej(folder: Path, pages: int) -> Path:
    stack = _pages(pages).reshape(pages // 2, 2, _SIDE, _SIDE)
    tifffile.imwrite(folder / "stack.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    return folder / "stack.tif"


def _micro_manager(folder: Path, pages: int) -> Path:
    sizes = Sizes(channels=2, slices=1, timepoints=pages // 2, positions=1, side=_SIDE)
    path = folder / file_name(0)
    write_position(path, 0, sizes, iter(_pages(pages)))
    return path


def _folder(folder: Path, pages: int) -> Path:
    target = folder / "frames"
    target.mkdir()
    for number, frame in enumerate(_pages(pages)):
        tifffile.imwrite(target / f"img_t{number:06d}.tif", frame)
    return target


_FORMATS = (
    _Format("plain TIFF", _plain, "tif_id", most_walk=8),
    _Format("OME-TIFF", _ome, "ome_tiff", most_walk=8),
    _Format("ImageJ stack", _imagej, "tif_id", most_walk=8),
    _Format("Micro-Manager stack", _micro_manager, "ome_tiff", most_walk=8, most_open=60),
    _Format("folder of TIFF files", _folder, "tif_folder"),
)
