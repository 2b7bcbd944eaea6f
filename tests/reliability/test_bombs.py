"""A store that gives bombs instead of frames: refused by their headers, before memory is taken."""

from __future__ import annotations

import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from imaging_db.codecs import deflate, png_chunks
from imaging_db.codecs.announced import check_announced
from imaging_db.codecs.frames import decode_frame, encode_frame
from imaging_db.codecs.jxl_header import announced as announced_by_jxl
from imaging_db.errors import IntegrityError
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.lab import Lab

SIDE = 20_000  # 400 MB of pixels, from 2 MB and less
MOST_MB = 300
MEASURED = """
import importlib, sys
code = importlib.import_module(sys.argv[1]).main(sys.argv[2:])
lines = open("/proc/self/status").read().splitlines()
print("PEAK", next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
raise SystemExit(code)
"""


def zeros() -> bytes:
    """A zlib stream of SIDE x SIDE zeros."""
    stream, block = zlib.compressobj(1), bytes(SIDE)
    return b"".join([*(stream.compress(block) for _ in range(SIDE)), stream.flush()])


def png_bomb() -> bytes:
    header = png_chunks.Header(width=SIDE - 1, height=SIDE, bits=8, colors=1)  # a filter byte a row
    return png_chunks.written(header, [zeros()], crc32=zlib.crc32)


def tiff_bomb() -> bytes:
    """One page of one strip, written out."""
    data = zeros()
    fields = [
        (256, SIDE),
        (257, SIDE),
        (258, 8),
        (259, 8),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, SIDE),
    ]
    fields += [(279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory


def jxl_bomb() -> bytes:
    picture = np.zeros((SIDE, SIDE), np.uint8)
    return bytes(imagecodecs.jpegxl_encode(picture, lossless=True, effort=1, numthreads=1))


BOMBS = {"png": png_bomb, "tiff": tiff_bomb, "jxl": jxl_bomb}


@pytest.fixture
def bombed(small_lab: Lab) -> dict[str, Path]:
    """A lab with a dataset, three of whose frames are bombs."""
    source = small_lab.folder / "stack.tif"
    imagej_stack(source, t=1, z=4, c=2, side=64)
    small_lab.upload_one(source)
    small_lab.write_files()
    frames = sorted(Path(small_lab.settings.store.access).rglob("*.png"))
    placed = dict(zip(BOMBS, frames, strict=False))
    for kind, path in placed.items():
        path.chmod(0o644)
        path.write_bytes(BOMBS[kind]())
    return placed


def measured(lab: Lab, module: str, *words: str) -> tuple[int, float, str]:
    """Exit code, peak memory in MB and stderr of a command, run as a process of its own."""
    options = ["--login", "db_credentials.json", "--config", "config.json"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, module, *words, *options],
        cwd=lab.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, int(done.stdout.split()[-1]) * 1024 / 1e6, done.stderr


@pytest.mark.fault("S4", "I-8", "D8")
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("recorded", [True, False], ids=["hashes recorded", "rows of imagingDB"])
def test_bombs_in_the_store_are_named_and_take_no_memory(
    recorded: bool, small_lab: Lab, bombed: dict[str, Path]
) -> None:
    if not recorded:  # nothing but the pixels is known, so the bytes have to be decoded
        with sqlite3.connect(small_lab.settings.database.dbname) as database:
            database.execute(
                "UPDATE frames SET object_sha256 = NULL, object_size = NULL, codec = NULL"
            )
        database.close()
    for module, words in {
        "imaging_db.cli.data_downloader": ["--id", small_lab.serial(), "--dest", "out"],
        "imaging_db.cli.main": ["verify", small_lab.serial()],
    }.items():
        code, peak, told = measured(small_lab, module, *words)
        assert code == 6, told
        assert peak < MOST_MB
        for path in bombed.values():
            assert path.name in told
    names = {path.name for path in (small_lab.folder / "out").rglob("*.png")}
    assert len(names) == 5
    assert not names & {path.name for path in bombed.values()}


@pytest.mark.fault("S4")
@pytest.mark.parametrize("kind", BOMBS)
def test_a_picture_that_announces_too_much_is_not_decoded(kind: str) -> None:
    with pytest.raises(IntegrityError, match=r"announces \d{9} bytes of pixels, 8192 are expected"):
        decode_frame(BOMBS[kind](), most_bytes=8192)


@pytest.mark.fault("S4")
@pytest.mark.parametrize("shape", [(1, 1), (8, 16), (64, 48, 2), (70, 33, 3), (600, 257, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("codec", BOMBS)
def test_a_frame_announces_no_more_than_it_takes(
    codec: str, dtype: str, shape: tuple[int, ...]
) -> None:
    frame = pixels(*shape, dtype=dtype)
    data = encode_frame(frame, codec=codec).data
    assert np.array_equal(decode_frame(data, most_bytes=frame.nbytes), frame)
    with pytest.raises(IntegrityError, match="announces"):
        decode_frame(data, most_bytes=frame.nbytes // 4)


def test_a_jpeg_xl_in_its_container_announces_the_same() -> None:
    frame = pixels(40, 50, dtype="uint16")
    boxed = imagecodecs.jpegxl_encode(frame, lossless=True, usecontainer=True)
    assert announced_by_jxl(bytes(boxed)) == frame.nbytes
    with pytest.raises(ValueError, match="animation"):
        announced_by_jxl(
            bytes(imagecodecs.jpegxl_encode(np.zeros((3, 8, 8), np.uint8), lossless=True))
        )
    for end in range(12):
        with pytest.raises(ValueError, match=r"cut off|no header"):
            announced_by_jxl(bytes(boxed)[:end])


@pytest.mark.fault("S4")
def test_a_deflated_stream_gives_back_no_more_than_was_announced() -> None:
    data = zlib.compress(bytes(10_000_000))
    with pytest.raises(ValueError, match="not as many"):
        deflate.installed().inflate(data, size=9_000_000)
    with pytest.raises(ValueError, match="cannot hold"):
        deflate.installed().inflate(data, size=10**9)
    check_announced(10, 10)


def test_the_strip_of_a_tiff_gives_back_no_more_than_its_page_has() -> None:
    """Its page announces 100 pixels, its strip holds 400 MB."""
    data = bytearray(tiff_bomb())
    at = struct.unpack_from("<I", data, 4)[0] + 2
    for number in (0, 1, 7):  # width, height, rows a strip
        struct.pack_into("<I", data, at + 12 * number + 8, 10)
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        decode_frame(bytes(data), most_bytes=100)
