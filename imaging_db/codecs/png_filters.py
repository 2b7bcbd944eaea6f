"""PNG row filters in numpy: a frame's rows, normalised and filtered a block at a time.

Source of the formulas: PNG specification (W3C, third edition), section 9 "Filtering". All of them work on
bytes, modulo 256; the left neighbour of a byte is the same byte of the pixel to the left.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from imaging_db.codecs.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

# A block, its filtered form and two scratch buffers of that size lie in a core's cache together.
_BLOCK_BYTES = 128 * 1024
_WORD = 8


class Filter(IntEnum):
    """The filters of PNG, by the number that stands before each row."""

    NONE = 0
    SUB = 1
    UP = 2
    AVERAGE = 3
    PAETH = 4


class RowBlocks:
    """The rows of one frame ``(Y, X)`` or ``(Y, X, S)``, bool, uint8 or uint16, of any strides and byte order.

    `load` lays some rows out as PNG wants them (big endian, the row above and the pixel to the left beside
    them); `filtered` then gives their filtered form, as often as there are filters. The buffers belong to
    the thread and are used again by its next frame: pages that are touched for the first time are slow.
    """

    def __init__(self, pixels: npt.NDArray[Any]) -> None:
        import numpy as np

        samples: npt.NDArray[Any] = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
        self._pixels = samples
        self.height: int = pixels.shape[0]
        self.width: int = pixels.shape[1]
        self.colors: int = pixels.shape[2] if pixels.ndim == 3 else 1
        self.step: int = self.colors * pixels.itemsize
        self.row_bytes: int = self.width * self.step
        # The last bytes of a row's pitch are never read: they make each row begin at a whole word.
        self._pitch = -(-(self.step + self.row_bytes) // _WORD) * _WORD
        self.rows_a_block = max(1, _BLOCK_BYTES // self._pitch)
        self._count = 0

    @property
    def filtered_bytes(self) -> int:
        """The size of the whole frame when it is filtered: a byte for the filter before each row."""
        return self.height * (1 + self.row_bytes)

    def strips(self, count: int, rows: int) -> npt.NDArray[Any]:
        """Return ``count`` ranges of 1 + ``rows`` rows, one after the other, spread over the frame."""
        import numpy as np

        middles = (2 * np.arange(count) + 1) * self.height // (2 * count)
        starts = middles - (1 + rows) // 2
        chosen: npt.NDArray[Any] = self._pixels[np.add.outer(starts, np.arange(1 + rows)).ravel()]
        return chosen

    def load(self, start: int, stop: int) -> None:
        """Lay out the rows from ``start`` up to ``stop``, and the row above them."""
        import numpy as np

        self._count = stop - start
        self._laid = scratch("laid", (self._count + 1) * self._pitch).reshape(-1, self._pitch)
        self._laid[:, : self.step] = 0
        rows = self._laid[:, self.step : self.step + self.row_bytes]
        above = min(start, 1)
        rows[: 1 - above] = 0
        samples = rows.view(f">u{self._pixels.itemsize}")[1 - above :]
        shape = (self._count + above, *self._pixels.shape[1:])
        np.copyto(samples.reshape(shape), self._pixels[start - above : stop])

    def filtered(self, kind: Filter) -> Bytes:
        """Return the loaded rows filtered, ``(rows, 1 + bytes a row)`` uint8, valid until the next call."""
        import numpy as np

        size = self._count * (1 + self.row_bytes)
        result = scratch("filtered", size).reshape(self._count, 1 + self.row_bytes)
        result[:, 0] = kind
        pixels = slice(self.step, self.step + self.row_bytes)
        here, target = self._laid[1:, pixels], result[:, 1:]
        if kind is Filter.NONE:
            np.copyto(target, here)
        elif kind is Filter.SUB:
            np.subtract(here, self._laid[1:, : self.row_bytes], out=target)
        elif kind is Filter.UP:
            np.subtract(here, self._laid[:-1, pixels], out=target)
        elif kind is Filter.AVERAGE:
            np.subtract(here, self._averages()[:, : self.row_bytes], out=target)
        else:
            raise ValueError(f"no such row filter here: {kind!r}")
        return result

    def _averages(self) -> Bytes:
        """Return floor((left + above) / 2) of each byte: (a & b) + ((a ^ b) >> 1), eight bytes a word."""
        import numpy as np

        size = self._count * self._pitch
        flat = self._laid.reshape(-1)
        left, above = flat[self._pitch :][:size], flat[self.step :][:size]
        common, differing = scratch("common", size), scratch("differing", size)
        np.bitwise_and(left, above, out=common)
        np.bitwise_xor(left, above, out=differing)
        words = differing.view(np.uint64)
        # Without its lowest bit no byte gives anything to its neighbour when the word is shifted.
        np.bitwise_and(words, np.uint64(0xFEFEFEFEFEFEFEFE), out=words)
        np.right_shift(words, np.uint64(1), out=words)
        np.add(common, differing, out=common)
        return common.reshape(self._count, self._pitch)


def unfiltered(rows: Bytes, *, step: int, samples: npt.NDArray[Any]) -> bool:
    """Undo the filters of ``rows`` into ``samples``; False where a filter has no vector form.

    ``rows`` is ``(Y, 1 + bytes a row)`` with the filters' numbers in front, ``samples`` is ``(Y, values a
    row)`` in native order, ``step`` the bytes of a pixel. None, sub and up are undone by sums; average and
    Paeth need each pixel before the next.
    """
    import numpy as np

    kinds = rows[:, 0]
    if int(kinds.max()) > Filter.UP:
        return False
    row_bytes = rows.shape[1] - 1
    most = max(1, _BLOCK_BYTES // row_bytes)
    above = np.zeros(row_bytes, np.uint8)
    changes = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(rows)]
    for begin, end in pairwise(changes):
        for start in range(begin, end, most):
            stop = min(start + most, end)
            block = _unfiltered_block(rows[start:stop, 1:], Filter(int(kinds[start])), above, step)
            np.copyto(samples[start:stop], block.view(samples.dtype.newbyteorder(">")))
            np.copyto(above, block[-1])
    return True


def _unfiltered_block(rows: Bytes, kind: Filter, above: Bytes, step: int) -> Bytes:
    """Return rows of one filter as they were; ``above`` is the row before them."""
    import numpy as np

    block = scratch("block", rows.size).reshape(rows.shape)
    np.copyto(block, rows)
    if kind is Filter.UP:
        np.add(block[0], above, out=block[0])
        return _running_sums(block, scratch("sums", rows.size).reshape(rows.shape), 1)
    if kind is Filter.SUB:
        sums = _running_sums(block.T, scratch("sums", rows.size).reshape(rows.shape).T, step)
        return sums.T
    return block


def _running_sums(values: Bytes, spare: Bytes, stride: int) -> Bytes:
    """Return the sums along the first axis of every ``stride``-th value so far, modulo 256.

    Doubling the distance each time takes log2(length) additions of whole blocks (Hillis and Steele,
    Commun ACM 29, 1986): faster than one addition after the other, because each is a vector operation.
    """
    import numpy as np

    distance = stride
    while distance < len(values):
        np.copyto(spare[:distance], values[:distance])
        np.add(values[distance:], values[:-distance], out=spare[distance:])
        values, spare = spare, values
        distance *= 2
    return values
