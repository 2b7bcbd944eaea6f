"""Joins that are killed, and commands on jobs that are stopped at every stage: the same again ends well."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.errors import DatasetNotFound
from imaging_db.jobs.ingest import Ingest
from imaging_db.model.job import JobState
from imaging_db.transfer.run_token import new_token
from tests.support.commands import (
    FORKS,
    IMAGING_DB,
    Commands,
    Done,
    Started,
)
from tests.support.lab import Lab
from tests.support.matrix import Injected
from tests.support.tile_folder import PATTERN, SERIAL, TileFolder, hashes

pytestmark = [
    pytest.mark.skipif(not FORKS, reason="commands cannot be forked here"),
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

CREATING = ("job.created", "units.added")
JOINING = ("units.claimed", "units.committed", "job.completing", "job.complete")
CANCELLING = ("job.cancelling", "job.cancelled")
CODES = {"kill": -signal.SIGKILL, "raise": 1}
OVER = 7
LEASE = 120


class Desk:
    """A folder of tiles, and commands on its job as processes of their own."""

    def __init__(self, lab: Lab, starts: Commands, tmp_path: Path, *, slices: int = 4) -> None:
        self.lab, self._starts = lab, starts
        self.tiles = TileFolder(tmp_path / "tiles", slices=slices)
        login, config = lab.write_files()
        self._where = ["--login", str(login), "--config", str(config)]

    def start(self, action: str, *words: str, failpoint: str = "") -> Started:
        argv = ["ingest", action, *self._where, *words]
        return self._starts.start(IMAGING_DB, argv, cwd=self.lab.folder, failpoint=failpoint)

    def run(self, action: str, *words: str, failpoint: str = "") -> Done:
        return self.start(action, *words, failpoint=failpoint).wait()

    def create(self, *, failpoint: str = "") -> Done:
        words = (str(self.tiles.root), "--pattern", PATTERN, "--serial", SERIAL)
        return self.run("create", *words, "--unit_frames", "6", failpoint=failpoint)

    def seen(self) -> dict[object, object]:
        """The hash of every frame that can be seen."""
        with ImagingDB(self.lab.settings) as db:
            try:
                return dict(hashes(db))
            except DatasetNotFound:
                return {}

    def without_row(self) -> int:
        """How many objects are in the store beyond the frames that are done."""
        with ImagingDB(self.lab.settings) as db:
            ingest = Ingest(db)
            done = ingest.progress(ingest.find(SERIAL)).frames_done
            return len(list(db.store.list(""))) - done


@pytest.fixture
def desk(
    small_lab: Lab,
    commands: Commands,
    sqlite_template: Path,
    tmp_path: Path,
) -> Desk:
    shutil.copyfile(sqlite_template, small_lab.settings.database.dbname)
    return Desk(small_lab, commands, tmp_path)


@pytest.mark.fault("K9")
def test_another_join_takes_over_at_once_from_one_that_was_killed(
    lab: Lab,
    commands: Commands,
    tmp_path: Path,
    injected: Injected,
) -> None:
    desk = Desk(lab, commands, tmp_path, slices=12)
    assert desk.create().code == 0
    killed = desk.start("join", SERIAL, "-p", "2", failpoint="object.named:30:stall")
    killed.await_stall()
    killed.send(signal.SIGKILL)
    assert killed.wait().code == -signal.SIGKILL
    injected.add()
    assert not desk.seen()

    other = desk.run("join", SERIAL, "-p", "2", "--json")

    assert other.code == 0, other.told
    assert json.loads(other.stdout)["state"] == JobState.COMPLETE.value
    assert other.seconds < LEASE / 2
    assert desk.seen() == desk.tiles.truth


def test_a_join_at_work_takes_over_at_once_from_one_that_is_killed(
    desk: Desk, injected: Injected
) -> None:
    assert desk.create().code == 0
    killed = desk.start("join", SERIAL, "-p", "1", failpoint="object.written:3:stall")
    killed.await_stall()
    other = desk.start("join", SERIAL, "-p", "1", failpoint="units.claimed:2:stall=0.5")
    other.await_stall()
    killed.send(signal.SIGKILL)
    assert killed.wait().code == -signal.SIGKILL
    injected.add()

    done = other.wait()

    assert done.code == 0, done.told
    assert done.seconds < LEASE / 2
    assert desk.seen() == desk.tiles.truth


@pytest.mark.fault("K1")
@pytest.mark.parametrize("action", CODES)
@pytest.mark.parametrize("stage", CREATING)
def test_create_that_is_stopped_is_finished_by_the_same_command(
    desk: Desk, stage: str, action: str, injected: Injected
) -> None:
    assert desk.create(failpoint=f"{stage}:{action}").code == CODES[action]
    injected.add()
    assert desk.run("join", SERIAL).code == OVER, "it was not prepared"

    assert desk.create().code == 0

    assert desk.run("join", SERIAL).code == 0
    assert desk.seen() == desk.tiles.truth


@pytest.mark.fault("K1")
@pytest.mark.parametrize("action", CODES)
@pytest.mark.parametrize("stage", JOINING)
def test_join_that_is_stopped_is_finished_by_the_same_command(
    desk: Desk, stage: str, action: str, injected: Injected
) -> None:
    assert desk.create().code == 0
    assert desk.run("join", SERIAL, failpoint=f"{stage}:{action}").code == CODES[action]
    injected.add()
    assert desk.seen() == (desk.tiles.truth if stage == "job.complete" else {})

    assert desk.run("join", SERIAL).code == 0

    assert desk.seen() == desk.tiles.truth


@pytest.mark.fault("K1")
@pytest.mark.parametrize("action", CODES)
@pytest.mark.parametrize("stage", CANCELLING)
def test_cancel_that_is_stopped_is_finished_by_the_same_command(
    desk: Desk, stage: str, action: str, injected: Injected
) -> None:
    assert desk.create().code == 0
    left = desk.run("join", SERIAL, failpoint="units.committed:raise")
    assert left.code == CODES["raise"]
    key = f"raw_frames/{SERIAL}/im_c000_z003_t000_p005.png"
    (Path(desk.lab.settings.store.access) / key).write_bytes(b"of nobody")
    words = (SERIAL, "--yes")
    assert desk.run("cancel", *words, failpoint=f"{stage}:{action}").code == CODES[action]
    injected.add()

    assert desk.run("cancel", *words).code == 0

    assert desk.without_row() == 0
    assert "nothing is left to do" in desk.run("cancel", *words).stdout


@pytest.mark.parametrize(("engine", "may_write"), [("threads", False), ("dask", True)])
def test_a_cancellation_waits_for_workers_that_may_have_outlived_their_runner(
    desk: Desk, engine: str, may_write: bool
) -> None:
    assert desk.create().code == 0
    with ImagingDB(desk.lab.settings) as db:
        job, jobs = Ingest(db).find(SERIAL), db.catalog.jobs
        dead, other = (
            jobs.join(job, token=new_token(), engine=engine, workers=2) for _ in range(2)
        )
        assert len(jobs.claim(dead, 2, lease_seconds=60)) == 2

        assert jobs.evict(job, lambda token: token == dead.token) == 2

        assert (30 < jobs.leases_left(job) <= 60) is may_write
        assert len(jobs.claim(other, 1)) == 1
