"""What people said of a dataset outlives its replacement and not its deletion, wherever either stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from imaging_db import ImagingDB, failpoints
from imaging_db.errors import DatasetNotFound
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab, build_lab
from tests.torture.amount import daily

_REMOVING = (
    "dataset.hidden",
    "objects.deleted",
    *(f"catalog.{step}:{number}" for number in (2, 3) for step in ("committing", "committed")),
)
_UPLOADING = ("claim.taken", "dataset.complete")


@pytest.fixture(params=daily(["postgres+local", "sqlite+local"], 2))
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A lab with one dataset, of which something is and was said; nothing stays armed."""
    lab = build_lab(request.param, request.getfixturevalue, tmp_path)
    imagej_stack(tmp_path / "a.tif", seed=1)
    imagej_stack(tmp_path / "b.tif", seed=2)
    lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(lab.settings) as db:
        db.dataset(lab.serial()).annotate("good", stain="DAPI")
        db.annotations.set(lab.serial(), "stain", "Hoechst")
    yield lab
    failpoints.arm("")


def stopped_at(stage: str) -> None:
    number = stage if ":" in stage else f"{stage}:1"
    failpoints.arm(f"{number}:raise")


def said(lab: Lab) -> list[tuple[str, str | None]]:
    with ImagingDB(lab.settings) as db:
        return [(one.key, one.value) for one in db.annotations.history(lab.serial())]


@pytest.mark.parametrize("stage", [*_REMOVING, *_UPLOADING])
def test_a_replacement_that_stops_anywhere_keeps_what_was_said(lab: Lab, stage: str) -> None:
    before = said(lab)
    stopped_at(stage)
    lab.upload(lab.folder / "b.tif", overwrite=True)
    failpoints.arm("")
    lab.upload_one(lab.folder / "b.tif", overwrite=True)
    assert said(lab) == before == [("good", None), ("stain", "DAPI"), ("stain", "Hoechst")]


@pytest.mark.parametrize("stage", _REMOVING)
def test_a_deletion_that_stops_anywhere_leaves_nothing_once_it_is_finished(
    lab: Lab, stage: str
) -> None:
    with ImagingDB(lab.settings) as db:
        stopped_at(stage)
        with suppress(RuntimeError):
            db.delete(lab.serial())
        failpoints.arm("")
        with suppress(DatasetNotFound):  # it stopped after the last transaction
            db.delete(lab.serial())
    lab.upload_one(lab.folder / "b.tif")
    assert said(lab) == []


def test_gc_finishes_a_deletion_that_stopped(lab: Lab) -> None:
    with ImagingDB(lab.settings) as db:
        stopped_at("objects.deleted")
        with pytest.raises(RuntimeError):
            db.delete(lab.serial())
        failpoints.arm("")
        assert db.collect(older_than=timedelta(0)).datasets == 1
    lab.upload_one(lab.folder / "b.tif")
    assert said(lab) == []


def test_gc_of_a_replacement_that_stopped_while_uploading_keeps_what_was_said(lab: Lab) -> None:
    before = said(lab)
    stopped_at("dataset.complete")
    lab.upload(lab.folder / "b.tif", overwrite=True)
    failpoints.arm("")
    with ImagingDB(lab.settings) as db:
        assert db.collect(older_than=timedelta(0)).datasets == 1
    lab.upload_one(lab.folder / "b.tif")
    assert said(lab) == before


def test_a_pending_dataset_that_is_deleted_takes_what_was_said(lab: Lab) -> None:
    stopped_at("dataset.complete")
    lab.upload(lab.folder / "b.tif", overwrite=True)
    failpoints.arm("")
    with ImagingDB(lab.settings) as db:
        db.delete(lab.serial())
    lab.upload_one(lab.folder / "b.tif")
    assert said(lab) == []
