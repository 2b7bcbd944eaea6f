"""Smaller copies of a plane: each pixel the mean of two by two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

_SMALL_ENOUGH = 256


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Return height and width of every level: the full size, then halves until both are 256 or less."""
    sizes = [(height, width)]
    while max(sizes[-1]) > _SMALL_ENOUGH:
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def halved(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the mean of two by two pixels along the last two axes, in the same type.

    Whole numbers are rounded, halves up. Where a side is odd, the last pixel is the mean of what is left.
    """
    import numpy as np

    odd = [(0, 0)] * (pixels.ndim - 2) + [(0, side % 2) for side in pixels.shape[-2:]]
    even = np.pad(pixels, odd, mode="edge") if any(after for _, after in odd) else pixels
    quarters = [even[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]
    if pixels.dtype.kind in "fc":
        wide = np.result_type(pixels.dtype, np.float32)
        with np.errstate(all="ignore"):  # infinities of both signs
            return np.asarray(sum(one.astype(wide) / 4 for one in quarters)).astype(pixels.dtype)
    if pixels.dtype.itemsize == 8:  # whose sum may be too large for any type
        whole = sum(one // 4 for one in quarters)
        rest = sum(one % 4 for one in quarters)
        return np.asarray(whole + (rest + 2) // 4).astype(pixels.dtype)
    wide = np.dtype(np.int64 if pixels.dtype.itemsize == 4 else np.int32)
    total = np.full(quarters[0].shape, 2, dtype=wide)
    for one in quarters:
        total += one
    return np.asarray(total // 4).astype(pixels.dtype)
