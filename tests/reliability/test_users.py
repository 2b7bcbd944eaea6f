"""What a user sees when something goes wrong: one line that says what to do, and no harm done."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.counter import Counter

CANARY = "S3cr3t-XYZ-canary"
UPLOAD = [sys.executable, "-m", "imaging_db.cli.data_uploader", "--csv", "files.csv"]
UNKNOWN = "LAB-2020-01-02-03-04-05-0099"
Fault = Callable[[Counter], object]


def _csv(text: str) -> Fault:
    return lambda desk: (desk.folder / "files.csv").write_text(text)


def _config(**values: object) -> Fault:
    return lambda desk: (desk.folder / "config.json").write_text(json.dumps(values))


def _login(**values: object) -> Fault:
    return lambda desk: (desk.folder / "db_credentials.json").write_text(json.dumps(values))


def _source(data: bytes) -> Fault:
    def make(desk: Counter) -> None:
        (desk.folder / "x.tif").write_bytes(data)
        desk.lab.csv("x.tif")

    return make


def _nothing(desk: Counter) -> None:
    desk.lab.csv("a.tif")


def _conflict(desk: Counter) -> None:
    desk.upload("a.tif")
    from tests.support.acquisitions import imagej_stack

    imagej_stack(desk.folder / "a.tif", seed=2)


def _damaged(desk: Counter) -> None:
    desk.upload("a.tif")
    stored = next((desk.folder / "store").rglob("*.png"))
    stored.chmod(0o644)
    stored.write_bytes(b"")


def _new_without_store(desk: Counter) -> None:
    (desk.folder / "catalog.sqlite").unlink()
    _config(storage_access="not/here/store")(desk)


def _evil(desk: Counter) -> None:
    import sqlite3

    desk.upload("a.tif")
    with sqlite3.connect(desk.folder / "catalog.sqlite") as connection:
        connection.execute("UPDATE frames SET file_name = '../../evil' WHERE channel_idx = 0")
    connection.close()


UP = ("upload", "--csv", "files.csv")
DOWN = ("download", "--id", "LAB-2020-01-02-03-04-05-0001", "--dest", "out")
POSTGRES = {
    "drivername": "postgresql",
    "username": "ann",
    "password": CANARY,
    "host": "127.0.0.1",
    "port": 1,
    "dbname": "x",
}
FAILING: list[tuple[Fault, tuple[str, ...], int]] = [
    (_csv(""), UP, 2),
    (_csv("dataset_id,file_name\n"), UP, 2),
    (_csv("dataset_id\nx\n"), UP, 2),
    (_csv("dataset_id,file_name\nbad,a.tif\n"), UP, 2),
    (_csv("dataset_id,file_name\nLAB-2020-01-02-03-04-05-0001,gone.tif\n"), UP, 2),
    (_csv("dataset_id,file_name,positions\nLAB-2020-01-02-03-04-05-0001,a.tif,x\n"), UP, 2),
    (_csv("dataset_id,file_name,positions\nLAB-2020-01-02-03-04-05-0001,a.tif,3\n"), UP, 4),
    (_nothing, ("upload", "--csv", "gone.csv"), 2),
    (_nothing, (*UP, "--config", "gone.json"), 2),
    (_nothing, (*UP, "--login", "gone.json"), 2),
    (_config(frames_codec="gif"), UP, 2),
    (_config(storage="ftp"), UP, 2),
    (_config(microscop="x"), UP, 2),
    (_new_without_store, ("query",), 2),
    (_config(meta_schema="gone.json"), UP, 2),
    (_login(drivername="oracle", password=CANARY), ("query",), 2),
    (_login(drivername="sqlite", dbname="not/here/c.sqlite"), ("query",), 2),
    (_login(**POSTGRES), ("query",), 5),
    (_source(b""), UP, 4),
    (_source(b"text"), UP, 4),
    (_source(b"II*\0\xff\xff\xff\x7f"), UP, 4),
    (_conflict, UP, 7),
    (_damaged, DOWN, 6),
    (_damaged, ("imaging-db", "verify"), 6),
    (_evil, DOWN, 6),
    (_nothing, DOWN, 2),
    (_nothing, ("download", "--id", "../x", "--dest", "out"), 2),
    (_nothing, (*DOWN, "-z", "x"), 2),
    (_nothing, ("query", "--start_date", "2020-02-01", "--end_date", "2020-01-01"), 2),
    (_nothing, ("imaging-db", "show", UNKNOWN), 2),
    (_nothing, ("imaging-db", "verify", UNKNOWN), 2),
]


@pytest.mark.fault("U1", "S2", "M1", "M5", "P3", "P4")
@pytest.mark.parametrize(("fault", "words", "code"), FAILING)
def test_a_failure_is_one_short_line_that_says_what_to_do(
    fault: Fault,
    words: tuple[str, ...],
    code: int,
    counter: Counter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    before = set(counter.folder.parent.rglob("evil*"))
    counter.lab.csv("a.tif")
    if words == DOWN and fault is _nothing:
        counter.upload("a.tif")
        words = (*DOWN[:2], UNKNOWN, *DOWN[3:])
    fault(counter)
    assert counter.run(*words) == code, counter.err
    assert CANARY not in counter.out + counter.err + caplog.text
    assert _files_that_hold(CANARY, counter.folder) <= {"db_credentials.json"}
    assert "Traceback" not in counter.err
    lines = counter.errors()
    assert len(lines) == len(counter.err.splitlines()), "nothing but errors"
    assert len(lines) == 1 or code == 6 or "oracle" in lines[0], (
        lines
    )  # one for each thing that is wrong
    for line in lines:
        plain = line.replace(str(counter.folder), "")
        told = re.sub(r"(/[^/\s:;']+)+", "", plain)
        assert len(told) < 200, told
        assert _says_what_to_do(line), line
    assert set(counter.folder.parent.rglob("evil*")) == before


def _files_that_hold(text: str, folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in files if text.encode() in path.read_bytes()}


def _says_what_to_do(line: str) -> bool:
    return "; " in line or "did you mean" in line


@pytest.mark.fault("U3")
def test_a_rehearsal_writes_nothing(counter: Counter) -> None:
    def tree() -> dict[str, tuple[int, int]]:
        paths = [p for p in counter.folder.rglob("*") if p.name != "files.csv"]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}

    counter.lab.csv("a.tif")
    before = tree()
    for words in (("--dry-run",), ("--dry-run", "--json"), ("--dry-run", "--overwrite")):
        assert counter.upload("a.tif", words=words) == 0
        assert tree() == before


@pytest.mark.fault("U4", "M10")
@pytest.mark.parametrize(
    ("python", "environment"),
    [
        (["-O"], {}),
        (["-OO", "-W", "error"], {"LANG": "C", "PYTHONUTF8": "0"}),
        ([], {"TZ": "Pacific/Kiritimati", "LC_ALL": "de_DE.UTF-8"}),
        ([], {"HOME": "/proc/1", "IMAGING_DB_HOME": ""}),
    ],
    ids=["-O", "-W error", "time zone", "closed home"],
)
def test_the_same_comes_of_it_everywhere(
    counter: Counter,
    python: list[str],
    environment: dict[str, str],
) -> None:
    (counter.folder / "größe 🔬.tif").write_bytes((counter.folder / "a.tif").read_bytes())
    counter.lab.csv("größe 🔬.tif")
    words = [UPLOAD[0], *python, *UPLOAD[1:]]
    done = subprocess.run(
        words, cwd=counter.folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert counter.run("imaging-db", "verify") == 0
    assert counter.run("query", "--start_date", "2020-01-02", "--end_date", "2020-01-02") == 0
    assert counter.out.startswith("1 dataset")


@pytest.mark.fault("U4", "P8")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_without_the_powers_of_root_it_is_the_same(counter: Counter) -> None:
    closed = counter.folder / "closed.tif"
    closed.write_bytes(b"II*\0")
    closed.chmod(0)
    powerless = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []
    for source, expected in (("a.tif", 0), ("closed.tif", 4)):
        counter.lab.csv(source)
        done = subprocess.run(
            [*powerless, *UPLOAD], cwd=counter.folder, capture_output=True, text=True
        )
        assert done.returncode == expected, done.stderr
        assert ("Permission denied" in done.stderr) == (expected == 4)
        assert len(done.stderr.splitlines()) == (expected == 4)


@pytest.mark.fault("U5", "M4")
def test_a_mistake_in_the_last_of_a_thousand_rows_is_told_soon(counter: Counter) -> None:
    rows = [{"dataset_id": counter.lab.serial(n), "file_name": "a.tif"} for n in range(1000)]
    (counter.folder / "catalog.sqlite").unlink()
    path = counter.lab.csv(rows=[*rows, {"dataset_id": "bad", "file_name": "a.tif"}])
    began = time.process_time()
    assert counter.run("upload", "--csv", path) == 2
    assert time.process_time() - began < 2
    (line,) = counter.errors()
    assert "files.csv:1002: dataset_id" in line
    assert not (counter.folder / "catalog.sqlite").exists()
