"""The figures of a frame, against sums that anyone can follow."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imaging_db.codecs.percentiles import percentiles
from imaging_db.codecs.quality import integer_sums, measure, numpy_sums
from imaging_db.model import FrameQuality
from tests.support.png_frames import PLACES, Pixels, placed

INTEGERS = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([(), (2,), (3,)]))


def counted(frame: Pixels) -> FrameQuality:
    """Return the figures by Python's whole numbers and fractions alone; percentiles have their own tests."""
    values = [int(value) for value in frame.reshape(-1)]
    pairs = zip(frame[:, 2:].reshape(-1), frame[:, :-2].reshape(-1), strict=True)
    squares = [(int(right) - int(left)) ** 2 for right, left in pairs]
    largest = None if frame.dtype == bool else int(np.iinfo(frame.dtype).max)
    low, high = percentiles(frame) or (None, None)
    return FrameQuality(
        minimum=float(min(values)),
        maximum=float(max(values)),
        mean=float(Fraction(sum(values), len(values))),
        saturated=None if largest is None else values.count(largest) / len(values),
        focus=float(Fraction(sum(squares), len(squares))) if squares else None,
        p01=low,
        p99=high,
    )


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(INTEGERS), shapes, st.sampled_from(PLACES), st.data())
def test_integers_of_any_type_and_place_are_added_up_exactly(
    dtype: str, shape: tuple[int, int, tuple[int, ...]], place: str, data: st.DataObject
) -> None:
    frame = data.draw(hnp.arrays(dtype, (shape[0], shape[1], *shape[2])))
    assert measure(placed(frame, place)) == counted(frame)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int64"])
@pytest.mark.parametrize("shape", [(300, 251), (40, 3001), (1, 70000), (130, 101, 3)])
def test_frames_of_many_blocks_are_added_up_exactly(dtype: str, shape: tuple[int, ...]) -> None:
    limits = np.iinfo(dtype)
    frame = np.random.default_rng(0).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    step = 4 if shape[0] >= 64 else 1
    found = measure(frame)
    exact = frame.astype(object)
    differences = exact[::step, 2:] - exact[::step, :-2]
    assert found is not None
    assert found.mean == int(exact.sum()) / frame.size
    assert found.focus == int((differences**2).sum()) / differences.size


def test_the_largest_sums_are_exact() -> None:
    frame = np.zeros((512, 512), np.uint16)
    frame[:, ::4] = frame[:, 1::4] = 65535
    assert measure(frame) == FrameQuality(
        minimum=0.0,
        maximum=65535.0,
        mean=32767.5,
        saturated=0.5,
        focus=65535.0**2,
        p01=0.0,
        p99=65535.0,
    )


def test_the_sums_of_a_very_long_row_are_exact() -> None:
    """2^22 squares of almost 2^32: their sum is odd, and no double holds it."""
    frame = np.zeros((1, 2**22 + 3), np.uint16)
    frame[0, ::4] = frame[0, 1::4] = 65535
    frame[0, -1] = 65534
    differences = np.diff(frame[0, ::2].astype(np.int64)), np.diff(frame[0, 1::2].astype(np.int64))
    exact = sum(int((part**2).sum()) for part in differences)
    assert exact > 2**53
    assert integer_sums(frame).squares == exact


def test_only_the_largest_value_of_the_type_is_saturated() -> None:
    twelve_bits = np.full((4, 4), 4095, np.uint16)
    sixteen_bits = np.array([[65535, 0], [65535, 1]], np.uint16)
    assert [measure(frame).saturated for frame in (twelve_bits, sixteen_bits)] == [0.0, 0.5]


def test_a_sharp_frame_has_more_focus_than_a_blurred_one() -> None:
    sharp = np.tile(np.array([0, 0, 0, 0, 90, 90, 90, 90], np.uint16), (8, 8))
    blurred = sum(np.roll(sharp, shift, axis=1) for shift in range(4)) // 4
    assert measure(sharp).focus > measure(blurred).focus


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint64", "float32"])
def test_the_focus_is_that_of_every_fourth_row_from_64_rows_on(dtype: str) -> None:
    frame = np.zeros((64, 8), dtype)
    frame[::4, ::4] = frame[::4, 1::4] = 30
    assert measure(frame).focus == 900.0
    assert measure(frame[:63]).focus == pytest.approx(900.0 * 16 / 63)


@pytest.mark.parametrize("largest", [0, 1, 2047, 4095, 4096, 32767, 32768, 65535])
@pytest.mark.parametrize("place", PLACES)
def test_samples_of_every_depth_are_summed_exactly(largest: int, place: str) -> None:
    frame = np.full((35, 9), largest, np.uint16)
    assert numpy_sums(placed(frame, place)).total == 35 * 9 * largest


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_large_numbers_that_lie_close_together_are_exact(dtype: str) -> None:
    frame = np.arange(40, dtype=dtype).reshape(4, 10) + np.array(2**60 + 1, dtype)
    assert measure(frame) == counted(frame)


def test_kernel_and_numpy_agree_on_every_height() -> None:
    for height in (1, 4, 63, 64, 65, 66, 67, 68, 130):
        frame = np.random.default_rng(height).integers(0, 2**16, (height, 70), np.uint16)
        assert integer_sums(frame) == numpy_sums(frame)


def test_colours_are_compared_with_the_same_colour() -> None:
    frame = np.zeros((5, 6, 3), np.uint8)
    frame[..., 1] = 200
    assert measure(frame).focus == 0.0


def test_floats_are_measured_where_they_are_finite() -> None:
    frame = np.array([[1.0, math.nan, 4.0, 5.0], [math.inf, 2.0, 3.0, -math.inf]], np.float32)
    assert measure(frame) == FrameQuality(
        minimum=1.0, maximum=5.0, mean=3.0, saturated=None, focus=9.0, p01=1.0, p99=4.0
    )


def test_floats_of_many_blocks() -> None:
    frame = np.random.default_rng(0).normal(5, 2, (400, 300))
    found = measure(frame)
    assert found.mean == pytest.approx(frame.mean())
    assert found.focus == pytest.approx(np.square(frame[::4, 2:] - frame[::4, :-2]).mean())
    assert (found.minimum, found.maximum) == (frame.min(), frame.max())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_largest_floats_give_figures_that_are_finite_or_none(dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    found = measure(np.array([[largest, -largest, -largest, largest]] * 50, dtype))
    figures = (found.minimum, found.maximum, found.mean, found.saturated, found.focus)
    assert all(figure is None or math.isfinite(figure) for figure in figures)
    assert (found.minimum, found.maximum) == (-largest, largest)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((3, 4), np.complex64),
        np.zeros((0, 4), np.uint16),
        np.zeros((4, 0), np.float32),
        np.full((3, 4), np.nan),
    ],
    ids=["complex", "no rows", "no columns", "nothing finite"],
)
def test_what_cannot_be_measured_has_no_figures(frame: Pixels) -> None:
    assert measure(frame) is None


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_frames_of_two_columns_have_no_focus(dtype: str) -> None:
    assert [measure(np.ones((9, width), dtype)).focus for width in (1, 2, 3)] == [None, None, 0.0]
