"""What a catalog promises of deletions: one run at a time, and nothing of what was uploaded since."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import (
    ConfigError,
    Conflict,
    DatasetBusy,
    DatasetExists,
    DatasetNotFound,
)
from imaging_db.model import DatasetStatus
from tests.support.catalog_rows import (
    OTHER,
    SERIAL,
    age,
    draft,
    file,
    frame,
    grid,
    store,
    store_files,
)


def test_a_dataset_is_deleted_out_of_sight_first(catalog: Catalog) -> None:
    store(catalog, grid(2, 2, 1, 1))
    dataset, claim = catalog.begin_delete(SERIAL, token="me")
    assert dataset.status is DatasetStatus.DELETING
    assert (claim.serial, claim.token, claim.resumed) == (SERIAL, "me", False)
    with pytest.raises(DatasetNotFound, match="is being deleted"):
        catalog.dataset(SERIAL)
    assert [one.stored for one in catalog.pending()] == [4]
    assert catalog.begin_delete(SERIAL, token="me") == (dataset, claim)
    assert dataset.storage_dir == f"raw_frames/{SERIAL}"
    catalog.finish_delete(claim)
    catalog.finish_delete(claim)
    assert catalog.pending() == []
    store(catalog, grid(2, 2, 1, 1))
    assert catalog.count_frames(SERIAL) == 4


def test_what_is_being_deleted_cannot_be_claimed(catalog: Catalog) -> None:
    store(catalog, [frame()])
    catalog.begin_delete(SERIAL, token="me")
    with pytest.raises(DatasetExists, match="is being deleted") as exists:
        catalog.claim(draft(), token="me")
    assert exists.value.existing.status is DatasetStatus.DELETING


def test_a_dataset_is_not_deleted_without_being_taken_out_of_sight(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="me")
    catalog.add_frames(claim, [frame()])
    with pytest.raises(Conflict, match="is pending; begin its deletion first"):
        catalog.finish_delete(claim)
    catalog.publish(claim)
    with pytest.raises(Conflict, match="is ready; begin its deletion first"):
        catalog.finish_delete(claim)
    assert catalog.count_frames(SERIAL) == 1


def test_a_parent_is_not_deleted(catalog: Catalog) -> None:
    store(catalog, [frame()], OTHER)
    store(catalog, [frame()], SERIAL, parent_serial=OTHER)
    with pytest.raises(Conflict, match=f"{OTHER} is the parent of {SERIAL}"):
        catalog.begin_delete(OTHER, token="me")
    assert catalog.dataset(OTHER).status is DatasetStatus.READY


def test_a_parent_goes_or_gets_a_child_but_not_both(catalog: Catalog) -> None:
    for round_ in range(8):
        parent = f"PARENT-2020-01-01-00-00-00-{round_:04d}"
        child = f"CHILD-2020-01-01-00-00-00-{round_:04d}"
        store(catalog, [frame()], parent)
        barrier = threading.Barrier(2)

        def delete(serial: str = parent, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                catalog.begin_delete(serial, token="me")
            except Conflict:
                return False
            return True

        def claim(
            serial: str = child, parent: str = parent, barrier: threading.Barrier = barrier
        ) -> bool:
            barrier.wait()
            try:
                catalog.claim(draft(serial, parent_serial=parent), token="me")
            except ConfigError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            deleted, claimed = pool.submit(delete), pool.submit(claim)
            assert deleted.result() != claimed.result()


def test_datasets_with_the_same_objects_protect_each_other(catalog: Catalog) -> None:
    """Rows of the original that shared a serial point to one folder."""
    store(catalog, [frame()], SERIAL)
    store(catalog, [frame()], f"{SERIAL}~2", storage_dir=f"raw_frames/{SERIAL}")
    with pytest.raises(Conflict, match="has the same objects as"):
        catalog.begin_delete(SERIAL, token="me")


@pytest.mark.parametrize("inner", [f"raw_frames/{SERIAL}/inner", f"raw_frames/{SERIAL}/a/b/"])
def test_datasets_whose_folders_lie_in_each_other_protect_each_other(
    catalog: Catalog, inner: str
) -> None:
    store(catalog, [frame()], SERIAL)
    store(catalog, [frame()], OTHER, storage_dir=inner)
    store(catalog, [frame()], f"{SERIAL}~2", storage_dir=f"raw_frames/{SERIAL}~2")
    for serial in (SERIAL, OTHER):
        with pytest.raises(Conflict, match="lies around or inside"):
            catalog.preview_delete(serial, token="me")
        with pytest.raises(Conflict, match="lies around or inside"):
            catalog.begin_delete(serial, token="me")
    catalog.begin_delete(f"{SERIAL}~2", token="me")  # begins with the same letters, and is beside


def test_names_with_wildcards_are_no_folders_around(catalog: Catalog) -> None:
    store(catalog, [frame()], SERIAL, storage_dir="raw_frames/a_%")
    store(catalog, [frame()], OTHER, storage_dir="raw_frames/abc/d")
    catalog.begin_delete(SERIAL, token="me")
    catalog.begin_delete(OTHER, token="me")


def test_a_dataset_that_was_replaced_since_it_was_shown_is_not_deleted(catalog: Catalog) -> None:
    shown = store(catalog, [frame()])
    _, claim = catalog.begin_delete(SERIAL, token="another", shown=shown)
    catalog.finish_delete(claim)
    store(catalog, [frame()])
    with pytest.raises(DatasetNotFound, match="was deleted or replaced"):
        catalog.begin_delete(SERIAL, token="me", shown=shown)


def test_an_abandoned_upload_can_be_deleted_a_live_one_not(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="me")
    with pytest.raises(DatasetBusy, match="is being uploaded by me, last heard of"):
        catalog.begin_delete(SERIAL, token="other")
    catalog.release(claim)
    _, deletion = catalog.begin_delete(SERIAL, token="other")
    catalog.finish_delete(deletion)
    assert catalog.pending() == []


def test_deleting_what_is_not_there(catalog: Catalog) -> None:
    with pytest.raises(DatasetNotFound):
        catalog.begin_delete(SERIAL, token="me")


def test_reading_notices_that_the_dataset_was_replaced(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.frames.PAGE", 3)
    store(catalog, grid(8, 1, 1, 1))
    reading = catalog.frames(SERIAL)
    assert next(reading).coords.channel == 0
    catalog.finish_delete(catalog.begin_delete(SERIAL, token="me")[1])
    store(catalog, grid(8, 1, 1, 1))
    with pytest.raises(DatasetNotFound, match="was deleted while it was being read"):
        list(reading)


# --- one run at a time


def test_a_live_deletion_keeps_others_out(catalog: Catalog) -> None:
    store(catalog, [frame()])
    catalog.begin_delete(SERIAL, token="first")
    with pytest.raises(DatasetBusy, match="is being deleted by first, last heard of") as busy:
        catalog.begin_delete(SERIAL, token="second")
    assert busy.value.owner == "first"
    assert 0 <= busy.value.seconds_ago < 10
    assert [one.owner for one in catalog.pending()] == ["first"]


def test_an_upload_may_be_deleted_by_its_own_run(catalog: Catalog) -> None:
    upload = catalog.claim(draft(), token="me")
    catalog.add_frames(upload, [frame()])
    _, deletion = catalog.begin_delete(SERIAL, token="me")
    with pytest.raises(DatasetBusy):
        catalog.add_frames(upload, [frame(1)])
    with pytest.raises(DatasetBusy):
        catalog.publish(upload)
    catalog.finish_delete(deletion)
    assert catalog.pending() == []


def test_a_silent_deletion_is_taken_over_by_the_databases_clock(catalog: Catalog) -> None:
    store(catalog, [frame()])
    _, claim = catalog.begin_delete(SERIAL, token="silent")
    age(catalog, claim, 59)
    with pytest.raises(DatasetBusy):
        catalog.begin_delete(SERIAL, token="next")
    assert catalog.begin_delete(SERIAL, token="next", stale_after=30)[1].token == "next"


def test_renewing_keeps_a_deletion_alive(catalog: Catalog) -> None:
    store(catalog, [frame()])
    _, claim = catalog.begin_delete(SERIAL, token="me")
    age(catalog, claim, 100)
    catalog.renew(claim)
    with pytest.raises(DatasetBusy):
        catalog.begin_delete(SERIAL, token="other")


def test_a_deleting_run_known_to_be_dead_is_evicted(catalog: Catalog) -> None:
    store(catalog, [frame()])
    catalog.begin_delete(SERIAL, token="dead")
    with pytest.raises(DatasetBusy):
        catalog.begin_delete(SERIAL, token="next", evict="someone else")
    assert catalog.begin_delete(SERIAL, token="next", evict="dead")[1].token == "next"


def test_an_uploading_run_known_to_be_dead_is_evicted(catalog: Catalog) -> None:
    zombie = catalog.claim(draft(), token="dead")
    _, claim = catalog.begin_delete(SERIAL, token="next", evict="dead")
    with pytest.raises(DatasetBusy):
        catalog.renew(zombie)
    catalog.finish_delete(claim)
    assert catalog.pending() == []


def test_a_released_deletion_is_free_and_stays_out_of_sight(catalog: Catalog) -> None:
    store(catalog, [frame()])
    _, first = catalog.begin_delete(SERIAL, token="first")
    catalog.release(first)
    (left,) = catalog.pending()
    assert (left.dataset.status, left.owner) == (DatasetStatus.DELETING, None)
    with pytest.raises(DatasetNotFound, match="is being deleted"):
        catalog.dataset(SERIAL)
    _, second = catalog.begin_delete(SERIAL, token="second")
    catalog.finish_delete(second)
    assert catalog.pending() == []


def test_a_deleting_run_of_the_past_can_do_nothing(catalog: Catalog) -> None:
    store(catalog, [frame()])
    _, zombie = catalog.begin_delete(SERIAL, token="zombie")
    _, claim = catalog.begin_delete(SERIAL, token="next", evict="zombie")
    attempts: list[Callable[[], Any]] = [
        lambda: catalog.renew(zombie),
        lambda: catalog.release(zombie),
        lambda: catalog.finish_delete(zombie),
        lambda: catalog.begin_delete(SERIAL, token="zombie"),
    ]
    for attempt in attempts:
        with pytest.raises(DatasetBusy, match=r"taken over by another run|being deleted by next"):
            attempt()
    assert [(one.owner, one.stored) for one in catalog.pending()] == [("next", 1)]
    catalog.finish_delete(claim)
    store(catalog, [frame()])  # the faster run's new upload
    for attempt in attempts[:3]:
        with pytest.raises(DatasetBusy):
            attempt()
    assert catalog.count_frames(SERIAL) == 1


def test_a_slower_overwrite_does_not_touch_the_upload_of_the_faster(catalog: Catalog) -> None:
    store(catalog, [frame()])
    _, deletion = catalog.begin_delete(SERIAL, token="faster")
    catalog.finish_delete(deletion)
    upload = catalog.claim(draft(nbr_objects=2), token="faster")
    catalog.add_frames(upload, [frame(0)])
    with pytest.raises(DatasetBusy, match="is being uploaded by faster"):
        catalog.begin_delete(SERIAL, token="slower")
    with pytest.raises(Conflict, match="is pending; begin its deletion first"):
        catalog.finish_delete(deletion)
    catalog.add_frames(upload, [frame(1)])
    assert catalog.publish(upload).nbr_objects == 2


def test_every_portion_of_a_deletion_is_fenced(
    catalog: Catalog, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run takes the deletion over between two portions; the first must stop there."""
    from sqlalchemy import event

    monkeypatch.setattr("imaging_db.catalog.deletions._DELETED_AT_ONCE", 2)
    store(catalog, grid(6, 1, 1, 1))
    _, slow = catalog.begin_delete(SERIAL, token="slow")
    portions: list[int] = []

    def evict() -> None:
        with Catalog.open(database) as other:
            other.begin_delete(SERIAL, token="next", evict="slow")

    def before_each_portion(*connection: Any) -> None:
        portions.append(1)
        if len(portions) == 2:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(evict).result()

    event.listen(catalog._transactions.engine, "checkout", before_each_portion)
    with pytest.raises(DatasetBusy, match="was taken over by another run"):
        catalog.finish_delete(slow)
    (left,) = catalog.pending()
    assert (left.owner, left.stored) == ("next", 4)


