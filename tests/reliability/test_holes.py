"""What no other test would notice if it broke; `tests.broken` shows that these do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from imaging_db import ImagingDB, failpoints
from imaging_db.errors import IntegrityError, UnsafePath
from imaging_db.model import UploadType
from imaging_db.stores.local import LocalStore
from imaging_db.transfer import Uploader, upload_rows
from tests.support.acquisitions import imagej_stack
from tests.support.desk import Desk
from tests.support.lab import Lab


class PowerCut(LocalStore):
    """A folder that has forgotten, after a power cut, what was put since the last flush."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._unwritten: list[str] = []

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        self._unwritten.append(key)
        return super().put(key, data, sha256=sha256)

    def flush(self) -> None:
        super().flush()
        self._unwritten.clear()

    def cut(self) -> int:
        """Lose what is not on the disk, and return how much that was."""
        return sum(map(self.delete, self._unwritten))


@pytest.fixture
def source(small_lab: Lab) -> Path:
    path = small_lab.folder / "stack.tif"
    imagej_stack(path, t=2, z=2, c=1, side=32)
    return path


@pytest.fixture
def armed() -> Iterator[None]:
    """Whatever the test arms is disarmed after it."""
    yield
    failpoints.arm("")


@pytest.mark.fault("K8")
@pytest.mark.parametrize("stage", ["", "rows.inserted:raise", "dataset.complete:raise"])
def test_what_has_a_row_survives_a_power_cut(
    stage: str, small_lab: Lab, source: Path, armed: None
) -> None:
    store = PowerCut(Path(small_lab.settings.store.access))
    with ImagingDB(small_lab.settings) as db:
        db.init()
        failpoints.arm(stage)
        uploader = Uploader(db.catalog, store, lambda _: store)
        (report,) = upload_rows(db.plan(small_lab.csv(source)), uploader, told=lambda _: None)
        failpoints.arm("")
        assert (report.error is None) == (not stage)
        assert store.cut() == 0  # not even before the rows are committed
        if not stage:
            assert db.verify(small_lab.serial()).failures == ()
    assert small_lab.upload_one(source).nbr_objects == 4


@pytest.mark.fault("K1")
def test_what_can_be_seen_has_all_its_bytes_from_the_first_moment(
    small_lab: Lab, source: Path, armed: None
) -> None:
    failpoints.arm("dataset.published:raise")
    (report,) = small_lab.upload(source)
    failpoints.arm("")
    assert report.error is not None
    with ImagingDB(small_lab.settings) as db:
        found = db.verify(small_lab.serial())
    assert (found.checked, found.failures) == (4, ())


@pytest.mark.fault("D8")
@pytest.mark.parametrize("kind", UploadType)
def test_bit_rot_is_named_and_gets_no_name(kind: UploadType, small_lab: Lab) -> None:
    """A byte behind the end, which many programs that read pictures do not mind."""
    if kind is UploadType.FILE:
        small_lab = small_lab.config(upload_type=kind)
    source = small_lab.folder / "raw.tif"
    imagej_stack(source, t=1, z=2, c=1, side=32)
    small_lab.upload_one(source)
    damaged = next(p for p in Path(small_lab.settings.store.access).rglob("*") if p.is_file())
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match=damaged.name):
        small_lab.download()
    assert not (small_lab.folder / "dest" / small_lab.serial() / damaged.name).exists()


@pytest.mark.fault("K6")
@pytest.mark.skipif(os.name == "nt", reason="a process is killed otherwise there")
@pytest.mark.parametrize(
    ("kind", "stage"),
    [(UploadType.FRAMES, "file.written:4"), (UploadType.FILE, "object.fetched:2")],
)
def test_a_download_that_is_killed_before_it_names_a_file_has_not_named_it(
    kind: UploadType, stage: str, small_lab: Lab
) -> None:
    desk = Desk(small_lab, kind)
    assert desk.upload(1).code == 0
    words = ["--id", small_lab.serial(), "--dest", "out", "--nbr_workers", "1"]
    words += ["--login", "db_credentials.json", "--config", "config.json"]
    killed = subprocess.run(
        [sys.executable, "-m", "imaging_db.cli.data_downloader", *words],
        cwd=small_lab.folder,
        env={**os.environ, failpoints.VARIABLE: f"{stage}:kill"},
        capture_output=True,
    )
    assert killed.returncode < 0
    folder = small_lab.folder / "out" / small_lab.serial()
    named = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    named = {name for name in named if not name.endswith(".part")}
    assert len(named & desk.truth.keys()) == 1


@pytest.mark.fault("K1")
def test_a_deletion_takes_a_dataset_out_of_sight_before_its_first_object(
    small_lab: Lab, source: Path, armed: None
) -> None:
    small_lab.upload_one(source)
    with ImagingDB(small_lab.settings) as db:
        failpoints.arm("dataset.hidden:raise")
        with pytest.raises(RuntimeError, match="failpoint"):
            db.delete(small_lab.serial())
        failpoints.arm("")
        assert db.find(small_lab.serial()) is None
        assert len(small_lab.keys()) == 4
        db.delete(small_lab.serial())
    assert small_lab.keys() == []


@pytest.mark.fault("C5")
def test_what_a_live_upload_has_stored_is_not_collected(
    small_lab: Lab, source: Path, armed: None
) -> None:
    failpoints.arm("dataset.complete:stall=1.5")
    upload = Thread(target=small_lab.upload, args=(source,))
    upload.start()
    while len(small_lab.keys()) < 4:
        assert upload.is_alive()
        time.sleep(0.02)
    with ImagingDB(small_lab.settings) as db:
        report = db.collect(older_than=timedelta(0))
    upload.join()
    assert report.objects == 0
    with ImagingDB(small_lab.settings) as db:
        assert db.verify(small_lab.serial()).failures == ()


@pytest.mark.fault("P4")
def test_nothing_is_written_into_a_linked_folder_inside_a_dataset(small_lab: Lab) -> None:
    lab = small_lab.config(upload_type=UploadType.FILE)
    (lab.folder / "raw" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (lab.folder / "raw" / name).write_text(name)
    lab.upload_one(lab.folder / "raw")
    outside, folder = lab.folder / "outside", lab.folder / "dest" / lab.serial()
    outside.mkdir()
    folder.mkdir(parents=True)
    (folder / "sub").symlink_to(outside)
    with pytest.raises(UnsafePath, match="is a link"):
        lab.download()
    assert not list(outside.iterdir())
    assert (folder / "a.txt").read_text() == "a.txt"
