"""The native kernel gives what numpy and libpng give, with and without vector instructions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from types import ModuleType

import imagecodecs
import numpy as np
import pytest

from imaging_db.codecs import kernel
from imaging_db.codecs.png_native import encode_noise
from tests.fuzz.frames import random_frames
from tests.fuzz.kernel import check_foreign_rows, check_frame, check_measure

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SWITCHED_OFF = os.environ.get("IMAGING_DB_KERNEL") == "0"


@pytest.fixture(params=["vectors", "plain"])
def native(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    if kernel.native is None:
        assert not COMPILER or SWITCHED_OFF, "a compiler is here, and the kernel was not built"
        pytest.skip("no compiler, no kernel")
    kernel.native.use_vectors(request.param == "vectors")
    yield kernel.native
    kernel.native.use_vectors(True)


@pytest.mark.parametrize("seed", range(4))
def test_random_frames_come_back_exact(native: ModuleType, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for frame in islice(random_frames(seed), 40):
        check_frame(native, frame)
        check_foreign_rows(native, draw)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_frame_of_many_blocks_comes_back_exact(native: ModuleType, dtype: str) -> None:
    draw = np.random.default_rng(7)
    frame = draw.normal(120, 12, (1300, 1100)).astype(dtype)
    frame[400:700] = 0  # blocks that look different want different codes
    frame[700:] *= 3
    check_frame(native, frame)


def test_a_row_longer_than_a_block_comes_back_exact(native: ModuleType) -> None:
    check_frame(native, np.arange(3 * 400_000, dtype=np.uint16).reshape(3, 400_000))


def test_sums_do_not_overflow_on_the_brightest_frame(native: ModuleType) -> None:
    frame = np.zeros((40, 70_000), np.uint16)
    frame[:, ::4] = frame[:, 1::4] = 65535
    check_measure(native, frame)
    check_measure(native, (frame >> 8).astype(np.uint8))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 63, 64, 65, 79, 5551, 5552, 5553, 100_003])
def test_checksums_are_those_of_zlib(native: ModuleType, size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    for text in (data, b"\xff" * size):
        assert native.checksums(text) == (zlib.crc32(text), zlib.adler32(text))


def test_the_same_bytes_from_eight_threads_as_from_one(native: ModuleType) -> None:
    frames = [np.random.default_rng(k).poisson(90, (200, 300)).astype(np.uint16) for k in range(16)]
    alone = [encode_noise(native, frame) for frame in frames]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(partial(encode_noise, native), frames)) == alone


def test_vectors_or_not_the_file_is_the_same() -> None:
    if kernel.native is None:
        pytest.skip("no compiler, no kernel")
    frame = np.random.default_rng(3).poisson(300, (100, 130, 3)).astype(np.uint16)
    files = set()
    for allowed in (False, True):
        kernel.native.use_vectors(allowed)
        files.add(encode_noise(kernel.native, frame))
    assert len(files) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.int16),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 8), np.uint8)[:, ::2],
    ],
    ids=["float", "signed", "five colours", "empty", "one row", "gaps"],
)
def test_what_it_does_not_take_is_refused(native: ModuleType, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="whole rows"):
        native.encode_png(wrong, bytearray(1000))


def test_too_little_room_is_refused(native: ModuleType) -> None:
    frame = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="room"):
        native.encode_png(frame, bytearray(native.bound(frame) - 1))


def test_rows_that_do_not_fit_the_frame_are_refused(native: ModuleType) -> None:
    with pytest.raises(ValueError, match="fit"):
        native.unfilter(bytes(10), np.empty((3, 3), np.uint8), 3, 1, False)
    with pytest.raises(ValueError, match="filter"):
        native.unfilter(b"\x05abc" * 3, np.empty((3, 3), np.uint8), 3, 1, False)


def test_noise_is_told_from_what_repeats_itself(native: ModuleType) -> None:
    noise = np.random.default_rng(5).poisson(4, (300, 300))
    tiles = np.tile(noise[:20, :50], (15, 6))
    slope = np.tile(np.arange(300) ** 2 // 100, (300, 1)) + np.arange(300)[:, None]
    for dtype in (np.uint8, np.uint16):
        assert not native.repeats(noise.astype(dtype))
        for drawn in (tiles, slope, np.zeros((300, 300)), np.eye(300)):
            assert native.repeats(drawn.astype(dtype))


@pytest.mark.parametrize(
    "frame",
    [
        np.stack([np.random.default_rng(1).integers(90, 130, (200, 300), np.uint8)] * 3, axis=-1),
        np.random.default_rng(2).integers(90, 130, (200, 300)).astype(np.uint16) * 257,
        np.random.default_rng(3).integers(0, 4000, (200, 75)).astype(np.uint16).repeat(4, axis=1),
        np.random.default_rng(4).integers(0, 4000, (25, 300)).astype(np.uint16).repeat(8, axis=0),
        np.random.default_rng(5).integers(0, 2, (200, 300)).astype(np.uint16) * 65535,
        np.tile(np.random.default_rng(6).integers(0, 4000, (200, 1500)).astype(np.uint16), (1, 4)),
    ],
    ids=["grey as RGB", "8 bit in 16", "wider", "higher", "black and white", "tiles"],
)
def test_copies_within_a_frame_are_no_noise(native: ModuleType, frame: np.ndarray) -> None:
    assert native.repeats(frame)
    check_frame(native, frame)


def test_a_large_frame_needs_no_memory_beside_its_file(native: ModuleType) -> None:
    frame = np.random.default_rng(8).normal(900, 30, (3000, 3000)).astype(np.uint16)
    assert native.encode_png(frame) == native.encode_png(frame, bytearray(native.bound(frame)))
    assert encode_noise(native, frame) == native.encode_png(frame)


def test_it_can_be_left_unused() -> None:
    code = "from imaging_db.codecs import kernel; print(kernel.native)"
    there = {**os.environ, "IMAGING_DB_KERNEL": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=there, capture_output=True, text=True)
    assert done.stdout.strip() == "None"


def test_noise_takes_less_room_than_opencv_gives_it(native: ModuleType) -> None:
    frame = np.random.default_rng(1).poisson(400, (512, 512)).astype(np.uint16) + 100
    libpng = imagecodecs.png_encode(frame, 1, strategy=3, filter=16)  # OpenCV's settings: sub, rle
    assert len(encode_noise(native, frame)) < len(libpng)
