"""The first frame of a dataset on the screen, and a z-stack in memory, beside decoding alone."""

from __future__ import annotations

import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.acquisitions import Synthetic, stream
from benchmarks.lab import serial
from benchmarks.result import Result, ratios
from benchmarks.scratch import is_quick
from benchmarks.timed import took
from imaging_db import ImagingDB
from imaging_db.api.arrays_process import keep_freed_memory
from imaging_db.codecs import decode_frame
from imaging_db.config import DatabaseSettings, Settings, StoreSettings
from imaging_db.transfer.cores import usable_cores

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint16]

_GROUP = "Read"
_SERIAL = serial(1)
_CHANNEL, _CHANNELS = 1, 2
_MOST_MS = 60
_LEAST = 0.8
_DECODED = "decode_frame alone, every core, bytes in memory"
_NUMPY, _DASK = "imaging_db, frames(...).to_numpy()", "imaging_db, open(...).sel(...).compute()"
_NOTE = (
    "All contenders of a stack fill one array. Ours ask the catalog, read the files of a warm folder and"
    " compare the hash of every object besides; what decodes alone does none of that. `to_numpy` is what"
    " docs/how-to/read-arrays.md recommends for a whole block, and is judged."
)
_FIRST_NOTE = (
    "First frame: modules are imported, all else is done each time: connect to SQLite, open, select, read,"
    " decode, compare the hash. No decoded frame is kept."
)


def measure_frames(folder: Path, repeats: int) -> Iterator[Result]:
    """Give milliseconds of a first frame and MB/s of a z-stack, out of SQLite and a folder."""
    slices, side = (6, 256) if is_quick() else (100, 2048)
    source = folder / "stack"
    source.mkdir()
    _write(source, slices, side)
    took("benchmarks.timed", "upload", source, folder)
    for written in source.iterdir():
        written.unlink()
    database = DatabaseSettings("sqlite", str(folder / "catalog.sqlite"))
    settings = Settings(database, StoreSettings("local", str(folder / "store")))
    keep_freed_memory()  # decoding alone shall not be slower for want of it
    yield from _first_frame(settings, side, repeats)
    yield from _stack(settings, slices, side, repeats)


def _write(folder: Path, slices: int, side: int) -> None:
    """Write two channels of a z-stack, a file a frame."""
    import tifffile

    frames = stream(Synthetic("tif_folder", side=side), range(_CHANNELS * slices))
    for number, pixels in enumerate(frames):
        c, z = divmod(number, slices)
        tifffile.imwrite(folder / f"img_Ch{c}_t000_p000_z{z:03d}.tif", pixels, metadata=None)


def _first_frame(settings: Settings, side: int, repeats: int) -> Iterator[Result]:
    ways: dict[str, Callable[[], Any]] = {
        "imaging_db, open(...).isel(...).values": lambda: _opened_frame(settings),
        "imaging_db, dataset(...).frames(...).to_numpy()": lambda: _selected_frame(settings),
        "decode_frame alone, bytes in memory": _decoder(_stored(settings, 1)[0]),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(2 * repeats + 1):
        for way, look in ways.items():
            started = time.perf_counter()
            look()
            found[way].append(1000 * (time.perf_counter() - started))
    for way, values in found.items():
        asked: dict[str, Any] = {}
        if way.startswith("imaging_db, open"):
            asked["target"] = (
                f"the first 2048 x 2048 frame under {_MOST_MS} ms, warm SQLite and folder"
            )
            asked["met"] = statistics.median(values[1:]) < _MOST_MS
        case = f"first frame of {side} x {side}, SQLite and folder"
        yield Result(_GROUP, case, way, "ms", tuple(values[1:]), note=_FIRST_NOTE, **asked)


def _opened_frame(settings: Settings) -> Pixels:
    with ImagingDB(settings) as db:
        array = db.open(_SERIAL, cache=False)
        pixels: Pixels = array.isel(T=0, P=0, C=_CHANNEL, Z=0).values
        return pixels


def _selected_frame(settings: Settings) -> Pixels:
    with ImagingDB(settings) as db:
        pixels: Pixels = db.dataset(_SERIAL).frames(_CHANNEL, slices=0).to_numpy()
        first: Pixels = pixels[0, 0, 0, 0]
        return first


def _decoder(data: bytes) -> Callable[[], Pixels]:
    return lambda: decode_frame(data)


def _stack(settings: Settings, slices: int, side: int, repeats: int) -> Iterator[Result]:
    """Read the stack in turns in all ways, which must all give the same."""
    stored = _stored(settings, slices)
    nbr_bytes = slices * side * side * 2
    with ImagingDB(settings) as db:
        frames = db.dataset(_SERIAL).frames(_CHANNEL)
        whole = db.open(_SERIAL, cache=False)
        ways: dict[str, Callable[[], Pixels]] = {
            _NUMPY: frames.to_numpy,
            _DASK: lambda: whole.isel(T=0, P=0).sel(C=whole.C[_CHANNEL]).to_numpy(),
            _DECODED: lambda: _decoded(stored, side),
        }
        _check_alike(ways)
        found = _in_turns(ways, nbr_bytes, repeats)
    case = f"z-stack of {slices} frames of {side} x {side}, SQLite and folder"
    results = {
        way: Result(
            _GROUP, case, way, "MB/s", tuple(wall), note=_NOTE, cpu_per_gb=tuple(cpu), ours=True
        )
        for way, (wall, cpu) in found.items()
    }
    yield from results.values()
    for way in (_NUMPY, _DASK):
        shares = ratios(results[way], results[_DECODED])
        asked: dict[str, Any] = {}
        if way == _NUMPY:
            told = "a z-stack of 100 frames at 80 % of the raw decode speed of every core"
            asked = {"target": told, "met": statistics.median(shares) >= _LEAST}
        yield Result(_GROUP, case, way, "times decode_frame alone", shares, **asked)


def _stored(settings: Settings, slices: int) -> list[bytes]:
    with ImagingDB(settings) as db:
        dataset = db.dataset(_SERIAL)
        names = [frame.file_name for frame in dataset.frames(_CHANNEL)]
        folder = dataset.dataset.storage_dir
    return [(Path(settings.store.access) / folder / name).read_bytes() for name in names[:slices]]


def _decoded(stored: list[bytes], side: int) -> Pixels:
    """Return the frames of these bytes as one array, decoded by a thread for every core."""
    found = np.empty((len(stored), side, side), np.uint16)
    numbers, lock = iter(range(len(stored))), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            found[number] = decode_frame(stored[number])

    threads = [threading.Thread(target=work) for _ in range(usable_cores())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _check_alike(ways: Mapping[str, Callable[[], Pixels]]) -> None:
    """Warm everything up, and raise where one way gives other pixels."""
    first: Pixels | None = None
    for way, read in ways.items():
        pixels = read().squeeze()
        first = pixels if first is None else first
        if not np.array_equal(first, pixels):
            raise RuntimeError(f"{way} gives other pixels")


def _in_turns(
    ways: Mapping[str, Callable[[], Pixels]], nbr_bytes: int, repeats: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Return MB/s and CPU seconds a GB of each."""
    found: dict[str, tuple[list[float], list[float]]] = {way: ([], []) for way in ways}
    for _ in range(repeats):
        for way, read in ways.items():
            wall, cpu = time.perf_counter(), _cpu()
            read()
            found[way][0].append(nbr_bytes / 1e6 / (time.perf_counter() - wall))
            found[way][1].append((_cpu() - cpu) * 1e9 / nbr_bytes)
    return found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
