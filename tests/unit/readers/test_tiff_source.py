"""TiffSource: pages, tags and pixels of one TIFF file, and what is refused."""

from __future__ import annotations

import logging
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from imaging_db.errors import CorruptSource, ReaderError, SourceChanged, UnsupportedFormat
from imaging_db.model import sha256_of_pixels
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.tiff_source import TiffSource
from tests.support.corpus import DATA, truth
from tests.support.ometiff import planes, write_pages

FRAMES = truth(DATA, "FRAMES.csv")

ENCODINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "rows": {"rowsperstrip": 7},
    "lzw": {"compression": "lzw"},
    "lzw with predictor": {"compression": "lzw", "predictor": True, "byteorder": ">"},
    "deflate": {"compression": "zlib", "rowsperstrip": 10},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
    "lossless jpeg 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "tiles": {"tile": (16, 32)},
    "compressed tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "white is zero": {"photometric": "miniswhite"},
}


@pytest.mark.fault("I-6")
@pytest.mark.parametrize("options", ENCODINGS.values(), ids=ENCODINGS)
def test_the_same_pixels_come_out_of_every_encoding(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    pages = planes(3, shape=(37, 45))
    path = write_pages(tmp_path / "a.tif", pages, **options)
    with TiffSource(path) as source:
        assert len(source) == 3
        for index, page in enumerate(pages):
            np.testing.assert_array_equal(source.read(index), page, strict=True)


@pytest.mark.fault("I-5")
@pytest.mark.parametrize(
    "dtype",
    [
        *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    ],
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_type_keeps_its_values(tmp_path: Path, dtype: str, byteorder: str) -> None:
    page = (np.arange(7 * 9).reshape(7, 9) - 20).astype(dtype)
    path = write_pages(tmp_path / "a.tif", [page], byteorder=byteorder)
    with TiffSource(path) as source:
        assert source.page(0).dtype == dtype
        np.testing.assert_array_equal(source.read(0), page, strict=True)


def test_nan_and_infinities_survive(tmp_path: Path) -> None:
    page = np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)
    with TiffSource(write_pages(tmp_path / "a.tif", [page])) as source:
        assert source.read(0).tobytes() == page.tobytes()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_are_the_last_axis(tmp_path: Path, planar: str, samples: int, dtype: str) -> None:
    page = planes(1, shape=(11, 13, samples), dtype=dtype)[0]
    stored = np.moveaxis(page, -1, 0) if planar == "separate" else page
    extra = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    options = {"photometric": "rgb", "planarconfig": planar, "rowsperstrip": 4, **extra}
    with TiffSource(write_pages(tmp_path / "a.tif", [stored], **options)) as source:
        assert source.page(0).shape == (11, 13, samples)
        np.testing.assert_array_equal(source.read(0), page, strict=True)


def test_palette_indices_are_the_pixels(tmp_path: Path) -> None:
    page = planes(1, shape=(9, 9), dtype="uint8")[0]
    colours = np.zeros((3, 256), np.uint16)
    path = write_pages(tmp_path / "a.tif", [page], photometric="palette", colormap=colours)
    with TiffSource(path) as source:
        assert source.page(0).photometric == "PALETTE"
        np.testing.assert_array_equal(source.read(0), page, strict=True)
        assert "ColorMap" not in source.tags(0)


def test_jpeg_gives_what_its_decoder_gives(tmp_path: Path) -> None:
    page = planes(1, shape=(64, 64, 3), dtype="uint8")[0]
    path = write_pages(tmp_path / "a.tif", [page], photometric="rgb", compression="jpeg")
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0), tifffile.imread(path), strict=True)


@pytest.mark.parametrize(("name", "rows"), FRAMES.items(), ids=lambda value: str(value)[-40:])
def test_real_files_read_as_they_are_known_to(
    name: tuple[str, str], rows: list[dict[str, str]]
) -> None:
    path = DATA.joinpath(*name)
    if "loop" in path.name:
        with pytest.raises(CorruptSource, match="start over"):
            TiffSource(path)
        return
    with TiffSource(path) as source:
        assert len(source) == len(rows)
        for row in rows:
            page = int(row["page"])
            assert sha256_of_pixels(source.read(page)) == row["sha256_pixels_le"]
            assert source.page(page).dtype == row["dtype"]


def test_every_real_page_of_the_large_corpus(shared_data: Path | None) -> None:
    if shared_data is None:
        return  # its smaller part was read above
    for (dataset, name), rows in truth(shared_data, "FRAMES.csv").items():
        path = shared_data / dataset / name
        if path.suffix == ".gz" or "loop" in name:
            continue
        with TiffSource(path) as source:
            assert len(source) == len(rows), path
            for row in rows:
                pixels = source.read(int(row["page"]))
                assert sha256_of_pixels(pixels) == row["sha256_pixels_le"], (path, row["page"])


