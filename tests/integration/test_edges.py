"""The edges of uploading and downloading: odd names, late damage, files that change, readers that leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.cli import data_downloader, data_uploader, query_data
from imaging_db.config import StoreSettings, load_settings
from imaging_db.errors import (
    ConfigError,
    Conflict,
    FolderBusy,
    IntegrityError,
    ReaderError,
    UnexpectedError,
    UsageError,
)
from imaging_db.model import UploadType
from imaging_db.transfer import Outcome
from imaging_db.transfer.folder import DownloadFolder
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.lab import Lab, errors_of, make_lab

UPLOAD = [sys.executable, "-m", "imaging_db.cli.data_uploader", "--csv", "files.csv"]


@pytest.mark.fault("P2")
def test_names_that_look_like_temporary_files_are_ordinary_files(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    names = ["a", "a.part", "a.part.part", ".lock", ".imaging_db.lock", "x" * 255]
    for name in names:
        (source / name).write_bytes(name.encode() * 5000)
    lab = lab.config(upload_type=UploadType.FILE)
    lab.upload_one(source)
    folder = lab.download().folder
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        name: name.encode() * 5000 for name in names
    }


def test_overwrite_gives_nothing_up_for_a_source_that_cannot_be_read(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "old.tif", seed=1)
    small_lab.upload_one(tmp_path / "old.tif")
    new = tmp_path / "new.tif"
    tifffile.imwrite(new, pixels(4, 64, 64), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(new) as file:
        offset = file.pages[3].dataoffsets[0]
    with new.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 40)
    with pytest.raises(ReaderError, match="page 3"):
        small_lab.upload_one(new, overwrite=True)
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures, "the old dataset is untouched"


@pytest.mark.fault("D9")
def test_a_folder_that_changes_meanwhile_is_not_published_and_finishes_once_it_rests(
    small_lab: Lab, tmp_path: Path
) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    for number in range(5):
        (source / f"{number}.bin").write_bytes(bytes([number]) * 1000)

    class Adding:
        def start(self, title: str, total: int) -> None:
            (source / "late.bin").write_bytes(b"late")
            (source / "0.bin").write_bytes(b"rewritten")

        def advance(self, objects: int, nbr_bytes: int) -> None: ...

        def finish(self) -> None: ...

    lab = small_lab.config(upload_type=UploadType.FILE)
    (text,) = errors_of(lab.upload(source, progress=Adding()))
    assert "changed" in text
    assert lab.serials() == []
    assert lab.upload_one(source).nbr_objects == 6
    assert lab.download().written == 6


def test_a_source_that_changed_is_finished_by_the_same_command(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif", seed=1)

    class Replacing:
        def start(self, title: str, total: int) -> None: ...

        def advance(self, objects: int, nbr_bytes: int) -> None:
            imagej_stack(tmp_path / "a.tif", seed=2)

        def finish(self) -> None: ...

    assert errors_of(small_lab.upload(tmp_path / "a.tif", progress=Replacing(), workers=1))
    assert small_lab.serials() == []
    assert small_lab.upload_one(tmp_path / "a.tif").outcome is Outcome.UPLOADED
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures


def test_what_another_catalog_keeps_in_the_same_store_is_never_removed(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif", seed=1)
    imagej_stack(tmp_path / "b.tif", t=1, seed=2)
    small_lab.upload_one(tmp_path / "a.tif")
    database = load_settings(
        _json(tmp_path / "other.json", {"drivername": "sqlite", "dbname": "other.sqlite"})
    ).database
    other = make_lab(database, small_lab.settings.store, tmp_path)
    for overwrite in (False, True, True):
        with pytest.raises(Conflict):
            other.upload_one(tmp_path / "b.tif", overwrite=overwrite)
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures
    assert other.upload_one(tmp_path / "a.tif").outcome is Outcome.UPLOADED, (
        "the same content is shared"
    )


def _json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_rows_that_are_missing_from_the_catalog_are_noticed(small_lab: Lab, tmp_path: Path) -> None:
    import sqlite3

    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    with sqlite3.connect(small_lab.settings.database.dbname) as connection:
        connection.execute("DELETE FROM frames WHERE id = (SELECT max(id) FROM frames)")
    connection.close()
    with pytest.raises(IntegrityError, match="7 of the 8 rows"):
        small_lab.download()
    with ImagingDB(small_lab.settings) as db:
        assert len(db.verify(small_lab.serial()).failures) == 1


@pytest.mark.fault("D8")
def test_a_resumed_upload_replaces_a_frame_that_was_damaged_meanwhile(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif")

    class Leaving:
        count = 0

        def start(self, title: str, total: int) -> None: ...

        def advance(self, objects: int, nbr_bytes: int) -> None:
            self.count += 1
            if self.count == 5:
                raise KeyboardInterrupt

        def finish(self) -> None: ...

    from imaging_db.errors import Interrupted

    with pytest.raises(Interrupted, match="of 8 frames stored"):
        small_lab.upload(tmp_path / "a.tif", progress=Leaving(), workers=1)
    damaged = Path(small_lab.settings.store.access, small_lab.keys()[0])
    damaged.chmod(0o644)
    damaged.write_bytes(b"")
    report = small_lab.upload_one(tmp_path / "a.tif")
    assert report.reused >= 3
    with ImagingDB(small_lab.settings) as db:
        assert not db.verify(small_lab.serial()).failures


def test_a_bug_in_one_row_does_not_stop_the_others(
    small_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is a reader's, of the kind that a plugin brings."""
    imagej_stack(tmp_path / "a.tif")
    (tmp_path / "raw").mkdir()
    tifffile.imwrite(tmp_path / "raw" / "im_z000.tif", pixels(8, 8))
    monkeypatch.setattr("imaging_db.transfer.plan._check_frames", _broken_for("a.tif"))
    first, second = small_lab.upload(tmp_path / "a.tif", tmp_path / "raw")
    assert isinstance(first.error, UnexpectedError)
    assert first.error.exit_code == 1
    assert second.outcome is Outcome.UPLOADED


