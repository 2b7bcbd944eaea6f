"""check tells how catalog and store differ, exactly, and changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.cli import main as imaging_db_command
from imaging_db.config import StoreSettings
from imaging_db.errors import (
    CatalogUnavailable,
    DatasetNotFound,
    IntegrityError,
    ObjectsDamaged,
)
from imaging_db.model import sha256_of_bytes
from imaging_db.transfer.check import Checker, CheckReport
from imaging_db.transfer.report import Failures, Silent
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab
from tests.support.matrix import Injected
from tests.support.rot import (
    KINDS,
    SEEN_BY_SIZE,
    everything,
    keys_of,
    overwrite,
    rot,
    sql,
    with_files,
    with_stack,
)


def check(lab: Lab, number: int = 1, *, read_data: bool = False) -> CheckReport:
    with ImagingDB(lab.settings) as db:
        return db.check(lab.serial(number), read_data=read_data)


def told(report: CheckReport) -> list[str]:
    return [str(failure) for failure in report.failures]


def named(failures: tuple[Exception, ...], keys: dict[str, str]) -> set[str]:
    """Which of the keys the failures name; each failure names exactly one."""
    found = [kind for error in failures for kind, key in keys.items() if key in str(error)]
    assert len(found) == len(failures), [str(error) for error in failures]
    return set(found)


# --- objects


@pytest.mark.fault("D8", "N13")
def test_exactly_the_damaged_frames_are_told_and_the_good_ones_come(
    lab: Lab, injected: Injected
) -> None:
    with_stack(lab)
    keys = rot(lab)
    injected.add(len(keys))
    with ImagingDB(lab.settings) as db:
        assert named(db.verify(lab.serial()).failures, keys) == set(KINDS)
    read = check(lab, read_data=True)
    assert (named(read.failures, keys), read.objects, read.extra) == (set(KINDS), 8, 0)
    assert named(check(lab).failures, keys) >= set(SEEN_BY_SIZE)
    with pytest.raises(ObjectsDamaged) as caught:
        lab.download()
    assert (caught.value.exit_code, named(caught.value.failures, keys)) == (6, set(KINDS))
    there = {path.name for path in (lab.folder / "dest" / lab.serial()).glob("*.png")}
    assert there == {key.rpartition("/")[2] for key in everything(lab)} - {
        key.rpartition("/")[2] for key in keys.values()
    }


@pytest.mark.fault("D8")
def test_exactly_the_damaged_files_are_told(small_lab: Lab, injected: Injected) -> None:
    lab, _ = with_files(small_lab)
    keys = rot(lab)
    injected.add(len(keys))
    read = check(lab, read_data=True)
    assert (named(read.failures, keys), read.noun) == (set(KINDS), "file")
    assert named(check(lab).failures, keys) >= set(SEEN_BY_SIZE)
    with ImagingDB(lab.settings) as db:
        assert named(db.verify(lab.serial()).failures, keys) == set(KINDS)


def test_what_no_row_and_no_dataset_knows_is_told_and_is_no_error(lab: Lab) -> None:
    with_stack(lab)
    with ImagingDB(lab.settings) as db:
        directory = db.catalog.dataset(lab.serial()).storage_dir
        for name in ("a.txt", "im_c000_z000_t000_p000.png.bak", "sub/z.txt"):
            db.store.put(f"{directory}/{name}", b"x", sha256=sha256_of_bytes(b"x"))
        db.store.put("raw_frames/OLD-1/a.png", b"abc", sha256=sha256_of_bytes(b"abc"))
        db.store.put("raw_frames/OLD-1/b.png", b"de", sha256=sha256_of_bytes(b"de"))
        found = db.check_store()
    report = check(lab)
    assert (report.wrong, report.extra, report.objects) == (0, 3, 8)
    assert report.extras[0] == f"{directory}/a.txt"
    (orphan,) = found.orphans
    assert (orphan.folder, orphan.objects, orphan.nbr_bytes) == ("raw_frames/OLD-1", 2, 5)
    assert found.unfinished == ()


def test_thousands_of_rows_are_compared_page_by_page(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_stack(small_lab, t=5)
    monkeypatch.setattr("imaging_db.catalog.inventory.PAGE", 3)
    report = check(small_lab)
    assert (report.objects, report.wrong, report.extra) == (20, 0, 0)


# --- rows


def test_a_row_that_was_deleted_by_hand_is_told(small_lab: Lab) -> None:
    lab = small_lab
    with_stack(lab)
    sql(lab, "DELETE FROM frames WHERE channel_idx = 1 AND slice_idx = 1 AND time_idx = 1")
    report = check(lab)
    assert told(report) == [
        f"the catalog has 7 of the 8 rows of {lab.serial()}; restore the catalog from a backup, or "
        "upload the source again with --overwrite"
    ]
    assert (report.extra, report.rows_missing) == (1, True)


@pytest.mark.parametrize("read_data", [False, True])
def test_a_number_of_objects_that_was_changed_by_hand_is_told(
    small_lab: Lab, read_data: bool
) -> None:
    lab = small_lab
    with_stack(lab)
    sql(lab, "UPDATE data_set SET nbr_objects = 7")
    report = check(lab, read_data=read_data)
    assert len(report.failures) == 2
    assert "announces 7 frames, its acquisition 8" in told(report)[0]
    assert "has 8 of the 7 rows" in told(report)[1]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE frames_global SET nbr_channels = 1", "frames in 2 channels, its acquisition .* 1"),
        ("UPDATE frames_global SET nbr_timepoints = 1", "frames in 2 timepoints"),
        ("DELETE FROM frames_global", "no row of its acquisition"),
        (
            "INSERT INTO file_global (storage_dir, file_name, metadata_json, dataset_id) "
            "SELECT storage_dir, 'a', '{}', id FROM data_set",
            "holds frames, and the catalog has 1 rows of files",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_told(
    small_lab: Lab, statement: str, message: str
) -> None:
    with_stack(small_lab)
    sql(small_lab, statement)
    report = check(small_lab)
    with pytest.raises(IntegrityError, match=message):
        raise report.failures[0]


def test_a_parent_that_is_not_complete_is_told(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    first, second = small_lab.serial(1), small_lab.serial(2)
    rows = [{"dataset_id": second, "file_name": str(source), "parent_dataset_id": first}]
    small_lab.upload_csv(small_lab.csv(rows=rows))
    sql(small_lab, "UPDATE data_set SET status = 'deleting' WHERE dataset_serial = :one", one=first)
    (failure,) = check(small_lab, 2).failures
    assert failure.message == f"{second} names a parent that is deleting, {first}"
    with ImagingDB(small_lab.settings) as db:
        assert [one.dataset.serial for one in db.check_store().unfinished] == [first]


# --- and nothing else happens


def test_nothing_is_changed(small_lab: Lab) -> None:
    with_stack(small_lab)
    rot(small_lab)
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in small_lab.folder.rglob("*")
        if path.is_file()
    }
    for read_data in (False, True):
        check(small_lab, read_data=read_data)
    with ImagingDB(small_lab.settings) as db:
        db.check_store()
    after = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in small_lab.folder.rglob("*")
        if path.is_file()
    }
    assert after == before


class Replacing(Silent):
    """Replaces the dataset while it is being checked."""

    def __init__(self, lab: Lab, source: Path) -> None:
        self.lab, self.source = lab, source

    def start(self, title: str, total: int) -> None:
        self.lab.upload_one(self.source, overwrite=True)


def test_what_is_replaced_meanwhile_is_not_called_damaged(small_lab: Lab) -> None:
    with_stack(small_lab)
    other = small_lab.folder / "other.tif"
    imagej_stack(other, t=1, seed=3)
    with ImagingDB(small_lab.settings) as db:
        checker = Checker(db.catalog, db.store, progress=Replacing(small_lab, other))
        with pytest.raises(CatalogUnavailable, match="was replaced while it was read; rerun"):
            checker.check(db.catalog.dataset(small_lab.serial()))
    assert check(small_lab).wrong == 0


class Deleting(Silent):
    """Deletes the dataset once an object of it was looked at."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def advance(self, objects: int, nbr_bytes: int) -> None:
        if self.lab.serials():
            with ImagingDB(self.lab.settings) as db:
                db.delete(self.lab.serial())


