"""One upload, one download or the machine's limit, in a process of its own; prints seconds and CPU as JSON.

``python -m benchmarks.timed limit SOURCE FRAMES``, ``upload SOURCE FOLDER [URL [NUMBER]]``, ``download FOLDER DEST
[CHANNEL [URL]]``. What is counted begins once everything is imported and open, for all contenders alike, and ends
when the call comes back: with every row written, every byte flushed, every thread gone.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.children import Outcome, run_python
from benchmarks.lab import serial

if TYPE_CHECKING:
    from imaging_db import ImagingDB

BUCKET = "bench"
_IN_MEMORY = 128  # frames of the limit: too many for any cache


@dataclass(frozen=True)
class Took:
    """Seconds of wall clock and CPU of the work alone, and what the whole process cost."""

    wall: float
    cpu: float
    whole: Outcome

    def rate(self, nbr_bytes: int) -> float:
        """Return MB/s (10^6 bytes)."""
        return nbr_bytes / 1e6 / self.wall


def took(*words: str | Path, env: Mapping[str, str] | None = None) -> Took:
    """Run a module with arguments that prints such JSON last, and return what it took."""
    whole = run_python("-m", *words, env=env)
    told = json.loads(whole.output.splitlines()[-1])
    return Took(told["wall"], told["cpu"], whole)


@contextmanager
def told() -> Iterator[None]:
    """Print what the block took, its threads included."""
    wall, cpu = time.perf_counter(), _cpu()
    yield
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def limit(source: str, frames: str) -> None:
    """Hash, encode and hash frames that are in memory already, on every core: nothing can be faster."""
    import tifffile

    from imaging_db.codecs import encode_frame
    from imaging_db.model import sha256_of_pixels
    from imaging_db.transfer.cores import usable_cores

    count = int(frames)
    with tifffile.TiffFile(source) as file:
        pixels = [page.asarray() for page in file.pages[: min(count, _IN_MEMORY)]]
    encode_frame(pixels[0])
    numbers, lock = iter(range(count)), threading.Lock()

    def run() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            frame = pixels[number % len(pixels)]
            sha256_of_pixels(frame)
            encode_frame(frame)

    with told():
        _run_in_threads(run, usable_cores())


def _run_in_threads(run: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def upload(source: str, folder: str, url: str = "", number: str = "1") -> None:
    """Upload a source into a new lab below ``folder``, or into the bucket of an S3 server."""
    import imagecodecs  # noqa: F401 - what every contender imports, before the clock runs
    import tifffile  # noqa: F401

    from imaging_db import ImagingDB, codecs, transfer  # noqa: F401
    from imaging_db.readers import registry

    registry.specs()  # which imports every reader
    csv = Path(folder) / "rows.csv"
    csv.write_text(f"dataset_id,file_name\n{serial(int(number))},{source}\n", encoding="utf-8")
    with _opened(folder, url) as db:
        db.init()
        with told():
            (report,) = db.upload(csv)
    if report.error is not None:
        raise report.error


def download(folder: str, dest: str, channel: str = "", url: str = "") -> None:
    """Download what `upload` put into ``folder``, all of it or one channel."""
    from imaging_db import transfer  # noqa: F401
    from imaging_db.model import FrameSelection

    selection = FrameSelection.of(channels=int(channel)) if channel else None
    with _opened(folder, url) as db:
        db.dataset(serial(1))
        db.store.probe(write=False)
        with told():
            db.download(serial(1), dest, selection=selection)


@contextmanager
def _opened(folder: str, url: str) -> Iterator[ImagingDB]:
    from imaging_db import ImagingDB
    from imaging_db.config import DatabaseSettings, Settings, StoreSettings

    store = Path(folder) / "store"
    store.mkdir(exist_ok=True)
    place = StoreSettings("s3", BUCKET, url) if url else StoreSettings("local", str(store))
    database = DatabaseSettings("sqlite", str(Path(folder) / "catalog.sqlite"))
    with ImagingDB(Settings(database, place)) as db:
        yield db


_COMMANDS: dict[str, Callable[..., None]] = {
    "limit": limit,
    "upload": upload,
    "download": download,
}

if __name__ == "__main__":
    _COMMANDS[sys.argv[1]](*sys.argv[2:])
