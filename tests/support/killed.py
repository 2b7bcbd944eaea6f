"""Commands in processes of their own, killed at moments that a seed chooses.

A server that has imported everything forks them where the system can, so that a moment falls into the
command's work and not into its imports.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROUNDS = int(os.environ.get("IMAGING_DB_TEST_KILLS", "5"))
"""How often each test kills, 24 times in `make torture`; read now, because tests run in a clean environment."""

SEED = int(os.environ.get("IMAGING_DB_TEST_SEED", secrets.randbelow(10**9)))

WARM = (
    "imaging_db.cli.data_uploader",
    "imaging_db.cli.data_downloader",
    "imaging_db.catalog",
    "imaging_db.catalog.schema",
    "imaging_db.codecs",
    "imaging_db.readers.tif_id",
    "imaging_db.stores.local",
    "imaging_db.transfer",
    "alembic.command",
    "imagecodecs",
    "psycopg2",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.support.killed",
    "tifffile",
)

_FORKS = "forkserver" in multiprocessing.get_all_start_methods()
_processes = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
if _FORKS:
    _processes.set_forkserver_preload(list(WARM))


@dataclass(frozen=True)
class Run:
    """What a command came to; ``code`` is negative where it was killed."""

    code: int
    seconds: float
    told: str


class Command:
    """A command that runs in a folder."""

    def __init__(self, module: str, words: list[str], folder: Path) -> None:
        self._arguments = (module, words, folder)
        self._log = folder / f"{secrets.token_hex(8)}.log"
        self._process = _processes.Process(target=_run, args=(*self._arguments, self._log))

    def start(self) -> Command:
        self._started = time.monotonic()
        self._process.start()
        return self

    def wait(self, *, kill_after: float | None = None) -> Run:
        """What the command came to, killed if it is not done after so many seconds."""
        self._process.join(120 if kill_after is None else kill_after)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        seconds = time.monotonic() - self._started
        told = self._log.read_text(encoding="utf-8") if self._log.exists() else ""
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        return Run(code, seconds, told)


def moments(seconds: float, *, rounds: int = ROUNDS) -> Iterator[float]:
    """Random moments all over the time that a command takes, in random order; prints their seed."""
    print(f"IMAGING_DB_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    order = list(range(rounds))
    chance.shuffle(order)
    for number in order:
        yield seconds * (number + chance.random()) / rounds


def _run(module: str, words: list[str], folder: Path, log: Path) -> None:
    os.chdir(folder)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.exit(importlib.import_module(module).main(words))
