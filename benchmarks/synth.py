"""Frames as a microscope's camera gives them: blurred bodies, photon noise, an offset of 100.

A scene without noise is made once for each content and size. A frame is a window into it at a place of its
own, mirrored or not, plus noise whose width follows the light as photon counts do: the normal approximation
of Poisson noise, good to a percent above 20 photons. The noise comes from one pool of normal numbers, read
from a place of its own for each frame, so thousands of frames cost two passes over memory each, never repeat
each other, and need no more memory for more of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

OFFSET = 100.0
_READ_NOISE = 1.6  # electrons, of a scientific CMOS camera
_MARGIN = 256  # by how many pixels a scene is larger than a frame, for windows of its own for each
_AREA = 1024 * 1024  # the numbers of bodies below are for so many pixels


@dataclass(frozen=True, slots=True)
class _Kind:
    """A content: light in camera counts above the offset, counts an electron, and its bodies.

    ``bodies`` are triples of how many in 1024 x 1024 pixels, radius in pixels, and brightness.
    """

    background: float
    gain: float
    top: int
    bodies: tuple[tuple[int, float, float], ...]
    halo: bool = False


_KINDS = {
    "dim": _Kind(14.0, 1.0, 4095, ((60, 28.0, 60.0), (300, 4.0, 200.0))),
    "bright": _Kind(250.0, 0.6, 65535, ((60, 28.0, 4_000.0), (300, 4.0, 12_000.0))),
    "sparse": _Kind(12.0, 2.2, 65535, ((20, 6.0, 900.0), (120, 2.0, 2_500.0))),
    "phase": _Kind(1500.0, 0.15, 65535, ((140, 16.0, 500.0), (500, 3.0, 250.0)), halo=True),
}
CONTENTS = tuple(_KINDS)


def frame(content: str, shape: tuple[int, int], *, seed: int) -> npt.NDArray[np.uint16]:
    """Return frame number ``seed`` of a content, ``(Y, X)`` uint16, C-contiguous; always the same one.

    ``content`` is ``dim`` (12 bit in 16), ``bright`` (16 bit), ``sparse`` (a few spots on darkness) or
    ``phase`` (phase contrast: much light, bodies with halos).
    """
    height, width = shape
    rng = np.random.default_rng([seed, height, width])
    light, spread = _scene(content, shape)
    top, left = rng.integers(0, _MARGIN, size=2)
    window = np.s_[top : top + height, left : left + width]
    steps = (1 - 2 * int(rng.integers(2)), 1 - 2 * int(rng.integers(2)))
    mirrored = np.s_[:: steps[0], :: steps[1]]
    pool = _noise(height * width)
    start = int(rng.integers(0, pool.size - height * width))
    pixels = pool[start : start + height * width].reshape(shape) * spread[window][mirrored]
    pixels += light[window][mirrored]
    np.clip(pixels, 0, _KINDS[content].top, out=pixels)
    return pixels.astype(np.uint16)


@lru_cache(maxsize=8)
def _scene(content: str, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the light of a scene with offset and rounding, and the width of its noise, float32."""
    kind = _KINDS[content]
    height, width = shape[0] + _MARGIN, shape[1] + _MARGIN
    rng = np.random.default_rng([CONTENTS.index(content), *shape])
    light = np.full((height, width), kind.background, np.float32)
    for count, radius, brightness in kind.bodies:
        for _ in range(max(1, round(count * height * width / _AREA))):
            scale = float(rng.uniform(0.6, 1.4))
            _add_body(light, rng, scale * radius, float(rng.lognormal(0, 0.5)) * brightness)
            if kind.halo:
                _add_body(light, rng, 0.6 * scale * radius, -0.5 * brightness)
    light *= _vignette(height, width)
    np.maximum(light, 1.0, out=light)
    spread = np.sqrt(light * kind.gain + (_READ_NOISE * kind.gain) ** 2)
    light += OFFSET + 0.5
    return light, spread


def _add_body(light: Floats, rng: np.random.Generator, radius: float, brightness: float) -> None:
    """Add a blurred disc at a random place: the outer product of two bells."""
    reach = int(3 * radius) + 1
    y, x = int(rng.integers(light.shape[0])), int(rng.integers(light.shape[1]))
    bells = []
    for centre, length in ((y, light.shape[0]), (x, light.shape[1])):
        first, end = max(0, centre - reach), min(length, centre + reach)
        at = np.arange(first, end, dtype=np.float32) - centre
        bells.append((slice(first, end), np.exp(-0.5 * (at / radius) ** 2)))
    (rows, tall), (columns, wide) = bells
    light[rows, columns] += np.float32(brightness) * np.outer(tall, wide)


def _vignette(height: int, width: int) -> Floats:
    """Return how evenly the field is lit: a fifth less in the corners."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return np.asarray(1 - 0.1 * (y * y + x * x), np.float32)


@lru_cache(maxsize=4)
def _noise(pixels: int) -> Floats:
    """Return normal numbers, four frames of them and at least a million: a place for every frame."""
    rng = np.random.default_rng(pixels)
    return rng.standard_normal(max(4 * pixels, pixels + 1_000_000), dtype=np.float32)
