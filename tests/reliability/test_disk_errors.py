"""Disks that fail while commands run: system calls that strace lets fail, and bytes that change."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.reliability.disks import large, truth_of
from tests.reliability.network import check_failed
from tests.support import strace
from tests.support.commands import FORKS, Done
from tests.support.golden import tree
from tests.support.matrix import Injected
from tests.torture.bench import Bench, Line

__all__ = ["large"]

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

traced = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "can be traced")


MEASURED = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+local"], indirect=True)


# --- broken, by strace


def run_failing(bench: Bench, line: Line, *words: str) -> tuple[Done, int]:
    """What a command comes to under strace's injections, and how many of them were met."""
    command, argv = line
    started = bench.commands.start(command, argv, cwd=bench.lab.folder, held=True)
    log = bench.lab.folder / f"{started.number}.strace"
    with strace.attached(started, "-o", str(log), *words):
        bench.commands.release([started])
        done = started.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    return done, text.count("(INJECTED)")


READS = "read,pread64,preadv"


@traced
@pytest.mark.fault("D5")
@pytest.mark.parametrize("name", ["frames", "files"])
@pytest.mark.parametrize("when", ["1", "2", "3+"])
def test_a_source_that_cannot_be_read_is_refused_by_its_name(
    large: Bench, injected: Injected, name: str, when: str
) -> None:
    bench = large
    source = bench.source(name)
    path = source if name == "frames" else source / "d.bin"
    serial = bench.new()
    inject = [
        "-P",
        str(path),
        "-e",
        f"trace={READS}",
        "-e",
        f"inject={READS}:error=EIO:when={when}",
    ]
    done, met = run_failing(bench, bench.uploading(serial, name), *inject)
    if not met:
        assert done.code == 0
        pytest.skip("it reads less often")
    check_failed(done, 4, str(path))
    assert bench.seen(serial) is None
    injected.add(met)
    bench.do(bench.uploading(serial, name))
    assert bench.seen(serial) is not None


@traced
@pytest.mark.fault("D5", "D6", "D1")
@MEASURED
@pytest.mark.parametrize("error", ["EIO", "EDQUOT", "ENOSPC"])
def test_a_store_that_cannot_be_written_fails_the_row(
    bench: Bench, injected: Injected, error: str
) -> None:
    """Giving whole objects their names, the second of a thread and all after it; writing any bytes."""
    serial = bench.new()
    for calls, when in (("link,linkat,rename,renameat,renameat2", "2+"), ("write,writev", "1+")):
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"]
        done, met = run_failing(bench, bench.uploading(serial, "files"), *inject)
        assert met
        assert done.code == 5 or not done.told, done.told  # what cannot write cannot tell
        assert bench.seen(serial) is None
        injected.add(met)
    bench.do(bench.uploading(serial, "files"))
    assert bench.seen(serial) is not None


@traced
@pytest.mark.fault("D5")
@MEASURED
@pytest.mark.parametrize("name", ["frames", "files"])
def test_a_sync_that_failed_is_never_repeated_as_if_it_could_succeed(
    bench: Bench, injected: Injected, name: str
) -> None:
    """The first fails, later ones would succeed: what may be lost on the disk is written anew."""
    serial = bench.new()
    calls = "syncfs"
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when=1"]
    done, met = run_failing(bench, bench.uploading(serial, name), *inject)
    if met == 0:
        pytest.skip("nothing is synced at once here")
    check_failed(done, 5, "could not be written to disk")
    assert met == 1
    assert bench.seen(serial) is None
    top = "raw_files" if name == "files" else "raw_frames"
    assert tree(Path(bench.lab.settings.store.access) / top) == {}
    injected.add(met)
    bench.do(bench.uploading(serial, name))
    assert bench.seen(serial) is not None


