"""Synthetic frames: like a camera's, each one its own, the same at every call."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.synth import CONTENTS, OFFSET, frame


@pytest.mark.parametrize("content", CONTENTS)
def test_a_frame_is_uint16_and_has_the_shape_that_is_asked_for(content: str) -> None:
    pixels = frame(content, (40, 70), seed=0)
    assert (pixels.dtype, pixels.shape, pixels.flags.c_contiguous) == ("uint16", (40, 70), True)


@pytest.mark.parametrize("content", CONTENTS)
def test_the_same_seed_gives_the_same_frame_and_another_one_another(content: str) -> None:
    first = frame(content, (64, 64), seed=3)
    assert np.array_equal(first, frame(content, (64, 64), seed=3))
    assert np.mean(first == frame(content, (64, 64), seed=4)) < 0.1


def test_dim_frames_have_twelve_bits() -> None:
    assert max(int(frame("dim", (256, 256), seed=seed).max()) for seed in range(8)) < 4096


def test_light_lies_above_the_offset_of_the_camera() -> None:
    assert np.median(frame("sparse", (256, 256), seed=0)) > OFFSET
    assert np.median(frame("bright", (256, 256), seed=0)) > 2 * OFFSET


@pytest.mark.parametrize("content", CONTENTS)
def test_no_row_repeats_the_one_above(content: str) -> None:
    pixels = frame(content, (128, 128), seed=5)
    assert np.mean(pixels[1:] == pixels[:-1]) < 0.15
