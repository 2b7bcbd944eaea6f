"""Frames for the tests of the PNG codec: every type, shape, content and place in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Pixels = npt.NDArray[Any]

LARGEST = {"bool": 1, "uint8": 255, "uint16": 65535}
SHAPES = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(1, 1), (1, 700), (700, 1), (3, 5000), (90, 121), (301, 257)]),
)


def content(kind: str, shape: tuple[int, ...], largest: int, seed: int) -> Pixels:
    """Return pixels as a camera, a screen or an enemy would make them."""
    noise = np.random.default_rng(seed)
    if kind == "noise":
        return noise.integers(0, largest + 1, shape)
    if kind == "camera":
        return np.minimum(noise.poisson(20 + largest // 300, shape), largest)
    if kind == "ramp":
        return np.arange(np.prod(shape)).reshape(shape) * (1 + seed % 97) % (largest + 1)
    if kind == "runs":
        values = noise.integers(0, largest + 1, 1 + np.prod(shape) // 50)
        return np.resize(np.repeat(values, 50), shape)
    if kind == "extremes":
        return noise.integers(0, 2, shape) * largest
    if kind == "tiles":
        rows, columns = shape[:2]
        return np.resize(content("noise", (16, columns, *shape[2:]), largest, seed), shape)[:rows]
    return np.full(shape, seed % (largest + 1))


CONTENTS = ("noise", "camera", "ramp", "runs", "extremes", "tiles", "constant")


def placed(pixels: Pixels, place: str) -> Pixels:
    """Return the same pixels, elsewhere in memory: nothing but strides and byte order differ."""
    if place == "big endian":
        return pixels.astype(pixels.dtype.newbyteorder(">"))
    if place == "fortran":
        return np.asfortranarray(pixels)
    if place == "transposed":
        return np.ascontiguousarray(pixels.swapaxes(0, 1)).swapaxes(0, 1)
    if place == "upside down":
        return np.ascontiguousarray(pixels[::-1, ::-1])[::-1, ::-1]
    if place == "every second":
        return np.repeat(np.repeat(pixels, 2, 0), 2, 1)[::2, ::2]
    if place == "cut out":
        larger = np.pad(pixels, [(1, 2), (3, 1), (0, 1)][: pixels.ndim], constant_values=1)
        return larger[1:-2, 3:-1] if pixels.ndim == 2 else larger[1:-2, 3:-1, :-1]
    if place == "read only":
        pixels = pixels.copy()
        pixels.flags.writeable = False
    return pixels


PLACES = (
    "as it is",
    "big endian",
    "fortran",
    "transposed",
    "upside down",
    "every second",
    "cut out",
    "read only",
)


@st.composite
def frames(draw: st.DrawFn) -> Pixels:
    """Draw a frame ``(Y, X)`` or ``(Y, X, 2 to 4)``, bool, uint8 or uint16."""
    dtype = draw(st.sampled_from(sorted(LARGEST)))
    colors = draw(st.sampled_from([(), (), (2,), (3,), (4,)]))
    shape = (*draw(SHAPES), *colors)
    kind, seed = draw(st.sampled_from(CONTENTS)), draw(st.integers(0, 2**20))
    pixels = content(kind, shape, LARGEST[dtype], seed).astype(dtype)
    return placed(pixels, draw(st.sampled_from(PLACES)))
