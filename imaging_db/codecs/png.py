"""PNG: 8 and 16 bit, grey, grey with alpha, RGB, RGBA; lossless and readable by everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIX = ".png"
# Fast settings for camera noise: rows as differences to the row above, run lengths, one deflate pass.
_LEVEL, _RLE, _UP = 1, 3, 32


_LONGEST_SIDE = 1_000_000  # more is refused by libpng, whoever reads it


def holds(dtype: str, shape: tuple[int, ...]) -> bool:
    """Return True where PNG keeps frames of this type and shape ``(Y, X)`` or ``(Y, X, S)`` exactly."""
    colors = shape[2] if len(shape) == 3 else 1
    sides = max(shape[:2]) <= _LONGEST_SIDE
    return sides and dtype in ("bool", "uint8", "uint16") and 1 <= colors <= 4


def encode(pixels: npt.NDArray[Any]) -> bytes:
    """Return a PNG of an array ``(Y, X)`` or ``(Y, X, S)``, bool, uint8 or uint16; bool as 0 and 1."""
    import imagecodecs
    import numpy as np

    samples = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
    return bytes(
        imagecodecs.png_encode(np.ascontiguousarray(samples), _LEVEL, strategy=_RLE, filter=_UP)
    )


def decode(data: bytes) -> npt.NDArray[Any]:
    """Return the pixels of a PNG: ``(Y, X)`` or ``(Y, X, S)``, uint8 or uint16, native byte order."""
    import imagecodecs

    pixels: npt.NDArray[Any] = imagecodecs.png_decode(data)
    return pixels
