"""Random frames that look for the edges of an encoder: sizes, contents, strides, byte orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[Any]
Draw = np.random.Generator

_EDGES = (1, 2, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 255, 256, 257, 258, 259, 260, 1000)


def random_frames(seed: int) -> Iterator[Frame]:
    """Yield endless frames ``(Y, X)`` or ``(Y, X, 2 to 4)``, bool, uint8 or uint16, of either byte order."""
    draw = np.random.default_rng(seed)
    while True:
        shape = (_side(draw), _side(draw)) + ((), (2,), (3,), (4,))[draw.integers(4)]
        dtype = np.dtype(draw.choice(["?", "u1", "<u2", ">u2"]))
        content = _CONTENTS[draw.integers(len(_CONTENTS))]
        frame = content(draw, shape, 2 ** (8 * dtype.itemsize) - 1).astype(dtype)
        yield _strided(draw, frame)


def _side(draw: Draw) -> int:
    return int(draw.choice(_EDGES)) if draw.random() < 0.5 else int(draw.integers(1, 400))


def _noise(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    return draw.integers(0, top, shape, endpoint=True)


def _camera(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    return np.clip(draw.normal(draw.uniform(0, top), draw.uniform(0.5, 40), shape), 0, top)


def _constant(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    return np.full(shape, draw.choice([0, 1, top, top // 2]))


def _ramp(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    return np.arange(np.prod(shape)).reshape(shape) * int(draw.integers(1, 300)) % (top + 1)


def _islands(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    """Zeros with few samples between them: runs of every length."""
    return np.where(draw.random(shape) < draw.choice([0.0005, 0.01, 0.1]), top, 0)


def _rows(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    """Rows of one value each, some equal to the row above."""
    values = draw.integers(0, top, shape[0], endpoint=True) * (draw.random(shape[0]) < 0.5)
    return np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape)


def _skewed(draw: Draw, shape: tuple[int, ...], top: int) -> Frame:
    """Counts that fall by half from value to value: the longest codes."""
    return np.minimum(draw.geometric(0.5, shape) * draw.integers(1, 4), top)


_CONTENTS: tuple[Callable[[Draw, tuple[int, ...], int], Frame], ...] = (
    _noise,
    _camera,
    _constant,
    _ramp,
    _islands,
    _rows,
    _skewed,
)


def _strided(draw: Draw, frame: Frame) -> Frame:
    """The same kind of frame as a view: every second row, upside down, with a margin, or as it is."""
    return (frame, frame[::2], frame[::-1], frame[:, : frame.shape[1] // 2 + 1])[draw.integers(4)]
