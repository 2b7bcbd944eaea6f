"""Deletions and uploads where the objects are not what the rows say: another store, another catalog's, lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.catalog import Place
from imaging_db.cli import main as imaging_db_command
from imaging_db.errors import (
    Conflict,
    DatasetBusy,
    DatasetNotFound,
    IntegrityError,
    ObjectsInTheWay,
    StoreDenied,
    StoreUnavailable,
    UsageError,
)
from imaging_db.model import UploadType
from imaging_db.stores.base import Store
from imaging_db.testing.store_actions import put
from imaging_db.transfer import Outcome, Silent
from imaging_db.transfer.remove import remove_objects
from tests.support.acquisitions import imagej_stack
from tests.support.faulty import Faulty
from tests.support.lab import Lab
from tests.support.rot import sql


@pytest.fixture
def source(small_lab: Lab) -> Path:
    """A stack of three frames that is uploaded."""
    path = small_lab.folder / "stack.tif"
    imagej_stack(path, t=1, z=3, c=1, side=32)
    small_lab.upload_one(path)
    return path


def root_of(lab: Lab) -> Path:
    return Path(lab.settings.store.access)


def at(lab: Lab, folder: Path) -> Lab:
    """The same lab with another folder in its config."""
    folder.mkdir(exist_ok=True)
    store = replace(lab.settings.store, access=str(folder))
    return replace(lab, settings=replace(lab.settings, store=store))


def said(lab: Lab, *words: str) -> int:
    login, config = lab.write_files()
    return imaging_db_command.main([*words, "--login", str(login), "--config", str(config)])


# --- reservations


def left_reservation(lab: Lab) -> str:
    """As a collection leaves it that was killed in the folder of another catalog's dataset; a key there."""
    with ImagingDB(lab.settings) as db:
        db.init()
        folder = f"raw_frames/{lab.serial()}"
        place = Place(lab.serial(), UploadType.FRAMES, "local", str(root_of(lab)), folder)
        db.catalog.release(db.catalog.reserve(place, token="dead"))
        put(db.store, f"{folder}/theirs.png", b"of another catalog")
        return f"{folder}/theirs.png"


def test_of_a_reservation_only_the_row_is_deleted(small_lab: Lab) -> None:
    key = left_reservation(small_lab)
    with ImagingDB(small_lab.settings) as db:
        for dry_run in (True, False):
            report = db.delete(small_lab.serial(), dry_run=dry_run)
            assert (report.objects, report.stored) == (0, 0)
        assert db.unfinished() == []
    assert small_lab.keys() == [key]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_upload_to_a_reserved_serial_takes_nothing_away(small_lab: Lab, overwrite: bool) -> None:
    key = left_reservation(small_lab)
    path = small_lab.folder / "stack.tif"
    imagej_stack(path, t=1, z=2, c=1, side=32)
    (report,) = small_lab.upload(path, overwrite=overwrite)
    assert isinstance(report.error, ObjectsInTheWay)
    assert "holds 1 object of another upload" in str(report.error)
    assert small_lab.keys() == [key]
    (root_of(small_lab) / key).unlink()
    (report,) = small_lab.upload(path, overwrite=overwrite)
    assert report.outcome is Outcome.UPLOADED


# --- before an upload can be seen


class Thief(Silent):
    """Takes an object that is stored already, as a deletion of a run that lost its claim."""

    def __init__(self, lab: Lab, take: Callable[[Store, str], object]) -> None:
        self.lab, self.take, self.told, self.taken = lab, take, 0, False

    def advance(self, objects: int, nbr_bytes: int) -> None:
        self.told += objects
        if self.told >= 2 and not self.taken:
            self.taken = True
            with ImagingDB(self.lab.settings) as db:
                self.take(db.store, next(db.store.list("")).key)


def cut(store: Store, key: str) -> None:
    store.delete(key)
    put(store, key, b"of somebody else")


