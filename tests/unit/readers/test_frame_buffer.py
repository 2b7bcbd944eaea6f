"""FrameBuffer: one piece of memory for frame after frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging_db.readers.frame_buffer import FrameBuffer, check_out
from imaging_db.readers.tiff_source import TiffSource
from tests.support.ometiff import planes, write_pages


def test_frames_of_one_size_share_their_memory() -> None:
    buffer = FrameBuffer()
    first = buffer.array((4, 5), "uint16")
    again = buffer.array((4, 5), "uint16")
    assert np.shares_memory(first, again)
    assert again.shape == (4, 5)
    assert again.dtype == np.uint16
    assert again.flags.c_contiguous
    assert again.flags.writeable


def test_the_memory_grows_and_serves_smaller_frames_of_other_types() -> None:
    buffer = FrameBuffer()
    small, large = buffer.array((2, 2), "uint8"), buffer.array((8, 8, 3), "float64")
    assert not np.shares_memory(small, large)
    assert np.shares_memory(buffer.array((3, 3), "complex64"), large)


def test_two_buffers_share_nothing() -> None:
    assert not np.shares_memory(
        FrameBuffer().array((4, 4), "uint8"), FrameBuffer().array((4, 4), "uint8")
    )


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((5, 4), np.uint16),
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5), ">u2"),
        np.zeros((4, 10), np.uint16)[:, ::2],
        np.zeros((5, 4), np.uint16).T,
    ],
    ids=["shape", "type", "byte order", "strides", "order"],
)
def test_memory_of_another_kind_is_refused(tmp_path: Path, out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be"):
        check_out(out, (4, 5), "uint16")
    path = write_pages(tmp_path / "a.tif", planes(1, shape=(4, 5)))
    with TiffSource(path) as source, pytest.raises(ValueError, match="must be"):
        source.read(0, out)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_layout_can_be_read_into_lent_memory(
    tmp_path: Path, byteorder: str, photometric: str, planar: str, compression: str | None
) -> None:
    colour = photometric == "rgb"
    shape = ((3, 9, 7) if planar == "separate" else (9, 7, 3)) if colour else (9, 7)
    options = {"planarconfig": planar} if colour else {}
    page = planes(1, shape=shape)[0]
    path = write_pages(
        tmp_path / "a.tif",
        [page],
        byteorder=byteorder,
        photometric=photometric,
        compression=compression,
        **options,
    )
    expected = np.moveaxis(page, 0, -1) if colour and planar == "separate" else page
    out = np.full(expected.shape, 0xA5A5, np.uint16)
    with TiffSource(path) as source:
        assert source.read(0, out) is out
    np.testing.assert_array_equal(out, expected)
