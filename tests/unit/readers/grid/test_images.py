"""Images by themselves: decoded exactly, or refused; never filled up, never converted."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.grid.images import image_in, opened_image
from tests.support.made_tiles import Pixels, encoded, plane_at, write_image

LIMITS = ReadLimits()


def read(path: Path) -> Pixels:
    with opened_image(path, LIMITS) as image:
        pixels = image.read()
        assert (image.shape, image.dtype) == (pixels.shape, pixels.dtype.name)
        assert image.nbytes == pixels.nbytes
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("colors", [1, 3])
def test_pixels_come_back_exactly(tmp_path: Path, suffix: str, dtype: str, colors: int) -> None:
    pixels = plane_at(33, 21, dtype=dtype, colors=colors)
    assert np.array_equal(read(write_image(tmp_path / f"a{suffix}", pixels)), pixels)


@pytest.mark.parametrize("dtype", ["uint32", "uint64", "int16", "int32", "float32", "float64"])
def test_wide_types_come_back_exactly_from_tiff(tmp_path: Path, dtype: str) -> None:
    pixels = plane_at(33, 21, dtype=dtype)
    found = read(write_image(tmp_path / "a.tif", pixels))
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


def test_big_endian_tiff_becomes_native(tmp_path: Path) -> None:
    pixels = plane_at(9, 7, dtype="uint16")
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=">")
    assert np.array_equal(read(tmp_path / "a.tif"), pixels)


def test_jpeg_comes_as_it_decodes(tmp_path: Path) -> None:
    grey = np.repeat(np.arange(64, dtype=np.uint8)[:, np.newaxis], 48, axis=1)
    path = write_image(tmp_path / "a.jpg", grey)
    assert np.array_equal(read(path), imagecodecs.jpeg8_decode(path.read_bytes()))
    colour = write_image(tmp_path / "b.jpeg", np.dstack([grey, grey, grey]))
    assert read(colour).shape == (64, 48, 3)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    pixels = plane_at(9, 7)
    path = tmp_path / "tile.tif"
    path.write_bytes(encoded(pixels, ".png"))
    assert np.array_equal(read(path), pixels)


def test_bytes_are_read_as_files_are() -> None:
    tiff = io.BytesIO()
    pixels = plane_at(9, 7, dtype="float32")
    tifffile.imwrite(tiff, pixels)
    with image_in(tiff.getvalue(), "https://host/tile.tif", LIMITS) as image:
        assert np.array_equal(image.read(), pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.97])
def test_an_image_that_is_cut_off_is_refused_by_name(
    tmp_path: Path, suffix: str, part: float
) -> None:
    path = write_image(tmp_path / f"a{suffix}", plane_at(64, 64))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ReaderError, match=f"a{suffix}"):
        read(path)


def test_a_file_whose_end_was_never_written_is_refused(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        path = write_image(tmp_path / f"a{suffix}", plane_at(64, 64))
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        with pytest.raises(CorruptSource, match="cut off"):
            read(path)


def test_a_png_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", plane_at(64, 64))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptSource, match=r"a.png: is damaged"):
        read(path)


def test_a_png_with_fewer_lines_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(zlib.compress(bytes(10 * 65)), width=64, height=64))
    with pytest.raises(CorruptSource, match="Not enough image data"):
        read(path)


@pytest.mark.parametrize(("mode", "told"), [("1", "has 1 bits a pixel"), ("P", "has a palette")])
def test_a_png_that_would_have_to_be_converted_is_refused(
    tmp_path: Path, mode: str, told: str
) -> None:
    PillowImage.fromarray(plane_at(16, 16)).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(UnsupportedFormat, match=told):
        read(tmp_path / "a.png")


def test_a_jpeg_in_four_colours_is_refused(tmp_path: Path) -> None:
    PillowImage.fromarray(plane_at(16, 16, colors=3)).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(UnsupportedFormat, match="8 bits and 4 colours"):
        read(tmp_path / "a.jpg")


def test_a_jpeg_without_a_frame_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\4ab\xff\xd9")
    with pytest.raises(CorruptSource, match="no frame header"):
        read(tmp_path / "a.jpg")


def test_a_tiff_of_several_pages_is_no_tile(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    with pytest.raises(UnsupportedFormat, match="holds 3 pages, one image is needed"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<html>not found</html>", "is no image that is known here"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "is HDF5 or Imaris"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "tile.png"
    path.write_bytes(data)
    with pytest.raises(ReaderError, match=f"tile.png: {told}"):
        read(path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptSource, match=r"absent.png: cannot be opened"):
        read(tmp_path / "absent.png")


def test_errors_of_bytes_name_their_address() -> None:
    cut = encoded(plane_at(8, 8), ".png")[:-1]
    with (
        pytest.raises(CorruptSource, match=r"^https://host/0.png: the PNG is cut off"),
        image_in(cut, "https://host/0.png", LIMITS),
    ):
        pass


def test_a_header_of_any_size_is_read_without_memory_for_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of(zlib.compress(b""), width=2**31 - 1, height=2**31 - 1))
    with opened_image(path, LIMITS) as image:
        assert image.shape == (2**31 - 1, 2**31 - 1)


def png_of(stream: bytes, *, width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    made = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)
