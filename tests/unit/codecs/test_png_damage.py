"""A PNG that was cut off or altered is refused; it never gives other pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from imaging_db.codecs import deflate, png, png_chunks, png_numpy
from tests.support.png_frames import Pixels, content

GREY = content("camera", (9, 11), 65535, 1).astype(np.uint16)
COLORS = content("ramp", (7, 8, 3), 255, 2).astype(np.uint8)
LIBRARIES = [deflate.installed(), deflate.standard()]


def png_of(stream: bytes, *, width: int = 4, height: int = 3) -> bytes:
    header = png_chunks.Header(width=width, height=height, bits=8, colors=1)
    return png_chunks.written(header, [stream], crc32=zlib.crc32)


def refused(data: bytes) -> list[str]:
    """Return why both libraries refuse these data."""
    reasons = []
    for library in LIBRARIES:
        with pytest.raises(ValueError) as caught:
            png_numpy.decode(data, deflate=library)
        reasons.append(str(caught.value))
    with pytest.raises(ValueError):
        png.decode(data)
    return reasons


@pytest.mark.parametrize("frame", [GREY, COLORS], ids=["grey", "colours"])
def test_no_byte_can_be_changed(frame: Pixels) -> None:
    data = png.encode(frame)
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            altered = bytearray(data)
            altered[at] ^= change
            with pytest.raises(ValueError):
                png.decode(bytes(altered))


@pytest.mark.parametrize("frame", [GREY, COLORS], ids=["grey", "colours"])
def test_no_byte_can_be_missing_or_added(frame: Pixels) -> None:
    data = png.encode(frame)
    for length in range(len(data)):
        with pytest.raises(ValueError):
            png.decode(data[:length])
    refused(data + b"\0")


def test_bytes_exchanged_under_a_right_crc_are_found_by_adler() -> None:
    stream = bytearray(zlib.compress(bytes(3 * 5)))
    stream[-1] ^= 1
    refused(png_of(bytes(stream)))


@pytest.mark.parametrize("rows", [2, 4])
def test_more_or_fewer_rows_than_the_header_says_are_refused(rows: int) -> None:
    for reason in refused(png_of(zlib.compress(bytes(rows * 5)))):
        assert "not as many as the header says" in reason


def test_a_stream_with_something_behind_it_is_refused() -> None:
    refused(png_of(zlib.compress(bytes(3 * 5)) + b"more"))


def test_a_stream_that_ends_early_is_refused() -> None:
    whole = zlib.compress(content("noise", (15,), 255, 1).astype(np.uint8).tobytes())
    for length in range(len(whole)):
        refused(png_of(whole[:length]))


def test_a_header_that_promises_more_than_deflate_can_hold_is_refused_before_memory_is_taken() -> (
    None
):
    for reason in refused(png_of(zlib.compress(bytes(15)), width=10**6, height=10**6)):
        assert "cannot hold" in reason


@pytest.mark.fault("S4")
def test_a_small_header_over_a_large_stream_takes_no_memory() -> None:
    for reason in refused(png_of(zlib.compress(bytes(10**7)))):
        assert "not as many as the header says" in reason


@pytest.mark.parametrize("filter_", [5, 255])
def test_a_filter_that_does_not_exist_is_refused(filter_: int) -> None:
    rows = b"".join(bytes([number, 1, 2, 3, 4]) for number in (0, filter_, 0))
    refused(png_of(zlib.compress(rows)))


@pytest.mark.parametrize(("width", "height"), [(0, 3), (4, 0)])
def test_a_picture_without_pixels_is_refused(width: int, height: int) -> None:
    refused(png_of(zlib.compress(b""), width=width, height=height))


def test_chunks_without_a_header_or_end_are_refused() -> None:
    data = png.encode(GREY)
    signature, rest = data[:8], data[8:]
    assert "cut off" in refused(signature)[0]
    assert "no header" in refused(signature + rest[25:])[0]
    assert "cut off" in refused(data[:-12])[0]
    assert "not begin as a PNG" in refused(b"GIF89a" + rest)[0]


def test_a_damaged_side_remark_is_refused_too() -> None:
    """Libpng would leave it out with a warning, and some of them change what the pixels mean."""
    remark = b"tEXtComment\0bright field"
    chunk = struct.pack(">I", len(remark) - 4) + remark + struct.pack(">I", zlib.crc32(remark))
    data = png.encode(GREY)
    with_remark = data[:33] + chunk + data[33:]
    assert (png.decode(with_remark) == GREY).all()
    refused(with_remark.replace(b"bright", b"bleach"))