@traced
@pytest.mark.fault("D5")
@pytest.mark.parametrize("calls", ["fsync,fdatasync", "pwrite64"])
@pytest.mark.parametrize("when", [1, 4])
def test_a_catalog_whose_disk_fails_stays_whole(
    bench: Bench, injected: Injected, calls: str, when: int
) -> None:
    serial = bench.new()
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when={when}"]
    done, met = run_failing(bench, bench.uploading(serial), *inject)
    if met == 0:
        assert done.code == 0, done.told
        return
    if done.code:
        check_failed(done, 5)
        assert bench.seen(serial) is None
    injected.add(met)
    with closing(sqlite3.connect(bench.lab.settings.database.dbname)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    bench.do(bench.uploading(serial))
    assert bench.seen(serial) is not None


@traced
@pytest.mark.fault("D6")
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE"])
def test_a_system_without_handles_fails_the_row(
    bench: Bench, injected: Injected, error: str
) -> None:
    """From the fortieth file on that is opened."""
    serial = bench.new()
    for when in ("40+", "60+", "80+", "100+"):
        inject = ["-e", "trace=openat", "-e", f"inject=openat:error={error}:when={when}"]
        done, met = run_failing(bench, bench.uploading(serial), *inject)
        assert "Traceback" not in done.told, done.told
        assert done.code in (0, 2, 4, 5), done.told
        injected.add(met)
    bench.do(bench.uploading(serial))
    assert bench.seen(serial) is not None


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.mark.fault("D6")
def test_few_handles_are_enough_for_many_frames(bench: Bench, tmp_path: Path) -> None:
    data = np.arange(200 * 64, dtype="uint16").reshape(200, 8, 8)
    tifffile.imwrite(bench.source("frames"), data, imagej=True, metadata={"axes": "ZYX"})
    serial = bench.new()
    for command, argv in (bench.uploading(serial), bench.downloading(serial, tmp_path / "dest")):
        words = [sys.executable, "-c", LIMITED, f"imaging_db.cli.{command}", *argv]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
    assert len(truth_of(bench, serial)["store"]) == 200


# --- bytes that change where they lie


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES: list[Callable[[Path], object]] = [
    _flip,
    lambda path: os.truncate(path, path.stat().st_size - 1),
    lambda path: path.write_bytes(bytes(path.stat().st_size)),
    lambda path: path.unlink(),
    lambda path: path.write_bytes(path.with_name("im_c001_z002_t000_p000.png").read_bytes()),
]


@pytest.mark.fault("D8")
@MEASURED
def test_objects_that_rot_are_named_and_the_others_come(
    bench: Bench, tmp_path: Path, injected: Injected
) -> None:
    """A flipped bit, a lost byte, zeros, nothing, and another good picture."""
    serial = bench.new()
    bench.do(bench.uploading(serial))
    whole = truth_of(bench, serial)["store"]
    folder = Path(bench.lab.settings.store.access) / "raw_frames" / serial
    rotten = sorted(whole)[: len(DAMAGES)]
    for name, damage in zip(rotten, DAMAGES, strict=True):
        (folder / name).chmod(0o600)
        damage(folder / name)
    for line in (bench.downloading(serial, tmp_path / "dest"), bench.saying("verify", serial)):
        done = bench.run(line)
        assert done.code == 6, done.told
        lines = done.told.splitlines()
        for name in whole:
            assert any(name in line and "error" in line for line in lines) == (name in rotten), name
    beside = {"frames_meta.csv", "global_metadata.json"}
    found = tree(tmp_path / "dest" / serial, without=beside)
    assert found == {name: whole[name] for name in whole if name not in rotten}
    injected.add(len(DAMAGES))
    bench.do(bench.uploading(serial, "frames", "--overwrite"))
    bench.do(bench.downloading(serial, tmp_path / "dest"))
    assert tree(tmp_path / "dest" / serial, without=beside) == whole


@pytest.mark.fault("D9")
@pytest.mark.parametrize("name", ["frames", "files"])
def test_a_source_that_changes_while_it_is_read_is_not_published(large: Bench, name: str) -> None:
    bench = large
    source = bench.source(name)
    path = source if name == "frames" else source / "d.bin"
    serial = bench.new()
    command, argv = bench.uploading(serial, name)
    started = bench.commands.start(
        command, argv, cwd=bench.lab.folder, failpoint="object.named:2:stall=0.5"
    )
    started.await_stall()
    writing = threading.Thread(target=_append, args=(path,))
    writing.start()
    done = started.wait()
    writing.join()
    check_failed(done, 4, "rerun when it rests")
    assert bench.seen(serial) is None
    bench.do(bench.uploading(serial, name))
    assert bench.seen(serial) is not None


def _append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(bytes(100))
