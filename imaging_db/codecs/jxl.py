"""JPEG XL: lossless, 8 and 16 bit, grey, grey with alpha, RGB, RGBA; smaller than PNG.

ISO/IEC 18181. The codestream has no checksum: what is cut off is refused here, a flipped bit is found by
the recorded hashes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imaging_db.codecs.announced import MOST_BYTES, check_announced
from imaging_db.codecs.jxl_header import announced
from imaging_db.errors import IntegrityError

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIX = ".jxl"
_FAST, _SURE = 1, 2  # libjxl's efforts; the second takes 14 times as long for 9 % smaller files
_GROUP = 256  # the side of the squares that are coded by themselves
_THREADS = 1  # the pool that calls us has one thread a core already
_LONGEST_SIDE = 2**30  # ISO/IEC 18181-1, level 10
_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"


def available() -> bool:
    """Return True where imagecodecs was built with JPEG XL, as its wheels are."""
    import imagecodecs

    return bool(imagecodecs.JPEGXL.available)


def recognises(data: bytes) -> bool:
    """Return True for the first bytes of a JPEG XL, bare or in its container (ISO/IEC 18181-2)."""
    return data.startswith((_CODESTREAM, _CONTAINER))


def holds(dtype: str, shape: tuple[int, ...]) -> bool:
    """Return True where JPEG XL keeps frames of this type and shape ``(Y, X)`` or ``(Y, X, S)`` exactly."""
    colors = shape[2] if len(shape) == 3 else 1
    sides = min(shape) >= 1 and max(shape[:2]) <= _LONGEST_SIDE
    return sides and dtype in ("bool", "uint8", "uint16") and colors <= 4


def encode(pixels: npt.NDArray[Any]) -> bytes:
    """Return a lossless JPEG XL of an array ``(Y, X)`` or ``(Y, X, S)``; bool as 0 and 1.

    The same bytes at every call, read back and compared before they are given away: the fast encoder of
    libjxl (0.11 at least) changes pixels of some pictures of few colours. The interpreter lock is free
    meanwhile.

    Raises
    ------
    IntegrityError
        The pixels did not come back.
    """
    import imagecodecs
    import numpy as np

    samples = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    native = np.ascontiguousarray(samples, samples.dtype.newbyteorder("="))
    for effort in _efforts(native):
        try:
            data = bytes(
                imagecodecs.jpegxl_encode(native, lossless=True, effort=effort, numthreads=_THREADS)
            )
        except imagecodecs.JpegxlError:
            continue
        larger = len(data) > native.nbytes and effort != _SURE  # of noise in all bits
        if not larger and _gives_back(data, native):
            return data
    raise IntegrityError("JPEG XL did not give the pixels back", hint="use --codec png")


def _efforts(pixels: npt.NDArray[Any]) -> tuple[int, ...]:
    """Return which efforts to try, in order.

    For a picture of one group the fast encoder reserves 16 bits a sample and needs up to 24 for noise of
    16 bits: it writes past the end of its memory (`PrepareDCGlobalCommon` in enc_fast_lossless.cc).
    """
    one_group = max(pixels.shape[:2]) <= _GROUP
    return (_SURE,) if one_group and pixels.itemsize > 1 else (_FAST, _SURE)


def _gives_back(data: bytes, pixels: npt.NDArray[Any]) -> bool:
    import numpy as np

    try:
        return np.array_equal(decode(data, most_bytes=pixels.nbytes), pixels)
    except (ValueError, RuntimeError):
        return False


def decode(data: bytes, *, most_bytes: int = MOST_BYTES) -> npt.NDArray[Any]:
    """Return the pixels of a JPEG XL: ``(Y, X)`` or ``(Y, X, S)``, native byte order.

    Raises
    ------
    ValueError, RuntimeError
        No JPEG XL, cut off, damaged so that it cannot be decoded, or larger than ``most_bytes``.
    """
    import imagecodecs

    check_announced(announced(data), most_bytes)
    pixels: npt.NDArray[Any] = imagecodecs.jpegxl_decode(data, numthreads=_THREADS)
    return pixels
