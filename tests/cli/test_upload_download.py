"""The command lines from a user's chair: what they print, where, and with which exit code."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile

from imaging_db.cli import data_downloader, data_uploader, query_data
from imaging_db.cli import main as imaging_db_command
from tests.support.acquisitions import imagej_stack, pixels, tif_folder
from tests.support.lab import Lab


@pytest.fixture
def desk(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose folder is the working folder, with login and config in it."""
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    imagej_stack(small_lab.folder / "a.tif", seed=1)
    return small_lab


def upload(*words: str) -> int:
    return data_uploader.main(["--csv", "files.csv", *words])


def test_an_upload_tells_a_line_a_row_and_a_summary(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    assert upload() == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines()[0].startswith(f"uploaded {desk.serial()}: 8 frames, 4.9 kB")
    assert told.out.splitlines()[-1] == "1 uploaded"
    assert upload() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 already there"


def test_one_bad_row_does_not_stop_the_others(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk.folder / "bad.tif").write_bytes(b"this is no TIFF")
    desk.csv("a.tif", "bad.tif")
    assert upload() == 3
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith(f"error: files.csv:3 {desk.serial(2)}: {desk.folder / 'bad.tif'}: ")
    assert told.out.splitlines()[-1] == "1 uploaded, 1 failed"
    assert desk.serials() == [desk.serial(1)]


def test_when_every_row_is_refused_the_code_is_4(desk: Lab) -> None:
    (desk.folder / "empty.tif").touch()
    (desk.folder / "text.tif").write_text("hello")
    desk.csv("empty.tif", "text.tif")
    assert upload() == 4


def test_a_conflict_is_7_and_overwrite_replaces(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    imagej_stack(desk.folder / "b.tif", seed=2)
    desk.csv("a.tif")
    assert upload() == 0
    desk.csv("b.tif")
    assert upload() == 7
    assert "exists already, with other content; give it another id" in capsys.readouterr().err
    assert upload("--overwrite") == 0
    assert "8 old objects removed" in capsys.readouterr().out


def test_a_copy_of_the_source_is_known_by_its_content(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    assert upload() == 0
    (desk.folder / "copy.tif").write_bytes((desk.folder / "a.tif").read_bytes())
    desk.csv("copy.tif")
    assert upload() == 0
    assert "1 already there" in capsys.readouterr().out


def test_json_gives_the_same_as_data(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    (desk.folder / "bad.tif").touch()
    desk.csv("a.tif", "bad.tif")
    assert upload("--json") == 3
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["outcome"], good["nbr_objects"], good["error"]) == ("uploaded", 8, None)
    assert (bad["outcome"], bad["error"]["exit_code"]) == ("failed", 4)
    assert query_data.main(["--json"]) == 0
    assert [d["serial"] for d in json.loads(capsys.readouterr().out)] == [desk.serial()]


@pytest.mark.fault("U3")
def test_a_dry_run_tells_the_plan_and_writes_nothing(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    tif_folder(desk.folder / "folder")
    desk.csv("a.tif", "folder")
    before = sorted(desk.folder.rglob("*"))
    assert upload("--dry-run", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["action"], first["format"], first["nbr_objects"]) == ("upload", "tif_id", 8)
    assert (second["format"], second["nbr_objects"]) == ("tif_folder", 6)
    assert sorted(desk.folder.rglob("*")) == before
    assert upload("--dry-run") == 0
    assert "nothing was written" in capsys.readouterr().out


def test_a_selection_comes_back_with_its_metadata(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    upload()
    words = ["--id", desk.serial(), "--dest", "out", "-c", "1", "-z", "0:2", "-t", "1"]
    assert data_downloader.main(words) == 0
    folder = desk.folder / "out" / desk.serial()
    assert sorted(path.name for path in folder.iterdir()) == [
        "frames_meta.csv",
        "global_metadata.json",
        "im_c001_z000_t001_p000.png",
        "im_c001_z001_t001_p000.png",
    ]
    with (folder / "frames_meta.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:8] == [
        "", "channel_idx", "slice_idx", "time_idx", "pos_idx", "channel_name", "file_name", "sha256",
    ]  # fmt: skip
    assert [row[""] for row in rows] == ["0", "1"]
    meta = json.loads((folder / "global_metadata.json").read_text())
    assert (meta["nbr_frames"], meta["im_width"], meta["im_height"], meta["bit_depth"]) == (
        8,
        19,
        16,
        "uint16",
    )
    assert "2 frames" in capsys.readouterr().out
    assert data_downloader.main(words) == 0
    assert "2 were there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (
            ["--no-metadata", "-z", "0", "-t", "0"],
            ["im_c000_z000_t000_p000.png", "im_c001_z000_t000_p000.png"],
        ),
        (["--no-download"], ["frames_meta.csv", "global_metadata.json"]),
    ],
)
def test_metadata_and_frames_can_be_left_out(desk: Lab, words: list[str], names: list[str]) -> None:
    desk.csv("a.tif")
    upload()
    assert data_downloader.main(["--id", desk.serial(), "--dest", "out", *words]) == 0
    assert sorted(path.name for path in (desk.folder / "out" / desk.serial()).iterdir()) == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-c", "GFP"], "no frame matches; it has channels 0=?, 1=?"),
        (["-c", "0", "7"], "there is no channel 7; it has channels"),
        (["-p", "0", "9"], "there is no position 9"),
        (["-z", "9"], "2 slices"),
        (["-p", "1:"], "1 positions, counted from 0"),
    ],
)
def test_no_match_is_an_error_that_tells_what_there_is(
    desk: Lab, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    upload()
    assert data_downloader.main(["--id", desk.serial(), "--dest", "out", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (desk.folder / "out").exists()


def test_an_unknown_id_tells_the_nearest(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    desk.csv("a.tif")
    upload()
    assert data_downloader.main(["--id", desk.serial()[:-1] + "7", "--dest", "out"]) == 2
    assert desk.serial() in capsys.readouterr().err


def test_a_folder_of_files_comes_back_as_it_was(desk: Lab) -> None:
    config = json.loads((desk.folder / "config.json").read_text()) | {"upload_type": "file"}
    (desk.folder / "config.json").write_text(json.dumps(config))
    source = desk.folder / "raw"
    for name in ("notes.txt", "sub/data.bin", "sub/deep/ Ünïcode 🔬.tif", "empty"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000 if name != "empty" else b"")
    desk.csv("raw", "raw/notes.txt")
    assert upload() == 0
    assert upload() == 0
    for number, root in ((1, source), (2, None)):
        assert (
            data_downloader.main(["--id", desk.serial(number), "--dest", "out", "--no-metadata"])
            == 0
        )
        folder = desk.folder / "out" / desk.serial(number)
        found = {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*")
            if p.is_file()
        }
        wanted = (
            {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            if root
            else {"notes.txt": (source / "notes.txt").read_bytes()}
        )
        assert found == wanted
    assert imaging_db_command.main(["verify"]) == 0
    assert data_downloader.main(["--id", desk.serial(), "--dest", "out", "-z", "0"]) == 2


def test_show_verify_config_readers_stores_doctor(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    upload()
    capsys.readouterr()
    for words, expected in {
        ("show", desk.serial()): "tif_id",
        ("show", desk.serial(), "--frames"): "im_c001_z001_t001_p000.png",
        ("show", desk.serial(), "--json"): '"nbr_slices": 2',
        ("verify",): "8 frames",
        ("verify", desk.serial(), "--json"): '"checked": 8',
        ("config", "show"): "catalog.sqlite",
        ("config", "show", "--json"): '"origin"',
        ("readers",): "ome_tiff",
        ("stores",): "local",
        ("doctor",): "1 dataset",
        ("db", "current"): "current",
        ("db", "check"): "as they should be",
        ("db", "upgrade"): "nothing to do",
    }.items():
        assert imaging_db_command.main(list(words)) == 0, words
        assert expected in capsys.readouterr().out, words


def test_verify_names_the_damaged_object_and_ends_with_6(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.csv("a.tif")
    upload()
    damaged = next(Path("store").rglob("*.png"))
    damaged.chmod(0o644)
    damaged.write_bytes(b"")
    assert imaging_db_command.main(["verify"]) == 6
    assert damaged.name in capsys.readouterr().err


@pytest.mark.fault("S8")
def test_names_cannot_steer_the_terminal(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    evil = desk.folder / "evil\x1b[2Jname.tif"
    evil.write_bytes(b"nonsense")
    desk.csv(evil)
    assert upload() == 4
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "evil\\x1b[2Jname.tif" in told


COMMAND = [
    sys.executable,
    "-m",
    "imaging_db.cli.data_uploader",
    "--csv",
    "files.csv",
    "--nbr_workers",
    "1",
]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_upload_is_unseen_and_the_same_command_finishes_it(
    desk: Lab, number: signal.Signals, code: int
) -> None:
    tifffile.imwrite(
        desk.folder / "big.tif", pixels(60, 700, 700), imagej=True, metadata={"axes": "ZYX"}
    )
    desk.csv("big.tif")
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # may be ignored where tests run unattended
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    frames = desk.folder / "store" / "raw_frames" / desk.serial()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(frames.glob("*.png"))) < 5:
        time.sleep(0.01)
    asked = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - asked < 2
    assert process.returncode == code
    (line,) = told.splitlines()
    assert line.startswith("error: ")
    assert "interrupted: " in line
    assert "of 60 frames stored; rerun to continue" in line
    assert desk.serials() == []
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    assert "from an earlier run" in done.stdout
    assert desk.serials() == [desk.serial()]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_killed_upload_is_finished_at_once_by_the_same_command(desk: Lab) -> None:
    tifffile.imwrite(
        desk.folder / "big.tif", pixels(40, 700, 700), imagej=True, metadata={"axes": "ZYX"}
    )
    desk.csv("big.tif")
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    frames = desk.folder / "store" / "raw_frames" / desk.serial()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(frames.glob("*.png"))) < 5:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert desk.serials() == []
    started = time.monotonic()
    subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 30, "a dead owner's claim is not waited for"
    assert desk.serials() == [desk.serial()]


@pytest.mark.fault("U2")
def test_a_reader_of_our_output_may_leave_early(desk: Lab) -> None:
    desk.csv("a.tif")
    upload()
    words = f"{sys.executable} -m imaging_db show {desk.serial()} --frames --json | head -c 10"
    done = subprocess.run(words, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.fault("M10", "U4")
@pytest.mark.parametrize("variables", [{"LANG": "C", "PYTHONUTF8": "0"}, {"PYTHONOPTIMIZE": "1"}])
def test_the_environment_changes_nothing(desk: Lab, variables: dict[str, str]) -> None:
    (desk.folder / "größe 🔬.tif").write_bytes((desk.folder / "a.tif").read_bytes())
    desk.csv("größe 🔬.tif")
    done = subprocess.run(COMMAND, env=os.environ | variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    os.name == "nt", reason="Windows has no pseudo-terminals in the standard library"
)
def test_a_terminal_sees_frames_speed_and_time_left(desk: Lab) -> None:
    import pty

    tifffile.imwrite(
        desk.folder / "big.tif", pixels(30, 500, 500), imagej=True, metadata={"axes": "ZYX"}
    )
    desk.csv("big.tif")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        COMMAND,
        stderr=theirs,
        stdout=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # Linux says EIO once the other end is closed
        pass
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    assert b"/30" in seen
    assert b"MB/s" in seen
    assert b"0:00:" in seen


def test_no_home_and_a_closed_folder_are_told_in_one_line(desk: Lab, tmp_path: Path) -> None:
    desk.csv("a.tif")
    (desk.folder / "config.json").write_text(json.dumps({"storage_access": "no/such/store"}))
    done = subprocess.run(COMMAND, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no/such" in line
