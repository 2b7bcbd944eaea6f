"""Commands start fast, by name and by path, and help tells everything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import imaging_db
from imaging_db import errors
from imaging_db.cli import data_downloader, data_uploader, exit_codes, query_data
from imaging_db.cli import main as imaging_db_command

ROOT = Path(imaging_db.__file__).parent
BIN = Path(sys.executable).parent
SCRIPTS = ["data_uploader", "data_downloader", "query_data", "imaging-db"]


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_in_0_3_seconds(name: str) -> None:
    script = BIN / (name + (".exe" if os.name == "nt" else ""))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = run(script, "--help")
        seconds.append(time.perf_counter() - started)
        assert done.returncode == 0
        assert "examples:" in done.stdout
        assert "exit codes" in done.stdout
    assert min(seconds) < 0.3


@pytest.mark.parametrize("name", ["data_uploader", "data_downloader", "query_data", "main"])
def test_commands_run_by_path(name: str, tmp_path: Path) -> None:
    done = run(sys.executable, ROOT / "cli" / f"{name}.py", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"imaging_db {imaging_db.__version__}\n")


def test_python_m_is_imaging_db(tmp_path: Path) -> None:
    assert run(sys.executable, "-m", "imaging_db", "--version", cwd=tmp_path).returncode == 0


HEAVY = ("numpy", "pandas", "tifffile", "boto3", "sqlalchemy", "jsonschema", "rich", "imagecodecs")


@pytest.mark.parametrize("module", ["data_uploader", "data_downloader", "query_data", "main"])
def test_nothing_heavy_is_imported_for_help(module: str) -> None:
    code = (
        f"import sys, imaging_db.cli.{module} as m\n"
        "try: m.main(['--help'])\n"
        "finally: print('LOADED', *sys.modules)"
    )
    loaded = run(sys.executable, "-c", code).stdout.rpartition("LOADED")[2].split()
    assert not set(HEAVY) & set(loaded)


MISTAKES = [
    (data_uploader.main, []),
    (data_uploader.main, ["--csv", "a.csv", "--overwite"]),
    (data_uploader.main, ["--csv", "a.csv", "--over"]),
    (data_uploader.main, ["--csv", "a.csv", "--nbr_workers", "0"]),
    (data_uploader.main, ["--csv", "nope.csv"]),
    (data_uploader.main, ["--csv", "nope.csv", "--login", "nope.json", "--config", "nope.json"]),
    (data_downloader.main, ["--id", "x"]),
    (data_downloader.main, ["--id", "x", "--dest", "d", "-z", "a"]),
    (data_downloader.main, ["--id", "x", "--dest", "d", "-c", "0", "GFP"]),
    (data_downloader.main, ["--id", "x", "--dest", "d", "--no-metadata", "--no-download"]),
    (data_downloader.main, ["--id", "x", "--dest", "d", "--storage", "ftp"]),
    (query_data.main, ["--start_date", "June"]),
    (query_data.main, ["--start_date", "2020-02-01", "--end_date", "2020-01-01"]),
    (imaging_db_command.main, []),
    (imaging_db_command.main, ["uplaod"]),
    (imaging_db_command.main, ["db"]),
]


@pytest.mark.parametrize(
    ("main", "words"), MISTAKES, ids=[" ".join(words) or "nothing" for _, words in MISTAKES]
)
def test_a_mistake_is_exit_code_2_and_no_traceback(
    main: object,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2  # type: ignore[operator]
    told = capsys.readouterr()
    assert "error" in told.err
    assert "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_in_three_files_is_told_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l.json").write_text("{")
    (tmp_path / "c.json").write_text('{"microscop": "M", "storage": "nope"}')
    (tmp_path / "f.csv").write_text("dataset_id,file_name\nbad,nope.tif\n")
    assert data_uploader.main(["--csv", "f.csv", "--login", "l.json", "--config", "c.json"]) == 2
    lines = capsys.readouterr().err.splitlines()
    for word in ("l.json:1:2", "microscop", "storage", "f.csv:2: dataset_id", "f.csv:2: file_name"):
        assert sum(word in line for line in lines) == 1, word
    assert all(line.startswith("error: ") for line in lines)


def _subclasses(kind: type[errors.ImagingDBError]) -> set[type[errors.ImagingDBError]]:
    return {kind}.union(*(_subclasses(child) for child in kind.__subclasses__()))


def test_every_error_has_an_exit_code_of_the_table_and_stands_in_the_tree() -> None:
    for kind in _subclasses(errors.ImagingDBError):
        assert kind.exit_code in exit_codes.TABLE
        if kind.__module__ == "imaging_db.errors":
            line = next(
                line
                for line in (errors.__doc__ or "").splitlines()
                if kind.__name__ in line.split()
            )
            assert str(kind.exit_code) in line.split(), kind.__name__


def test_completion_knows_the_options(tmp_path: Path) -> None:
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out"),
        "COMP_LINE": "data_uploader --over",
        "COMP_POINT": "20",
    }
    run(BIN / "data_uploader", env=environment)
    assert "--overwrite" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_every_shell_gets_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert imaging_db_command.main(["completion", shell]) == 0
    assert "data_uploader" in capsys.readouterr().out


def test_a_stop_that_arrives_in_the_lock_of_an_import_is_not_lost() -> None:
    """Python cannot raise there, and only prints that it ignored something."""
    program = (
        "import argparse, os, signal, sys, time, weakref\n"
        "from imaging_db.cli import entry\n"
        "def work(args):\n"
        "    class Lock: pass\n"
        "    lock = Lock()\n"
        "    stop = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    kept = weakref.ref(lock, stop)\n"
        "    del lock  # as the import system drops its locks\n"
        "    time.sleep(20)\n"
        "    return 0\n"
        "parser = entry.make_parser('x', '', '')\n"
        "parser.set_defaults(run=work)\n"
        "sys.exit(entry.run(parser, []))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=15
    )
    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines() == ["error: interrupted; rerun to continue"]


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix closes streams so")
def test_a_closed_stdout_is_no_bug() -> None:
    command = f"{sys.executable} -m imaging_db.cli.main readers >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
