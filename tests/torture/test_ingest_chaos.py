"""Ingest jobs whose workers, runners and scheduler are killed at moments that a seed chooses.

Three joins work at a time: threads, a Dask cluster of their own, and an existing scheduler. Some tiles are
missing, some damaged, some kill whoever reads them. In the end every good unit is done once, and what is
poison is listed with its cause.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from imaging_db import ImagingDB
from tests.support.chaos import ChaosTiles, Cluster, Crew, Site, crew_of
from tests.support.chaos_reader import SIZES
from tests.support.chaos_rows import check_objects, frame_rows, objects, unit_rows, without_row
from tests.support.lab import Lab, build_lab
from tests.support.matrix import Injected
from tests.support.tile_folder import SERIAL, hashes
from tests.torture.amount import FULL, chance
from tests.torture.bench import COMBINATIONS

pytestmark = [
    pytest.mark.skipif(not FULL, reason="takes minutes: IMAGING_DB_TEST_TORTURE=1"),
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]

UNITS = int(
    os.environ.get("IMAGING_DB_TEST_CHAOS_UNITS", "2000")
)  # now: tests run in a clean environment
KILLS = {"worker": 22, "driver": 7, "scheduler": 1}
LAST_KILL = 0.7
"""The share of the units at which the last kill falls due."""
SECONDS_A_TILE = 0.05
LONGEST = 1200.0
KILLED, CRASHED, AWAY, SOME_FAILED, OVER = -signal.SIGKILL, -signal.SIGSEGV, 5, 3, 7
POISON = ("missing", "damaged", "deadly")


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return build_lab(request.param, request.getfixturevalue, tmp_path)


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """A function that makes the site of a source; whatever it has started is ended."""
    made: list[Site] = []

    def make(units: int, seconds: float, poison: dict[int, str]) -> Site:
        tiles = ChaosTiles(tmp_path / "source", units=units, poison=poison, seconds=seconds)
        made.append(Site(lab, tiles))
        return made[0]

    yield make
    for one in made:
        one.leave()


class Killer:
    """Kills workers, drivers and the scheduler, each when so many units were begun and one is at work."""

    def __init__(self, crew: Crew, cluster: Cluster, seed: random.Random) -> None:
        self._crew, self._cluster, self._seed = crew, cluster, seed
        kinds = [kind for kind, count in KILLS.items() for _ in range(count)]
        seed.shuffle(kinds)
        units = len(crew.site.tiles.units)
        due = sorted(seed.uniform(0.02, LAST_KILL) * units for _ in kinds)
        self._due = list(zip(due, kinds, strict=True))
        self._seen = 0
        self.killed: Counter[str] = Counter()

    def kill(self) -> None:
        """Kill what is due, one at a time."""
        begun = self._crew.site.tiles.begun()
        recent, self._seen = {pid for _, pid in begun[self._seen :]}, len(begun)
        if not self._due or self._due[0][0] > len(begun):
            return
        kind = self._due[0][1]
        if getattr(self, f"_kill_{kind}")(recent):
            self.killed[kind] += 1
            del self._due[0]

    def _kill_worker(self, recent: set[int]) -> bool:
        """Kill a Dask worker that began a unit a moment ago."""
        joins = {member.pid for member in self._crew.members}
        alive = sorted(pid for pid in recent - joins if psutil.pid_exists(pid))
        if not alive:
            return False
        os.kill(self._seed.choice(alive), signal.SIGKILL)
        return True

    def _kill_driver(self, recent: set[int]) -> bool:
        """Kill a join that has done units."""
        runners = self._crew.site.status(self._crew.job)["runners"]
        working = {int(one["token"].split("/")[1]) for one in runners if one["units_done"]}
        alive = [member for member in self._crew.alive() if member.pid in working]
        if not alive:
            return False
        member = self._seed.choice(alive)
        assert member.process is not None
        member.process.kill()
        member.process.wait()
        return True

    def _kill_scheduler(self, recent: set[int]) -> bool:
        self._cluster.kill_scheduler()
        self._cluster.start()
        return True


@pytest.mark.fault("K3", "K9")
@pytest.mark.parametrize("lab", COMBINATIONS[:2], indirect=True)
def test_every_good_unit_is_done_once_whoever_is_killed(
    lab: Lab, site: Callable[..., Site], injected: Injected, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = chance(f"chaos {lab.settings.database.drivername}")
    poison = dict(
        zip(sorted(seed.sample(range(UNITS // 20, UNITS // 2), 6)), POISON * 2, strict=True)
    )
    here = site(UNITS, SECONDS_A_TILE, poison)
    job = here.create()
    here.tiles.spoil()
    cluster = Cluster(here)
    cluster.start()
    crew = crew_of(here, cluster, job)
    killer = Killer(crew, cluster, seed)
    began = time.monotonic()

    crew.start()
    while not crew.tend(again=(KILLED, CRASHED, AWAY), done=(SOME_FAILED,)):
        killer.kill()
        assert time.monotonic() - began < LONGEST, here.status(job)
        time.sleep(0.05)
    seconds = time.monotonic() - began

    tiles = here.tiles
    assert killer.killed == KILLS
    injected.add(killer.killed.total() + len(poison))
    check_units(here, job)
    check_told(here, job)
    check_objects(lab, tiles.good())
    of_poison = {name_of(frame) for n in poison for frame in tiles.of(tiles.units[n])}
    assert without_row(lab) <= of_poison
    cluster.stop()
    assert here.left_over() == []
    begun = len(tiles.begun())
    finish_anew(here, job)
    with capsys.disabled():
        print(
            f"\n{place_of(lab)}: {len(tiles.units)} units, {begun} begun, killed {dict(killer.killed)},"
            f" restarted {dict(crew.restarted)} ({codes(crew)}), {seconds:.0f} s"
        )


def check_units(site: Site, job: str) -> None:
    """Poison failed after all its attempts, everything else is done, and counted once."""
    rows, tiles = unit_rows(site.lab, job), site.tiles
    assert [row.ordinal for row in rows] == list(range(len(tiles.units)))
    assert {row.ordinal for row in rows if row.state != "done"} == set(tiles.poison)
    assert {row.attempt for row in rows if row.ordinal in tiles.poison} == {5}
    told = site.status(job)
    good = len(tiles.units) - len(tiles.poison)
    assert told["units"] == {"done": good, "failed": len(tiles.poison)}
    assert told["frames_done"] == len(tiles.good()) == len(frame_rows(site.lab))


def check_told(site: Site, job: str) -> None:
    """Every poison unit is listed with its cause."""
    tiles = site.tiles
    failures = {one["unit"]["ordinal"]: one for one in site.status(job)["failures"]}
    assert set(failures) == set(tiles.poison)
    for ordinal, kind in tiles.poison.items():
        failure = failures[ordinal]
        assert (failure["state"], failure["attempt"]) == ("failed", 5)
        if kind == "deadly":
            assert failure["kind"] == "WorkerDied", failure
        else:
            path = tiles.of(tiles.units[ordinal])[-1].source.path
            assert str(path) in failure["message"], failure


def finish_anew(site: Site, job: str) -> None:
    """Cancelled, nothing has no row; created again once all is mended, the dataset is whole."""
    site.run("cancel", job, "--yes")
    assert without_row(site.lab) == set()
    check_objects(site.lab, site.tiles.good())
    assert "nothing is left to do" in site.run("cancel", job, "--yes")
    site.tiles.mend()
    again = site.create()
    site.run("join", again)
    with ImagingDB(site.lab.settings) as db:
        assert hashes(db) == site.tiles.tiles.truth
        assert not db.verify(SERIAL).failures
    check_objects(site.lab, site.tiles.hashes)
    assert without_row(site.lab) == set()


@pytest.mark.fault("K3")
@pytest.mark.parametrize("lab", COMBINATIONS, indirect=True)
def test_a_job_that_is_cancelled_in_the_middle_leaves_no_object_without_a_row(
    lab: Lab, site: Callable[..., Site], injected: Injected
) -> None:
    seed = chance(f"cancel {lab.settings.database.drivername} {lab.settings.store.storage}")
    here = site(600, 0.5, {30: "missing"})
    job = here.create()
    here.tiles.spoil()
    cluster = Cluster(here)
    cluster.start()
    crew = crew_of(here, cluster, job)

    crew.start()
    wait_until_all_work(crew, at_least=seed.randrange(40, 80))
    here.run("cancel", job, "--yes")
    swept = objects(lab)
    while not crew.tend(again=(), done=(OVER,)):
        time.sleep(0.05)
    cluster.stop()

    injected.add()
    assert 0 < len(frame_rows(lab)) < len(here.tiles.frames)
    assert without_row(lab) == set()
    assert objects(lab) == swept
    check_objects(lab, {coords: here.tiles.hashes[coords] for coords in frame_rows(lab)})
    assert "nothing is left to do" in here.run("cancel", job, "--yes")
    assert objects(lab) == swept
    assert here.left_over() == []


@pytest.mark.fault("K3")
@pytest.mark.parametrize("lab", COMBINATIONS[:1], indirect=True)
def test_a_cancellation_does_not_sweep_before_the_workers_of_others_have_ended_their_units(
    lab: Lab, site: Callable[..., Site], injected: Injected
) -> None:
    seconds_a_tile = 2.0
    here = site(30, seconds_a_tile, {})
    job = here.create()
    here.tiles.spoil()
    cluster = Cluster(here)
    cluster.start()
    crew = crew_of(here, cluster, job)
    crew.members = [member for member in crew.members if member.name == "scheduler"]

    crew.start()
    wait_until_all_work(crew, at_least=4)
    here.run("cancel", job, "--yes")
    swept = objects(lab)
    time.sleep(len(SIZES) * seconds_a_tile)  # the longest unit

    injected.add()
    assert objects(lab) == swept
    assert without_row(lab) == set()
    while not crew.tend(again=(), done=(OVER,)):
        time.sleep(0.05)


def wait_until_all_work(crew: Crew, *, at_least: int) -> None:
    """Until each join has done units, and so many were begun."""
    deadline = time.monotonic() + LONGEST
    while True:
        assert time.monotonic() < deadline
        assert not crew.tend(again=(), done=())
        if len(crew.site.tiles.begun()) >= at_least:
            runners = crew.site.status(crew.job)["runners"]
            if sum(bool(one["units_done"]) for one in runners) == len(crew.members):
                return
        time.sleep(0.1)


def name_of(frame: Any) -> str:
    c, z, t, p = frame.coords
    return f"im_c{c:03d}_z{z:03d}_t{t:03d}_p{p:03d}.png"


def place_of(lab: Lab) -> str:
    return f"{lab.settings.database.drivername}, {lab.settings.store.storage}"


def codes(crew: Crew) -> str:
    return ", ".join(f"{member.name}: {member.codes}" for member in crew.members)
