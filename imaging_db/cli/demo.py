"""imaging-db demo: the main job on a real acquisition; imaging-db init: an empty database."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_login,
    open_db,
)
from imaging_db.errors import ImagingDBError, UsageError

_MARK = ".imaging_db_demo"
SERIAL = "DEMO-2016-02-11-09-00-16-0001"
_MODULES = {
    "data_uploader": ["imaging_db.cli.data_uploader"],
    "query_data": ["imaging_db.cli.query_data"],
    "data_downloader": ["imaging_db.cli.data_downloader"],
    "imaging-db": ["imaging_db"],
}
_TOUR = (
    ("Upload every row of the CSV:", "data_uploader --csv files_for_upload.csv"),
    ("Ask what there is:", "query_data --project_id DEMO --long"),
    (
        "Download one channel, one slice, both timepoints, two of four positions:",
        f"data_downloader --id {SERIAL} --dest downloads -c DAPI -z 1 -t 0:2 -p 0 3",
    ),
    ("Read everything back and compare every hash:", "imaging-db verify"),
    ("Upload again; nothing is stored twice:", "data_uploader --csv files_for_upload.csv"),
)


def add_commands(commands: Commands) -> None:
    """Add demo and init."""
    demo = add_command(
        commands,
        "demo",
        run_demo,
        summary="try it on a real acquisition that comes with imaging_db",
    )
    demo.add_argument(
        "folder",
        nargs="?",
        default="imaging_db_demo",
        metavar="FOLDER",
        help="where everything of the demo goes; imaging_db_demo if you name none",
    )
    add_debug(demo)
    init = add_command(
        commands,
        "init",
        run_init,
        summary="make the catalog and the store ready for the first upload",
    )
    add_login(init)
    add_config(init)
    add_debug(init)


def run_init(args: argparse.Namespace) -> int:
    """Make catalog and store; repeating it changes nothing."""
    with open_db(args) as db:
        db.init()
        output.result(f"catalog: {db.settings.database.address}")
        output.result(f"store:   {db.settings.store.storage}:{db.settings.store.access}")
    return OK


def run_demo(args: argparse.Namespace) -> int:
    """Unpack the sample, run the tour in its folder, and tell what lies where."""
    folder = Path(args.folder).absolute()
    unpack(folder)
    output.result("A Micro-Manager acquisition: 4 positions, 2 channels, 2 slices, 2 timepoints.")
    for title, command in _TOUR:
        output.result()
        output.result(title)
        _run(command, folder)
    output.result()
    output.result(f"In {folder}:")
    output.table(
        (
            ("  sample/acquisition/", "the files as the microscope wrote them"),
            ("  files_for_upload.csv", "the datasets; config.json says how they are read"),
            ("  catalog.sqlite", "the catalog: one row a dataset, one a frame"),
            ("  store/raw_frames/", "every frame as a PNG"),
            ("  downloads/", "what was asked back, with frames_meta.csv"),
        )
    )
    output.result()
    output.result("Next, with your own files: edit files_for_upload.csv there, and run")
    output.result(f"  cd {shlex.quote(str(folder))}")
    output.result(f"  {_script('data_uploader')} --csv files_for_upload.csv --dry-run")
    return OK


def _script(name: str) -> str:
    """Return what to type for a command: its name, or its path where the shell would not find it."""
    if shutil.which(name):
        return name
    suffix = ".exe" if sys.platform == "win32" else ""
    beside = Path(sys.executable).with_name(name + suffix)
    return f'"{beside}"' if sys.platform == "win32" else shlex.quote(str(beside))


def unpack(folder: Path) -> None:
    """Write the sample acquisition, CSV, config and login to ``folder``.

    Raises
    ------
    UsageError
        The folder is in use for something else, or cannot be written.
    """
    mark = folder / _MARK
    try:
        ours = not folder.exists() or mark.exists() or not any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    if not ours:
        raise UsageError(f"{folder} is not empty", hint="name another folder for the demo")
    sample = resources.files("imaging_db.sample")
    acquisition = folder / "sample" / "acquisition"
    try:
        acquisition.mkdir(parents=True, exist_ok=True)
        mark.touch()
        (folder / "store").mkdir(exist_ok=True)
        for packed in (sample / "acquisition").iterdir():
            if packed.name.endswith(".gz"):
                _gunzip(packed.read_bytes(), acquisition / packed.name.removesuffix(".gz"))
        for name in ("files_for_upload.csv", "config.json", "metadata_schema.json"):
            if not (folder / name).exists():  # it may have been edited since the first time
                (folder / name).write_bytes((sample / name).read_bytes())
        login = {"drivername": "sqlite", "dbname": "catalog.sqlite"}
        (folder / "db_credentials.json").write_text(json.dumps(login, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error


def _gunzip(packed: bytes, target: Path) -> None:
    """Micro-Manager reserves space that it does not fill: 10 MB of zeros are left as a hole."""
    data = gzip.decompress(packed)
    with target.open("wb") as stream:
        block = 4096
        for start in range(0, len(data), block):
            part = data[start : start + block]
            if part.strip(b"\0"):
                stream.seek(start)
                stream.write(part)
        stream.truncate(len(data))


def _run(command: str, folder: Path) -> None:
    output.result(f"$ {command}")
    sys.stdout.flush()
    name, *arguments = command.split()
    done = _call([sys.executable, "-m", *_MODULES[name], *arguments], folder)
    if done != OK:
        raise ImagingDBError(f"{command} ended with exit code {done}")


def _call(arguments: Sequence[str], folder: Path) -> int:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMAGING_DB_")}
    done = subprocess.run(arguments, cwd=folder, env=environment, check=False)  # noqa: S603 - our own
    return done.returncode
