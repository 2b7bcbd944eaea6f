"""The folder of a store whose disk is not mounted: nothing is written into the bare mount point."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.cli import main as imaging_db_command
from imaging_db.errors import StoreDenied
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab
from tests.support.rot import sql


@pytest.fixture
def unmounted(small_lab: Lab) -> Path:
    """A mount point whose disk, with a dataset on it, was taken away; returns where the disk is now."""
    source = small_lab.folder / "stack.tif"
    imagej_stack(source, t=1, z=2, c=1, side=32)
    small_lab.upload_one(source)
    disk = small_lab.folder / "disk"
    Path(small_lab.settings.store.access).rename(disk)
    return disk


@pytest.mark.fault("D10")
@pytest.mark.parametrize("mount_point", [True, False], ids=["an empty folder", "no folder"])
def test_nothing_is_uploaded_into_a_bare_mount_point(
    mount_point: bool, small_lab: Lab, unmounted: Path
) -> None:
    root = Path(small_lab.settings.store.access)
    if mount_point:
        root.mkdir()
    source = small_lab.folder / "other.tif"
    imagej_stack(source, t=1, z=2, c=1, side=32, seed=1)
    rows = [{"dataset_id": small_lab.serial(2), "file_name": str(source)}]
    with pytest.raises(StoreDenied, match="mount the disk"):
        small_lab.upload_csv(small_lab.csv(rows=rows))
    assert not list(root.iterdir())
    root.rmdir()
    unmounted.rename(root)
    (report,) = small_lab.upload_csv(small_lab.csv(rows=rows))
    assert report.error is None
    assert len(small_lab.keys()) == 4


@pytest.mark.fault("D10")
def test_the_doctor_tells_that_a_disk_is_not_mounted(
    small_lab: Lab, unmounted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    login, config = small_lab.write_files()
    words = ["doctor", "--login", str(login), "--config", str(config)]
    assert imaging_db_command.main(words) == 2
    assert "mount the disk" in capsys.readouterr().out
    unmounted.rename(small_lab.settings.store.access)
    assert imaging_db_command.main(words) == 0


def test_what_is_lost_for_good_can_be_uploaded_again(small_lab: Lab, unmounted: Path) -> None:
    shutil.rmtree(unmounted)
    (Path(small_lab.settings.store.access) / "raw_files").mkdir(parents=True)
    small_lab.upload_one(small_lab.folder / "stack.tif", overwrite=True)
    assert len(small_lab.keys()) == 2


def test_rows_of_imagingdb_are_as_good_a_sign(small_lab: Lab, unmounted: Path) -> None:
    """They do not say which store they are of: it is the configured one."""
    sql(small_lab, "UPDATE data_set SET storage = NULL, storage_access = NULL")
    Path(small_lab.settings.store.access).mkdir()
    with pytest.raises(StoreDenied, match="mount the disk"):
        small_lab.upload(small_lab.folder / "stack.tif")
    with ImagingDB(small_lab.settings) as db, pytest.raises(StoreDenied, match="mount the disk"):
        db.delete(small_lab.serial())
    assert small_lab.serials() == [small_lab.serial()]
