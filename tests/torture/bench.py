"""A lab under torture: small sources with known content, the commands over them, what they must come to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from imaging_db import ImagingDB
from imaging_db.stores.base import is_temporary
from tests.support.acquisitions import imagej_stack
from tests.support.commands import DOWNLOADER, IMAGING_DB, UPLOADER, Commands, Done
from tests.support.golden import Golden, check_whole, golden, unfinished
from tests.support.lab import Lab, build_lab
from tests.support.postgres import PASSWORD
from tests.support.s3 import SECRET_KEY
from tests.torture.amount import FULL

COMBINATIONS = ("sqlite+local", "postgres+moto", "postgres+local", "sqlite+moto")
WORKERS = 2
FILES = ("files", "others")
"""Sources that are uploaded as files; ``frames`` and ``other`` are stacks of 6 and 4 frames."""

Line = tuple[str, list[str]]
"""A command and its arguments."""


class Bench:
    """Runs commands as processes on a lab of its own."""

    def __init__(self, lab: Lab, commands: Commands) -> None:
        self.lab = lab
        self.commands = commands
        self.db = ImagingDB(lab.settings)
        self._truths: dict[str, Golden] = {}
        self._numbers = iter(range(1, 10_000))
        self._configs = self._write_configs()
        for seed, name in enumerate(("frames", "other")):
            imagej_stack(self.source(name), t=1, z=3 - seed, c=2, seed=seed, side=12)
        for seed, name in enumerate(("files", "others")):
            for part, size in (("a.bin", 3000), ("sub/b.bin", 70_000 - seed), ("c.txt", 9)):
                path = self.source(name) / part
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes([65 + seed]) * size)

    def close(self) -> None:
        self.db.close()

    def _write_configs(self) -> dict[str, list[str]]:
        login, config = self.lab.write_files()
        settings = json.loads(config.read_text())
        found = {}
        for kind in ("frames", "file"):
            path = self.lab.folder / f"config_{kind}.json"
            path.write_text(json.dumps(settings | {"upload_type": kind}))
            found[kind] = ["--login", str(login), "--config", str(path)]
        return found

    @property
    def is_local(self) -> bool:
        return self.lab.settings.store.storage == "local"

    def new(self) -> str:
        """A serial that nothing has."""
        return self.lab.serial(next(self._numbers))

    def source(self, name: str) -> Path:
        return self.lab.folder / (name if name in FILES else f"{name}.tif")

    # --- command lines

    def uploading(self, serial: str, name: str = "frames", *more: str) -> Line:
        path = self.lab.folder / f"{serial[-4:]}-{name}.csv"
        path.write_text(f"dataset_id,file_name\n{serial},{self.source(name)}\n")
        kind = "file" if name in FILES else "frames"
        options = [*self._configs[kind], "--nbr_workers", str(WORKERS)]
        return UPLOADER, ["--csv", str(path), *options, *more]

    def downloading(self, serial: str, dest: Path, *more: str) -> Line:
        options = [*self._configs["frames"], "--nbr_workers", str(WORKERS)]
        return DOWNLOADER, ["--id", serial, "--dest", str(dest), *options, *more]

    def saying(self, *words: str) -> Line:
        """Another command of imaging-db, on this lab."""
        return IMAGING_DB, [*words, *self._configs["frames"]]

    def run(self, line: Line, **options: Any) -> Done:
        command, argv = line
        return self.commands.run(command, argv, cwd=self.lab.folder, **options)

    def do(self, line: Line, **options: Any) -> Done:
        """Run a command that must succeed."""
        done = self.run(line, **options)
        assert done.code == 0, f"{line}: {done.code}: {done.told}"
        return done

    # --- what there is

    def seen(self, serial: str) -> Golden | None:
        """A dataset in full, None where it cannot be seen; whatever can be seen is whole."""
        found = golden(self.db, serial)
        if found is not None:
            check_whole(found)
        return found

    def truth(self, name: str) -> Golden:
        """What an undisturbed upload makes of a source."""
        if name not in self._truths:
            serial = self.new()
            self.do(self.uploading(serial, name))
            dump = self.seen(serial)
            assert dump is not None
            self._truths[name] = dump
        return self._truths[name]

    def unfinished(self) -> list[str]:
        return unfinished(self.db)

    def objects(self) -> list[str]:
        """Every object in the store."""
        return [found.key for found in self.db.store.list("")]

    def temporaries(self) -> list[Path]:
        """What the store still was writing when something was killed."""
        root = Path(self.lab.settings.store.access)
        if not self.is_local or not root.is_dir():
            return []
        return [path for path in root.rglob("*") if is_temporary(path.name)]

    def collecting(self) -> Line:
        """The command that removes whatever dead runs left; what no row knows, if there is a dataset."""
        unknown = ["--unknown"] if next(self.db.datasets(), None) is not None else []
        return self.saying("gc", "--older_than", "0", "--yes", *unknown)

    def sweep(self) -> None:
        """Remove whatever runs that are no more left behind."""
        self.do(self.collecting())


def check_told(done: Done, *, code: int) -> None:
    """A command that failed has its exit code, says so in one line, and gives no secret away."""
    assert done.code == code, f"{done.code} instead of {code}: {done.told}"
    for secret in (PASSWORD, SECRET_KEY):
        assert secret not in done.told
    if code < 0:
        return  # it had no time to say anything
    assert len(done.errors()) == 1, done.told
    assert code == 1 or "Traceback" not in done.told, done.told


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, commands: Commands, tmp_path: Path
) -> Any:  # a generator of one Bench
    """A bench over the combination that the test names as parameter, or SQLite and a folder."""
    combination = getattr(request, "param", "sqlite+local")
    made = Bench(build_lab(combination, request.getfixturevalue, tmp_path), commands)
    if combination.startswith("sqlite"):
        template = request.getfixturevalue("sqlite_template")
        shutil.copyfile(template, made.lab.settings.database.dbname)
    yield made
    made.close()


over_every_combination = pytest.mark.parametrize(
    "bench", COMBINATIONS if FULL else COMBINATIONS[:2], indirect=True
)
over_both_databases_and_stores = pytest.mark.parametrize("bench", COMBINATIONS[:2], indirect=True)
