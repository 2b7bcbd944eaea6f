"""Jobs where stores, sources or other jobs are not what they were: nothing is lost, nothing goes on for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.config import StoreSettings
from imaging_db.errors import (
    Conflict,
    IntegrityError,
    ObjectsInTheWay,
    SourceChanged,
    UsageError,
)
from imaging_db.jobs.cancellation import Cancellation
from imaging_db.jobs.ingest import Ingest
from imaging_db.jobs.joining import EngineChoice, Joining
from imaging_db.jobs.planning import JobRequest, plan_job
from imaging_db.model import sha256_of_bytes
from imaging_db.model.job import JobState, UnitState
from imaging_db.stores.base import ObjectInfo
from imaging_db.stores.local import LocalStore
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab
from tests.support.tile_folder import SERIAL, TileFolder, hashes


def test_what_is_in_the_way_can_be_removed_as_it_is_told(small_lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(small_lab.settings) as db:
        other = f"raw_frames/{SERIAL}/im_c000_z000_t000_p000.png"
        db.store.put(other, b"of another", sha256=sha256_of_bytes(b"of another"))
        with pytest.raises(ObjectsInTheWay, match="ingest cancel 1 --purge"):
            Ingest(db).create(tiles.plan(db))

        Ingest(db).cancel("1", purge=True)

        assert Ingest(db).join(Ingest(db).create(tiles.plan(db)).uuid).state is JobState.COMPLETE


def test_a_job_is_the_same_from_every_working_folder(
    small_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    monkeypatch.chdir(tmp_path)
    with ImagingDB(small_lab.settings) as db:
        job = Ingest(db).create(tiles.plan(db))
        tiles.root = Path("tiles")

        assert Ingest(db).create(tiles.plan(db)).uuid == job.uuid


def test_workers_that_write_elsewhere_do_not_go_on_for_ever(small_lab: Lab, tmp_path: Path) -> None:
    tiles, told = TileFolder(tmp_path / "tiles"), []
    elsewhere = tmp_path / "disk of another computer"
    elsewhere.mkdir()

    def tell(text: str) -> None:
        told.append(text)
        assert len(told) < 4, "it goes on for ever"

    with ImagingDB(small_lab.settings) as db:
        job = Ingest(db).create(tiles.plan(db))
        place = StoreSettings("local", str(elsewhere))

        with pytest.raises(
            IntegrityError, match=r"gone from .* again; see that it is the same folder"
        ):
            Joining(db.catalog, db.store, place, job, EngineChoice(), told=tell).run()

        assert told == ["4 units wait again: objects of theirs are gone from the store"]
        assert Ingest(db).join(job.uuid).state is JobState.COMPLETE
        assert hashes(db) == tiles.truth


def test_a_job_writes_to_no_other_store_than_its_own(small_lab: Lab, tmp_path: Path) -> None:
    tiles, other = TileFolder(tmp_path / "tiles"), tmp_path / "other"
    other.mkdir()
    link = tmp_path / "link"
    link.symlink_to(small_lab.settings.store.access)
    with ImagingDB(small_lab.settings) as db:
        job = Ingest(db).create(tiles.plan(db))

    def joined(place: Path) -> JobState:
        named = replace(small_lab.settings, store=StoreSettings("local", str(place)))
        with ImagingDB.of(named, store_named=True) as db:
            return Ingest(db).join(job.uuid).state

    with pytest.raises(UsageError, match=r"job 1 keeps its frames in .*store"):
        joined(other)

    assert not list(other.iterdir())
    assert joined(link) is JobState.COMPLETE


def test_a_source_that_changed_is_told_at_once(small_lab: Lab, tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    imagej_stack(stack, t=5, z=3, c=2)
    with ImagingDB(small_lab.settings) as db:
        request = JobRequest(str(stack), small_lab.serial(), unit_frames=7)
        job = Ingest(db).create(plan_job(request, db.settings))
        imagej_stack(stack, t=4, z=3, c=2)

        with pytest.raises(SourceChanged, match="cancel it and create it anew"):
            Ingest(db).join(job.uuid)

        progress = Ingest(db).progress(job)
        assert progress.units == {UnitState.READY: 5}
        assert not progress.runners


def test_a_tile_that_changed_after_it_was_put_is_told(small_lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(small_lab.settings) as db:
        job = Ingest(db).create(tiles.plan(db, most_attempts=1))
        tiles.path(2, 1, 1).unlink()
        Ingest(db).join(job.uuid)
        tiles.path(2, 0, 0).write_bytes(tiles.path(3, 0, 0).read_bytes())
        tiles.write(2, 1, 1)
        Ingest(db).retry(job.uuid)

        (failure,) = Ingest(db).join(job.uuid).failures

        assert "cancel the job, and create it again" in failure.message
        assert "--overwrite" not in failure.message


def test_what_a_cancelled_job_stored_counts_also_where_units_are_others(
    lab: Lab, tmp_path: Path
) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(lab.settings) as db:
        ingest = Ingest(db)
        first = ingest.create(tiles.plan(db, most_attempts=1))
        tiles.path(2, 1, 1).unlink()
        ingest.join(first.uuid)
        assert ingest.cancel(first.uuid).kept == 18
        tiles.write(2, 1, 1)

        second = ingest.create(tiles.plan(db, unit_frames=4))

        assert ingest.join(second.uuid).state is JobState.COMPLETE
        assert hashes(db) == tiles.truth


def test_what_a_cancelled_job_stored_survives_another_plan(small_lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(small_lab.settings) as db:
        ingest = Ingest(db)
        first = ingest.create(tiles.plan(db, most_attempts=1))
        tiles.path(2, 1, 1).unlink()
        ingest.join(first.uuid)
        ingest.cancel(first.uuid)
        tiles.write(2, 1, 1)
        other = TileFolder(tmp_path / "other", slices=2)

        with pytest.raises(Conflict, match="has 18 frames of an unfinished job"):
            ingest.create(other.plan(db))

        assert ingest.join(ingest.create(tiles.plan(db)).uuid).state is JobState.COMPLETE
        assert hashes(db) == tiles.truth


def test_a_sweep_that_slept_spares_what_a_later_job_made(small_lab: Lab, tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path / "tiles")
    with ImagingDB(small_lab.settings) as db:
        ingest = Ingest(db)
        job = ingest.create(tiles.plan(db, most_attempts=1))
        tiles.path(2, 1, 1).unlink()
        ingest.join(job.uuid)
        tiles.write(2, 1, 1)

        def meanwhile() -> None:
            ingest.cancel(job.uuid)
            ingest.join(ingest.create(tiles.plan(db)).uuid)

        sleepy = _Sleepy(Path(small_lab.settings.store.access), meanwhile)
        assert Cancellation(db.catalog, sleepy, job).run().already

        assert hashes(db) == tiles.truth
        assert not db.verify(SERIAL).failures


class _Sleepy(LocalStore):
    """A store of a computer that sleeps while it lists: ``meanwhile`` is what others do then."""

    def __init__(self, root: Path, meanwhile: Callable[[], None]) -> None:
        super().__init__(root)
        self._meanwhile = meanwhile

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for number, found in enumerate(super().list(prefix)):
            if number == 1:
                self._meanwhile()
            yield found
