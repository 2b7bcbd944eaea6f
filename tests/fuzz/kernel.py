"""Fuzz the native kernel: ``python -m tests.fuzz.kernel --seconds 60 [--module FILE]``; `make fuzz` runs it."""

from __future__ import annotations

import argparse
import importlib.util
import time
import zlib
from pathlib import Path
from types import ModuleType

import imagecodecs
import numpy as np

from tests.fuzz.frames import Frame, random_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--module", type=Path, help="a kernel built for this, e.g. with sanitizers")
    options = parser.parse_args()
    kernel = _load(options.module)
    print(f"seed {options.seed}", flush=True)
    until, count = time.monotonic() + options.seconds, 0
    draw = np.random.default_rng(options.seed)
    for count, frame in enumerate(random_frames(options.seed)):
        kernel.use_vectors(bool(count % 2))
        try:
            check_frame(kernel, frame)
            check_foreign_rows(kernel, draw)
        except Exception:
            print(f"frame {count} of seed {options.seed}: {frame.dtype} {frame.shape}", flush=True)
            raise
        if time.monotonic() > until:
            break
    print(f"{count + 1} frames, all exact")


def _load(path: Path | None) -> ModuleType:
    if path is None:
        from imaging_db.codecs import _kernel

        return _kernel
    spec = importlib.util.spec_from_file_location("_kernel", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_frame(kernel: ModuleType, frame: Frame) -> None:
    """The PNG of a frame gives its pixels back to libpng and to our own unfilter; its figures are numpy's."""
    data = kernel.encode_png(frame, bytearray(kernel.bound(frame)))
    read = imagecodecs.png_decode(data).reshape(frame.shape)
    assert np.array_equal(read, frame.view("u1") if frame.dtype == bool else frame), "libpng"
    check_unfilter(kernel, frame, data)
    if frame.dtype.isnative:
        check_measure(kernel, frame.view("u1") if frame.dtype == bool else frame)


def check_unfilter(kernel: ModuleType, frame: Frame, data: bytes) -> None:
    size = int.from_bytes(data[33:37], "big")
    rows = zlib.decompress(data[41 : 41 + size])
    out = np.empty(frame.shape, frame.dtype.newbyteorder("="))
    colors = frame.shape[2] if frame.ndim == 3 else 1
    wide = frame.dtype.itemsize == 2
    kernel.unfilter(rows, out, len(frame), colors * frame.dtype.itemsize, wide)
    assert np.array_equal(out, frame), "unfilter"


def check_measure(kernel: ModuleType, frame: Frame) -> None:
    values = frame.astype(np.int64)
    top = np.iinfo(frame.dtype).max
    expected = (values.min(), values.max(), values.sum(), (values == top).sum())
    for step in (1, 4):
        squares = (values[::step, 2:] - values[::step, :-2]) ** 2
        found = kernel.measure(frame, step)
        assert found == tuple(map(int, (*expected, squares.sum()))), "measure"


def check_foreign_rows(kernel: ModuleType, draw: np.random.Generator) -> None:
    """Bytes that nobody filtered are undone or refused; nothing is read or written beside them."""
    height, width = (int(n) for n in draw.integers(1, 40, 2))
    depth = int(draw.choice([1, 2, 3, 4, 6, 8]))
    rows = draw.integers(0, 256, (height, width * depth + 1), dtype=np.uint8)
    rows[:, 0] = draw.integers(0, 6, height)
    out = np.empty(height * width * depth, np.uint8)
    try:
        kernel.unfilter(rows.tobytes(), out, height, depth, depth % 2 == 0)
    except ValueError:
        assert (rows[:, 0] > 4).any()


if __name__ == "__main__":
    main()
