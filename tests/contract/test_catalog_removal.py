"""What a catalog promises to whoever collects: nobody uploads where something is being removed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imaging_db.catalog import Catalog, Place
from imaging_db.errors import Conflict, DatasetBusy, DatasetExists, DatasetNotFound
from imaging_db.model import DatasetStatus, UploadType
from tests.support.catalog_rows import (
    OTHER,
    SERIAL,
    draft,
    file,
    frame,
    grid,
    store,
    store_files,
)


def place(serial: str = SERIAL) -> Place:
    return Place(serial, UploadType.FRAMES, "local", "/data/lab", f"raw_frames/{serial}")


def test_nobody_uploads_to_a_serial_that_is_reserved(catalog: Catalog) -> None:
    claim = catalog.reserve(place(), token="gc")
    assert catalog.reserve(place(), token="gc") == claim  # the answer to its COMMIT was lost
    with pytest.raises(DatasetBusy, match=f"{SERIAL} is being deleted by gc"):
        catalog.claim(draft(), token="uploader")
    with pytest.raises(DatasetBusy):
        catalog.reserve(place(), token="another")
    catalog.renew(claim)
    (left,) = catalog.pending()
    assert (left.dataset.status, left.stored, left.owner) == (DatasetStatus.DELETING, 0, "gc")
    assert left.dataset.storage_dir == f"raw_frames/{SERIAL}"
    catalog.finish_delete(claim)
    assert catalog.pending() == []
    store(catalog, [frame()])


def test_what_the_catalog_knows_is_not_reserved(catalog: Catalog) -> None:
    store(catalog, [frame()])
    with pytest.raises(DatasetExists):
        catalog.reserve(place(), token="gc")
    claim = catalog.claim(draft(OTHER), token="uploader")
    with pytest.raises(DatasetBusy, match="is being uploaded by uploader"):
        catalog.reserve(place(OTHER), token="gc")
    catalog.release(claim)
    with pytest.raises(DatasetExists):
        catalog.reserve(place(OTHER), token="gc")
    assert catalog.count_frames(SERIAL) == 1
    assert [one.dataset.status for one in catalog.pending()] == [DatasetStatus.PENDING]


def test_a_serial_that_differs_by_case_is_not_reserved(catalog: Catalog) -> None:
    store(catalog, [frame()])
    with pytest.raises(Conflict, match="differs only by case"):
        catalog.reserve(place(SERIAL.lower()), token="gc")
    assert catalog.pending() == []


def test_the_reservation_of_a_dead_run_is_finished_as_a_deletion(catalog: Catalog) -> None:
    catalog.reserve(place(), token="dead")
    with pytest.raises(DatasetExists, match="is being deleted, or was when a run stopped"):
        catalog.claim(draft(), token="uploader", evict="dead")
    dataset, claim = catalog.begin_delete(SERIAL, token="next", evict="dead", unfinished_only=True)
    assert dataset.storage_dir == f"raw_frames/{SERIAL}"
    catalog.finish_delete(claim)
    store(catalog, [frame()])


def test_a_withdrawn_claim_is_left_as_a_reservation(catalog: Catalog) -> None:
    """What lies in its folder is another catalog's: the run may die before the row is gone, too."""
    claim = catalog.claim(draft(nbr_objects=7), token="me")
    catalog.withdraw(claim)
    (left,) = catalog.pending()
    assert (left.dataset.status, left.dataset.nbr_objects) == (DatasetStatus.DELETING, 0)
    catalog.finish_delete(claim)
    assert catalog.pending() == []


