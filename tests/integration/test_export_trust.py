"""What an export may believe: nothing that lies there, and no dataset but the one it began with."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from imaging_db import ImagingDB
from imaging_db.errors import CatalogUnavailable, Conflict, DatasetNotFound, UsageError
from imaging_db.export import ExportReport, Written, export
from imaging_db.transfer import Silent
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.lab import Lab

ALL_IMAGES = ("ome-zarr", "ome-tiff", "tif-folder")
BY_NAME = {"filename_parser": "parse_sms_name"}


@pytest.fixture
def stack(small_lab: Lab, tmp_path: Path) -> Any:
    """A dataset of 2 timepoints, 3 slices and 2 channels; its pixels as (T, C, Z, Y, X)."""
    data = imagej_stack(tmp_path / "a.tif", t=2, z=3, c=2, side=300)
    small_lab.upload_one(tmp_path / "a.tif")
    return data.transpose(0, 2, 1, 3, 4)


def exported(lab: Lab, to: str = "ome-zarr", **options: Any) -> ExportReport:
    with ImagingDB(lab.settings) as db:
        return export(db, lab.serial(), lab.folder / "out", to=to, **options)


def change_rows(lab: Lab, statement: str, *values: Any) -> None:
    """Change the catalog behind the program's back."""
    with closing(sqlite3.connect(lab.settings.database.dbname)) as catalog, catalog:
        catalog.execute(statement, values)


def name_channels(lab: Lab, *names: str) -> None:
    for index, name in enumerate(names):
        change_rows(lab, "UPDATE frames SET channel_name = ? WHERE channel_idx = ?", name, index)


def full_size(path: Path) -> Any:
    return np.asarray(zarr.open_group(path, mode="r")["0"])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("level", [0, 1])
def test_an_ome_zarr_that_lost_a_piece_is_not_already_there(
    small_lab: Lab, stack: Any, version: str, level: int
) -> None:
    """Zarr itself reads a lost piece as zeros, without a word."""
    path = exported(small_lab, ome_zarr_version=version).path
    pieces = [file for file in (path / str(level)).rglob("*") if file.name.isdecimal()]
    next(file for file in pieces if file.is_file()).unlink()
    with pytest.raises(Conflict, match="reads otherwise than it was written; replace it"):
        exported(small_lab, ome_zarr_version=version)
    assert exported(small_lab, ome_zarr_version=version, overwrite=True).written == 12
    assert np.array_equal(full_size(path), stack)
    assert exported(small_lab, ome_zarr_version=version).outcome is Written.ALREADY_THERE


@pytest.mark.parametrize("to", ALL_IMAGES)
def test_an_export_with_earlier_names_and_sizes_is_not_already_there(
    small_lab: Lab, stack: Any, to: str
) -> None:
    exported(small_lab, to)
    name_channels(small_lab, "DAPI", "GFP")
    with pytest.raises(Conflict, match="is another export"):
        exported(small_lab, to)


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
def test_texts_that_a_power_cut_emptied_are_written_again(
    small_lab: Lab, stack: Any, name: str
) -> None:
    class Stop(Silent):
        def advance(self, objects: int, nbr_bytes: int) -> None:
            raise OSError("stop")

    with pytest.raises(OSError, match="stop"):
        exported(small_lab, progress=Stop())
    content = small_lab.folder / "out" / f".{small_lab.serial()}.ome.zarr.part" / "content"
    (content / name).write_bytes(b"")
    assert np.array_equal(full_size(exported(small_lab).path), stack)


def of_positions(lab: Lab, count: int, *, seed: int) -> None:
    """A folder with a frame at each position, over the one that was there."""
    folder = lab.folder / "images"
    folder.mkdir(exist_ok=True)
    for p in range(count):
        tifffile.imwrite(folder / f"img_phase_t000_p{p:03d}_z000.tif", pixels(9, 8, seed=seed + p))


class Meanwhile(Silent):
    """Replaces, or deletes, the dataset as soon as the first frame is written."""

    def __init__(self, lab: Lab, *, delete: bool = False) -> None:
        self.lab, self.delete, self.done = lab, delete, False

    def advance(self, objects: int, nbr_bytes: int) -> None:
        if self.done:
            return
        self.done = True
        if self.delete:
            with ImagingDB(self.lab.settings) as db:
                db.delete(self.lab.serial())
            return
        of_positions(self.lab, 30, seed=1000)
        self.lab.config(**BY_NAME).upload_one(self.lab.folder / "images", overwrite=True)


