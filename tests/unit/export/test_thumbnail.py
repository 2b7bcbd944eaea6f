"""Thumbnails show every part of a frame, and nothing of it twice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imaging_db.export.thumbnail import scaled, shrunk


@pytest.mark.parametrize("shape", [(300, 400), (401, 13), (1, 5000), (169, 169), (512, 512, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_the_mean_of_the_areas_is_the_mean_of_the_frame(shape: tuple[int, ...], dtype: str) -> None:
    frame = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    small = shrunk(frame, 168)
    assert max(small.shape[:2]) == 168
    assert small.shape[2:] == shape[2:]
    assert small.mean() == pytest.approx(frame.mean(), rel=0.03)


def test_an_area_is_the_mean_of_its_samples() -> None:
    frame = np.arange(16, dtype=np.uint16).reshape(4, 4)
    assert shrunk(frame, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_a_small_frame_stays_as_it_is() -> None:
    frame = np.array([[1, 2], [3, 65535]], np.uint16)
    assert np.array_equal(shrunk(frame, 168), frame)


def test_a_single_bright_pixel_is_seen_wherever_it_lies() -> None:
    for place in ((0, 0), (999, 999), (500, 123)):
        frame = np.zeros((1000, 1000), np.uint8)
        frame[place] = 255
        assert shrunk(frame, 168).max() > 0


def test_alpha_is_left_out_and_truth_values_are_shown() -> None:
    assert shrunk(np.zeros((5, 5, 4), np.uint8), 9).shape == (5, 5, 3)
    assert shrunk(np.zeros((5, 5, 2), np.uint8), 9).shape == (5, 5)
    assert shrunk(np.ones((500, 5), np.bool_), 10).max() == 1


def test_contrast_is_linear_and_clipped() -> None:
    frame = np.array([[50, 100, 150, 200, 250, math.nan, math.inf]], np.float32)
    assert scaled(frame, 100, 200).tolist() == [[0, 0, 128, 255, 255, 0, 255]]


def test_a_frame_without_contrast_is_drawn_too() -> None:
    assert scaled(np.full((2, 2), 7, np.float32), 7, 7).tolist() == [[0, 0], [0, 0]]
