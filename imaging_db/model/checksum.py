"""Checksums: one algorithm, SHA-256, of pixels and of bytes."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

_HEX = re.compile(r"[0-9a-f]{64}")


def sha256_of_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_pixels(pixels: npt.NDArray[Any]) -> str:
    """Return the hex SHA-256 of an array's pixels: C order, little endian, without header.

    The rule is imagingDB's, so hashes that it stored can be compared. No copy is made of an array
    that is contiguous and little endian already.
    """
    import numpy as np  # 70 ms that `--help` need not pay

    little = pixels.astype(pixels.dtype.newbyteorder("<"), order="C", copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).view(np.uint8).data).hexdigest()


def is_sha256(text: str) -> bool:
    """Return True where ``text`` is 64 lower-case hex digits."""
    return _HEX.fullmatch(text) is not None
