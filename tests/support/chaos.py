"""A large source with poison in it, and an ingest job of it whose processes are killed on purpose.

Everything that is started carries a mark in its environment, so that whatever is left over is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from imaging_db.model import SourceFrame
from imaging_db.model.job import Unit
from imaging_db.readers.grid.folders import grid_from_folder
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.registry import GROUP
from tests.support.chaos_reader import ARMED, BEGUN, DESCRIPTION, ChaosReader
from tests.support.lab import Lab
from tests.support.tile_folder import PATTERN, SERIAL, TileFolder

MARK = "IMAGING_DB_TEST_CHAOS"
PATIENCE = 120.0
NO_SCHEDULER = (2, "no Dask scheduler answers")
"""How a join ends that comes while the scheduler is not there."""
_ROOT = Path(__file__).parents[2]
_UNITS_A_SLICE = 3
_CUT_OFF_SECONDS = 2.0


class ChaosTiles:
    """Units of one to three tiny tiles; some tiles are missing, damaged, or kill who reads them.

    ``poison`` tells what is wrong with a unit: ``missing``, ``damaged`` or ``deadly``, by ordinal.
    """

    def __init__(
        self, folder: Path, *, units: int, poison: Mapping[int, str], seconds: float
    ) -> None:
        self.folder, self.poison = folder, dict(poison)
        self.tiles = TileFolder(folder / "tiles", slices=-(-units // _UNITS_A_SLICE))
        with open_grid(grid_from_folder(self.tiles.root, PATTERN)) as reader:
            settings = reader.settings
        self._told = {"settings": settings, "seconds": seconds, "deadly": []}
        self._write()
        self._told["deadly"] = [self._last(one).index for one in self._poisoned("deadly")]
        self._write()
        self.installed = _installed(folder / "plugins")

    @cached_property
    def frames(self) -> list[SourceFrame]:
        """Every frame, in the order of the source."""
        with ChaosReader(self.folder) as reader:
            return list(reader.frames())

    @cached_property
    def units(self) -> list[Unit]:
        """Every unit, by its ordinal."""
        with ChaosReader(self.folder) as reader:
            return [Unit(n, *portion) for n, portion in enumerate(reader.portions(0, 0))]

    def of(self, unit: Unit) -> list[SourceFrame]:
        """The frames of a unit."""
        return self.frames[unit.first : unit.stop]

    @cached_property
    def hashes(self) -> dict[tuple[int, ...], str]:
        """The hash of every frame's pixels, by its coordinates."""
        return {tuple(coords): text for coords, text in self.tiles.truth.items()}

    def good(self) -> dict[tuple[int, ...], str]:
        """The same of the frames of good units."""
        bad = {tuple(frame.coords) for n in self.poison for frame in self.of(self.units[n])}
        return {coords: text for coords, text in self.hashes.items() if coords not in bad}

    def spoil(self) -> None:
        """Let what is poison be so; before, the source looks good."""
        for unit in self._poisoned("missing"):
            self._last(unit).source.path.unlink()
        for unit in self._poisoned("damaged"):
            path = self._last(unit).source.path
            path.write_bytes(path.read_bytes()[:60])
        (self.folder / ARMED).touch()

    def mend(self) -> None:
        """Let everything be good."""
        (self.folder / ARMED).unlink()
        spoilt = {self._last(self.units[n]).source.path for n in self.poison}
        for place in self.tiles.places():
            if self.tiles.path(*place) in spoilt:
                self.tiles.write(*place)

    def begun(self) -> list[tuple[int, int]]:
        """First frame and process of every unit that was begun, in that order."""
        path = self.folder / BEGUN
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(first), int(pid)) for first, pid in map(str.split, lines)]

    def _poisoned(self, kind: str) -> list[Unit]:
        return [self.units[n] for n, is_kind in self.poison.items() if is_kind == kind]

    def _last(self, unit: Unit) -> SourceFrame:
        return self.of(unit)[-1]

    def _write(self) -> None:
        (self.folder / DESCRIPTION).write_text(json.dumps(self._told))


def _installed(folder: Path) -> Path:
    """A folder that installs the plugin for whoever has it on the path."""
    told = folder / "chaos_tiles-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-tiles\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(f"[{GROUP}]\nchaos = tests.support.chaos_reader:SPEC\n")
    return folder


@dataclass(eq=False)
class Member:
    """A command that is started again whenever it dies; ``words`` are of imaging-db or of Dask."""

    name: str
    words: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    codes: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return 0 if self.process is None else self.process.pid

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


