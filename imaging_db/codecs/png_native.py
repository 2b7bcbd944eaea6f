"""PNG with the native kernel: camera noise, for which a Huffman code is as good as any search."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from imaging_db.codecs.scratch import MOST_KEPT, scratch

if TYPE_CHECKING:
    import numpy.typing as npt

_SMALL = 4 * 1024  # bytes; the head of a block alone would weigh too much
_LARGEST = 1 << 30  # bytes, whose PNG still fits one chunk


def encode(native: ModuleType, pixels: npt.NDArray[Any]) -> bytes | None:
    """Return a PNG of ``(Y, X)`` or ``(Y, X, S)``, bool, uint8 or uint16; any strides and byte order.

    None for tiny frames, for those beyond a gigabyte, and for those that repeat themselves, as drawn or
    simulated pictures do: there other encoders make much smaller files.
    """
    if not _SMALL <= pixels.nbytes <= _LARGEST:
        return None
    rows = whole_rows(pixels)
    return None if native.repeats(rows) else encode_noise(native, rows)


def encode_noise(native: ModuleType, rows: npt.NDArray[Any]) -> bytes:
    """Return a PNG of a frame of whole rows, however it may repeat itself."""
    most = native.bound(rows)
    kept = (scratch("encoded", most),) if most <= MOST_KEPT else ()
    data: bytes = native.encode_png(rows, *kept)
    return data


def whole_rows(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the frame itself where the samples of each row lie side by side, else a copy; bool as uint8."""
    import numpy as np

    samples = pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels
    if samples.flags.c_contiguous:
        return samples
    pixel, step = samples[0, 0].nbytes, samples.itemsize
    whole = samples.strides[1] == pixel and (samples.ndim == 2 or samples.strides[2] == step)
    return samples if whole else np.ascontiguousarray(samples)
