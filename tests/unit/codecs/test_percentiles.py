"""Percentiles, against samples that are put in order by Python alone."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imaging_db.codecs.percentiles import percentiles
from imaging_db.codecs.quality import measure
from tests.support.png_frames import PLACES, Pixels, placed

TYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
shapes = st.tuples(st.integers(1, 12), st.integers(1, 40), st.sampled_from([(), (2,), (3,)]))


def in_order(frame: Pixels) -> tuple[float, float] | None:
    """Return them from a sorted list: the sample at the rank below a share of the way."""
    rows = frame[::16] if len(frame) >= 64 else frame
    values = sorted(value for value in rows.reshape(-1).tolist() if math.isfinite(value))
    if not values:
        return None
    ranks = [math.floor(Fraction(share, 100) * (len(values) - 1)) for share in (1, 99)]
    return float(values[ranks[0]]), float(values[ranks[1]])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TYPES + FLOATS), shapes, st.sampled_from(PLACES), st.data())
def test_samples_of_any_type_and_place_are_put_in_order(
    dtype: str, shape: tuple[int, int, tuple[int, ...]], place: str, data: st.DataObject
) -> None:
    frame = data.draw(hnp.arrays(dtype, (shape[0], shape[1], *shape[2])))
    assert percentiles(placed(frame, place)) == in_order(frame)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("shape", [(64, 1100), (200, 90, 3), (1, 70_000), (1024, 1024)])
def test_large_frames_are_counted_or_put_in_order_alike(dtype: str, shape: tuple[int, ...]) -> None:
    limits = np.iinfo(dtype)
    draw = np.random.default_rng(0)
    wide = draw.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    narrow = draw.integers(100, 120, shape, dtype)
    for frame in (wide, narrow, np.full(shape, limits.max, dtype)):
        assert percentiles(frame) == in_order(frame)


def test_they_are_those_that_numpy_calls_lower() -> None:
    frame = np.random.default_rng(0).normal(600, 60, (50, 101)).astype(np.uint16)
    assert percentiles(frame) == tuple(np.percentile(frame, [1, 99], method="lower"))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_sixteenth_row_counts_from_64_rows_on(dtype: str) -> None:
    frame = np.zeros((64, 8), dtype)
    frame[1::16] = 7
    assert percentiles(frame) == (0.0, 0.0)
    assert percentiles(frame[:63]) == (0.0, 7.0)


def test_only_finite_samples_of_floats_count() -> None:
    frame = np.array([[math.nan, 3.0, math.inf], [-math.inf, math.nan, 5.0]], np.float32)
    assert percentiles(frame) == (3.0, 3.0)
    assert percentiles(np.full((3, 3), math.nan)) is None


def test_a_frame_whose_finite_samples_lie_between_the_rows_has_figures_without_percentiles() -> (
    None
):
    frame = np.full((64, 4), math.nan)
    frame[1] = 2.0
    found = measure(frame)
    assert found is not None
    assert (found.minimum, found.maximum, found.p01, found.p99) == (2.0, 2.0, None, None)


def test_they_lie_between_the_least_and_the_largest() -> None:
    frame = np.random.default_rng(0).integers(0, 65536, (300, 200), np.uint16)
    found = measure(frame)
    assert found is not None and found.p01 is not None and found.p99 is not None
    assert found.minimum <= found.p01 < found.p99 <= found.maximum


def test_a_frame_is_blank_where_every_sample_is_the_same() -> None:
    blank, one_other = np.full((9, 9), 5, np.uint8), np.full((9, 9), 5, np.uint8)
    one_other[8, 8] = 6
    assert [found.blank for found in map(measure, (blank, one_other)) if found] == [True, False]
