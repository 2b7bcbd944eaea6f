"""The 1st and the 99th percentile of a frame: what contrast is scaled from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

# A sixteenth of the rows tells as much, for a sixteenth of the time; of few rows all count.
_STEP, _FEW_ROWS = 16, 64
_COUNTED_BYTES = 4  # of the widest integers that are counted instead of put in order


def percentile_rows(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the rows that percentiles are taken from: every sixteenth, of frames under 64 rows all."""
    return pixels[:: _STEP if len(pixels) >= _FEW_ROWS else 1]


def percentiles(pixels: npt.NDArray[Any]) -> tuple[float, float] | None:
    """Return the 1st and 99th percentile of the samples of `percentile_rows`; None where none is finite.

    Each is a grey value that occurs: of n samples in order, from 0, that of number ``(n - 1) * 1 // 100``
    and ``(n - 1) * 99 // 100``, which NumPy calls the method ``lower``. Only finite samples count.
    """
    import numpy as np

    rows = percentile_rows(pixels)
    if rows.dtype.kind == "f":
        samples = rows[np.isfinite(rows)]
        return _of_order(samples) if samples.size else None
    samples = rows.view(np.uint8) if rows.dtype == np.bool_ else rows
    lowest, highest = int(samples.min()), int(samples.max())
    if samples.dtype.itemsize <= _COUNTED_BYTES and highest - lowest < samples.size:
        return _of_counts(samples, lowest)
    return _of_order(samples.reshape(-1))


def _ranks(size: int) -> tuple[int, int]:
    return (size - 1) // 100, (size - 1) * 99 // 100


def _of_counts(samples: npt.NDArray[Any], lowest: int) -> tuple[float, float]:
    """Return them of integers that lie close together, by counting how often each occurs."""
    import numpy as np

    values, least = samples.reshape(-1), 0
    if samples.dtype.name not in ("uint8", "uint16"):  # these are counted from 0, without a copy
        values, least = values.astype(np.int64) - lowest, lowest
    places = np.cumsum(np.bincount(values)).searchsorted(_ranks(values.size), side="right")
    low, high = (float(least + int(place)) for place in places)
    return low, high


def _of_order(samples: npt.NDArray[Any]) -> tuple[float, float]:
    """Return them of samples of any type, by putting them in order as far as needed."""
    import numpy as np

    low, high = _ranks(samples.size)
    ordered = np.partition(samples, sorted({low, high}))
    return float(ordered[low]), float(ordered[high])
