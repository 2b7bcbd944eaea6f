"""Frames as one array, in imagingDB's order of dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from imaging_db.errors import UsageError
from imaging_db.model import StoredFrame
from imaging_db.transfer.pool import pooled

if TYPE_CHECKING:
    import numpy.typing as npt


def read_stack(
    frames: Sequence[StoredFrame],
    read: Callable[[StoredFrame], Any],
    *,
    workers: int,
    fill: float | None = None,
) -> tuple[npt.NDArray[Any], str]:
    """Return an array and the letters of its dimensions, such as ``"XYZCP"``.

    The order is X (rows), Y (columns), G (colours), Z, C, T, P over the indices that are present, in
    ascending order; dimensions of length one are left out, but for X and Y. Each frame lies contiguous
    in memory.

    Raises
    ------
    UsageError
        Frames differ in size or type, or some are absent and no ``fill`` was named.
    """
    import numpy as np

    height, width, colors, dtype = _common(frames)
    axes = [sorted({frame.coords[axis] for frame in frames}) for axis in range(4)]
    channels, slices, timepoints, positions = axes
    shape = (len(positions), len(timepoints), len(channels), len(slices), height, width, colors)
    if fill is None and len(frames) < len(positions) * len(timepoints) * len(channels) * len(
        slices
    ):
        raise UsageError(
            "some frames of the block are absent", hint="name a value to fill them with"
        )
    stack = np.empty(shape, dtype) if fill is None else filled(shape, dtype, fill)
    places = [{index: place for place, index in enumerate(axis)} for axis in axes]

    def put(frame: StoredFrame) -> None:
        c, z, t, p = (places[axis][frame.coords[axis]] for axis in range(4))
        stack[p, t, c, z] = read(frame).reshape(height, width, colors)

    with closing(pooled(put, frames, workers=workers)) as done:
        for _ in done:
            pass
    return _squeezed(stack.transpose(4, 5, 6, 3, 2, 1, 0))


def filled(shape: tuple[int, ...], dtype: str, fill: float) -> npt.NDArray[Any]:
    """Return an array of one value. Raises `UsageError` where its type does not hold that exactly."""
    import numpy as np

    try:
        with np.errstate(invalid="ignore"):
            value = np.asarray(fill).astype(dtype)
        exact = bool(value == fill) or (np.isnan(fill) and value.dtype.kind == "f")
    except (OverflowError, ValueError, TypeError):
        exact = False
    if not exact:
        raise UsageError(f"{fill!r} cannot fill frames of type {dtype}")
    return np.full(shape, value, dtype)


def _squeezed(stack: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    kept = [axis for axis in range(7) if axis < 2 or stack.shape[axis] > 1]
    gone = tuple(axis for axis in range(7) if axis not in kept)
    return stack.squeeze(gone), "".join("XYGZCTP"[axis] for axis in kept)


def _common(frames: Iterable[StoredFrame]) -> tuple[int, int, int, str]:
    kinds = {(f.height, f.width, f.colors or 1, f.dtype) for f in frames}
    if len(kinds) != 1:
        raise UsageError("the frames differ in size or type and cannot be one array")
    height, width, colors, dtype = kinds.pop()
    if height is None or width is None or dtype is None:
        raise UsageError("the size of the frames is not recorded")
    return height, width, colors, dtype
