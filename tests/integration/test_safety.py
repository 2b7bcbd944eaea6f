"""Nothing leaves its folder, nothing secret is printed, nothing half done is seen."""

from __future__ import annotations

import ast
import csv
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

import imaging_db
from imaging_db import ImagingDB
from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    DatasetNotFound,
    IntegrityError,
    UnsafePath,
)
from imaging_db.model import UploadType, sha256_of_pixels
from imaging_db.transfer import Outcome
from tests.support.acquisitions import imagej_stack
from tests.support.commands import (
    DOWNLOADER,
    FORKS,
    IMAGING_DB,
    UPLOADER,
    Commands,
    Done,
)
from tests.support.lab import Lab, errors_of

PACKAGE = Path(imaging_db.__file__).parent


@pytest.mark.fault("P4")
def test_a_name_in_the_catalog_that_leads_elsewhere_is_refused(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    with sqlite3.connect(small_lab.settings.database.dbname) as connection:
        connection.execute("UPDATE frames SET file_name = '../../evil.png' WHERE channel_idx = 0")
    connection.close()
    with pytest.raises(IntegrityError) as caught:
        small_lab.download()
    assert caught.value.exit_code == 6
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.fault("P5")
def test_nothing_is_written_through_a_link(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / small_lab.serial()).symlink_to(outside)
    with pytest.raises(UnsafePath, match="is a link"):
        small_lab.download()
    assert list(outside.iterdir()) == []
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    folder = tmp_path / "second" / small_lab.serial()
    folder.mkdir(parents=True)
    (folder / "im_c000_z000_t000_p000.png").symlink_to(precious)
    (folder / "im_c000_z000_t001_p000.png.part").symlink_to(precious)
    small_lab.download(dest="second")
    assert precious.read_text() == "keep me"
    assert not (folder / "im_c000_z000_t000_p000.png").is_symlink()


@pytest.mark.fault("P5", "P6")
@pytest.mark.parametrize("kind", ["link out", "loop", "dangling", "fifo", "case", "linked folder"])
def test_a_folder_of_files_holds_only_its_own_regular_files(
    small_lab: Lab, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    (source / "a.txt").write_text("a")
    (tmp_path / "outside").mkdir()
    match kind:
        case "link out":
            (source / "b.txt").symlink_to("/etc/hostname")
        case "loop":
            (source / "b.txt").symlink_to(source / "b.txt")
        case "dangling":
            (source / "b.txt").symlink_to(source / "gone.txt")
        case "fifo":
            os.mkfifo(source / "b.txt")
        case "case":
            (source / "A.txt").write_text("A")
        case "linked folder":
            (source / "b").symlink_to(tmp_path / "outside")
    lab = small_lab.config(upload_type=UploadType.FILE)
    (report,) = lab.upload(source)
    assert report.error is not None
    assert report.error.exit_code == 4
    assert lab.keys() == []


@pytest.mark.fault("P1")
def test_a_folder_with_strange_names_comes_back(lab: Lab, tmp_path: Path) -> None:
    names = [
        "a b",
        "ü",
        "u\u0308x",
        "🔬",
        "'q'",
        '"dq"',
        "-x",
        "%41",
        "#",
        "?",
        "+",
        "&",
        "[a]",
        "*",
        "~",
        "x" * 200,
    ]
    source = tmp_path / "raw"
    source.mkdir()
    for name in names:
        (source / name).write_bytes(name.encode())
    lab = lab.config(upload_type=UploadType.FILE)
    lab.upload_one(source)
    folder = lab.download().folder
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {n: n.encode() for n in names}


UPLOAD = [sys.executable, "-m", "imaging_db.cli.data_uploader", "--csv"]
needs_fork = pytest.mark.skipif(not FORKS, reason="commands cannot be started at once here")


def race(
    commands: Commands, command: str, each: Iterable[Sequence[str]], folder: Path
) -> list[Done]:
    """What comes of a command with each of these arguments, all started at the same moment."""
    started = [commands.start(command, words, cwd=folder, held=True) for words in each]
    commands.release(started)
    return [one.wait() for one in started]


@needs_fork
@pytest.mark.parametrize("different", [False, True])
def test_racing_uploads_of_one_id_give_one_whole_dataset(
    lab: Lab, tmp_path: Path, different: bool, commands: Commands
) -> None:
    stacks, csvs = [], []
    for number in range(4):
        stacks.append(imagej_stack(tmp_path / f"{number}.tif", t=4, seed=number * different))
        csvs.append(lab.csv(tmp_path / f"{number}.tif").rename(tmp_path / f"{number}.csv"))
    lab.write_files()
    done = race(commands, UPLOADER, [["--csv", str(path)] for path in csvs], lab.folder)
    codes = sorted(run.code for run in done)
    assert codes[0] == 0, [run.stderr for run in done]
    assert set(codes) <= ({0, 7, 8} if different else {0, 8}), [run.stderr for run in done]
    lab.download()
    found = lab.frames_on_disk()
    wholes = [
        {
            (c, z, t, 0): sha256_of_pixels(stack[t, z, c])
            for t in range(4)
            for z in (0, 1)
            for c in (0, 1)
        }
        for stack in stacks
    ]
    assert found in wholes, "frames of two sources were mixed"
    with ImagingDB(lab.settings) as db:
        assert not db.verify(lab.serial()).failures
    assert len(lab.keys()) == 16


@needs_fork
def test_two_downloads_to_one_folder_end_well_or_say_that_it_is_locked(
    lab: Lab, tmp_path: Path, commands: Commands
) -> None:
    imagej_stack(tmp_path / "a.tif", t=6)
    lab.upload_one(tmp_path / "a.tif")
    lab.write_files()
    words = ["--id", lab.serial(), "--dest", "dest"]
    codes = {run.code for run in race(commands, DOWNLOADER, [words] * 4, lab.folder)}
    assert 0 in codes
    assert codes <= {0, 8}
    assert len(lab.frames_on_disk()) == 24
    leftovers = [p.name for p in (tmp_path / "dest" / lab.serial()).iterdir()]
    assert not [name for name in leftovers if name.endswith((".part", ".lock"))]


def frames_seen(lab: Lab, dest: str) -> int:
    """How many frames another process sees of a dataset at this moment, 0 where it sees none."""
    try:
        report = lab.download(dest=dest, objects=False)
    except (DatasetNotFound, CatalogUnavailable, ConfigError):  # or not even a catalog yet
        return 0
    with (report.folder / "frames_meta.csv").open(newline="") as stream:
        return len(list(csv.DictReader(stream)))


def test_a_dataset_is_seen_whole_or_not_at_all(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", t=30, z=40, side=4)  # rows are written in batches of 1000
    path = small_lab.csv(tmp_path / "a.tif")
    small_lab.write_files()
    process = subprocess.Popen([*UPLOAD, str(path)], cwd=small_lab.folder, stdout=subprocess.PIPE)
    seen, partly_stored = set(), False
    frames = tmp_path / "store" / "raw_frames" / small_lab.serial()
    while process.poll() is None:
        partly_stored |= frames.is_dir() and any(frames.glob("im_c001_z0[1-3]*"))
        seen.add(frames_seen(small_lab, f"d{len(seen)}"))
    process.communicate()
    assert process.returncode == 0
    assert partly_stored, "nobody looked while it was written"
    assert seen | {2400} == {0, 2400}
    assert frames_seen(small_lab, "last") == 2400


@pytest.mark.fault("D9")
def test_a_source_that_changes_meanwhile_is_not_published(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")

    class Touching:
        def start(self, title: str, total: int) -> None:
            with (tmp_path / "a.tif").open("r+b") as stream:
                stream.seek(-4, os.SEEK_END)
                stream.write(b"\xff\xff\xff\xff")

        def advance(self, objects: int, nbr_bytes: int) -> None: ...

        def finish(self) -> None: ...

    (text,) = errors_of(small_lab.upload(tmp_path / "a.tif", progress=Touching()))
    assert "a.tif: changed since it was planned" in text
    assert small_lab.serials() == []
    assert small_lab.upload_one(tmp_path / "a.tif", overwrite=True).outcome in (
        Outcome.UPLOADED,
        Outcome.REPLACED,
    )


CANARY = "S3cr3t-XYZ-canary"


@pytest.mark.fault("S2")
def test_no_secret_is_printed_whatever_fails(lab: Lab, tmp_path: Path, commands: Commands) -> None:
    imagej_stack(tmp_path / "a.tif")
    path = lab.csv(tmp_path / "a.tif")
    login, config = lab.write_files()
    broken = json.loads(login.read_text()) | {"password": CANARY, "port": 1, "host": "127.0.0.1"}
    logins = [
        broken | {"drivername": "postgresql", "username": "ann"},
        broken | {"drivername": "x"},
    ]
    configs = [
        {"storage": "s3", "storage_access": "b", "endpoint_url": "http://127.0.0.1:1"},
        {"oops": CANARY[:3]},
    ]
    environment = {"AWS_ACCESS_KEY_ID": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
    for bad_login in (*logins, None):
        for bad_config in (*configs, None):
            if bad_login is None and bad_config is None:
                continue
            login.write_text(json.dumps(bad_login)) if bad_login else login.unlink(missing_ok=True)
            config.write_text(json.dumps(bad_config)) if bad_config else config.unlink(
                missing_ok=True
            )
            if bad_login and bad_config == configs[0]:
                continue  # the database is asked first; its own case is the one without config
            for command, words in ((UPLOADER, ["--csv", str(path)]), (IMAGING_DB, ["doctor"])):
                done = commands.run(command, words, cwd=lab.folder, env=environment)
                assert done.code in (2, 5), done.stderr
                assert CANARY not in done.told
                assert "Traceback" not in done.stderr


FORBIDDEN_CALLS = {"eval", "exec", "compile", "system", "popen"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "yaml"}


@pytest.mark.fault("S3", "S6")
@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_nothing_is_evaluated_unpickled_or_given_to_a_shell(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None)
            module = getattr(getattr(node.func, "value", None), "id", None)
            called = name or (
                node.func.attr if module == "os" and isinstance(node.func, ast.Attribute) else ""
            )
            assert called not in FORBIDDEN_CALLS
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                assert not (keyword.arg == "shell" and value is True)
                assert not (keyword.arg == "verify" and value is False)
                assert not (keyword.arg == "allow_pickle" and value is True)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
            assert not names & FORBIDDEN_IMPORTS
        suite = (
            path.parent.name == "testing"
        )  # contract suites for pytest, which keeps their asserts
        assert suite or not isinstance(node, ast.Assert), "gone under python -O"
