"""Whether a dataset holds a source already is told by content; stacks need frames that are alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.errors import DatasetExists, UsageError
from imaging_db.model import FrameCoords, StoredFrame, UploadType
from imaging_db.transfer import Outcome
from imaging_db.transfer.stack import read_stack
from tests.support.lab import Lab


@pytest.fixture
def files(small_lab: Lab, tmp_path: Path) -> Lab:
    (tmp_path / "raw").mkdir()
    for name in ("a", "b"):
        (tmp_path / "raw" / name).write_text(name)
    lab = small_lab.config(upload_type=UploadType.FILE)
    lab.upload_one(tmp_path / "raw")
    return lab


def copy(folder: Path, *, name: str = "raw", content: str | None = None) -> Path:
    target = folder / "copy" / name
    target.mkdir(parents=True)
    for file in ("a", "b"):
        (target / file).write_text(content if content and file == "b" else file)
    return target


def test_a_copy_of_the_files_is_there_already(files: Lab, tmp_path: Path) -> None:
    assert files.upload_one(copy(tmp_path)).outcome is Outcome.ALREADY_THERE


@pytest.mark.parametrize("change", ["content", "name", "count", "kind"])
def test_any_difference_is_other_content(files: Lab, tmp_path: Path, change: str) -> None:
    source = copy(tmp_path, content="other" if change == "content" else None)
    if change == "name":
        (source / "b").rename(source / "c")
    if change == "count":
        (source / "c").touch()
    lab = files
    if change == "kind":
        from tests.support.acquisitions import imagej_stack

        imagej_stack(source / "a.tif", t=1, z=1, c=2)
        lab, source = files.config(), source / "a.tif"
    with pytest.raises(DatasetExists):
        lab.upload_one(source)


def test_files_are_replaced_after_they_were_all_read(files: Lab, tmp_path: Path) -> None:
    report = files.upload_one(copy(tmp_path, content="other"), overwrite=True)
    assert (report.outcome, report.removed) == (Outcome.REPLACED, 2)
    with ImagingDB(files.settings) as db:
        assert not db.verify(files.serial()).failures


def frame(c: int, **values: object) -> StoredFrame:
    known = {"sha256": None, "object_sha256": None, "object_size": None, "codec": None}
    sizes = {"width": 2, "height": 2, "colors": 1, "dtype": "uint8"}
    return StoredFrame(FrameCoords(c, 0, 0, 0), f"{c}.png", **(known | sizes | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([frame(0), frame(1, width=3)], "differ in size or type"),
        ([frame(0), frame(1, dtype="uint16")], "differ in size or type"),
        ([frame(0, width=None)], "size of the frames is not recorded"),
    ],
)
def test_frames_that_are_not_alike_are_no_stack(frames: list[StoredFrame], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_stack(frames, lambda _: None, workers=1)
