"""Jobs from their creation to the dataset that can be seen, on real databases and stores."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.errors import (
    Conflict,
    DatasetBusy,
    DatasetNotFound,
    JobOver,
    ObjectsInTheWay,
    StoreDenied,
)
from imaging_db.jobs.ingest import Ingest
from imaging_db.jobs.joining import EngineChoice
from imaging_db.jobs.planning import JobRequest, plan_job
from imaging_db.model import sha256_of_bytes
from imaging_db.model.job import Job, JobState, UnitState
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab
from tests.support.tile_folder import SERIAL, TileFolder, hashes


def test_a_folder_of_tiles_becomes_a_dataset(lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")

    with ImagingDB(lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(tiles.plan(db))
        report = ingest.join(job.uuid)

        assert report.state is JobState.COMPLETE
        assert (report.units, report.frames) == (4, 24)
        assert hashes(db) == tiles.truth
        frame = next(iter(db.dataset(SERIAL).frames(slices=3, positions=5)))
        assert frame.position_name == "r0001c0002"
        assert (frame.metadata["row"], frame.metadata["column"]) == (1, 2)
        assert not db.verify(SERIAL).failures


def test_nothing_can_be_seen_before_every_unit_is_done(small_lab: Lab, tmp_path: Path) -> None:
    with ImagingDB(small_lab.settings) as db:
        Ingest(db).create(TileFolder(tmp_path / "tiles").plan(db))

        with pytest.raises(DatasetNotFound):
            db.dataset(SERIAL)
        with pytest.raises(Conflict, match="0 of 4 units done"):
            Ingest(db).complete(SERIAL)


def test_the_same_plan_again_is_the_same_job(lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")

    with ImagingDB(lab.settings) as db:
        first = Ingest(db).create(tiles.plan(db))
        again = Ingest(db).create(tiles.plan(db))

        assert again.uuid == first.uuid
        assert Ingest(db).join(first.uuid).units == 4
        assert Ingest(db).create(tiles.plan(db)).uuid == first.uuid
        assert Ingest(db).join(first.uuid).units == 0
        assert len(list(Ingest(db).jobs())) == 1


def test_a_job_holds_its_dataset_against_an_upload(small_lab: Lab, tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    imagej_stack(stack)
    with ImagingDB(small_lab.settings) as db:
        job = Ingest(db).create(TileFolder(tmp_path / "tiles").plan(db))
    rows = [{"dataset_id": SERIAL, "file_name": str(stack)}]

    (report,) = small_lab.upload_csv(small_lab.csv(rows=rows), overwrite=True)

    assert isinstance(report.error, DatasetBusy)
    assert f"is being ingested by job {job.id}" in str(report.error)


def test_objects_of_somebody_else_are_not_written_over(lab: Lab, tmp_path: Path) -> None:
    with ImagingDB(lab.settings) as db:
        other = f"raw_frames/{SERIAL}/im_c000_z000_t000_p000.png"
        db.store.put(other, b"of another", sha256=sha256_of_bytes(b"of another"))

        with pytest.raises(ObjectsInTheWay):
            Ingest(db).create(TileFolder(tmp_path / "tiles").plan(db))

        assert db.store.get(other) == b"of another"
        assert not list(Ingest(db).jobs([JobState.PREPARING, JobState.UPLOADING]))


def test_an_acquisition_as_a_job_is_what_an_upload_makes_of_it(lab: Lab, tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    imagej_stack(stack, t=5, z=3, c=2)
    lab.upload_one(stack)

    with ImagingDB(lab.settings) as db:
        job = Ingest(db).create(
            plan_job(JobRequest(str(stack), lab.serial(2), unit_frames=7), db.settings)
        )
        report = Ingest(db).join(job.uuid)

        assert (report.units, report.frames) == (5, 30)
        assert list(db.dataset(lab.serial(2)).frames()) == list(db.dataset(lab.serial(1)).frames())


def test_a_missing_tile_fails_its_unit_and_no_other(lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(tiles.plan(db, most_attempts=2))
        tiles.path(2, 1, 1).unlink()

        report = ingest.join(job.uuid)

        assert (report.state, report.units, report.failed) == (JobState.UPLOADING, 3, 1)
        (failure,) = report.failures
        assert (failure.unit.ordinal, failure.attempt) == (2, 2)
        assert "1_1.png" in failure.message

        tiles.write(2, 1, 1)
        assert ingest.retry(job.uuid)[1] == 1
        assert ingest.join(job.uuid).state is JobState.COMPLETE
        assert hashes(db) == tiles.truth


def test_two_runners_share_the_units(lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles", slices=12)
    with ImagingDB(lab.settings) as db:
        job = Ingest(db).create(tiles.plan(db))
    reports = []

    def join() -> None:
        with ImagingDB(lab.settings) as db:
            reports.append(Ingest(db).join(job.uuid, engine=EngineChoice("threads", 1)))

    runners = [threading.Thread(target=join) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()

    assert sum(report.units for report in reports) == 12
    with ImagingDB(lab.settings) as db:
        assert Ingest(db).find(job.uuid).state is JobState.COMPLETE
        assert hashes(db) == tiles.truth


def test_objects_that_are_lost_before_the_end_are_put_again(lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(tiles.plan(db))
        ingest.join(job.uuid, manual=True)
        gone = f"raw_frames/{SERIAL}/im_c000_z001_t000_p004.png"
        assert db.store.delete(gone)

        _, reopened = ingest.complete(job.uuid)

        assert reopened == 1
        assert ingest.find(job.uuid).state is JobState.UPLOADING
        report = ingest.join(job.uuid)
        assert (report.state, report.units) == (JobState.COMPLETE, 1)
        assert hashes(db) == tiles.truth


class TestCtrlC:
    """Once drains and releases, twice leaves at once; both lose nothing."""

    @pytest.mark.parametrize("times", [1, 2])
    def test_what_was_at_work_is_done_or_goes_back(
        self, small_lab: Lab, tmp_path: Path, times: int
    ) -> None:
        tiles = TileFolder(tmp_path / "tiles", slices=300, rows=1, columns=2, side=256)
        with ImagingDB(small_lab.settings) as db:
            ingest = Ingest(db)
            job = ingest.create(tiles.plan(db))

            code, told = _interrupted_join(small_lab, ingest, job, times)

            progress = ingest.progress(job)
            assert code == 130
            assert "Ctrl-C again leaves it to others" in told
            assert "join again to continue" in told
            assert "Traceback" not in told
            assert progress.count(UnitState.LEASED) == progress.count(UnitState.FAILED) == 0
            assert progress.count(UnitState.DONE) + progress.count(UnitState.READY) == 300
            assert ingest.join(job.uuid).state is JobState.COMPLETE
            assert hashes(db) == tiles.truth


def _interrupted_join(lab: Lab, ingest: Ingest, job: Job, times: int) -> tuple[int, str]:
    """Run a join that hears Ctrl-C once units are leased; return its exit code and what it told."""
    login, config = lab.write_files()
    command = [sys.executable, "-m", "imaging_db", "ingest", "join", job.uuid, "-p", "1"]
    command += ["--login", str(login), "--config", str(config)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=_hears_ctrl_c
    ) as process:
        while not ingest.progress(job).count(UnitState.LEASED):
            assert process.poll() is None
            time.sleep(0.01)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        _, told = process.communicate(timeout=60)
    return process.returncode, told


def _hears_ctrl_c() -> None:
    """A shell that runs the tests in the background makes its children deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class TestCancel:
    """Nothing is committed any more, objects without a row go, and what has a row stays unseen."""

    def test_objects_without_a_row_are_swept(self, lab: Lab, tmp_path: Path) -> None:
        tiles = TileFolder(tmp_path / "tiles")
        with ImagingDB(lab.settings) as db:
            ingest = Ingest(db)
            job = ingest.create(tiles.plan(db, most_attempts=1))
            tiles.path(2, 1, 1).unlink()
            tiles.path(0, 1, 2).write_bytes(b"no png")
            ingest.join(job.uuid)
            late = f"raw_frames/{SERIAL}/im_c000_z002_t000_p005.png"
            db.store.put(late, b"of a worker", sha256=sha256_of_bytes(b"of a worker"))
            before = len(list(db.store.list("")))

            report = ingest.cancel(job.uuid)

            assert report.kept == 12
            assert report.swept == before - 12 > 0
            assert len(list(db.store.list(""))) == 12
            assert ingest.cancel(job.uuid).already
            assert ingest.find(job.uuid).state is JobState.CANCELLED

    def test_purge_leaves_nothing(self, lab: Lab, tmp_path: Path) -> None:
        tiles = TileFolder(tmp_path / "tiles")
        with ImagingDB(lab.settings) as db:
            ingest = Ingest(db)
            job = ingest.create(tiles.plan(db, most_attempts=1))
            tiles.path(2, 1, 1).unlink()
            ingest.join(job.uuid)

            ingest.cancel(job.uuid, purge=True)

            assert not list(db.store.list(""))
            assert not db.unfinished()
            assert ingest.cancel(job.uuid, purge=True).swept == 0

    def test_a_cancelled_job_can_be_created_anew(self, lab: Lab, tmp_path: Path) -> None:
        tiles = TileFolder(tmp_path / "tiles")
        with ImagingDB(lab.settings) as db:
            ingest = Ingest(db)
            first = ingest.create(tiles.plan(db))
            ingest.cancel(first.uuid)

            second = ingest.create(tiles.plan(db))

            assert second.uuid != first.uuid
            assert ingest.join(second.uuid).state is JobState.COMPLETE
            assert hashes(db) == tiles.truth

    def test_purge_of_an_old_job_spares_what_a_later_one_made(
        self, small_lab: Lab, tmp_path: Path
    ) -> None:
        tiles = TileFolder(tmp_path / "tiles")
        with ImagingDB(small_lab.settings) as db:
            ingest = Ingest(db)
            first = ingest.create(tiles.plan(db))
            ingest.cancel(first.uuid)
            ingest.join(ingest.create(tiles.plan(db)).uuid)

            assert ingest.cancel(first.uuid, purge=True).already

            assert hashes(db) == tiles.truth

    def test_a_complete_job_cannot_be_cancelled(self, small_lab: Lab, tmp_path: Path) -> None:
        with ImagingDB(small_lab.settings) as db:
            ingest = Ingest(db)
            job = ingest.create(TileFolder(tmp_path / "tiles").plan(db))
            ingest.join(job.uuid)

            with pytest.raises(Conflict):
                ingest.cancel(job.uuid)


