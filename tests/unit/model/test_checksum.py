"""Pixel hashes follow imagingDB's rule: C order, little endian, no header."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from imaging_db.model import is_sha256, sha256_of_pixels


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", ">f4", "i1", "?", "<c8"])
def test_byte_order_and_memory_order_do_not_count(dtype: str) -> None:
    pixels = (np.arange(60).reshape(4, 5, 3) % 2).astype(dtype)
    little = pixels.astype(pixels.dtype.newbyteorder("<"))
    expected = hashlib.sha256(little.tobytes(order="C")).hexdigest()
    assert sha256_of_pixels(pixels) == expected
    assert sha256_of_pixels(np.asfortranarray(pixels)) == expected
    assert sha256_of_pixels(pixels[::-1][::-1]) == expected


def test_a_hash_is_64_lower_case_hex_digits() -> None:
    assert is_sha256("a" * 64)
    assert not is_sha256("A" * 64)
    assert not is_sha256("a" * 63)
    assert not is_sha256("a" * 64 + "\n")
