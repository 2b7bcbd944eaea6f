"""PNG: 8 and 16 bit, grey, grey with alpha, RGB, RGBA; lossless and readable by everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imaging_db.codecs import deflate, kernel, png_native, png_numpy
from imaging_db.codecs.announced import MOST_BYTES, check_announced
from imaging_db.codecs.png_chunks import announced

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIX = ".png"

_LONGEST_SIDE = 1_000_000  # more is refused by libpng, whoever reads it


def holds(dtype: str, shape: tuple[int, ...]) -> bool:
    """Return True where PNG keeps frames of this type and shape ``(Y, X)`` or ``(Y, X, S)`` exactly."""
    colors = shape[2] if len(shape) == 3 else 1
    sides = max(shape[:2]) <= _LONGEST_SIDE
    return sides and dtype in ("bool", "uint8", "uint16") and 1 <= colors <= 4


def encoder() -> str:
    """Return what PNGs are made with here, for people."""
    if kernel.native is not None:
        return "native kernel"
    return f"numpy and {deflate.installed().module.__name__.split('.')[0]}, no native kernel"


def encode(pixels: npt.NDArray[Any]) -> bytes:
    """Return a PNG of an array ``(Y, X)`` or ``(Y, X, S)``, bool, uint8 or uint16; bool as 0 and 1.

    Any strides and byte order; the same pixels give the same bytes on the same installation.
    """
    if kernel.native is not None:
        data = png_native.encode(kernel.native, pixels)
        if data is not None:
            return data
    return png_numpy.encode(pixels, deflate=deflate.installed())


def decode(data: bytes, *, most_bytes: int = MOST_BYTES) -> npt.NDArray[Any]:
    """Return the pixels of a PNG: ``(Y, X)`` or ``(Y, X, S)``, uint8 or uint16, native byte order.

    Raises
    ------
    ValueError
        The data are no PNG, were cut off or altered, or its pixels are more than ``most_bytes``.
    """
    check_announced(announced(data), most_bytes)
    return png_numpy.decode(data, deflate=deflate.installed(), native=kernel.native)