class Site:
    """A folder from which the commands of one lab are started, as processes of their own."""

    def __init__(self, lab: Lab, tiles: ChaosTiles) -> None:
        self.lab, self.tiles = lab, tiles
        self.mark = uuid.uuid4().hex
        self._started: list[Member] = []
        login, config = lab.write_files()
        self._where = ["--login", str(login), "--config", str(config)]
        path = os.pathsep.join([str(tiles.installed), str(_ROOT)])
        self._environment = {
            MARK: self.mark,
            "PYTHONPATH": path,
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_TEMPORARY_DIRECTORY": str(lab.folder / "dask"),
            "OPENBLAS_NUM_THREADS": "1",
        }

    def ingest(self, *words: str) -> list[str]:
        """The words of a command on jobs."""
        action, *rest = words
        return [sys.executable, "-m", "imaging_db", "ingest", action, *self._where, *rest]

    def start(self, member: Member) -> None:
        if member not in self._started:
            self._started.append(member)
        with member.log.open("ab") as log:
            member.process = subprocess.Popen(
                member.words,
                cwd=self.lab.folder,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """What a command on jobs prints, once it has ended with one of these codes."""
        done = subprocess.run(
            self.ingest(*words),
            cwd=self.lab.folder,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode in codes, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def create(self) -> str:
        """The number of a new job of the tiles."""
        words = ("create", str(self.tiles.folder), "--serial", SERIAL, "--json")
        return str(json.loads(self.run(*words))["job"])

    def status(self, job: str) -> dict[str, Any]:
        (found,) = json.loads(self.run("status", job, "--json"))
        return dict(found)

    def processes(self) -> list[psutil.Process]:
        """Every process of this site that runs, and what these have started."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(MARK) == self.mark
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def leave(self) -> None:
        """Kill whatever still runs."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for member in self._started:
            if member.process is not None:
                member.process.wait(PATIENCE)

    def left_over(self, *, seconds: float = 15.0) -> list[str]:
        """The command lines of processes that do not end by themselves."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [" ".join(process.cmdline()) for process in found]


class Cluster:
    """An existing Dask scheduler and two workers, which somebody else has started."""

    def __init__(self, site: Site) -> None:
        self._site = site
        folder = site.lab.folder
        self.file = folder / "scheduler.json"
        dask = [sys.executable, "-m"]
        common = ["--scheduler-file", str(self.file), "--no-dashboard"]
        self.scheduler = Member(
            "scheduler",
            [
                *dask,
                "distributed.cli.dask_scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                *common,
            ],
            folder / "scheduler.log",
        )
        workers = ["--nworkers", "2", "--nthreads", "1", "--memory-limit", "0"]
        self.workers = Member(
            "workers",
            [*dask, "distributed.cli.dask_worker", "--host", "127.0.0.1", *workers, *common],
            folder / "workers.log",
        )

    def start(self) -> None:
        before = self._address()
        self._site.start(self.scheduler)
        deadline = time.monotonic() + PATIENCE
        while self._address() == before:
            assert time.monotonic() < deadline, self.scheduler.told
            time.sleep(0.05)
        self._site.start(self.workers)

    def _address(self) -> str:
        return self.file.read_text() if self.file.exists() else ""

    def kill_scheduler(self) -> None:
        """Kill the scheduler; workers that are cut off and stay are ended, as a batch system would."""
        assert self.scheduler.process is not None
        self.scheduler.process.kill()
        self.scheduler.process.wait()
        time.sleep(_CUT_OFF_SECONDS)
        self._kill(self.workers)

    def stop(self) -> None:
        for member in (self.workers, self.scheduler):
            self._kill(member)

    @staticmethod
    def _kill(member: Member) -> None:
        assert member.process is not None
        if member.process.poll() is None:
            parent = psutil.Process(member.pid)
            family = [parent, *parent.children(recursive=True)]
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        member.process.wait()


@dataclass
class Crew:
    """Joins that work on one job, each started again when it dies."""

    site: Site
    job: str
    members: list[Member]
    restarted: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        for member in self.members:
            self.site.start(member)

    def alive(self) -> list[Member]:
        return [one for one in self.members if one.process and one.process.poll() is None]

    def tend(self, *, again: tuple[int, ...], done: tuple[int, ...]) -> bool:
        """Start what died with one of the codes ``again``; True once all have ended with one of ``done``."""
        is_over = True
        for member in self.members:
            assert member.process is not None
            code = member.process.poll()
            if code is None:
                is_over = False
            elif code in again or (code == NO_SCHEDULER[0] and NO_SCHEDULER[1] in member.told):
                member.codes.append(code)
                self.restarted[member.name] += 1
                self.site.start(member)
                is_over = False
            else:
                assert code in done, f"{member.name}: {code}: {member.told}"
        return is_over


def crew_of(site: Site, cluster: Cluster, job: str, *, lease: int = 3) -> Crew:
    """Three joins: threads, a Dask cluster of their own, and an existing scheduler."""
    kinds = {
        "threads": ["-p", "2"],
        "local": ["--engine", "dask", "-p", "2"],
        "scheduler": ["--scheduler", str(cluster.file)],
    }
    common = ("join", job, "--lease", str(lease))
    folder = site.lab.folder
    members = [
        Member(name, site.ingest(*common, *words), folder / f"join-{name}.log")
        for name, words in kinds.items()
    ]
    return Crew(site, job, members)
