"""A disk that is full: one line that says which and how far it came; rerunning finishes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.support.acquisitions import pixels
from tests.support.commands import DOWNLOADER, FORKS, UPLOADER, Commands
from tests.support.lab import Lab

LIMIT = 1_000_000
"""Bytes of the largest file that the limited process may write: the catalog and small frames fit."""

pytestmark = pytest.mark.skipif(not FORKS, reason="there is no such limit here")


@pytest.fixture
def desk(small_lab: Lab, tmp_path: Path) -> Lab:
    """A stack whose first three frames are small when stored, and the others are not."""
    data = np.concatenate([np.zeros((3, 900, 900), "uint16"), pixels(3, 900, 900)])
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZYX"})
    small_lab.csv(tmp_path / "a.tif")
    small_lab.write_files()
    return small_lab


@pytest.mark.fault("D1")
def test_an_upload_to_a_full_disk_says_so_and_is_finished_by_rerunning(
    desk: Lab, commands: Commands
) -> None:
    words = ("--csv", "files.csv", "--nbr_workers", "1")
    done = commands.run(UPLOADER, words, cwd=desk.folder, largest_file=LIMIT)
    assert done.code == 5, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"{desk.settings.store.access} is full" in line
    assert "after 3 of 6 frames; free space and rerun" in line
    assert desk.serials() == []
    assert not list(desk.folder.rglob("*.part"))
    again = commands.run(UPLOADER, words, cwd=desk.folder)
    assert again.code == 0, again.stderr
    assert "3 from an earlier run" in again.stdout
    assert desk.serials() == [desk.serial()]
    assert len(desk.keys()) == 6
    desk.download()
    assert len(desk.frames_on_disk()) == 6


@pytest.mark.fault("D3")
def test_a_download_to_a_full_disk_says_so_and_is_finished_by_rerunning(
    desk: Lab, commands: Commands
) -> None:
    assert commands.run(UPLOADER, ["--csv", "files.csv"], cwd=desk.folder).code == 0
    words = ("--id", desk.serial(), "--dest", "dest", "--nbr_workers", "1")
    done = commands.run(DOWNLOADER, words, cwd=desk.folder, largest_file=LIMIT)
    assert done.code == 5, done.stderr
    (line,) = done.stderr.splitlines()
    assert str(desk.folder / "dest" / desk.serial()) in line
    assert "free space and rerun" in line
    assert not list(desk.folder.rglob("*.part"))
    again = commands.run(DOWNLOADER, words, cwd=desk.folder)
    assert again.code == 0, again.stderr
    assert "3 were there already" in again.stdout
    assert len(desk.frames_on_disk()) == 6


def test_a_table_that_does_not_fit_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    write = f"""
import resource
from pathlib import Path
from imaging_db.api.frame_table import write_parquet
from imaging_db.errors import StoreUnavailable
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))
try:
    write_parquet(Path("frames.parquet"), ["name", "z"], ((f"{{z * 7919}}.png", z) for z in range(300_000)))
except StoreUnavailable as error:
    print(error.exit_code, error)
"""
    command = [sys.executable, "-c", write]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("5 "), done.stderr
    assert "is full" in done.stdout
    assert not list(tmp_path.iterdir())
