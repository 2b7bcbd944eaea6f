"""A lab of the original imagingDB moves in: its database is upgraded, its storage is read as it is."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from imaging_db import ImagingDB
from imaging_db.catalog import schema
from imaging_db.cli import data_downloader, query_data
from imaging_db.cli import main as imaging_db_command
from imaging_db.config import DatabaseSettings, StoreSettings
from imaging_db.errors import ChecksumMismatch
from imaging_db.model import sha256_of_bytes, sha256_of_pixels
from tests.support.acquisitions import pixels
from tests.support.lab import Lab, make_lab
from tests.support.legacy import (
    CHILD_SERIAL,
    FILE_SERIAL,
    FRAMES_SERIAL,
    OF_2018,
    OF_2019,
    Generation,
    OriginalDatabase,
)

GREY = {(c, z): pixels(20, 30, seed=c * 2 + z) for c in range(2) for z in range(2)}
COLOUR = pixels(20, 30, 3, dtype="uint8", seed=9)
FILE = b"bytes of a microscope's own format" * 100


def stored_as_opencv_did(image: np.ndarray) -> bytes:
    """A PNG; OpenCV took the RGB array for BGR, so its samples are stored in reverse."""
    turned = image[..., ::-1] if image.ndim == 3 else image
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(turned)))


def fill(original: OriginalDatabase, mount: Path) -> None:
    """One grey dataset, one of colour, one file: rows and objects."""
    hashes = original.generation.hashes
    grey, colour = f"raw_frames/{FRAMES_SERIAL}", f"raw_frames/{CHILD_SERIAL}"
    sizes = {"im_width": 30, "im_height": 20, "nbr_timepoints": 1}
    original.add_dataset(
        1, FRAMES_SERIAL, frames=True, date_time="2018-06-08 15:45:00", microscope="Leica"
    )
    original.add_acquisition(1, 1, grey, nbr_frames=4, nbr_slices=2, nbr_channels=2, **sizes)
    for (c, z), image in GREY.items():
        row = original.frame(1, c, z, 0, 0)
        original.insert("frames", **(row | ({"sha256": sha256_of_pixels(image)} if hashes else {})))
        write(mount / grey / row["file_name"], stored_as_opencv_did(image))
    original.add_dataset(2, CHILD_SERIAL, frames=True, date_time="2018-09-01 10:00:00", parent_id=1)
    original.add_acquisition(
        2,
        2,
        colour,
        nbr_frames=1,
        nbr_slices=1,
        nbr_channels=1,
        im_colors=3,
        bit_depth="uint8",
        **sizes,
    )
    row = original.frame(2, 0, 0, 0, 0)
    original.insert("frames", **(row | ({"sha256": sha256_of_pixels(COLOUR)} if hashes else {})))
    write(mount / colour / row["file_name"], stored_as_opencv_did(COLOUR))
    original.add_dataset(3, FILE_SERIAL, frames=False, date_time="2018-07-12 18:15:00")
    known = {"sha256": sha256_of_bytes(FILE)} if hashes else {}
    original.add_file(3, f"raw_files/{FILE_SERIAL}", "scan.czi", **known)
    write(mount / f"raw_files/{FILE_SERIAL}" / "scan.czi", FILE)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture(params=[OF_2018, OF_2019], ids=lambda generation: str(generation.year))
def moved(request: pytest.FixtureRequest, empty_database: DatabaseSettings, tmp_path: Path) -> Lab:
    """The lab after `imaging-db db upgrade`, with the original's mount point as its store."""
    generation: Generation = request.param
    original = OriginalDatabase(empty_database, generation)
    fill(original, tmp_path / "mount")
    original.close()
    schema.upgrade(empty_database)
    return make_lab(empty_database, StoreSettings("local", str(tmp_path / "mount")), tmp_path)


def test_its_datasets_are_found_and_every_hash_agrees(moved: Lab) -> None:
    with ImagingDB(moved.settings) as db:
        assert {d.serial for d in db.datasets()} == {FRAMES_SERIAL, CHILD_SERIAL, FILE_SERIAL}
        assert db.dataset(CHILD_SERIAL).dataset.parent_serial == FRAMES_SERIAL
        for serial in (FRAMES_SERIAL, CHILD_SERIAL, FILE_SERIAL):
            assert not db.verify(serial).failures


def test_its_pixels_come_back_in_the_order_they_had(moved: Lab) -> None:
    with ImagingDB(moved.settings) as db:
        stack, dims = db.dataset(FRAMES_SERIAL).stack()
        assert dims == "XYZC"
        assert np.array_equal(stack[:, :, 1, 0], GREY[0, 1])
        stack, dims = db.dataset(CHILD_SERIAL).stack()
        assert dims == "XYG"
        hashed = next(iter(db.dataset(CHILD_SERIAL).frames())).sha256 is not None
    assert np.array_equal(stack, COLOUR if hashed else COLOUR[..., ::-1])


def test_the_command_lines_work_on_it(
    moved: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved.write_files()
    (moved.folder / "config.json").unlink()
    monkeypatch.chdir(moved.folder)
    assert query_data.main(["--microscope", "leica"]) == 0
    assert FRAMES_SERIAL in capsys.readouterr().out
    where = ["--storage", "local", "--storage_access", "mount", "--dest", "out"]
    assert data_downloader.main(["--id", FRAMES_SERIAL, *where, "-c", "405", "--dry-run"]) == 0
    assert "2 objects" in capsys.readouterr().out, "405 is a name, there is no index 405"
    assert data_downloader.main(["--id", FRAMES_SERIAL, *where, "-c", "405"]) == 0
    folder = moved.folder / "out" / FRAMES_SERIAL
    with (folder / "frames_meta.csv").open(newline="") as stream:
        assert [row["channel_name"] for row in csv.DictReader(stream)] == ["405", "405"]
    assert data_downloader.main(["--id", FILE_SERIAL, *where, "--no-metadata"]) == 0
    assert (moved.folder / "out" / FILE_SERIAL / "scan.czi").read_bytes() == FILE
    assert imaging_db_command.main(["db", "check"]) == 0


def test_damage_in_its_storage_is_found(moved: Lab) -> None:
    damaged = moved.folder / "mount" / "raw_frames" / FRAMES_SERIAL / "im_c000_z000_t000_p000.png"
    damaged.write_bytes(stored_as_opencv_did(GREY[1, 1]))
    with ImagingDB(moved.settings) as db:
        recorded = all(frame.sha256 for frame in db.dataset(FRAMES_SERIAL).frames())
        failures = db.verify(FRAMES_SERIAL).failures
        unrecorded = db.verify(FRAMES_SERIAL).unrecorded
    if recorded:
        (failure,) = failures
        assert isinstance(failure, ChecksumMismatch)
    else:
        assert unrecorded == 4, "2018 kept no hashes: that they are missing is told"


def test_new_datasets_go_beside_the_old(moved: Lab, tmp_path: Path) -> None:
    from tests.support.acquisitions import imagej_stack

    imagej_stack(tmp_path / "new.tif")
    store = replace(moved.settings.store, access=str(tmp_path / "mount"))
    lab = make_lab(moved.settings.database, store, tmp_path)
    assert lab.upload_one(tmp_path / "new.tif").nbr_objects == 8
    assert len(lab.serials()) == 4