def test_of_many_reservations_and_claims_at_once_one_wins(catalog: Catalog) -> None:
    for round_ in range(5):
        serial = f"RACE-2020-01-01-00-00-00-{round_:04d}"
        barrier = threading.Barrier(6)

        def take(number: int, serial: str = serial, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                if number % 2:
                    return catalog.reserve(place(serial), token=f"gc {number}").token
                return catalog.claim(draft(serial), token=f"uploader {number}").token
            except (DatasetBusy, DatasetExists):
                return ""

        with ThreadPoolExecutor(6) as pool:
            won = [token for token in pool.map(take, range(6)) if token]
        assert len(won) == 1
        assert [one.owner for one in catalog.pending() if one.dataset.serial == serial] == won


def test_only_what_is_unfinished_is_deleted_where_that_is_asked(catalog: Catalog) -> None:
    """Its upload was resumed and published between the look and the deletion."""
    store(catalog, [frame()])
    with pytest.raises(DatasetExists):
        catalog.begin_delete(SERIAL, token="gc", unfinished_only=True)
    assert catalog.count_frames(SERIAL) == 1


def test_a_ready_dataset_is_held_still_while_work_is_done(catalog: Catalog) -> None:
    dataset = store(catalog, [frame()])
    seen: list[str] = []
    with ThreadPoolExecutor(1) as pool:

        def work() -> None:
            deletion = pool.submit(catalog.begin_delete, SERIAL, token="me")
            with pytest.raises(TimeoutError):
                deletion.result(timeout=0.2)
            seen.append(catalog.dataset(SERIAL).serial)
            waiting.append(deletion)

        waiting: list[Any] = []
        catalog.while_ready(dataset, work)
        assert seen == [SERIAL]
        assert waiting[0].result()[0].status is DatasetStatus.DELETING


def test_no_work_is_done_in_a_dataset_that_was_deleted_or_replaced(catalog: Catalog) -> None:
    def work() -> None:
        pytest.fail("it is another dataset")

    dataset = store(catalog, [frame()])
    _, claim = catalog.begin_delete(SERIAL, token="me")
    with pytest.raises(DatasetNotFound, match="was deleted or replaced"):
        catalog.while_ready(dataset, work)
    catalog.finish_delete(claim)
    with pytest.raises(DatasetNotFound):
        catalog.while_ready(dataset, work)
    store(catalog, [frame()])
    with pytest.raises(DatasetNotFound, match="was deleted or replaced"):
        catalog.while_ready(dataset, work)


def test_what_a_deletion_would_take_is_told_before_it_begins(catalog: Catalog) -> None:
    store(catalog, grid(2, 2, 1, 1))
    found = catalog.preview_delete(SERIAL, token="me")
    assert (found.stored, found.nbr_bytes) == (4, 4 * 3_700_000)
    assert catalog.dataset(SERIAL) == found.dataset
    store_files(catalog, [file("a"), file("b")], OTHER, parent_serial=SERIAL)
    files = catalog.preview_delete(OTHER, token="me")
    assert (files.stored, files.nbr_bytes) == (2, 20)
    with pytest.raises(Conflict, match=f"is the parent of {OTHER}"):
        catalog.preview_delete(SERIAL, token="me")
    assert catalog.preview_delete(SERIAL, token="me", besides=[OTHER]) == found
    catalog.begin_delete(OTHER, token="live")
    with pytest.raises(DatasetBusy):
        catalog.preview_delete(OTHER, token="me")
    with pytest.raises(DatasetNotFound):
        catalog.preview_delete(f"{SERIAL}~2", token="me")


def test_a_parent_of_many_names_some(catalog: Catalog) -> None:
    store(catalog, [frame()], OTHER)
    for number in range(5):
        serial = f"CHILD-2020-01-01-00-00-00-{number:04d}"
        store(catalog, [frame()], serial, parent_serial=OTHER)
    with pytest.raises(Conflict, match=r"CHILD-\S+-0000, CHILD-\S+-0001, \S+-0002 and others"):
        catalog.begin_delete(OTHER, token="me")


def test_how_old_an_unfinished_upload_is(catalog: Catalog) -> None:
    catalog.release(catalog.claim(draft(), token="me"))
    (left,) = catalog.pending()
    assert left.age is not None and 0 <= left.age < 10
    assert left.owner is None
