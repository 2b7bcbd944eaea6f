"""The quality of a frame, measured while its pixels are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from imaging_db.codecs import kernel
from imaging_db.codecs.percentiles import percentiles
from imaging_db.codecs.png_native import whole_rows
from imaging_db.codecs.scratch import scratch
from imaging_db.model import FrameQuality

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

_BLOCK = 32 * 1024  # samples; as doubles, and their differences, they lie in a core's cache
_PIECE = 4096  # doubles a scalar product: a linear algebra library starts threads for longer ones
# A double is exact below 2^53: so are such samples, and the sum of a piece of such squares.
_EXACT, _NARROW = 2**53, 2**19
_MOST_SUMMED = 2**62  # 64 bits hold no more
_MOST_TOGETHER = 16  # rows
# The focus of a quarter of the rows tells as much, for a quarter of the time; of few rows all count.
_FOCUS_STEP, _FEW_ROWS = 4, 64
_LIMB = 16  # bits


class Sums(NamedTuple):
    """What is counted and added up of the samples of an integer frame; exact. ``squares`` are of `focus_rows`."""

    minimum: int
    maximum: int
    total: int
    saturated: int
    squares: int


def measure(pixels: npt.NDArray[Any]) -> FrameQuality | None:
    """Return the quality of a frame ``(Y, X)`` or ``(Y, X, S)``; None for complex and empty frames.

    Integers are added up exactly, with one division at the end. Of floats the finite samples count, and
    of their differences those of two finite samples; None where nothing is finite. For the percentiles
    see `imaging_db.codecs.percentiles`.
    """
    import numpy as np

    if pixels.size == 0 or pixels.dtype.kind not in "biuf":
        return None
    if pixels.dtype.kind == "f":
        return _measure_floats(pixels)
    samples = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
    sums = integer_sums(samples)
    pairs = _pairs(focus_rows(pixels))
    p01, p99 = percentiles(pixels) or (None, None)
    return FrameQuality(
        minimum=float(sums.minimum),
        maximum=float(sums.maximum),
        mean=sums.total / pixels.size,
        saturated=None if pixels.dtype == np.bool_ else sums.saturated / pixels.size,
        focus=sums.squares / pairs if pairs else None,
        p01=p01,
        p99=p99,
    )


def focus_rows(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the rows that the focus is taken from: every fourth, of frames under 64 rows all."""
    return pixels[:: _focus_step(pixels)]


def _focus_step(pixels: npt.NDArray[Any]) -> int:
    return _FOCUS_STEP if len(pixels) >= _FEW_ROWS else 1


def integer_sums(samples: npt.NDArray[Any]) -> Sums:
    """Return the sums of an integer frame: of its samples, and of the squared differences two columns apart."""
    if kernel.native is not None and _suits_kernel(samples):
        return Sums(*kernel.native.measure(whole_rows(samples), _focus_step(samples)))
    return numpy_sums(samples)


def _suits_kernel(samples: npt.NDArray[Any]) -> bool:
    known = samples.dtype.name in ("uint8", "uint16") and samples.dtype.isnative
    return known and samples.flags.aligned and (samples.ndim == 2 or samples.shape[2] <= 4)


def numpy_sums(samples: npt.NDArray[Any]) -> Sums:
    """Return the same sums without the native kernel, of integers of any size."""
    import numpy as np

    minimum, maximum = int(samples.min()), int(samples.max())
    full = maximum == np.iinfo(samples.dtype).max
    saturated = int(np.count_nonzero(samples == maximum)) if full else 0
    rows = focus_rows(samples)
    narrow = maximum - minimum < _NARROW and max(maximum, -minimum) < _EXACT
    squares = _narrow_squares(rows) if narrow else _wide_squares(rows)
    return Sums(minimum, maximum, _total(samples, minimum, maximum), saturated, squares)


