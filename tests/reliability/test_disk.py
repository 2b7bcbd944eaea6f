"""Disks that are full, read-only or broken while commands run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.disks import large, truth_of
from tests.reliability.network import check_failed
from tests.support import strace
from tests.support.commands import FORKS
from tests.support.golden import tree
from tests.support.matrix import Injected
from tests.torture.bench import Bench

__all__ = ["large"]

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

traced = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "can be traced")
MEASURED = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+local"], indirect=True)


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, kilobytes: int) -> None:
        _mount("-o", f"remount,size={kilobytes}k", str(self.path))

    def read_only(self, yes: bool) -> None:
        _mount("-o", f"remount,{'ro' if yes else 'rw'}", str(self.path))

    def fill(self, *, leave: int) -> Path:
        """Write a file that leaves so many bytes, in whole pages; return it."""
        ballast = self.path / "ballast"
        with ballast.open("wb") as stream, contextlib.suppress(OSError):
            while True:
                os.write(stream.fileno(), bytes(4096))
        os.truncate(ballast, max(0, ballast.stat().st_size - leave))
        return ballast


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Two hundred kilobytes, where the tests may mount."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", "size=200k", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing may be mounted here; a limit on files is in test_disk_full.py")
    yield Disk(path)
    subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


def use_store(bench: Bench, folder: Path) -> None:
    """Let the commands store in another folder."""
    for path in bench.lab.folder.glob("config*.json"):
        path.write_text(path.read_text().replace(bench.lab.settings.store.access, str(folder)))


# --- full


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("bench", "name"), [("sqlite+local", "frames"), ("postgres+local", "files")], indirect=["bench"]
)
def test_a_store_that_is_full_is_told_and_filled_by_the_same_command(
    large: Bench, disk: Disk, name: str
) -> None:
    bench = large
    serial = bench.new()
    use_store(bench, disk.path)
    done = bench.run(bench.uploading(serial, name))
    check_failed(done, 5, f"{disk.path} is full (No space left on device)", "free space and rerun")
    assert bench.unfinished() == [serial]
    assert "LAB" not in bench.do(bench.saying("query")).stdout
    assert not [path for path in disk.path.rglob("*") if path.name.endswith(".part")]
    disk.resize(4000)
    bench.do(bench.uploading(serial, name))
    bench.do(bench.downloading(serial, bench.lab.folder / "dest"))
    bench.do(bench.saying("verify", serial))


@pytest.mark.fault("D2")
@pytest.mark.parametrize("leave", [0, 40_000])
def test_a_catalog_without_space_stays_whole(bench: Bench, disk: Disk, leave: int) -> None:
    """Whatever of the upload still fits: nothing can be seen, and the file is in order."""
    there = bench.new()
    bench.do(bench.uploading(there))
    bench.close()
    old = Path(bench.lab.settings.database.dbname)
    new = disk.path / "catalog.sqlite"
    with closing(sqlite3.connect(old)) as one, closing(sqlite3.connect(new)) as other:
        one.backup(other)
        other.execute("PRAGMA journal_mode = WAL")
    login = bench.lab.folder / "db_credentials.json"
    login.write_text(login.read_text().replace(str(old), str(new)))
    disk.resize((_used(disk.path) + leave) // 1024 + 40)
    ballast = disk.fill(leave=leave)
    serial = bench.new()
    done = bench.run(bench.uploading(serial))
    if done.code:
        check_failed(done, 5, str(new))
    assert leave or done.code
    ballast.unlink()
    disk.resize(4000)
    with closing(sqlite3.connect(new)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ready = "SELECT count(*) FROM data_set WHERE status = 'ready'"
        assert plain.execute(ready).fetchone() == (1 + (done.code == 0),)
    bench.do(bench.uploading(serial))
    bench.do(bench.downloading(serial, bench.lab.folder / "dest"))


def _used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.fault("D2", "D7")
@pytest.mark.parametrize("kind", ["full", "absent", "elsewhere"])
def test_the_systems_temporary_folder_does_not_matter(
    bench: Bench, disk: Disk, tmp_path: Path, kind: str
) -> None:
    """Temporary files lie beside what they become: on the disk that must hold them anyway."""
    folder = tmp_path / "absent" if kind == "absent" else disk.path
    if kind == "full":
        disk.fill(leave=0)
    before = sorted(path.name for path in disk.path.iterdir())
    serial = bench.new()
    environment = {"TMPDIR": str(folder)}
    bench.do(bench.uploading(serial, "files"), env=environment)
    bench.do(bench.downloading(serial, tmp_path / "dest"), env=environment)
    assert sorted(path.name for path in disk.path.iterdir()) == before
    assert tree(tmp_path / "dest" / serial) == truth_of(bench, serial)["store"]


@pytest.mark.fault("D3")
@pytest.mark.parametrize("name", ["frames", "files"])
def test_a_destination_that_is_full_holds_whole_files_only(
    large: Bench, disk: Disk, name: str
) -> None:
    bench = large
    serial = bench.new()
    bench.do(bench.uploading(serial, name))
    done = bench.run(bench.downloading(serial, disk.path))
    check_failed(done, 5, "is full", "free space and rerun")
    whole = truth_of(bench, serial)["store"]
    beside = {"frames_meta.csv", "global_metadata.json"}
    found = tree(disk.path / serial, without=beside)
    assert found.items() <= whole.items()
    assert len(found) < len(whole)
    disk.resize(4000)
    bench.do(bench.downloading(serial, disk.path))
    assert tree(disk.path / serial, without=beside) == whole


# --- read-only


@pytest.mark.fault("D4")
@MEASURED
def test_what_cannot_be_written_is_told_before_anything_is_done(
    bench: Bench, disk: Disk, injected: Injected
) -> None:
    """A read-only file system, which stops the superuser too."""
    there = bench.new()
    bench.do(bench.uploading(there))
    disk.read_only(True)
    done = bench.run(bench.downloading(there, disk.path))
    check_failed(done, 2, str(disk.path), "Read-only file system")
    use_store(bench, disk.path)
    check_failed(bench.run(bench.uploading(bench.new())), 2, str(disk.path))
    assert bench.unfinished() == []
    injected.add(2)


@pytest.mark.fault("D4")
def test_a_catalog_that_cannot_be_written_is_told_before_anything_is_stored(
    bench: Bench, disk: Disk
) -> None:
    there = bench.new()
    bench.do(bench.uploading(there))
    keys = bench.lab.keys()
    bench.close()
    old = Path(bench.lab.settings.database.dbname)
    new = disk.path / "catalog.sqlite"
    with closing(sqlite3.connect(old)) as one, closing(sqlite3.connect(new)) as other:
        one.backup(other)
    login = bench.lab.folder / "db_credentials.json"
    login.write_text(login.read_text().replace(str(old), str(new)))
    disk.read_only(True)
    check_failed(bench.run(bench.uploading(bench.new())), 2, str(new))
    assert bench.lab.keys() == keys
