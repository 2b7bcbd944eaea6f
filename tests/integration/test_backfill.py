"""Frames from before their quality was measured: measured once, as an upload would have."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.codecs.quality import measure
from imaging_db.errors import CatalogUnavailable, DatasetNotFound, Interrupted
from imaging_db.model import FrameQuality, FrameSelection
from imaging_db.transfer import Silent
from tests.integration.test_original_lab import COLOUR, GREY, moved
from tests.support.lab import Lab
from tests.support.legacy import CHILD_SERIAL, FILE_SERIAL, FRAMES_SERIAL
from tests.support.rot import rot, sql, with_files, with_stack

__all__ = ["moved"]

Figures = list[FrameQuality | None]
_COLUMNS = (
    "intensity_min",
    "intensity_max",
    "intensity_mean",
    "saturated_share",
    "focus",
    "intensity_p01",
    "intensity_p99",
    "is_repeat",
)


class Told(Silent):
    """Progress that does something once a number of frames is read."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        self._left = after
        self._act = act

    def advance(self, objects: int, nbr_bytes: int) -> None:
        self._left -= objects
        if self._left == 0:
            self._act()


def interrupt() -> None:
    raise KeyboardInterrupt


def figures(lab: Lab, number: int = 1) -> Figures:
    with ImagingDB(lab.settings) as db:
        return [frame.quality for frame in db.dataset(lab.serial(number)).frames()]


def forget(lab: Lab, *, which: str = "1 = 1") -> None:
    """Make rows those of a version that measured nothing."""
    columns = ", ".join(f"{column} = NULL" for column in _COLUMNS)
    sql(lab, f"UPDATE frames SET {columns} WHERE {which}")


def test_a_backfill_finds_what_the_upload_had_found(lab: Lab) -> None:
    with_stack(lab)
    before = figures(lab)
    assert None not in before
    forget(lab)
    with ImagingDB(lab.settings) as db:
        report = db.backfill(lab.serial())
        again = db.backfill(lab.serial())
    assert figures(lab) == before
    assert (report.measured, report.decided, report.unmeasurable, report.wrong) == (8, 8, 0, 0)
    assert (again.measured, again.decided, again.nbr_bytes) == (0, 0, 0)


def test_only_the_frames_of_a_selection_are_measured(small_lab: Lab) -> None:
    with_stack(small_lab)
    forget(small_lab)
    with ImagingDB(small_lab.settings) as db:
        report = db.backfill(small_lab.serial(), selection=FrameSelection.of(channels=1))
    assert report.measured == 4
    assert [one is None for one in figures(small_lab)] == [True] * 4 + [False] * 4


def test_an_interrupted_backfill_goes_on_where_it_was(small_lab: Lab) -> None:
    with_stack(small_lab)
    before = figures(small_lab)
    forget(small_lab)
    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(Interrupted, match=r"2 frames of .* measured; rerun to continue"):
            db.backfill(small_lab.serial(), progress=Told(3, interrupt))
        assert sum(one is not None for one in figures(small_lab)) == 2
        assert db.backfill(small_lab.serial()).measured == 6
    assert figures(small_lab) == before


def test_damaged_objects_are_named_and_keep_no_other_back(small_lab: Lab) -> None:
    with_stack(small_lab)
    keys = rot(small_lab, ("flip", "delete"))
    forget(small_lab)
    with ImagingDB(small_lab.settings) as db:
        report = db.backfill(small_lab.serial())
    assert (report.measured, report.wrong) == (6, 2)
    assert all(any(key in str(one) for one in report.failures) for key in keys.values())
    assert [one is None for one in figures(small_lab)] == [True] * 2 + [False] * 6


def test_a_dataset_that_is_deleted_meanwhile_gets_no_figures(small_lab: Lab) -> None:
    with_stack(small_lab)
    forget(small_lab)

    def delete() -> None:
        with ImagingDB(small_lab.settings) as other:
            other.delete(small_lab.serial())

    with ImagingDB(small_lab.settings) as db, pytest.raises(DatasetNotFound):
        db.backfill(small_lab.serial(), progress=Told(2, delete))


def test_figures_of_a_dataset_are_never_written_to_the_one_that_replaced_it(
    small_lab: Lab,
) -> None:
    source = with_stack(small_lab)
    forget(small_lab)

    def replace() -> None:
        tifffile.imwrite(
            source,
            np.full((2, 2, 2, 16, 19), 7, np.uint16),
            imagej=True,
            metadata={"axes": "TZCYX"},
        )
        (report,) = small_lab.upload(source, overwrite=True)
        assert report.error is None

    with (
        ImagingDB(small_lab.settings) as db,
        pytest.raises(CatalogUnavailable, match="was replaced while it was read"),
    ):
        db.backfill(small_lab.serial(), progress=Told(8, replace))
    assert {one.mean for one in figures(small_lab) if one is not None} == {7.0}


def test_two_at_once_come_to_the_same(small_lab: Lab) -> None:
    with_stack(small_lab)
    before = figures(small_lab)
    forget(small_lab)
    wrong: list[int] = []

    def work() -> None:
        with ImagingDB(small_lab.settings) as db:
            wrong.append(db.backfill(small_lab.serial()).wrong)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0, 0]
    assert figures(small_lab) == before


def test_frames_without_any_number_are_counted_and_have_no_figures(small_lab: Lab) -> None:
    path = small_lab.folder / "nan.tif"
    data = np.ones((2, 1, 8, 8), np.float32)
    data[1] = np.nan
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZCYX"})
    small_lab.upload_one(path)
    forget(small_lab)
    with ImagingDB(small_lab.settings) as db:
        report = db.backfill(small_lab.serial())
    assert (report.measured, report.unmeasurable) == (1, 1)


def test_a_dataset_of_files_has_nothing_to_measure(small_lab: Lab) -> None:
    with_files(small_lab)
    with ImagingDB(small_lab.settings) as db:
        report = db.backfill(small_lab.serial())
    assert (report.measured, report.decided, report.wrong) == (0, 0, 0)


def test_datasets_of_the_original_are_measured(moved: Lab) -> None:
    with ImagingDB(moved.settings) as db:
        for serial in (FRAMES_SERIAL, CHILD_SERIAL, FILE_SERIAL):
            assert db.backfill(serial).wrong == 0
        grey = list(db.dataset(FRAMES_SERIAL).frames())
        (colour,) = db.dataset(CHILD_SERIAL).frames()
    assert [one.quality for one in grey] == [measure(GREY[f.coords[:2]]) for f in grey]
    assert colour.quality == measure(COLOUR)
    hashed = colour.sha256 is not None
    assert {one.is_repeat for one in grey} == ({False} if hashed else {None})