def test_a_store_that_is_not_mounted_gets_nothing_of_a_job(small_lab: Lab, tmp_path: Path) -> None:
    tiles, store = TileFolder(tmp_path / "tiles"), Path(small_lab.settings.store.access)
    with ImagingDB(small_lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(tiles.plan(db, most_attempts=1))
        tiles.path(3, 1, 1).rename(tmp_path / "aside.png")
        assert ingest.join(job.uuid).failed == 1
        store.rename(tmp_path / "disk")
        store.mkdir()

        for work in (ingest.join, ingest.complete, ingest.cancel):
            with pytest.raises(StoreDenied, match="holds nothing"):
                work(job.uuid)

        assert not list(store.iterdir())
        store.rmdir()
        (tmp_path / "disk").rename(store)
        (tmp_path / "aside.png").rename(tiles.path(3, 1, 1))
        ingest.retry(job.uuid)
        assert ingest.join(job.uuid).state is JobState.COMPLETE
        assert hashes(db) == tiles.truth


def test_a_job_that_is_being_cancelled_is_not_created_again(small_lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(small_lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(tiles.plan(db))
        db.catalog.jobs.begin_cancel(job)

        with pytest.raises(JobOver, match="is being cancelled"):
            ingest.create(tiles.plan(db))

        ingest.cancel(job.uuid)
        assert ingest.create(tiles.plan(db)).id != job.id


def test_a_cancellation_does_not_wait_for_who_died_on_this_computer(
    small_lab: Lab, tmp_path: Path
) -> None:
    heard: list[float] = []
    with ImagingDB(small_lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(TileFolder(tmp_path / "tiles").plan(db))
        jobs = db.catalog.jobs
        child = subprocess.run(
            [
                sys.executable,
                "-c",
                "from imaging_db.transfer.run_token import *; print(new_token())",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        runner = jobs.join(job, token=child.stdout.strip(), engine="threads", workers=1)
        assert jobs.claim(runner, 2)

        ingest.cancel(job.uuid, told=heard.append)

        assert not heard
        assert ingest.find(job.uuid).state is JobState.CANCELLED
