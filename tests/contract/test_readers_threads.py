"""Threads that share a reader get the pixels that one thread gets, in every format.

What this guards against is real: a `tifffile.TiffFile` that threads share without its lock seeks and reads
in two steps, and another thread may seek in between; `test_a_shared_position_gives_the_wrong_bytes`
shows that interleaving step by step, so that it does not depend on luck. Readers here only use positioned
reads. A reader with such a position fails the test over many frames: it was seen with 34 of 384 frames.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db.model import sha256_of_pixels
from imaging_db.readers import registry
from imaging_db.readers.base import Reader, ReaderOptions
from imaging_db.readers.frame_buffer import FrameBuffer
from tests.support.mmstack import MMStack, summary_of, write_mm_stack
from tests.support.ndtiff import write_ndtiff
from tests.support.ometiff import write_pages

THREADS, FRAMES, SHAPE = 8, 24, (64, 80)
NOISE = np.random.default_rng(7).integers(0, 2**16, (FRAMES, *SHAPE), dtype=np.uint16)


def encoded(**options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return write_pages(folder / "a.tif", NOISE, **options)

    return write


def hyperstack(folder: Path) -> Path:
    """All planes behind one list of tags, as ImageJ writes large stacks."""
    path = folder / "a.tif"
    with tifffile.TiffWriter(path, imagej=True) as out:
        out.write(NOISE.reshape(4, 3, 2, *SHAPE), metadata={"axes": "TZCYX"}, truncate=True)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    return path


def micro_manager(folder: Path) -> Path:
    stack = MMStack(
        [((n % 2, 0, n // 2, 0), page) for n, page in enumerate(NOISE)],
        summary=summary_of(2, 1, FRAMES // 2, 1),
    )
    return write_mm_stack(folder / "run_MMStack.ome.tif", stack)


def ndtiff(folder: Path) -> Path:
    return write_ndtiff(folder / "nd", [({"time": n}, p) for n, p in enumerate(NOISE)], per_file=9)


def many_files(folder: Path) -> Path:
    """More files than are kept open: each read opens its own."""
    for number in range(2 * FRAMES):
        tifffile.imwrite(folder / f"img_t{number:03d}.tif", NOISE[number % FRAMES] + number)
    return folder


SOURCES = {
    "uncompressed": encoded(),
    "big endian": encoded(byteorder=">"),
    "strips": encoded(rowsperstrip=5),
    "lzw": encoded(compression="lzw", rowsperstrip=16),
    "deflate with predictor": encoded(compression="zlib", predictor=True),
    "tiles": encoded(tile=(16, 32)),
    "compressed tiles": encoded(tile=(16, 32), compression="zlib"),
    "hyperstack": hyperstack,
    "micro-manager": micro_manager,
    "ndtiff of three files": ndtiff,
    "folder": many_files,
}


def wrong_reads(reader: Reader, expected: dict[int, str], *, rounds: int) -> list[int]:
    """The frames that came out otherwise than in one thread, read by all threads in orders of their own."""
    frames = list(reader.frames())
    gate = threading.Barrier(THREADS)

    def read_all(seed: int) -> list[int]:
        order = [frame for frame in frames for _ in range(rounds)]
        random.Random(seed).shuffle(order)
        buffer, wrong = FrameBuffer(), []
        gate.wait(timeout=30)
        for turn, frame in enumerate(order):
            out = buffer.for_frame(frame) if turn % 3 else None
            if sha256_of_pixels(reader.read(frame, out)) != expected[frame.index]:
                wrong.append(frame.index)
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        return [index for wrong in pool.map(read_all, range(THREADS)) for index in wrong]


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_eight_threads_read_what_one_reads(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    with registry.find(path).open(path, ReaderOptions()) as reader:
        expected = {f.index: sha256_of_pixels(reader.read(f)) for f in reader.frames()}
        assert len(set(expected.values())) == len(expected) >= FRAMES
        assert wrong_reads(reader, expected, rounds=3) == []


def test_a_reader_that_gives_wrong_frames_is_found_out(tmp_path: Path) -> None:
    path = encoded()(tmp_path)
    with registry.find(path).open(path, ReaderOptions()) as reader:
        expected = {f.index: sha256_of_pixels(reader.read(f)) for f in reader.frames()}
        swapped = expected | {3: expected[4]}
        assert wrong_reads(reader, swapped, rounds=1) == [3] * THREADS


def test_a_shared_position_gives_the_wrong_bytes(tmp_path: Path) -> None:
    """What happens inside a `TiffFile` without lock when two threads take turns at the wrong moment."""
    path = encoded()(tmp_path)
    with tifffile.TiffFile(path) as shared:
        handle = shared.filehandle
        assert not handle.has_lock
        mine, others = shared.pages[0], shared.pages[5]
        sought, moved = threading.Event(), threading.Event()

        def other_thread() -> None:
            sought.wait(timeout=30)
            handle.seek(others.dataoffsets[0])
            moved.set()

        thread = threading.Thread(target=other_thread)
        thread.start()
        handle.seek(mine.dataoffsets[0])
        sought.set()
        moved.wait(timeout=30)
        found = handle.read(mine.databytecounts[0])
        thread.join()
    assert sha256(found).hexdigest() == sha256(NOISE[5].tobytes()).hexdigest()
