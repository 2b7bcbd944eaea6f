"""Tags of pages: what is remembered of one page never shows on another."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db.model import JSONObject
from imaging_db.readers import registry
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import TiffStructure
from imaging_db.readers.tiff_pattern import LEFT_OUT
from imaging_db.readers.tiff_source import AlikeFiles, TiffSource
from imaging_db.readers.tiff_tags import tags_as_json
from tests.support.mmstack import MMStack, images, summary_of, write_mm_stack

PIXELS = np.zeros((3, 4), np.uint16)


def write(path: Path, pages: int, *, bigtiff: bool = False) -> Path:
    """Pages whose tags vary: texts short and long, absent on some, times, resolutions, numbers of a list."""
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as out:
        for n in range(pages):
            out.write(
                PIXELS,
                contiguous=False,
                metadata=None,
                description="abc"[: n % 4] if n % 3 else f"page {n} " * 200,
                software="ours" if n % 2 else False,
                resolution=(n % 5 + 1, 2),
                extratags=[(65000, 3, n % 3 + 1, tuple(range(n % 3 + 1)), True)],
            )
    return path


def one_by_one(path: Path) -> list[JSONObject]:
    """The tags of every page, each decoded by itself."""
    data = FileBytes(path)
    structure = TiffStructure(data, max_metadata_bytes=2**20)
    offset, found = structure.first_offset, []
    while offset:
        directory = structure.directory(offset, page=len(found))
        kept = {c: f for c, f in directory.fields.items() if c not in LEFT_OUT}
        found.append(tags_as_json({c: structure.value(f, page=0) for c, f in kept.items()}))
        offset = directory.next_offset
    data.close()
    return found


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("keep_open", [False, True])
def test_every_page_has_its_own_tags_in_any_order(
    tmp_path: Path, bigtiff: bool, keep_open: bool
) -> None:
    path = write(tmp_path / "a.tif", 40, bigtiff=bigtiff)
    expected = one_by_one(path)
    assert len({str(tags) for tags in expected}) > 20
    order = [*range(40), *range(40)]
    random.Random(1).shuffle(order)
    with TiffSource(path, keep_open=keep_open) as source:
        for page in order:
            tags = source.tags(page)
            assert tags == expected[page]
            assert list(tags) == list(expected[page])
            tags.clear()  # the caller's: nobody else's tags go away


def test_files_that_share_what_they_have_in_common_keep_their_own_tags(tmp_path: Path) -> None:
    alike = AlikeFiles()
    paths = [write(tmp_path / f"{n}.tif", n) for n in range(1, 6)]
    sources = [TiffSource(path, alike=alike, keep_open=False) for path in paths]
    for turn in range(2):
        for path, source in zip(paths, sources, strict=True):
            expected = one_by_one(path)
            assert [source.tags(n) for n in range(len(source))] == expected, turn
    for source in sources:
        source.close()


def test_an_open_stack_holds_a_few_bytes_a_page_and_no_metadata(tmp_path: Path) -> None:
    many, text = 1500, "x" * 2000
    stack = MMStack(images(1, 1, many, 1), summary=summary_of(1, 1, many, 1), reserved=20 * many)
    stack.tag_of = lambda c: (
        f'{{"ChannelIndex": 0, "SliceIndex": 0, "FrameIndex": {c[2]}, "PositionIndex": 0, "More": "{text}"}}'
    )
    path = write_mm_stack(tmp_path / "run_MMStack.ome.tif", stack)
    spec = registry.find(path)
    spec.open(path, ReaderOptions()).close()
    tracemalloc.start()
    try:
        with spec.open(path, ReaderOptions()) as reader:
            held, peak = tracemalloc.get_traced_memory()
            assert len(next(iter(reader.frames())).metadata) == 1
    finally:
        tracemalloc.stop()
    assert held < 200 * many
    assert peak < 1000 * many


def test_the_same_bytes_in_the_other_order_are_another_number(tmp_path: Path) -> None:
    """256 in little endian has the bytes of 1 in big endian; the files of a folder share a memory."""
    for order, site in (("<", 256), (">", 1)):
        tifffile.imwrite(
            tmp_path / f"im_c000_z000_t000_p00{site % 2}.tif",
            PIXELS,
            byteorder=order,
            metadata=None,
            extratags=[(34016, 3, 1, site, True)],
        )
    with registry.get("tif_folder").open(tmp_path, ReaderOptions()) as reader:
        found = {f.coords.position: f.metadata for f in reader.frames()}
    assert [found[position]["Site"] for position in (0, 1)] == [256, 1]
