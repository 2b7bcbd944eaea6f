"""The walk over pages: what patterns let pass, the full check of every page lets pass too, and only that."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import CorruptSource, ReaderError
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import TiffStructure
from imaging_db.readers.tiff_source import TiffSource
from imaging_db.readers.tiff_walk import PageWalk
from tests.support.mmstack import MMStack, images, summary_of, write_mm_stack
from tests.support.ometiff import planes, write_pages

PAGES = 6
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "strips": {"rowsperstrip": 2},
    "many strips": {"rowsperstrip": 1, "bigtiff": True},
    "tiles": {"tile": (16, 16)},
    "lzw": {"compression": "lzw"},
    "deflated strips": {"compression": "zlib", "rowsperstrip": 3},
    "colours": {"photometric": "rgb"},
    "planes of colours": {"photometric": "rgb", "planarconfig": "separate"},
}


@cache
def bytes_of(kind: str) -> bytes:
    """A small file of several pages."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        if kind == "micro-manager":
            stack = MMStack(images(2, 1, 3, 1), summary=summary_of(2, 1, 3, 1), reserved=200)
            write_mm_stack(path, stack)
        elif kind == "two kinds in turns":
            with tifffile.TiffWriter(path) as out:
                for number, page in enumerate(planes(PAGES, shape=(5, 6))):
                    more = {"software": "one"} if number % 2 else {"software": False}
                    out.write(page, contiguous=False, metadata=None, **more)
        else:
            options = KINDS[kind]
            planar = options.get("planarconfig") == "separate"
            shape = (3, 5, 6) if planar else ((5, 6, 3) if "photometric" in options else (5, 6))
            write_pages(path, planes(PAGES, shape=shape), **options)
        return path.read_bytes()


EVERY = [*KINDS, "micro-manager", "two kinds in turns"]


def outcome(path: Path, *, most_patterns: int) -> Any:
    """What a walk finds: the numbers of every page, or the refusal in its words."""
    source = FileBytes(path)
    try:
        structure = TiffStructure(source, max_metadata_bytes=2**20)
        limits = ReadLimits(max_frames=PAGES + 2, max_frame_bytes=2**20)
        walk = PageWalk(source, structure, limits, layouts={}, most_patterns=most_patterns)
        pages = walk.run()
        kinds = [pages.kind(page) for page in range(len(pages.offsets))]
        columns = (pages.offsets, pages.pixels, pages.tags, pages.tag_sizes)
        described = [
            (k.layout.shape, k.layout.dtype, k.layout.strip_rows, k.one_run) for k in kinds
        ]
        return [list(column) for column in columns], described, pages.has_tag
    except ReaderError as error:
        return type(error).__name__, str(error)
    finally:
        source.close()


@pytest.mark.parametrize("kind", EVERY)
def test_patterns_find_what_the_full_check_finds(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(bytes_of(kind))
    found = outcome(path, most_patterns=16)
    assert found == outcome(path, most_patterns=0)
    assert len(found[0][0]) == PAGES


@given(kind=st.sampled_from(EVERY), seed=st.integers(0, 2**32), changes=st.integers(1, 3))
def test_damage_is_judged_alike_with_patterns_and_without(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, changes: int
) -> None:
    data, dice = bytearray(bytes_of(kind)), random.Random(seed)
    places = structure_of(kind)
    for _ in range(changes):
        place = dice.choice(places)
        data[place] = dice.choice([0, 1, 2, 255, data[place] ^ 1 << dice.randrange(8)])
    if dice.random() < 0.2:
        del data[dice.randrange(8, len(data)) :]
    path = tmp_path_factory.getbasetemp() / "damaged.tif"
    path.write_bytes(data)
    assert outcome(path, most_patterns=16) == outcome(path, most_patterns=0)


@cache
def structure_of(kind: str) -> list[int]:
    """Every byte that belongs to a list of tags, or to a value that lies elsewhere."""
    data = bytes_of(kind)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        path.write_bytes(data)
        source = FileBytes(path)
        structure = TiffStructure(source, max_metadata_bytes=2**20)
        offset, places = structure.first_offset, set(range(8))
        for page in range(PAGES):
            directory = structure.directory(offset, page=page)
            places |= set(range(offset, offset + directory.size))
            for value in directory.fields.values():
                if value.inline is None and value.size < 200:
                    places |= set(range(value.offset, value.offset + value.size))
            offset = directory.next_offset
        source.close()
    return sorted(places)


MANY = 4500  # more than are checked together at a time


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A file of many pages, and where their lists of tags begin."""
    path = tmp_path_factory.mktemp("long") / "a.tif"
    write_pages(path, [np.zeros((2, 3), np.uint16)] * MANY)
    with TiffSource(path) as source:
        return path.read_bytes(), [source.offset(page) for page in range(len(source))]


def value_at(data: bytes, start: int, code: int) -> int:
    """Where the value of a tag lies in a list of tags; code 0 is the link to the next page."""
    count = int.from_bytes(data[start : start + 2], "little")
    entries = [start + 2 + 12 * n for n in range(count)]
    if code == 0:
        return start + 2 + 12 * count
    return next(e + 8 for e in entries if int.from_bytes(data[e : e + 2], "little") == code)


@pytest.mark.parametrize("page", [1, 2000, 4200])
@pytest.mark.parametrize(
    ("code", "value", "cause"),
    [
        (273, 2**31, "it was cut off"),
        (273, 0, "without data"),
        (257, 65535, "strips or tiles"),
        (282, 2**31, "it was cut off"),
        (0, 2**31, "it was cut off"),
        (0, None, "its pages start over"),
    ],
)
def test_one_bad_page_among_thousands_is_named(
    tmp_path: Path,
    long_file: tuple[bytes, list[int]],
    page: int,
    code: int,
    value: int | None,
    cause: str,
) -> None:
    data, starts = bytearray(long_file[0]), long_file[1]
    place = value_at(data, starts[page], code)
    data[place : place + 4] = (starts[0] if value is None else value).to_bytes(4, "little")
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    named = page + (code == 0 and value is not None)
    with pytest.raises(CorruptSource, match=rf"page {named}\b.*({cause})"):
        TiffSource(path)
