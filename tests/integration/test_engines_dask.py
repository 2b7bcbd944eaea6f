"""Engines of Dask: every unit comes back once, whatever becomes of the workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from imaging_db.errors import UsageError
from imaging_db.jobs.engines.base import EngineLost
from imaging_db.jobs.engines.dask_cluster import connect
from imaging_db.jobs.engines.registry import open_engine
from tests.support.unit_orders import (
    Tiles,
    all_of,
    check_stored,
    eventually,
    gone,
    is_alive,
    leases_of,
    order_over,
)

MIDDLE = 20
"""A slice whose tile waits, so that the workers are at something when a test meets them."""


@pytest.fixture
def tiles() -> Iterator[Tiles]:
    with contextlib.closing(Tiles()) as server:
        yield server


@pytest.mark.skipif(sys.platform != "linux", reason="asks which process reads")
def test_every_unit_comes_back_once_whatever_kills_the_workers(
    tiles: Tiles, tmp_path: Path
) -> None:
    tiles.killers, tiles.held = {7}, {MIDDLE, MIDDLE + 1}
    engine = open_engine("dask", order_over(tiles.url, tmp_path, slices=30), workers=2)
    try:
        engine.submit(leases_of(range(20)))
        found = all_of(engine, 20)
        assert len(found) == 20
        died = found.pop(7)
        assert (died.kind, died.frames) == ("WorkerDied", ())
        assert "was killed by signal 9" in died.message
        for result in found.values():
            check_stored(tmp_path, result)

        assert eventually(lambda: engine.workers == 2)
        engine.submit(leases_of((MIDDLE, MIDDLE + 1)))
        assert eventually(lambda: {MIDDLE, MIDDLE + 1} <= set(tiles.asked))
        at_work = set(filter(is_alive, tiles.readers))
        for pid in at_work:
            os.kill(pid, signal.SIGKILL)
        assert at_work and gone(at_work)
        tiles.let_go()
        found = all_of(engine, 2)
        assert sorted(found) == [MIDDLE, MIDDLE + 1]
        for result in found.values():
            check_stored(tmp_path, result)
    finally:
        engine.close(now=True)


def test_closing_at_once_leaves_no_process(tiles: Tiles, tmp_path: Path) -> None:
    tiles.held = {MIDDLE}
    engine = open_engine("dask", order_over(tiles.url, tmp_path, slices=30), workers=1)
    engine.submit(leases_of((MIDDLE, MIDDLE + 1)))
    assert eventually(lambda: MIDDLE in tiles.asked)
    began = time.monotonic()
    engine.close(now=True)
    assert time.monotonic() - began < 2.0
    assert gone(tiles.readers, seconds=2.0)
    engine.close()


RUNNER = """
import sys, time
from pathlib import Path
from imaging_db.jobs.engines.dask_cluster import connect
from imaging_db.jobs.engines.registry import open_engine
from tests.support.unit_orders import all_of, leases_of, order_over

if __name__ == "__main__":
    engine = open_engine("dask", order_over(sys.argv[1], Path(sys.argv[2]), slices=30), workers=1)
    engine.submit(leases_of([20]))
    while True:
        try:
            for result in engine.finished(0.2):
                print(result.lease.unit.ordinal, result.is_done, flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks which process reads")
def test_workers_outlive_ctrl_c_but_not_their_runner(tiles: Tiles, tmp_path: Path) -> None:
    tiles.held = {MIDDLE}
    script = tmp_path / "runner.py"
    script.write_text(RUNNER, encoding="utf-8")
    with started(sys.executable, str(script), tiles.url, str(tmp_path / "store")) as runner:
        assert eventually(lambda: MIDDLE in tiles.asked, seconds=30)
        os.killpg(runner.pid, signal.SIGINT)
        assert line_of(runner.stdout) == "interrupted"
        tiles.let_go()
        assert line_of(runner.stdout) == f"{MIDDLE} True"
        assert tiles.asked == [MIDDLE]
        runner.kill()
        assert gone(tiles.readers)
        _, told = runner.communicate()
    assert "distributed" not in told and "Traceback" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="asks for groups of processes")
def test_a_scheduler_that_dies_is_told_and_not_waited_for(tiles: Tiles, tmp_path: Path) -> None:
    tiles.held = {MIDDLE}
    file = tmp_path / "scheduler.json"
    dask = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard")
    worker = (sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard", "--no-nanny")
    options = ("--scheduler-file", str(file), "--host", "127.0.0.1")
    with (
        started(*dask, "--port", "0", *options) as scheduler,
        started(*worker, *options, "--local-directory", str(tmp_path)),
    ):
        assert eventually(file.exists, seconds=30)
        order = order_over(tiles.url, tmp_path, slices=30)
        engine = open_engine("dask", order, scheduler=str(file))
        try:
            engine.submit(leases_of([3, 4, MIDDLE]))
            for result in all_of(engine, 2).values():
                check_stored(tmp_path, result)
            assert engine.workers > 0
            scheduler.kill()
            began = time.monotonic()
            address = json.loads(file.read_text(encoding="utf-8"))["address"]
            with pytest.raises(EngineLost, match=address):
                while time.monotonic() - began < 10:
                    assert engine.finished(1.0) == []
            engine.submit(leases_of([5]))
            with pytest.raises(EngineLost):
                engine.finished(1.0)
        finally:
            tiles.let_go()
            began = time.monotonic()
            engine.close(now=True)
            assert time.monotonic() - began < 2.0


def test_a_scheduler_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json: No such file"):
        connect("dask", str(tmp_path / "none.json"), seconds=0)
    (tmp_path / "other.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.json: is no scheduler file"):
        connect("dask", str(tmp_path / "other.json"), seconds=0)
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        connect("dask", "tcp://127.0.0.1:9", seconds=0)


def test_an_option_that_dask_does_not_know_is_refused_by_its_name(tmp_path: Path) -> None:
    order = order_over("http://127.0.0.1:9", tmp_path, slices=1)
    with pytest.raises(UsageError, match="LocalCluster has no such option"):
        open_engine("dask", order, options={"memory": "1GB"})


@contextlib.contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, killed at the end with all that it started."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()
