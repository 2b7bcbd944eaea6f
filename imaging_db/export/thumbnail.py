"""Thumbnails: a frame, shrunk and brought to 8 bits to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SIDE = 168
"""The longer side of a thumbnail, in pixels of the sheet."""


def shrunk(pixels: npt.NDArray[Any], side: int) -> npt.NDArray[np.float32]:
    """Return a frame whose longer side is ``side`` at most, ``(Y, X)`` or ``(Y, X, 3)``: means of areas.

    Alpha is left out; of complex numbers the size is shown.
    """
    import numpy as np

    samples = np.abs(pixels) if pixels.dtype.kind == "c" else pixels
    if samples.ndim == 3:
        samples = samples[..., :3] if samples.shape[2] >= 3 else samples[..., 0]
    samples = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    height, width = samples.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return samples.astype(np.float32)
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    if samples.ndim == 2:
        return _means(samples, size)
    return np.stack([_means(samples[..., color], size) for color in range(3)], axis=-1)


def _means(samples: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the means of ``size`` (columns, rows) areas; at their edges samples count in part."""
    import numpy as np
    from PIL import Image

    with np.errstate(over="ignore"):
        image = Image.fromarray(samples.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def scaled(thumbnail: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return it with ``low`` as black and ``high`` as white; what is not finite is black."""
    import numpy as np

    width = max(high - low, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = (thumbnail.astype(np.float64) - low) / width
    whole = np.nan_to_num(np.clip(shares, 0, 1), nan=0.0) * 255
    return np.rint(whole).astype(np.uint8)