@pytest.mark.parametrize("kind", ["frames", "files"])
def test_an_upload_whose_object_was_taken_away_is_not_published(lab: Lab, kind: str) -> None:
    source = lab.folder / "raw"
    if kind == "files":
        lab = lab.config(upload_type=UploadType.FILE)
        source.mkdir()
        for name in "abc":
            (source / name).write_bytes(name.encode())
    else:
        source = source.with_suffix(".tif")
        imagej_stack(source, t=1, z=3, c=1, side=32)
    for take in (lambda store, key: store.delete(key), cut):
        (report,) = lab.upload(source, progress=Thief(lab, take), workers=1)
        assert isinstance(report.error, IntegrityError)
        assert "has lost raw_" in str(report.error) and "rerun" in report.error.hint
        with ImagingDB(lab.settings) as db:
            assert db.find(lab.serial()) is None
    assert lab.upload_one(source).reused == 2
    with ImagingDB(lab.settings) as db:
        assert not db.verify(lab.serial()).failures


def test_what_others_put_beside_an_upload_does_not_keep_it(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", t=1, z=3, c=1, side=32)

    def put_beside(store: Store, key: str) -> None:
        put(store, f"{key.rpartition('/')[0]}/.DS_Store", b"of the finder")

    small_lab.upload_one(tmp_path / "a.tif", progress=Thief(small_lab, put_beside), workers=1)
    assert len(small_lab.keys()) == 4


def test_the_claim_is_asked_before_a_deletion_is_tried_again(small_lab: Lab, source: Path) -> None:
    asked: list[bool] = []

    def check() -> None:
        asked.append(True)
        if len(asked) == lose_at:
            raise DatasetBusy(small_lab.serial(), "another run", 0.0)

    with ImagingDB(small_lab.settings) as db:
        folder = f"raw_frames/{small_lab.serial()}"
        for lose_at, left in ((2, 3), (99, 0)):
            asked.clear()
            flaky = Faulty(db.store, ("delete",), 1, lambda: StoreUnavailable("no answer"))
            try:
                remove_objects(flaky, folder, check=check)
            except DatasetBusy:
                assert lose_at == 2
            assert len(list(db.store.list(folder))) == left


# --- what is deleted


def test_a_deletion_tells_what_the_store_holds(
    small_lab: Lab, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that somebody has put beside the frames goes, too."""
    folder = root_of(small_lab) / "raw_frames" / small_lab.serial()
    (folder / "analysis.csv").write_text("mine")
    capsys.readouterr()
    assert said(small_lab, "delete", small_lab.serial(), "--dry-run") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"would delete {small_lab.serial()}: 3 frames, 4 objects, ")
    assert said(small_lab, "delete", small_lab.serial(), "--yes") == 0
    assert capsys.readouterr().out.startswith(f"deleted {small_lab.serial()}: 4 objects, ")


def test_only_what_was_shown_is_deleted(small_lab: Lab, source: Path) -> None:
    with ImagingDB(small_lab.settings) as db:
        shown = db.delete(small_lab.serial(), dry_run=True)
        imagej_stack(source, t=1, z=2, c=1, side=32, seed=1)
        small_lab.upload_one(source, overwrite=True)
        with pytest.raises(DatasetNotFound, match="was deleted or replaced meanwhile"):
            db.delete(small_lab.serial(), shown=shown)
    assert len(small_lab.keys()) == 2


def test_a_parent_whose_child_cannot_go_is_not_shown(
    small_lab: Lab, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child, other = small_lab.serial(2), small_lab.serial(3)
    row = {"file_name": str(source), "parent_dataset_id": small_lab.serial()}
    small_lab.upload_csv(small_lab.csv(rows=[{"dataset_id": child, **row}]))
    row["parent_dataset_id"] = ""
    small_lab.upload_csv(small_lab.csv(rows=[{"dataset_id": other, **row}]))
    shutil.rmtree(root_of(small_lab) / "raw_frames" / child)  # or its disk is not mounted
    capsys.readouterr()
    words = ("delete", small_lab.serial(), child, other)
    assert said(small_lab, *words, "--dry-run", "--json") == 3
    told = capsys.readouterr()
    assert [one["serial"] for one in json.loads(told.out)] == [other]
    assert f"is the parent of {child}; delete that one first" in told.err
    assert said(small_lab, *words, "--objects_lost", "--yes") == 3
    assert small_lab.serials() == [small_lab.serial(), other]


# --- from where


def test_rows_stay_where_the_store_has_none_of_the_objects(small_lab: Lab, source: Path) -> None:
    """Another disk is mounted there, with datasets of its own."""
    root, away = root_of(small_lab), small_lab.folder / "away"
    root.rename(away)
    (root / "raw_frames").mkdir(parents=True)
    with ImagingDB(small_lab.settings) as db:
        for dry_run in (True, False):
            with pytest.raises(StoreDenied, match="--objects_lost"):
                db.delete(small_lab.serial(), dry_run=dry_run)
        assert small_lab.serials() == [small_lab.serial()]
        report = db.delete(small_lab.serial(), objects_lost=True)
    assert (report.stored, report.objects, small_lab.serials()) == (3, 0, [])


def test_objects_that_are_there_are_not_lost(small_lab: Lab, source: Path) -> None:
    with ImagingDB(small_lab.settings) as db, pytest.raises(UsageError, match="they are not lost"):
        db.delete(small_lab.serial(), objects_lost=True)
    assert len(small_lab.keys()) == 3


@pytest.mark.parametrize("lost", [False, True])
def test_a_dataset_is_not_deleted_from_a_copy_of_its_store(
    small_lab: Lab, source: Path, lost: bool
) -> None:
    copy = shutil.copytree(root_of(small_lab), small_lab.folder / "copy")
    login, config = small_lab.write_files()
    named = ImagingDB.connect(login, config, storage="local", storage_access=str(copy))
    with named as db, pytest.raises(StoreDenied, match="is another store"):
        db.delete(small_lab.serial(), objects_lost=lost)
    assert len(list(copy.rglob("*.png"))) == len(small_lab.keys()) == 3


def test_a_share_that_is_mounted_elsewhere_can_be_deleted_from(
    small_lab: Lab, source: Path
) -> None:
    here = root_of(small_lab).rename(small_lab.folder / "here")
    with ImagingDB(at(small_lab, here).settings) as db:
        assert db.delete(small_lab.serial()).objects == 3
    assert list(here.rglob("*.png")) == []


def test_a_dataset_whose_disk_is_absent_is_not_replaced(small_lab: Lab, source: Path) -> None:
    away = root_of(small_lab).rename(small_lab.folder / "away")
    other = at(small_lab, small_lab.folder / "other")
    imagej_stack(source, t=1, z=2, c=1, side=32, seed=1)
    (report,) = other.upload(source, overwrite=True)
    assert isinstance(report.error, StoreDenied) and "is not here" in str(report.error)
    away.rename(root_of(small_lab))
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures


def test_an_overwrite_spares_a_dataset_inside_of_the_folder(small_lab: Lab, source: Path) -> None:
    """As imagingDB's rows may say, or somebody who tidied up by hand."""
    small_lab.upload_csv(
        small_lab.csv(rows=[{"dataset_id": small_lab.serial(2), "file_name": str(source)}])
    )
    top = root_of(small_lab) / "raw_frames"
    inner = f"raw_frames/{small_lab.serial()}/inner"
    (top / small_lab.serial(2)).rename(root_of(small_lab) / inner)
    sql(
        small_lab,
        "UPDATE data_set SET storage_dir = :inner WHERE dataset_serial = :serial",
        inner=inner,
        serial=small_lab.serial(2),
    )
    imagej_stack(source, t=1, z=3, c=1, side=32, seed=1)
    (report,) = small_lab.upload(source, overwrite=True)
    assert isinstance(report.error, Conflict)
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial(2)).failures
