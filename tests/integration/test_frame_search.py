"""Frames across datasets through the Python API."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from imaging_db import ImagingDB
from imaging_db.errors import ChecksumMismatch, NothingSelected, UsageError
from imaging_db.model import parse_expression
from imaging_db.model.fields import FIELDS, ROOTS
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab


@pytest.fixture
def stacks(small_lab: Lab) -> list[np.ndarray]:
    """The pixels of two datasets (T, Z, C, Y, X) of one size, and of a third of another."""
    sides = (16, 16, 8)
    paths = [small_lab.folder / f"{number}.tif" for number in range(3)]
    pixels = [
        imagej_stack(path, t=2, z=3, c=2, seed=number, side=side)
        for number, (path, side) in enumerate(zip(paths, sides, strict=True))
    ]
    small_lab.upload(*paths)
    return pixels


@pytest.fixture
def db(small_lab: Lab, stacks: list[np.ndarray]) -> Iterator[ImagingDB]:
    with ImagingDB(small_lab.settings) as opened:
        yield opened


def test_pixels_of_many_datasets_come_as_one_array_in_order(
    db: ImagingDB, stacks: list[np.ndarray]
) -> None:
    found = db.frames("z = mid and c = 1 and height = 16")
    expected = np.stack([stacks[n][t, 1, 1] for n in (0, 1) for t in (0, 1)])
    assert np.array_equal(found.to_numpy(), expected)
    assert len(found) == len(list(found)) == 4
    assert bool(found) and not db.frames("z = 9")


def test_frames_of_different_sizes_are_no_array(db: ImagingDB, small_lab: Lab) -> None:
    with pytest.raises(UsageError) as refusal:
        db.frames("z = 0 and c = 0 and t = 0").to_numpy()
    first, third = small_lab.serial(1), small_lab.serial(3)
    told = f"{first} c0 z0 t0 p0 is 19 x 16 uint16, {third} c0 z0 t0 p0 is 11 x 8 uint16"
    assert told in str(refusal.value)
    with pytest.raises(NothingSelected, match="no frame fits z = 9"):
        db.frames("z = 9").to_numpy()


def test_a_damaged_frame_is_not_given_out(db: ImagingDB, small_lab: Lab) -> None:
    (path,) = small_lab.folder.glob(f"store/*/{small_lab.serial(2)}/im_c000_z000_t000_p000.png")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ChecksumMismatch):
        db.frames("z = 0 and height = 16").to_numpy()


def test_a_table_has_the_columns_that_were_named(db: ImagingDB) -> None:
    table = db.frames("c = 0 and t = last").to_dataframe(["serial", "z", "width", "mean", "meta.x"])
    assert list(table.columns) == ["serial", "z", "width", "mean", "meta.x"]
    assert list(table["z"]) == [0, 1, 2] * 3
    assert list(db.frames("z = 9").to_dataframe().columns)[:2] == ["serial", "c"]
    with pytest.raises(UsageError, match="unknown field 'nope'"):
        db.frames("z = 0").to_dataframe(["nope"])


def test_views_hold_the_frames_of_each_dataset(db: ImagingDB, stacks: list[np.ndarray]) -> None:
    views = list(db.frames("z = last and c = 0").by_dataset())
    assert [len(frames) for _, frames in views] == [2, 2, 2]
    pixels, dims = views[2][1].stack()
    assert dims == "XYT"
    assert np.array_equal(pixels, stacks[2][:, 2, 0].transpose(1, 2, 0))


def test_a_selection_is_narrowed_by_a_query(db: ImagingDB, small_lab: Lab) -> None:
    view = db.dataset(small_lab.serial(1))
    assert len(view.frames(1, where="z = first, last")) == 4
    assert len(view.frames(where=parse_expression("z = mid and t = 0"))) == 2
    assert view.stack(channels=0, where="z = mid")[0].shape == (16, 19, 2)
    assert [one.serial[-1] for one in db.datasets(where="height = 8")] == ["3"]
    with pytest.raises(UsageError, match="at character 3"):
        view.frames(where="z == 1")


def test_every_field_can_be_asked_for_and_shown(db: ImagingDB) -> None:
    names = [*(one.name for one in FIELDS), *(f"{root}.x" for root in ROOTS)]
    told = db.frames("z >= 0").to_dataframe(names)
    for name in names:
        known = 36 - len(db.frames(f"{name} is null"))
        shown = told[name].map(bool) if name == "tag" else told[name].notna()
        assert known == shown.sum(), name
