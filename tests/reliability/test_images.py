"""Hostile images: refused by name, soon and in little memory, or exact."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging_db.codecs import decode_frame, encode_frame
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.tif_id import SPEC
from tests.support.acquisitions import pixels
from tests.support.corpus import DATA
from tests.support.counter import Counter
from tests.support.matrix import Injected

ROOT = Path(__file__).parents[2]
POINTS = os.environ.get("IMAGING_DB_TEST_DAMAGES", "2")
"""How often each file is cut and flipped; read now, because tests run in a clean environment."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")


@needs_fork
@pytest.mark.fault("I-3", "I-2")
def test_damaged_files_are_refused_or_exact(injected: Injected) -> None:
    words = ["--small", "--points", POINTS, "--jobs", "1", "--skip", "mm14"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.damage", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    injected.add(sum(map(int, done.stdout.splitlines()[-1].split("|")[2:7])))


def directory(fields: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", *field) for field in fields)
    return struct.pack("<H", len(fields)) + entries + struct.pack("<I", following)


def page(
    width: int = 4, length: int = 4, *, data: int = 8, size: int = 16
) -> list[tuple[int, ...]]:
    numbers = {256: width, 257: length, 258: 8, 259: 1, 262: 1, 273: data, 277: 1, 278: length}
    return [(code, 4, 1, value) for code, value in (numbers | {279: size}).items()]


def asks_for_tebibytes(path: Path) -> None:
    fields = page(2_000_000_000, 2_000_000_000, data=200, size=60)
    fields[3] = (259, 4, 1, 8)
    path.write_bytes(b"II*\0\x08\0\0\0" + directory(fields).ljust(254, b"\0"))


def pages_in_a_circle(path: Path) -> None:
    path.write_bytes(b"II*\0\x18\0\0\0" + bytes(16) + directory(page(), 24))


def too_many_pages(path: Path) -> None:
    """More pages than the config allows: a million would be refused as soon."""
    size = len(directory(page()))
    one = directory(page())[:-4]
    places = struct.Struct("<I")
    body = b"".join(one + places.pack(24 + (n + 1) * size) for n in range(30_000))
    path.write_bytes(b"II*\0\x18\0\0\0" + bytes(16) + body + directory(page()))


def text_called_tif(path: Path) -> None:
    path.write_text("no picture\n")


def one_byte(path: Path) -> None:
    path.write_bytes(b"I")


def folder_called_tif(path: Path) -> None:
    path.mkdir()


def pipe_called_tif(path: Path) -> None:
    os.mkfifo(path)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bomb_of_entities(path: Path) -> None:
    lines = [f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)]
    text = f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a0 'x'>{''.join(lines)}]><OME>&a11;</OME>"
    _described(
        path,
        text.replace("<OME>", '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'),
    )


def entity_from_a_file(path: Path) -> None:
    text = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
    _described(
        path, f'{text}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">&e;</OME>'
    )


def _described(path: Path, text: str) -> None:
    tifffile.imwrite(path, pixels(8, 8), description=text, metadata=None)


KINDS = [
    asks_for_tebibytes,
    pages_in_a_circle,
    too_many_pages,
    text_called_tif,
    one_byte,
    folder_called_tif,
    pipe_called_tif,
    link_to_zeros,
    bomb_of_entities,
    entity_from_a_file,
]


@needs_fork
@pytest.mark.fault("I-2", "I-8", "I-13", "S4")
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_hostile_file_is_one_line_and_the_others_are_uploaded(
    make,
    counter: Counter,
) -> None:
    import resource
    import time

    (counter.folder / "config.json").write_text('{"storage_access": "store", "max_frames": 20000}')
    (counter.folder / "store").mkdir(exist_ok=True)
    path = counter.folder / "x.tif"
    make(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    assert counter.upload(path, "a.tif") == 3
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    (line,) = counter.errors()
    assert "x.tif" in line
    assert "passwd" not in line.partition("x.tif")[2]
    assert counter.lab.serials() == [counter.lab.serial(2)]
    assert counter.upload(path) == 4


@pytest.mark.fault("I-14")
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 3, st.integers(1, 9), st.integers(2, 9)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    seed=st.integers(0, 99),
    big=st.booleans(),
)
def test_any_stack_comes_back(
    tmp_path: Path, sizes: tuple[int, ...], dtype: str, seed: int, big: bool
) -> None:
    data = pixels(*sizes, dtype=dtype, seed=seed)
    path = tmp_path / "a.tif"
    order = ">" if big else "<"
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TZCYX"}, byteorder=order)
    with SPEC.open(path, ReaderOptions()) as reader:
        found = {frame.coords: reader.read(frame) for frame in reader.frames()}
    assert len(found) == np.prod(sizes[:3])
    for (c, z, t, _), frame in found.items():
        stored = decode_frame(encode_frame(frame).data)
        assert np.array_equal(stored, data[t, z, c])


@pytest.mark.fault("I-3")
@pytest.mark.parametrize(
    ("place", "mask", "cause"),
    [
        (70, 0x01, "tag 271 holds what tells the frames"),  # ImageDescription becomes Make
        (71, 0x20, "could be a damaged tag 270"),
        (72, 0x04, "tag 270 should be text"),
        (72, 0x20, "has the type 34, which does not exist"),
        (184, 0x02, "damaged JSON"),
        (78, 0x01, "damaged JSON"),
    ],
)
def test_a_flipped_bit_in_what_tells_the_frames(
    tmp_path: Path, place: int, mask: int, cause: str
) -> None:
    from imaging_db.errors import ReaderError
    from imaging_db.readers import registry

    data = bytearray((DATA / "imagej_hyperstacks" / "zcyx_slice10.tiff").read_bytes())
    data[place] ^= mask
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(ReaderError, match=cause):
        registry.find(path).open(path, ReaderOptions()).close()


@pytest.mark.fault("I-3")
@pytest.mark.parametrize(("code", "value"), [(256, 96), (257, 96), (256, 101), (258, 8), (277, 2)])
def test_a_size_that_does_not_fit_what_is_stored(tmp_path: Path, code: int, value: int) -> None:
    from imaging_db.errors import CorruptSource
    from imaging_db.readers.tiff_source import TiffSource

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(100, 100), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[code].overwrite(value)
    with pytest.raises(CorruptSource):
        TiffSource(path)


@pytest.mark.fault("I-3")
@pytest.mark.parametrize("line", ["chbnnels=2", "channels:2", "\x0bchannels=2", "loopJchannels=2"])
def test_a_flipped_letter_in_imagejs_description(tmp_path: Path, line: str) -> None:
    from imaging_db.errors import ReaderError
    from imaging_db.readers import registry

    path = tmp_path / "a.tif"
    text = f"ImageJ=1.54f\nimages=4\n{line}\nslices=2\nhyperstack=true\n"
    tifffile.imwrite(
        path, pixels(4, 8, 8), description=text, metadata=None, photometric="minisblack"
    )
    with pytest.raises(ReaderError, match="description"):
        registry.find(path)