@pytest.mark.parametrize("to", ALL_IMAGES)
def test_frames_of_a_dataset_that_was_replaced_meanwhile_are_not_mixed_in(
    small_lab: Lab, to: str
) -> None:
    of_positions(small_lab, 30, seed=0)
    small_lab.config(**BY_NAME).upload_one(small_lab.folder / "images")
    with pytest.raises(CatalogUnavailable, match="was replaced while it was read; rerun"):
        exported(small_lab, to, progress=Meanwhile(small_lab), workers=1)
    assert [path.name[0] for path in (small_lab.folder / "out").iterdir()] == ["."]
    assert exported(small_lab, to).outcome is Written.EXPORTED


@pytest.mark.parametrize("to", ALL_IMAGES)
def test_a_dataset_that_was_deleted_meanwhile_gets_no_name(small_lab: Lab, to: str) -> None:
    of_positions(small_lab, 30, seed=0)
    small_lab.config(**BY_NAME).upload_one(small_lab.folder / "images")
    with pytest.raises(DatasetNotFound):
        exported(small_lab, to, progress=Meanwhile(small_lab, delete=True), workers=1)
    assert [path.name[0] for path in (small_lab.folder / "out").iterdir()] == ["."]


@pytest.mark.parametrize(
    "names",
    [
        ("a-c002", "b", "a-c002-c003", "a-c002"),
        ("a-c002", "a", "A", "b"),
        ("\u00e1", "a\u0301", "/", "\\"),
        ("\U0001f600" * 90, "\U0001f600" * 91, "x" * 300, ".."),
    ],
)
def test_every_frame_has_a_file_of_its_own_whatever_its_channel_is_called(
    small_lab: Lab, tmp_path: Path, names: tuple[str, ...]
) -> None:
    data = imagej_stack(tmp_path / "a.tif", t=1, z=1, c=4)
    small_lab.upload_one(tmp_path / "a.tif")
    name_channels(small_lab, *names)
    files = list(exported(small_lab, "tif-folder").path.glob("*.tif"))
    assert len({file.name.casefold() for file in files}) == 4
    found = {tifffile.imread(file).tobytes() for file in files}
    assert found == {data[0, 0, channel].tobytes() for channel in range(4)}


@pytest.fixture
def float_hole(small_lab: Lab) -> None:
    """Float frames at 2 timepoints and 2 slices, of which one is missing."""
    folder = small_lab.folder / "floats"
    folder.mkdir()
    for t, z in ((0, 0), (0, 1), (1, 0)):
        data = pixels(9, 8, dtype="float32", seed=2 * t + z)
        tifffile.imwrite(folder / f"img_phase_t{t:03d}_p000_z{z:03d}.tif", data)
    small_lab.config(**BY_NAME).upload_one(folder)


def test_a_hole_that_is_filled_with_nan_is_found_again(small_lab: Lab, float_hole: None) -> None:
    nan = float("nan")
    path = exported(small_lab, fill=nan).path
    assert np.isnan(full_size(path)[1, 0, 1]).all()
    assert exported(small_lab, fill=nan).outcome is Written.ALREADY_THERE
    assert "NaN" not in (path / "zarr.json").read_text()  # which is no JSON


@pytest.mark.parametrize("to", ["ome-zarr", "ome-tiff"])
def test_a_fill_value_beyond_the_largest_float_is_refused(
    small_lab: Lab, float_hole: None, to: str
) -> None:
    with pytest.raises(UsageError, match="float32 holds -3"):
        exported(small_lab, to, fill=1e300)


def test_an_interval_of_zero_is_not_a_second(small_lab: Lab, stack: Any) -> None:
    """Micro-Manager writes 0 where it was to go on as fast as it could."""
    change_rows(small_lab, "UPDATE frames_global SET time_interval_s = 0")
    path = exported(small_lab).path
    image = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    assert image["axes"][0] == {"name": "t", "type": "time"}
    with tifffile.TiffFile(exported(small_lab, "ome-tiff").path) as file:
        assert "TimeIncrement" not in file.pages.first.description


@pytest.mark.parametrize("size", [1e-7, -0.5, 0.0])
def test_a_pixel_size_that_tiff_cannot_say_is_no_crash(
    small_lab: Lab, stack: Any, size: float
) -> None:
    change_rows(
        small_lab, "UPDATE frames_global SET pixel_size_x_um = ?1, pixel_size_y_um = ?1", size
    )
    for to in ALL_IMAGES:
        assert exported(small_lab, to).written == 12


@pytest.mark.parametrize("to", [*ALL_IMAGES, "files"])
def test_a_destination_with_too_long_a_name_is_told(small_lab: Lab, stack: Any, to: str) -> None:
    with (
        ImagingDB(small_lab.settings) as db,
        pytest.raises(UsageError, match=r"--dest .*; name a"),
    ):
        export(db, small_lab.serial(), small_lab.folder / ("n" * 300), to=to)