def _broken_for(name: str) -> object:
    from imaging_db.transfer import plan

    check = plan._check_frames

    def checked(reader: object, schema: object) -> list[int]:
        if any(path.name == name for path in reader.sources):  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug")
        return check(reader, schema)  # type: ignore[arg-type]

    return checked


def test_a_corrected_description_is_taken_over(lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    row = {"dataset_id": lab.serial(), "file_name": "a.tif", "description": "mitsosis"}
    lab.upload_csv(lab.csv(rows=[row]))
    (report,) = lab.upload_csv(lab.csv(rows=[row | {"description": "mitosis"}]))
    assert report.outcome is Outcome.ALREADY_THERE
    assert report.notes == ("description and microscope were updated",)
    with ImagingDB(lab.settings) as db:
        assert db.dataset(lab.serial()).dataset.description == "mitosis"


def test_a_frame_too_wide_for_png_is_kept_as_tiff(small_lab: Lab, tmp_path: Path) -> None:
    wide = np.arange(1_000_001, dtype=np.uint8).reshape(1, -1)
    tifffile.imwrite(tmp_path / "wide.tif", wide)
    small_lab.upload_one(tmp_path / "wide.tif")
    with ImagingDB(small_lab.settings) as db:
        stack, _ = db.dataset(small_lab.serial()).stack()
    assert np.array_equal(stack, wide)


def test_a_locked_folder_is_told_by_its_name(tmp_path: Path) -> None:
    with DownloadFolder(tmp_path, "X").locked():
        second = DownloadFolder(tmp_path, "X").locked()
        with pytest.raises(FolderBusy, match="another run is writing to"), second:
            pass
        stale = tmp_path / "X" / ".imaging_db-0123456789abcdef.part"
        stale.touch()
    with DownloadFolder(tmp_path, "X").locked():
        assert not stale.exists()
    assert list((tmp_path / "X").iterdir()) == []


@pytest.fixture
def desk(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    imagej_stack(small_lab.folder / "a.tif", seed=1)
    return small_lab


@pytest.mark.fault("U2")
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_an_upload_goes_on_when_its_output_is_not_read_any_more(desk: Lab) -> None:
    desk.csv(*["a.tif"] * 6)
    words = " ".join([*UPLOAD[:1], "-u", *UPLOAD[1:]])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | head -1"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(desk.serials()) == 6


@pytest.mark.fault("U2")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has such a device")
def test_output_that_cannot_be_written_is_one_line(desk: Lab) -> None:
    data_uploader.main(["--csv", str(desk.csv("a.tif"))])
    command = f"{sys.executable} -m imaging_db.cli.query_data > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 5
    assert "stdout cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_ctrl_c_during_one_large_file_ends_within_two_seconds(desk: Lab) -> None:
    (desk.folder / "config.json").write_text(
        json.dumps({"upload_type": "file", "storage_access": "store"})
    )
    with (desk.folder / "big.bin").open("wb") as stream:
        stream.truncate(6 * 2**30)  # a hole: no disk is used to read it
    desk.csv("big.bin")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(UPLOAD, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _is_pending(desk):
        time.sleep(0.05)
    time.sleep(0.3)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - asked < 2
    assert process.returncode == 130
    assert "0 of 1 files stored; rerun to continue" in told


def _is_pending(desk: Lab) -> bool:
    from imaging_db.catalog import Catalog
    from imaging_db.errors import ImagingDBError

    try:
        with Catalog.open(desk.settings.database) as catalog:
            return bool(catalog.pending())
    except ImagingDBError:  # it is being made at this moment
        return False


BAD_CONFIGS = [
    {"storage_access": "~nosuchuser/x"},
    {"storage": "memory"},
    {"endpoint_url": 5},
    {"endpoint_url": ""},
    {"max_frames": "²"},
    {"filename_parser": "parse_nothing"},
]


@pytest.mark.parametrize("config", BAD_CONFIGS, ids=str)
def test_a_bad_config_is_exit_code_2_in_one_line(
    desk: Lab, config: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    (desk.folder / "catalog.sqlite").unlink()
    (desk.folder / "config.json").write_text(json.dumps(config))
    assert data_uploader.main(["--csv", "files.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert desk.folder.joinpath("catalog.sqlite").exists() is False


@pytest.mark.parametrize(
    "text", ["{}", '{"drivername": "sqlite", "dbname": "not/mounted/c.sqlite"}']
)
def test_a_bad_login_is_exit_code_2_and_makes_nothing(
    desk: Lab, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    (desk.folder / "db_credentials.json").write_text(text)
    assert data_uploader.main(["--csv", "files.csv"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (desk.folder / "not").exists()


def test_a_number_of_5000_digits_is_a_mistake_in_the_config(desk: Lab) -> None:
    (desk.folder / "config.json").write_text('{"max_frames": ' + "9" * 5000 + "}")
    assert query_data.main([]) == 2


def test_a_schema_that_refers_to_nothing_is_told(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    (desk.folder / "s.json").write_text('{"$ref": "https://example.org/nothing.json"}')
    (desk.folder / "config.json").write_text('{"meta_schema": "s.json", "storage_access": "store"}')
    assert data_uploader.main(["--csv", "files.csv"]) == 2
    assert "cannot resolve" in capsys.readouterr().err


def test_a_file_name_that_begins_with_a_tilde_is_a_name(desk: Lab) -> None:
    (desk.folder / "~backup.tif").write_bytes((desk.folder / "a.tif").read_bytes())
    desk.csv("~backup.tif")
    assert data_uploader.main(["--csv", "files.csv"]) == 0


@pytest.mark.fault("U4")
def test_without_any_home_every_file_can_still_be_named(desk: Lab) -> None:
    desk.csv("a.tif")
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "IMAGING_DB_HOME")}
    done = subprocess.run(UPLOAD, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_metadata_alone_is_not_called_verified_frames(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    data_uploader.main(["--csv", "files.csv"])
    capsys.readouterr()
    assert data_downloader.main(["--id", desk.serial(), "--dest", "out", "--no-download"]) == 0
    assert capsys.readouterr().out.startswith("metadata: ")


@pytest.mark.fault("U3")
def test_a_dry_run_works_on_a_database_that_is_still_empty(desk: Lab) -> None:
    desk.csv("a.tif")
    (desk.folder / "catalog.sqlite").write_bytes(b"")
    assert data_uploader.main(["--csv", "files.csv", "--dry-run"]) == 0
    assert (desk.folder / "catalog.sqlite").stat().st_size == 0


@pytest.mark.parametrize("fill", [-1, 1.5, float("nan"), 70000])
def test_a_value_that_the_frames_cannot_hold_cannot_fill_them(
    small_lab: Lab, tmp_path: Path, fill: float
) -> None:
    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db, pytest.raises(UsageError, match="cannot fill"):
        db.dataset(small_lab.serial()).frames().stack(fill=fill)


def test_many_threads_share_one_catalog_and_one_store(small_lab: Lab, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db, ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: id(db.catalog), range(64)))) == 1
        assert len(set(pool.map(lambda _: id(db.store), range(64)))) == 1


@pytest.mark.fault("D10")
def test_a_store_below_a_folder_that_is_not_there_is_not_made(
    tmp_path: Path, small_lab: Lab
) -> None:
    store = StoreSettings("local", str(tmp_path / "not mounted" / "store"))
    lab = Lab(type(small_lab.settings)(small_lab.settings.database, store), tmp_path)
    imagej_stack(tmp_path / "a.tif")
    with pytest.raises(ConfigError, match="not mounted"):
        lab.upload(tmp_path / "a.tif")
    assert not (tmp_path / "not mounted").exists()
