"""The seven faults that the original imagingDB was shown to have; none of them here."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.catalog import Catalog
from imaging_db.config import StoreSettings
from imaging_db.errors import (
    ChecksumMismatch,
    DatasetExists,
    ObjectConflict,
    ObjectNotFound,
    StoreUnavailable,
)
from imaging_db.model import StoredFrame, sha256_of_pixels
from imaging_db.stores.base import Store
from imaging_db.transfer import Outcome
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab, make_lab


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Eight frames."""
    imagej_stack(tmp_path / "stack.tif")
    return tmp_path / "stack.tif"


def frame_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def test_1_a_frame_that_is_missing_from_storage_fails_the_download(lab: Lab, stack: Path) -> None:
    lab.upload_one(stack)
    with ImagingDB(lab.settings) as db:
        assert db.store.delete(f"raw_frames/{lab.serial()}/im_c001_z001_t001_p000.png")
    with pytest.raises(ObjectNotFound, match=r"im_c001_z001_t001_p000\.png is missing") as caught:
        lab.download()
    assert caught.value.exit_code == 6
    assert len(frame_files(lab.folder / "dest" / lab.serial())) == 7, "the good ones are there"


def test_2_a_flipped_byte_in_a_stored_frame_fails_the_download(small_lab: Lab, stack: Path) -> None:
    small_lab.upload_one(stack)
    stored = Path(small_lab.settings.store.access, "raw_frames", small_lab.serial())
    damaged = stored / "im_c000_z000_t000_p000.png"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    with pytest.raises(ChecksumMismatch, match=damaged.name):
        small_lab.download()
    folder = small_lab.folder / "dest" / small_lab.serial()
    assert damaged.name not in frame_files(folder)
    assert len(frame_files(folder)) == 7
    assert not list(folder.glob("*.part"))


class CrashingCatalog(Catalog):
    """A catalog whose process dies when it should write rows: bytes are stored, rows are not."""

    def add_frames(self, claim: object, stored: object) -> None:
        raise SystemExit("killed")


def crash_after_storage_write(lab: Lab, stack: Path) -> None:
    """Run an upload that stores every frame and dies before the first row."""
    db = ImagingDB(lab.settings)
    db.init()
    db._catalog = CrashingCatalog(db.catalog._transactions)
    with pytest.raises(SystemExit):
        db.upload(lab.csv(stack))
    db.close()


def test_3_after_a_crash_between_storage_and_database_the_same_command_finishes(
    lab: Lab, stack: Path
) -> None:
    data = imagej_stack(stack)
    crash_after_storage_write(lab, stack)
    assert len(lab.keys()) == 8
    assert lab.serials() == []
    assert lab.upload_one(stack).outcome is Outcome.UPLOADED
    lab.download()
    found = lab.frames_on_disk()
    assert found[(1, 0, 1, 0)] == sha256_of_pixels(data[1, 0, 1])
    assert len(found) == 8


def test_4_overwrite_never_keeps_what_an_interrupted_run_left_damaged(
    small_lab: Lab, stack: Path
) -> None:
    crash_after_storage_write(small_lab, stack)
    damaged = Path(small_lab.settings.store.access, small_lab.keys()[0])
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(ObjectConflict):
        small_lab.upload_one(stack)
    assert small_lab.upload_one(stack, overwrite=True).removed == 8
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures


def test_5_overwrite_replaces_a_dataset_and_says_what_it_removed(lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "old.tif", t=3, seed=1)
    new = imagej_stack(tmp_path / "new.tif", t=1, seed=2)
    lab.upload_one(tmp_path / "old.tif")
    with pytest.raises(DatasetExists, match="--overwrite") as caught:
        lab.upload_one(tmp_path / "new.tif")
    assert caught.value.exit_code == 7
    report = lab.upload_one(tmp_path / "new.tif", overwrite=True)
    assert (report.outcome, report.removed) == (Outcome.REPLACED, 12)
    assert len(lab.keys()) == 4
    lab.download()
    assert lab.frames_on_disk()[(0, 1, 0, 0)] == sha256_of_pixels(new[0, 1, 0])


def test_6_a_serial_is_given_once(lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", seed=1)
    imagej_stack(tmp_path / "b.tif", seed=2)
    lab.upload_one(tmp_path / "a.tif")
    with pytest.raises(DatasetExists):
        lab.upload_one(tmp_path / "b.tif")
    assert lab.serials() == [lab.serial()]


def test_7_a_second_download_to_the_same_folder_finishes_the_first(lab: Lab, stack: Path) -> None:
    lab.upload_one(stack)
    first = lab.download()
    assert (first.written, first.kept) == (8, 0)
    frames = sorted(first.folder.glob("*.png"))
    frames[0].unlink()
    frames[1].write_bytes(b"half of a fra")
    second = lab.download()
    assert (second.written, second.kept) == (2, 6)
    assert len(lab.frames_on_disk()) == 8


def test_the_uploader_reads_every_result_of_its_threads(
    small_lab: Lab, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause of fault 1: results of the pool were never asked for, so its exceptions vanished."""

    class FullStore:
        def __init__(self, store: Store) -> None:
            self._store = store

        def put(self, key: str, data: bytes, *, sha256: str) -> bool:
            if "_z001_" in key:
                raise StoreUnavailable("store is full", hint="free space and rerun")
            return self._store.put(key, data, sha256=sha256)

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    with ImagingDB(small_lab.settings) as db:
        db.init()
        db._stores[small_lab.settings.store] = FullStore(db.store)  # type: ignore[assignment]
        (report,) = db.upload(small_lab.csv(stack))
        assert isinstance(report.error, StoreUnavailable)
        assert "of 8 frames" in str(report.error)
        assert list(db.datasets()) == []
    assert small_lab.upload_one(stack).nbr_objects == 8


def test_rows_of_frames_have_every_hash(small_lab: Lab, stack: Path) -> None:
    data = imagej_stack(stack, seed=5)
    small_lab.upload_one(stack)
    with ImagingDB(small_lab.settings) as db:
        frames: list[StoredFrame] = list(db.dataset(small_lab.serial()).frames())
        assert {f.sha256 for f in frames} == {
            sha256_of_pixels(data[t, z, c]) for t in (0, 1) for z in (0, 1) for c in (0, 1)
        }
        assert all(f.object_sha256 and f.object_size for f in frames)


def test_overwrite_mends_a_dataset_whose_objects_went_missing(small_lab: Lab, stack: Path) -> None:
    small_lab.upload_one(stack)
    with ImagingDB(small_lab.settings) as db:
        db.store.delete(small_lab.keys()[0])
    assert small_lab.upload_one(stack).outcome is Outcome.ALREADY_THERE
    report = small_lab.upload_one(stack, overwrite=True)
    assert (report.outcome, report.removed) == (Outcome.REPLACED, 7)
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures
    assert small_lab.upload_one(stack, overwrite=True).outcome is Outcome.ALREADY_THERE


def test_overwrite_removes_the_old_objects_from_the_store_they_are_in(
    small_lab: Lab, stack: Path, tmp_path: Path
) -> None:
    small_lab.upload_one(stack)
    imagej_stack(stack, seed=3)
    store = StoreSettings("local", str(tmp_path / "new store"))
    moved = make_lab(small_lab.settings.database, store, tmp_path)
    report = moved.upload_one(stack, overwrite=True)
    assert (report.outcome, report.removed) == (Outcome.REPLACED, 8)
    assert small_lab.keys() == []
    assert len(moved.keys()) == 8