def _pairs(pixels: npt.NDArray[Any]) -> int:
    """Return how many samples have another of the same colour two columns to the right."""
    return int(pixels.size // pixels.shape[1] * max(0, pixels.shape[1] - 2))


def _blocks(samples: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    rows = max(1, _BLOCK // max(1, samples[0].size))
    for start in range(0, len(samples), rows):
        yield samples[start : start + rows]


def _total(samples: npt.NDArray[Any], minimum: int, maximum: int) -> int:
    """Return the sum of any integers; the least and the largest tell whether 64 bits hold it."""
    import numpy as np

    if max(maximum, -minimum) * samples.size < _MOST_SUMMED:
        return sum(int(part.sum(dtype=np.int64)) for part in _with_rows_added(samples, maximum))
    total = minimum * int(samples.size)
    for block in _blocks(samples):
        # Modulo 2^64 a difference that is not negative comes out right, whatever the signs were.
        above_least = _limbs(block.astype(np.uint64) - np.uint64(minimum % 2**64))
        total += sum(int(limb.sum()) << (_LIMB * i) for i, limb in enumerate(above_least))
    return total


def _with_rows_added(samples: npt.NDArray[Any], maximum: int) -> list[npt.NDArray[Any]]:
    """Return arrays of the same sum: rows added up as far as their type holds, as sixteen of 12 bits in 16 do.

    Numpy adds up small integers much faster than it widens them.
    """
    import numpy as np

    most = np.iinfo(samples.dtype).max // max(1, maximum)
    together = min(most, _MOST_TOGETHER, len(samples))
    if samples.dtype.kind != "u" or together < 2:
        return [samples]
    whole = len(samples) // together * together
    groups = samples[:whole].reshape(-1, together, *samples.shape[1:])
    return [np.add.reduce(groups, axis=1, dtype=samples.dtype.type), samples[whole:]]


def _narrow_squares(rows: npt.NDArray[Any]) -> int:
    """Return the squared differences of integers that lie close together, as 8 and 16 bits do; by doubles."""
    import numpy as np

    apart = 2 * (rows.shape[2] if rows.ndim == 3 else 1)
    squares = 0
    for block in _blocks(rows):
        values, differences = _doubles("values", block.size), _doubles("differences", block.size)
        np.copyto(values[: block.size].reshape(block.shape), block)
        # Over the ends of rows too, in one operation; these are taken out again.
        flat = differences[: block.size]
        np.subtract(values[apart : block.size], values[: block.size][:-apart], out=flat[:-apart])
        flat.reshape(len(block), -1)[:, -apart:] = 0
        pieces = differences.reshape(-1, _PIECE)
        squares += _whole(np.vecdot(pieces, pieces))
    return squares


def _whole(pieces: Doubles) -> int:
    """Return the sum of whole numbers; that of a very long row would not be exact as a double."""
    return sum(map(int, pieces.tolist()))


def _doubles(name: str, size: int) -> Doubles:
    """Return whole pieces for ``size`` doubles, with zeros behind them."""
    import numpy as np

    pieces: Doubles = scratch(name, -(-size // _PIECE) * _PIECE * 8).view(np.float64)
    pieces[size:] = 0
    return pieces


def _wide_squares(rows: npt.NDArray[Any]) -> int:
    """Return the squared differences of any integers, from limbs of 16 bits."""
    import numpy as np

    squares = 0
    for block in _blocks(rows):
        left, right = block[:, :-2], block[:, 2:]
        larger, smaller = np.maximum(left, right), np.minimum(left, right)
        squares += _squares(larger.astype(np.uint64) - smaller.astype(np.uint64))
    return squares


def _squares(values: npt.NDArray[np.uint64]) -> int:
    limbs = _limbs(values.reshape(-1))
    return sum(
        int((a * b).sum()) << (_LIMB * (i + j))
        for i, a in enumerate(limbs)
        for j, b in enumerate(limbs)
    )


def _limbs(values: npt.NDArray[np.uint64]) -> list[npt.NDArray[np.uint64]]:
    import numpy as np

    mask = np.uint64(2**_LIMB - 1)
    return [(values >> np.uint64(shift)) & mask for shift in range(0, 64, _LIMB)]


def _measure_floats(pixels: npt.NDArray[Any]) -> FrameQuality | None:
    """Return the quality of the finite samples, in doubles."""
    import numpy as np

    finite = np.isfinite(pixels)
    count = int(np.count_nonzero(finite))
    if count == 0:
        return None
    mean = 0.0
    for block, valid in zip(_blocks(pixels), _blocks(finite), strict=True):
        # Divided first: the sum of large values would overflow.
        mean += float((np.where(valid, block, 0).astype(np.float64) / count).sum())
    p01, p99 = percentiles(pixels) or (None, None)
    return FrameQuality(
        minimum=float(pixels.min(initial=np.inf, where=finite)),
        maximum=float(pixels.max(initial=-np.inf, where=finite)),
        mean=mean,
        saturated=None,
        focus=_focus_of_floats(focus_rows(pixels), focus_rows(finite)),
        p01=p01,
        p99=p99,
    )


def _focus_of_floats(rows: npt.NDArray[Any], finite: npt.NDArray[np.bool_]) -> float | None:
    import numpy as np

    squares, pairs = 0.0, 0
    for block, valid in zip(_blocks(rows), _blocks(finite), strict=True):
        values = np.where(valid, block, 0).astype(np.float64)
        both = valid[:, 2:] & valid[:, :-2]
        pairs += int(np.count_nonzero(both))
        with np.errstate(over="ignore"):
            differences = np.where(both, values[:, 2:] - values[:, :-2], 0)
            squares += float(np.square(differences).sum())
    return squares / pairs if pairs and np.isfinite(squares) else None
