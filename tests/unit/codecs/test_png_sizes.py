"""The files are as small as libpng's at level 6, nearly, whatever is in the picture."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from imaging_db.codecs import deflate, png_numpy
from tests.support.png_frames import Pixels

NOISE = np.random.default_rng(11)
ROWS, COLUMNS = np.mgrid[0:512, 0:512]


def blobs(brightness: float) -> Pixels:
    """Return the light of a hundred round cells of different sizes."""
    light = np.zeros((512, 512))
    for y, x in NOISE.integers(0, 512, (100, 2)):
        size = NOISE.uniform(5, 20)
        light += brightness * np.exp(-((ROWS - y) ** 2 + (COLUMNS - x) ** 2) / (2 * size**2))
    return light


def screen() -> Pixels:
    """Return a screenshot: panels and lines in colour."""
    picture = np.full((512, 512, 3), 240, np.uint8)
    for _ in range(60):
        y, x, height, width = NOISE.integers(0, 400, 4)
        picture[y : y + height // 4, x : x + width // 4] = NOISE.integers(0, 256, 3)
    return picture


LIGHT = blobs(900)
FRAMES: dict[str, tuple[Pixels, float]] = {
    "dim camera": (NOISE.poisson(20 + LIGHT / 9) + 100, 1.06),
    "bright camera": (NOISE.poisson(500 + 10 * LIGHT) + 100, 1.06),
    "phase contrast": (NOISE.poisson(6000 + LIGHT) + 100, 1.06),
    "saturated": (np.minimum(NOISE.poisson(100 * LIGHT), 65535), 1.06),
    "black": (np.zeros((512, 512)), 1.5),
    "constant": (np.full((512, 512), 1234), 1.5),
    "labels": (LIGHT // 40, 1.3),
    "every row the same": (np.tile(NOISE.integers(0, 65536, (1, 512)), (512, 1)), 1.3),
    "tiles": (np.tile(NOISE.integers(0, 65536, (64, 64)), (8, 8)), 1.3),
    "waves": (2000 + 2000 * np.sin(2 * np.pi * COLUMNS / 32) * np.cos(2 * np.pi * ROWS / 16), 1.3),
}


@pytest.mark.parametrize("name", FRAMES)
def test_sixteen_bits(name: str) -> None:
    pixels, allowed = FRAMES[name]
    frame = np.asarray(pixels).astype(np.uint16)
    ours = png_numpy.encode(frame, deflate=deflate.installed())
    assert len(ours) <= allowed * len(imagecodecs.png_encode(frame, level=6))


@pytest.mark.parametrize(
    ("frame", "allowed"),
    [
        pytest.param(screen(), 1.5, id="screen in colour"),
        pytest.param(screen()[..., 0].copy(), 1.5, id="screen in grey"),
        pytest.param((LIGHT > 100).view(np.uint8), 1.5, id="mask"),
        pytest.param(
            NOISE.poisson(20 + LIGHT / 9).clip(0, 255).astype(np.uint8), 1.06, id="camera"
        ),
        pytest.param(NOISE.integers(0, 256, (512, 512), np.uint8), 1.01, id="nothing but noise"),
    ],
)
def test_eight_bits(frame: Pixels, allowed: float) -> None:
    ours = png_numpy.encode(frame, deflate=deflate.installed())
    assert len(ours) <= allowed * len(imagecodecs.png_encode(frame, level=6))