def test_the_corrupt_corpus_is_refused_by_name() -> None:
    readable = {name for _, name in FRAMES if "loop" not in name}
    damaged = [p for p in (DATA / "corrupt_pillow").glob("*.tif*") if p.name not in readable]
    assert len(damaged) >= 9
    for path in damaged:
        with pytest.raises(ReaderError, match=path.name), TiffSource(path) as source:
            for page in range(len(source)):
                source.read(page)


class TestRefusals:
    @pytest.mark.fault("I-2")
    def test_what_is_no_regular_file(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedFormat, match="is a directory"):
            TiffSource(tmp_path)

    @pytest.mark.fault("I-2")
    def test_a_pipe_does_not_block(self, tmp_path: Path) -> None:
        import os

        if not hasattr(os, "mkfifo"):
            return  # Windows has no such files
        pipe = tmp_path / "pipe.tif"
        os.mkfifo(pipe)
        with pytest.raises(UnsupportedFormat, match="is a pipe"):
            TiffSource(pipe)

    @pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0"])
    def test_a_few_bytes(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "a.tif"
        path.write_bytes(data)
        with pytest.raises(CorruptSource, match=r"a\.tif"):
            TiffSource(path)

    def test_text_and_other_formats(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        path.write_text("not an image")
        with pytest.raises(UnsupportedFormat, match="not a TIFF file"):
            TiffSource(path)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
        with pytest.raises(UnsupportedFormat, match="unsupported format PNG"):
            TiffSource(path)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(CorruptSource, match="No such file"):
            TiffSource(tmp_path / "a.tif")

    def test_a_frame_above_the_limit(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(1, shape=(100, 100)))
        with pytest.raises(UnsupportedFormat, match=r"page 0: asks for 19\.5 KiB") as refused:
            TiffSource(path, ReadLimits(max_frame_bytes=19_999))
        assert "max_frame_bytes" in refused.value.hint
        TiffSource(path, ReadLimits(max_frame_bytes=20_000)).close()

    def test_more_pages_than_the_limit(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(4))
        with pytest.raises(UnsupportedFormat, match="more than 3 pages"):
            TiffSource(path, ReadLimits(max_frames=3))

    def test_a_header_that_asks_for_more_than_its_bytes_can_hold(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", [np.zeros((64, 64), np.uint8)], compression="zlib")
        with tifffile.TiffFile(path, mode="r+") as file:
            for name in ("ImageLength", "ImageWidth", "RowsPerStrip"):
                file.pages[0].tags[name].overwrite(30_000)
        with pytest.raises(CorruptSource, match="cannot hold"):
            TiffSource(path)

    @pytest.mark.fault("I-8")
    def test_a_legitimate_thousandfold_compression(self, tmp_path: Path) -> None:
        page = np.zeros((4000, 2000), np.uint8)
        path = write_pages(tmp_path / "a.tif", [page], compression="zlib")
        assert path.stat().st_size < page.nbytes / 500
        with TiffSource(path) as source:
            assert not source.read(0).any()

    def test_an_unknown_compression(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(1))
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[0].tags["Compression"].overwrite(34713)
        with pytest.raises(UnsupportedFormat, match="page 0: compression"):
            TiffSource(path)

    def test_a_compression_whose_decoder_is_not_safe(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(1), compression="jpegxr")
        with pytest.raises(UnsupportedFormat, match="page 0: compression JPEGXR is not read"):
            TiffSource(path)

    def test_a_volume_in_one_page(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, planes(4, shape=(16, 16)), volumetric=True, photometric="minisblack")
        with pytest.raises(UnsupportedFormat, match="page 0: is a volume 4 deep"):
            TiffSource(path)

    def test_damaged_compressed_pixels(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(1, shape=(50, 50)), compression="zlib")
        with tifffile.TiffFile(path) as file:
            start = file.pages[0].dataoffsets[0]
        data = bytearray(path.read_bytes())
        data[start + 2 : start + 40] = bytes(38)
        path.write_bytes(data)
        with TiffSource(path) as source, pytest.raises(CorruptSource, match="page 0: is damaged"):
            source.read(0)

    def test_a_strip_that_is_not_there(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(1, shape=(50, 50)), rowsperstrip=10)
        with tifffile.TiffFile(path, mode="r+") as file:
            tag = file.pages[0].tags["StripByteCounts"]
            tag.overwrite((*tag.value[:-1], 0))
        with pytest.raises(CorruptSource, match="without data"):
            TiffSource(path)

    def test_a_strip_that_lies_in_another_page(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(3, shape=(50, 50)))
        with tifffile.TiffFile(path, mode="r+") as file:
            other = file.pages[0].dataoffsets[0] + 16
            file.pages[2].tags["StripOffsets"].overwrite(other)
        with pytest.raises(CorruptSource, match="page 2: its pixels overlap"):
            TiffSource(path)

    def test_pages_may_share_all_their_pixels(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(3, shape=(50, 50)))
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages[2].tags["StripOffsets"].overwrite(file.pages[0].dataoffsets[0])
        with TiffSource(path) as source:
            np.testing.assert_array_equal(source.read(2), source.read(0))


class TestChain:
    def test_a_link_beyond_the_end(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(3))
        data = bytearray(path.read_bytes())
        at = _link_after(path, page=1)
        struct.pack_into("<I", data, at, len(data) + 100)
        path.write_bytes(data)
        with pytest.raises(CorruptSource, match="page 2: should begin at byte"):
            TiffSource(path)

    @pytest.mark.fault("I-8")
    def test_a_link_back(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(3))
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, _link_after(path, page=2), struct.unpack("<I", data[4:8])[0])
        path.write_bytes(data)
        with pytest.raises(CorruptSource, match="after page 2 its pages start over"):
            TiffSource(path)

    def test_a_link_into_zeros(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(2))
        data = bytearray(path.read_bytes()) + bytes(10_000)
        struct.pack_into("<I", data, _link_after(path, page=1), len(data) - 5_000)
        path.write_bytes(data)
        with pytest.raises(CorruptSource, match="page 2: its list of tags"):
            TiffSource(path)

    def test_garbage_at_the_end_does_no_harm(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(3))
        path.write_bytes(path.read_bytes() + b"garbage" * 100)
        with TiffSource(path) as source:
            assert len(source) == 3

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    @pytest.mark.parametrize("bigtiff", [False, True])
    def test_every_truncation_is_seen(self, tmp_path: Path, byteorder: str, bigtiff: bool) -> None:
        path = tmp_path / "a.tif"
        write_pages(path, planes(5, shape=(20, 30)), byteorder=byteorder, bigtiff=bigtiff)
        data = path.read_bytes()
        for part in range(1, 40):
            path.write_bytes(data[: len(data) * part // 40])
            with pytest.raises(CorruptSource):
                TiffSource(path)

    def test_pyramid_levels_are_no_pages(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as file:
            for plane in planes(2, shape=(64, 64)):
                file.write(plane, subifds=1, metadata=None, tile=(16, 16), contiguous=False)
                file.write(plane[::2, ::2], subfiletype=1, metadata=None, tile=(16, 16))
        with TiffSource(path) as source:
            assert [page.shape for page in source.pages()] == [(64, 64)] * 2

    def test_reduced_pages_are_marked(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(planes(1, shape=(64, 64))[0], metadata=None)
            file.write(planes(1, shape=(32, 32))[0], subfiletype=1, metadata=None)
        with TiffSource(path) as source:
            assert [page.is_reduced for page in source.pages()] == [False, True]


class TestImageJStacks:
    def test_planes_behind_one_page_are_pages(self, tmp_path: Path) -> None:
        pages = planes(7, shape=(10, 12))
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "ZYX"}, truncate=True)
        with tifffile.TiffFile(path) as file:
            assert len(file.pages) == 1  # what this test is about
        with TiffSource(path) as source:
            assert source.is_imagej
            assert source.imagej["images"] == "7"
            assert len(source) == 7
            for index, page in enumerate(pages):
                np.testing.assert_array_equal(source.read(index), page, strict=True)

    def test_truncation_is_seen(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        pages = planes(7, shape=(40, 50))
        tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "ZYX"}, truncate=True)
        data = path.read_bytes()
        for part in range(1, 40):
            path.write_bytes(data[: len(data) * part // 40])
            with pytest.raises(CorruptSource):
                TiffSource(path)

    def test_fewer_pages_than_promised(self, tmp_path: Path) -> None:
        text = "ImageJ=1.53t\nimages=5\nslices=5\n"
        path = write_pages(tmp_path / "a.tif", planes(3), text)
        with pytest.raises(CorruptSource, match="promises 5 images, lists 3 pages"):
            TiffSource(path)
        write_pages(path, planes(1), text)
        with pytest.raises(CorruptSource, match="promises 5 images, has room for 1"):
            TiffSource(path)

    def test_what_tifffile_truncates_is_whole(self, tmp_path: Path) -> None:
        pages = planes(6, shape=(10, 12))
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pages.reshape(2, 3, 10, 12), truncate=True, photometric="minisblack")
        with TiffSource(path) as source:
            assert len(source) == 6
            np.testing.assert_array_equal(source.read(5), pages[5])

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_info_and_labels(self, tmp_path: Path, byteorder: str) -> None:
        path = tmp_path / "a.tif"
        said = {"axes": "ZYX", "Info": "Gr\u00fc\u00dfe \u2603", "Labels": ["one", "two"]}
        tifffile.imwrite(path, planes(2), imagej=True, metadata=said, byteorder=byteorder)
        with TiffSource(path) as source:
            assert source.imagej_info() == "Gr\u00fc\u00dfe \u2603"
            assert source.imagej_labels() == ("one", "two")


class TestTags:
    def test_as_json_by_name(self, tmp_path: Path) -> None:
        tag = (51123, 2, 0, '{"ChannelIndex": 1}', True)
        block = (65000, 7, 4, b"\0\1\2\3", True)
        path = write_pages(
            tmp_path / "a.tif", planes(1), "text", extratags=[tag, block], resolution=(100, 50)
        )
        with TiffSource(path) as source:
            tags = source.tags(0)
        assert tags["MicroManagerMetadata"] == {"ChannelIndex": 1}
        assert tags["ImageDescription"] == "text"
        assert tags["ImageWidth"] == 6
        assert tags["XResolution"] == [100, 1]
        assert not {"StripOffsets", "StripByteCounts", "65000"} & set(tags)

    def test_single_values(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(2), "text")
        with TiffSource(path) as source:
            assert source.tag(0, 256) == 6
            assert source.tag(0, 51123) is None
            assert source.description(0) == "text"
            assert source.description(1) == ""
            with pytest.raises(IndexError):
                source.page(2)

    def test_text_that_is_not_utf8(self, tmp_path: Path) -> None:
        path = write_pages(
            tmp_path / "a.tif", planes(1), extratags=[(270, 2, 0, b"10 \xb5m", True)]
        )
        with TiffSource(path) as source:
            assert source.description(0) == "10 \u00b5m"


class TestThreads:
    @pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (32, 32)}])
    def test_many_threads_read_the_right_pages(
        self, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        pages = planes(40, shape=(70, 90))
        path = write_pages(tmp_path / "a.tif", pages, **options)
        gate = threading.Barrier(8)

        def check(offset: int) -> int:
            gate.wait(timeout=30)
            order = [(n * 7 + offset) % 40 for n in range(40)] * 4
            return sum(not np.array_equal(source.read(n), pages[n]) for n in order)

        with TiffSource(path) as source, ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(check, range(8))) == 0

    def test_without_a_handle_between_reads(self, tmp_path: Path) -> None:
        pages = planes(5)
        with TiffSource(write_pages(tmp_path / "a.tif", pages), keep_open=False) as source:
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(source.read, range(5)))
            assert all(map(np.array_equal, found, pages))


