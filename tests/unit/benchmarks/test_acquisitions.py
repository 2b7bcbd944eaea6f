"""Synthetic acquisitions: our readers find the frames that were written, where they were said to be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.acquisitions import KINDS, Synthetic
from benchmarks.scratch import VARIABLE
from imaging_db.readers import registry
from imaging_db.readers.base import ReaderOptions


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_read_where_it_was_written(kind: str) -> None:
    made = Synthetic(kind, frames=20, side=32)
    numbers = {coords: number for number, coords in enumerate(made.coords)}
    path = made.path()
    with registry.find(path).open(path, ReaderOptions()) as reader:
        found = {tuple(frame.coords): reader.read(frame) for frame in reader.frames()}
    assert found.keys() == numbers.keys()
    for coords, pixels in found.items():
        assert np.array_equal(pixels, made.pixels(numbers[coords])), coords


def test_pages_of_micro_manager_carry_three_kilobytes_of_metadata() -> None:
    path = Synthetic("micro_manager", frames=2, side=32).path()
    with registry.find(path).open(path, ReaderOptions()) as reader:
        metadata = next(iter(reader.frames())).metadata["MicroManagerMetadata"]
    assert isinstance(metadata, dict) and metadata["PixelSizeUm"] == 0.325
    assert 2500 < len(str(metadata)) < 4500


def test_an_acquisition_is_made_once_and_removed_when_asked() -> None:
    made = Synthetic("tif_folder", frames=3, side=16)
    first = made.path()
    times = [file.stat().st_mtime_ns for file in sorted(first.iterdir())]
    assert made.path() == first
    assert [file.stat().st_mtime_ns for file in sorted(first.iterdir())] == times
    made.remove()
    assert not first.exists()


@pytest.mark.parametrize("frames", [1, 7, 200, 2000, 20_000])
@pytest.mark.parametrize("side", [1024, 2048])
def test_sizes_multiply_to_the_frames_and_files_stay_below_4_gib(frames: int, side: int) -> None:
    sizes = Synthetic("micro_manager", frames=frames, side=side).sizes
    each = sizes.channels * sizes.slices * sizes.timepoints
    assert each * sizes.positions == frames
    assert math.ceil(each * side * side * 2) < 2**32