def test_a_long_deletion_stays_alive_by_itself(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.deletions._DELETED_AT_ONCE", 1)
    store_files(catalog, [file("a"), file("b"), file("c")])
    _, claim = catalog.begin_delete(SERIAL, token="me")
    age(catalog, claim, 100)
    from imaging_db.catalog import deletions

    assert catalog._transactions.write(lambda c: deletions.finish(c, claim)) is False
    (left,) = catalog.pending()
    assert left.seconds_ago is not None and left.seconds_ago < 10
    assert left.stored == 2
    catalog.finish_delete(claim)
    assert catalog.pending() == []


def test_of_many_deletions_at_once_one_wins(catalog: Catalog) -> None:
    for round_ in range(5):
        serial = f"RACE-2020-01-01-00-00-00-{round_:04d}"
        store(catalog, [frame()], serial)
        barrier = threading.Barrier(8)

        def delete(name: int, serial: str = serial, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                return catalog.begin_delete(serial, token=f"thread {name}")[1].token
            except DatasetBusy:
                return ""

        with ThreadPoolExecutor(8) as pool:
            won = [token for token in pool.map(delete, range(8)) if token]
        assert len(won) == 1
        assert [one.owner for one in catalog.pending() if one.dataset.serial == serial] == won


def test_overwriting_runs_at_once_leave_one_whole_upload(database: DatabaseSettings) -> None:
    """Each deletes and uploads again, over a store that is a set of keys shared by all."""
    with Catalog.open(database) as catalog:
        store(catalog, grid(3, 1, 1, 1))
    objects: dict[int, str] = {number: "old" for number in range(3)}
    barrier = threading.Barrier(6)

    def overwrite(number: int) -> str:
        token = f"run {number}"
        with Catalog.open(database) as mine:
            barrier.wait()
            try:
                _, deletion = mine.begin_delete(SERIAL, token=token)
                objects.clear()
                mine.finish_delete(deletion)
                claim = mine.claim(draft(nbr_objects=3), token=token)
                for channel in range(3):
                    objects[channel] = token
                    mine.add_frames(claim, [frame(channel)])
                mine.publish(claim)
            except (DatasetBusy, DatasetExists, DatasetNotFound):
                return ""
        return token

    with ThreadPoolExecutor(6) as pool:
        done = [token for token in pool.map(overwrite, range(6)) if token]
    assert done
    assert len(objects) == 3 and set(objects.values()) <= set(done)
    assert len(set(objects.values())) == 1
    with Catalog.open(database) as catalog:
        assert catalog.count_frames(SERIAL) == 3
        assert catalog.pending() == []


@pytest.mark.parametrize("directory", ["", "/"])
def test_a_row_that_names_no_folder_is_not_deleted(catalog: Catalog, directory: str) -> None:
    """Its objects would be all that the store holds."""
    store(catalog, [frame()])
    with catalog._transactions.engine.begin() as connection:
        connection.execute(text("UPDATE data_set SET storage_dir = :d"), {"d": directory})
    with pytest.raises(Conflict, match="names no folder of the store"):
        catalog.begin_delete(SERIAL, token="me")
    assert catalog.dataset(SERIAL).status is DatasetStatus.READY