class TestChanges:
    def test_a_file_that_was_written_to(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(2))
        with TiffSource(path) as source:
            source.check_unchanged()
            write_pages(path, planes(3))
            with pytest.raises(SourceChanged, match=r"a\.tif"):
                source.check_unchanged()

    def test_a_file_that_was_replaced_between_reads(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(2))
        with TiffSource(path, keep_open=False) as source:
            other = write_pages(tmp_path / "b.tif", planes(2)[::-1])
            other.replace(path)
            with pytest.raises(SourceChanged):
                source.read(0)

    def test_a_file_that_shrank(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(2, shape=(100, 100)))
        with TiffSource(path) as source:
            with path.open("r+b") as stream:
                stream.truncate(1000)
            with pytest.raises(ReaderError):
                source.read(1)


def _link_after(path: Path, *, page: int) -> int:
    """Where in a classic little-endian file the link after a page stands."""
    with tifffile.TiffFile(path) as file:
        start = file.pages[page].offset
    data = path.read_bytes()
    (count,) = struct.unpack_from("<H", data, start)
    return int(start + 2 + count * 12)


def test_samples_that_are_unpacked_wrongly_are_refused(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", [np.arange(12, dtype=np.uint32).reshape(3, 4)])
    with tifffile.TiffFile(path) as file:
        bits = file.pages[0].tags[258].valueoffset  # type: ignore[union-attr]
    data = bytearray(path.read_bytes())
    data[bits] = 24
    path.write_bytes(data)
    with pytest.raises(UnsupportedFormat, match="page 0: whole numbers of 24 bits"):
        TiffSource(path)


def test_remarks_of_tifffile_stay_off_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(terminal)
    try:
        logging.getLogger("tifffile").warning("a remark")
        logging.getLogger("another").warning("another remark")
    finally:
        logging.getLogger().removeHandler(terminal)
    assert capsys.readouterr().err == "another remark\n"