@pytest.mark.parametrize("read_data", [False, True])
def test_what_is_deleted_meanwhile_is_not_called_damaged(small_lab: Lab, read_data: bool) -> None:
    with_stack(small_lab)
    with ImagingDB(small_lab.settings) as db, pytest.raises(DatasetNotFound):
        db.check(small_lab.serial(), read_data=read_data, progress=Deleting(small_lab))


# --- what is out of reach


@pytest.fixture
def two_stores(small_lab: Lab) -> Path:
    """Dataset 1 in the store of the lab, 2 and 3 on a disk that is not mounted; returns its mount point."""
    source = with_stack(small_lab)
    disk = small_lab.folder / "disk"
    disk.mkdir()
    settings = replace(small_lab.settings, store=StoreSettings("local", str(disk)))
    rows = [{"dataset_id": small_lab.serial(n), "file_name": str(source)} for n in (2, 3)]
    with ImagingDB(settings) as db:
        assert [one.error for one in db.upload(small_lab.csv(rows=rows))] == [None, None]
    disk.rename(small_lab.folder / "taken away")
    disk.mkdir()
    return disk


@pytest.mark.fault("D10")
@pytest.mark.parametrize("name", ["check", "verify", "repair"])
def test_a_store_that_is_away_is_told_once_and_the_others_are_looked_at(
    name: str, small_lab: Lab, two_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    ids = [small_lab.serial(number) for number in (1, 2, 3)] if name == "repair" else []
    assert command(small_lab, name, *ids) == 3
    out, err = capsys.readouterr()
    assert out.startswith(f"{small_lab.serial(1)}: 8 frames, ")
    error, note = err.splitlines()
    assert error.startswith(f"error: {small_lab.serial(2)}: {two_stores} holds nothing")
    assert "mount the disk" in error
    assert note == f"note: 1 more dataset of {two_stores}: not looked at"
    assert command(small_lab, name, small_lab.serial(2)) == 2
    assert capsys.readouterr().err.count("error: ") == 1


def test_one_dataset_that_cannot_be_looked_at_keeps_no_other_back(
    small_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    source = with_stack(small_lab)
    rows = [{"dataset_id": small_lab.serial(2), "file_name": str(source)}]
    small_lab.upload_csv(small_lab.csv(rows=rows))
    capsys.readouterr()
    sql(
        small_lab,
        "UPDATE data_set SET storage_access = :away WHERE dataset_serial = :one",
        away=str(small_lab.folder / "not here"),
        one=small_lab.serial(1),
    )
    shutil.rmtree(Path(small_lab.settings.store.access) / "raw_frames" / small_lab.serial(1))
    assert command(small_lab, "check") == 3
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{small_lab.serial(2)}: 8 frames, all there, in their size",
        "1 dataset checked, all as recorded, 1 could not be",
    ]
    assert "which is not here" in err
    assert err.count("error: ") == 1


def test_more_than_can_be_told_is_counted(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Failures, "MOST_TOLD", 2)
    with_stack(small_lab)
    rot(small_lab)
    capsys.readouterr()
    for words in (["check", "--read_data"], ["verify"], ["repair", small_lab.serial()]):
        assert command(small_lab, *words) == 6
        out, err = capsys.readouterr()
        assert (err.count("error: "), "5" in out) == (2, True)
        assert f"note: {small_lab.serial()}: 3 more are not as recorded" in err


def test_an_error_that_is_kept_holds_no_bytes_of_its_object(small_lab: Lab) -> None:
    with_stack(small_lab)
    rot(small_lab)
    with ImagingDB(small_lab.settings) as db:
        errors = db.verify(small_lab.serial()).failures
    assert len(errors) == len(KINDS)
    kept = [(error.__traceback__, error.__cause__, error.__context__) for error in errors]
    assert set(kept) == {(None, None, None)}


# --- the command


def command(lab: Lab, *words: str) -> int:
    login, config = lab.write_files()
    name, *rest = words
    return imaging_db_command.main([name, "--login", str(login), "--config", str(config), *rest])


def test_exit_codes_and_lines_of_the_command(
    new_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(new_lab, "check") == 2  # no catalog yet
    with_stack(new_lab)
    capsys.readouterr()
    assert command(new_lab, "check") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{new_lab.serial()}: 8 frames, all there, in their size",
        "1 dataset checked, all as recorded",
    ]
    with ImagingDB(new_lab.settings) as db:
        key = keys_of(db, new_lab.serial())[0]
        overwrite(db.store, key, None)
        db.store.put("raw_files/OLD-1/a", b"abc", sha256=sha256_of_bytes(b"abc"))
    assert command(new_lab, "check") == 6
    out, err = capsys.readouterr()
    assert "1 dataset checked, 1 not as recorded" in out
    error, note = err.splitlines()
    assert error.startswith(f"error: {new_lab.serial()}: {key} is missing from ")
    assert error.endswith(f"; imaging-db repair {new_lab.serial()} can put it back")
    assert note.startswith("note: raw_files/OLD-1/ is of no dataset of this catalog: 1 object, 3 B")
    assert command(new_lab, "check", new_lab.serial(), "--json") == 6
    (report,) = json.loads(capsys.readouterr().out)["datasets"]
    assert (report["wrong"], report["failures"][0]["kind"]) == (1, "ObjectNotFound")
    assert command(new_lab, "check", "NOPE") == 2
    assert command(new_lab, "check", "--read_dat") == 2
