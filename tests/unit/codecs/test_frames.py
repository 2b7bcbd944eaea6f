"""Whatever a microscope writes comes back with every bit, or is refused by name."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from imaging_db.codecs import codec_for, decode_frame, encode_frame
from imaging_db.errors import IntegrityError, UsageError
from imaging_db.model import sha256_of_pixels

TYPES = [
    "bool",
    "uint8",
    "uint16",
    "int8",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
]
shapes = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda yx: st.sampled_from([yx, (*yx, 2), (*yx, 3), (*yx, 4), (*yx, 7)])
)
frames = st.tuples(st.sampled_from(TYPES), shapes).flatmap(
    lambda kind: hnp.arrays(dtype=kind[0], shape=kind[1])
)


@settings(max_examples=150, deadline=None)
@given(frames)
def test_every_type_and_shape_comes_back_bit_exact(pixels: npt.NDArray[np.generic]) -> None:
    encoded = encode_frame(pixels)
    back = decode_frame(encoded.data, dtype=pixels.dtype.name)
    assert back.dtype == pixels.dtype
    assert back.shape == pixels.shape
    assert back.tobytes() == pixels.tobytes()
    assert encode_frame(pixels).data == encoded.data


@pytest.mark.parametrize(
    ("dtype", "shape", "codec"),
    [
        ("uint8", (8, 9), "png"),
        ("uint16", (8, 9, 4), "png"),
        ("bool", (8, 9), "png"),
        ("int8", (8, 9), "tiff"),
        ("int16", (8, 9), "tiff"),
        ("float32", (8, 9, 3), "tiff"),
        ("uint8", (8, 9, 5), "tiff"),
        ("uint8", (1, 1_000_001), "tiff"),
    ],
)
def test_png_where_it_can_tiff_where_it_must(
    dtype: str, shape: tuple[int, ...], codec: str
) -> None:
    assert codec_for(dtype, shape) == codec


@pytest.mark.parametrize("dtype", ["float128", "datetime64", "object", "S3"])
def test_a_type_that_no_codec_keeps_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(UsageError, match=dtype):
        codec_for(dtype, (8, 9))


def test_pillow_reads_what_we_write() -> None:
    grey16 = np.arange(0, 60000, 100, dtype=np.uint16).reshape(20, 30)
    rgb8 = np.arange(1800, dtype=np.uint16).astype(np.uint8).reshape(20, 30, 3)
    for pixels in (grey16, rgb8):
        with Image.open(io.BytesIO(encode_frame(pixels).data)) as image:
            assert sha256_of_pixels(np.asarray(image).astype(pixels.dtype)) == sha256_of_pixels(
                pixels
            )


@pytest.mark.parametrize("damage", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_an_integrity_error(damage: bytes) -> None:
    with pytest.raises(IntegrityError, match="key cannot be decoded"):
        decode_frame(damage, where="key")


def test_a_truncated_frame_is_an_integrity_error() -> None:
    for pixels in (np.ones((50, 50), np.uint16), np.ones((50, 50), np.float32)):
        data = encode_frame(pixels).data
        with pytest.raises(IntegrityError):
            decode_frame(data[: len(data) // 2])
