"""TIFF with deflate and predictor: every type, kept exactly."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from imaging_db.codecs.announced import MOST_BYTES, check_announced

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIX = ".tif"
_PREDICTORS = {"i": 2, "u": 2, "f": 3}  # horizontal differences; floating point (TIFF Tech Note 3)


def holds(dtype: str, shape: tuple[int, ...]) -> bool:
    """Return True for the numbers that a TIFF page keeps exactly; bool is kept as 0 and 1."""
    import numpy as np

    kind = np.dtype(dtype)
    return (
        min(shape) >= 1 and kind.kind in "biufc" and kind.itemsize <= 16 and kind.name != "float128"
    )


def encode(pixels: npt.NDArray[Any]) -> bytes:
    """Return a one-page TIFF of an array ``(Y, X)`` or ``(Y, X, S)``; the same bytes at every call.

    One sample a pixel, ``(Y, X, 1)``, comes back as ``(Y, X)``.
    """
    import numpy as np
    import tifffile

    samples = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    target = io.BytesIO()
    tifffile.imwrite(
        target,
        samples,
        byteorder="<",
        photometric="minisblack",
        planarconfig="contig" if samples.ndim == 3 else None,
        compression="zlib",
        compressionargs={"level": 1},
        predictor=_PREDICTORS.get(samples.dtype.kind),
        metadata=None,
        software="",
    )
    return target.getvalue()


def decode(data: bytes, *, most_bytes: int = MOST_BYTES) -> npt.NDArray[Any]:
    """Return the pixels of the first page, native byte order.

    Raises
    ------
    ValueError
        The page is larger than ``most_bytes``; others are raised for data that are no TIFF, or damaged.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        check_announced(page.nbytes, most_bytes)
        if len(page.dataoffsets) != math.prod(page.chunked):  # the others would be read as zeros
            raise ValueError(
                f"it lists {len(page.dataoffsets)} of {math.prod(page.chunked)} strips"
            )
        pixels: npt.NDArray[Any] = page.asarray()
    return pixels
