"""What a catalog promises while datasets come and go: over SQLite and over PostgreSQL alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
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
    IntegrityError,
    NothingSelected,
)
from imaging_db.model import (
    DatasetStatus,
    FrameCoords,
    FrameQuality,
    FrameSelection,
    IndexRange,
    UploadType,
)
from tests.support.catalog_rows import (
    OTHER,
    SERIAL,
    acquisition,
    age,
    coords_of,
    digest,
    draft,
    file,
    file_draft,
    frame,
    grid,
    store,
    store_files,
)


def test_a_dataset_is_seen_once_it_is_published(catalog: Catalog) -> None:
    claim = catalog.claim(draft(nbr_objects=2), token="me")
    catalog.add_frames(claim, [frame(0), frame(1)])
    with pytest.raises(DatasetNotFound, match=r"pending since .* rerun the upload to finish it"):
        catalog.dataset(SERIAL)
    assert list(catalog.datasets()) == []
    assert catalog.count_datasets() == 0

    published = catalog.publish(claim)

    assert catalog.dataset(SERIAL) == published
    assert list(catalog.datasets()) == [published]
    assert published.status is DatasetStatus.READY
    assert published.nbr_objects == 2


def test_nothing_of_a_pending_dataset_can_be_read(catalog: Catalog) -> None:
    claim = catalog.claim(draft(nbr_objects=2), token="me")
    catalog.add_frames(claim, [frame(0)])
    readings: list[Callable[[], Any]] = [
        lambda: catalog.acquisition(SERIAL),
        lambda: catalog.frames(SERIAL),
        lambda: catalog.count_frames(SERIAL),
        lambda: catalog.channels(SERIAL),
        lambda: catalog.files(SERIAL),
        lambda: catalog.metadata(SERIAL),
    ]
    for read in readings:
        with pytest.raises(DatasetNotFound):
            read()


def test_times_come_from_the_databases_clock_in_utc(catalog: Catalog) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    dataset = store(catalog, [frame()])
    after = datetime.now(UTC) + timedelta(seconds=2)
    assert dataset.created_at is not None and dataset.published_at is not None
    assert before < dataset.created_at <= dataset.published_at < after
    assert dataset.acquired_at == datetime(2018, 6, 8, 15, 45, tzinfo=UTC)


def test_what_was_said_of_a_dataset_comes_back(catalog: Catalog) -> None:
    store(catalog, [frame()], OTHER)
    said = acquisition(
        channel_names=("DAPI", None),
        position_names=("A1",),
        pixel_size_x_um=0.325,
        z_step_um=np.float32(0.5),
        nbr_expected=7,
        metadata={"Objective": "63x, Öl", "list": [1, 2.5, None]},
    )
    dataset = store(
        catalog,
        [frame()],
        description="zebrafish, day 3",
        microscope="Leica",
        parent_serial=OTHER,
        acquisition=said,
        metadata={"asked by": "Ana"},
    )
    assert (dataset.description, dataset.microscope) == ("zebrafish, day 3", "Leica")
    assert dataset.parent_serial == OTHER
    assert dataset.upload_type is UploadType.FRAMES
    assert (dataset.storage, dataset.storage_access) == ("local", "/data/lab")
    assert dataset.storage_dir == f"raw_frames/{SERIAL}"
    assert dataset.fingerprint == digest("source")
    assert catalog.acquisition(SERIAL) == said
    assert catalog.metadata(SERIAL) == {"asked by": "Ana"}


def test_a_frame_comes_back_as_it_was_stored(catalog: Catalog) -> None:
    plain = frame(0)
    ragged = frame(1, width=17, height=23, colors=3, dtype="uint8", codec="tif")
    original = frame(2, sha256=None, object_sha256=None, object_size=None, codec=None, metadata={})
    store(catalog, [plain, ragged, original])
    assert list(catalog.frames(SERIAL)) == [plain, ragged, original]


@pytest.mark.parametrize(
    "quality",
    [
        FrameQuality(0.0, 65535.0, 517.123456789, 0.25, 1234.5678),
        FrameQuality(-3.5, float("inf"), 1e-300, None, None),
        FrameQuality(0.0, 0.0, 0.0, 1.0, 0.0),
    ],
)
def test_the_quality_of_a_frame_comes_back(catalog: Catalog, quality: FrameQuality) -> None:
    stored = [frame(0, quality=quality), frame(1), frame(2, quality=quality)]
    store(catalog, stored)
    assert list(catalog.frames(SERIAL)) == stored


def test_a_figure_that_is_no_number_comes_back_as_such(catalog: Catalog) -> None:
    """Float frames may hold NaN; SQLite has no room for it, so no database keeps one."""
    nan = float("nan")
    store(catalog, [frame(quality=FrameQuality(1.0, 2.0, nan, None, None))])
    (found,) = catalog.frames(SERIAL)
    assert found.quality is not None
    assert (found.quality.minimum, found.quality.maximum) == (1.0, 2.0)
    assert found.quality.mean != found.quality.mean


@pytest.mark.parametrize(
    ("quality", "refused_by"),
    [
        (FrameQuality(0.0, 1.0, 0.5, 1.01, 0.0), "saturated_share"),
        (FrameQuality(0.0, 1.0, 0.5, -0.01, 0.0), "saturated_share"),
        (FrameQuality(1.0, 0.0, 0.5, None, 0.0), "intensity"),
        (FrameQuality(0.0, 1.0, 0.5, None, -1.0), "focus"),
    ],
)
def test_a_quality_that_cannot_be_is_refused(
    catalog: Catalog, quality: FrameQuality, refused_by: str
) -> None:
    claim = catalog.claim(draft(), token="me")
    with pytest.raises(Conflict, match=f"ck_frames_{refused_by}"):
        catalog.add_frames(claim, [frame(quality=quality)])
    assert catalog.stored_coords(claim) == {}


@pytest.mark.parametrize("codec", [None, "png", "jxl"])
def test_a_dataset_tells_the_codec_that_was_asked_for(catalog: Catalog, codec: str | None) -> None:
    assert store(catalog, [frame()], codec=codec).codec == codec
    assert catalog.dataset(SERIAL).codec == codec
    assert [one.codec for one in catalog.datasets()] == [codec]
    assert store_files(catalog, [file("a")], OTHER).codec is None


def test_frames_without_their_metadata(catalog: Catalog) -> None:
    stored = frame(metadata={"large": "x" * 1000})
    store(catalog, [stored])
    assert list(catalog.frames(SERIAL, with_metadata=False)) == [replace(stored, metadata={})]


def test_a_ragged_dataset_tells_no_size_but_its_frames_do(catalog: Catalog) -> None:
    shapeless = acquisition(2, height=None, width=None, dtype=None)
    stored = [frame(0, width=5, height=6), frame(1, width=7, height=8)]
    store(catalog, stored, acquisition=shapeless)
    assert catalog.acquisition(SERIAL).width is None
    assert list(catalog.frames(SERIAL)) == stored


def test_files_come_back_in_the_order_of_their_names(catalog: Catalog) -> None:
    files = [
        file("b.txt"),
        file("a/ü.tif", {"lens": "10x"}),
        file("a/b.tif", sha256=None, size=None),
    ]
    dataset = store_files(catalog, files)
    assert dataset.upload_type is UploadType.FILE
    assert sorted(catalog.files(SERIAL), key=str) == sorted(files, key=str)
    with pytest.raises(NothingSelected, match="holds files, not frames"):
        catalog.acquisition(SERIAL)
    assert catalog.count_frames(SERIAL) == 0


def test_a_file_may_be_larger_than_two_gigabytes(catalog: Catalog) -> None:
    store_files(catalog, [file("large.czi", size=2**40)])
    assert next(catalog.files(SERIAL)).size == 2**40


# --- claims


def test_a_live_claim_keeps_others_out(catalog: Catalog) -> None:
    catalog.claim(draft(), token="first")
    with pytest.raises(DatasetBusy) as busy:
        catalog.claim(draft(), token="second")
    assert busy.value.owner == "first"
    assert -1 < busy.value.seconds_ago < 10


def test_the_same_token_may_claim_again(catalog: Catalog) -> None:
    first = catalog.claim(draft(), token="me")
    assert catalog.claim(draft(), token="me").dataset_id == first.dataset_id


def test_a_released_claim_is_free_and_its_rows_stay(catalog: Catalog) -> None:
    first = catalog.claim(draft(nbr_objects=2), token="first")
    catalog.add_frames(first, [frame(0)])
    catalog.release(first)
    second = catalog.claim(draft(nbr_objects=2), token="second")
    assert (second.resumed, second.cleared) == (True, False)
    assert catalog.stored_coords(second) == {FrameCoords(0, 0, 0, 0): 3_700_000}
    catalog.add_frames(second, [frame(1)])
    assert catalog.publish(second).nbr_objects == 2


def test_a_silent_owner_is_taken_over_by_the_databases_clock(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="silent")
    age(catalog, claim, 59)
    with pytest.raises(DatasetBusy):
        catalog.claim(draft(), token="next")
    age(catalog, claim, 2)
    assert catalog.claim(draft(), token="next").token == "next"


def test_a_claim_from_the_future_is_stale_too(catalog: Catalog) -> None:
    """The server's clock was set back: the owner, had it lived, would have renewed by the new time."""
    claim = catalog.claim(draft(), token="before the clock changed")
    age(catalog, claim, -7200)
    assert catalog.claim(draft(), token="next").token == "next"


def test_renewing_keeps_a_claim_alive(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="me")
    age(catalog, claim, 100)
    catalog.renew(claim)
    with pytest.raises(DatasetBusy):
        catalog.claim(draft(), token="other")


def test_an_owner_known_to_be_dead_is_evicted(catalog: Catalog) -> None:
    catalog.claim(draft(), token="dead")
    with pytest.raises(DatasetBusy):
        catalog.claim(draft(), token="next", evict="someone else")
    assert catalog.claim(draft(), token="next", evict="dead").token == "next"


def test_an_owner_of_the_past_can_write_nothing(catalog: Catalog) -> None:
    zombie = catalog.claim(draft(), token="zombie")
    claim = catalog.claim(draft(), token="next", evict="zombie")
    attempts: list[Callable[[], Any]] = [
        lambda: catalog.renew(zombie),
        lambda: catalog.add_frames(zombie, [frame()]),
        lambda: catalog.publish(zombie),
        lambda: catalog.release(zombie),
    ]
    for attempt in attempts:
        with pytest.raises(DatasetBusy) as lost:
            attempt()
        assert lost.value.owner == "next"
    assert catalog.stored_coords(claim) == {}
    catalog.add_frames(claim, [frame()])
    catalog.publish(claim)
    for attempt in attempts:
        with pytest.raises(DatasetBusy):
            attempt()


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": digest("another source")},
        {"storage": "s3"},
        {"storage_access": "/data/other"},
        {"acquisition": acquisition(2, dtype="uint8")},
        {"nbr_objects": 3},
        {"codec": "jxl"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_rows_of_another_source_or_place_do_not_count(
    catalog: Catalog, change: dict[str, Any]
) -> None:
    first = catalog.claim(draft(nbr_objects=2), token="first")
    catalog.add_frames(first, [frame(0)])
    catalog.release(first)
    second = catalog.claim(replace(draft(nbr_objects=2), **change), token="second")
    assert (second.resumed, second.cleared) == (False, True)
    assert catalog.stored_coords(second) == {}


@pytest.mark.parametrize(("first", "then"), [(None, "png"), ("png", None)])
def test_a_codec_that_nobody_chose_is_png(
    catalog: Catalog, first: str | None, then: str | None
) -> None:
    """So an upload that was begun before there was a choice goes on, rather than from the start."""
    claim = catalog.claim(draft(nbr_objects=2, codec=first), token="first")
    catalog.add_frames(claim, [frame(0)])
    catalog.release(claim)
    assert catalog.claim(draft(nbr_objects=2, codec=then), token="second").resumed


def test_objects_without_any_row_are_the_callers_to_remove(catalog: Catalog) -> None:
    catalog.release(catalog.claim(draft(), token="stored objects, then died"))
    claim = catalog.claim(draft(), token="next")
    assert (claim.resumed, claim.cleared) == (False, True)


def test_files_may_become_frames(catalog: Catalog) -> None:
    first = catalog.claim(file_draft(), token="first")
    catalog.add_files(first, [file("a.tif")])
    catalog.release(first)
    second = catalog.claim(draft(), token="second")
    catalog.add_frames(second, [frame()])
    assert catalog.publish(second).upload_type is UploadType.FRAMES
    assert list(catalog.files(SERIAL)) == []


def test_a_rerun_may_describe_the_dataset_otherwise(catalog: Catalog) -> None:
    first = catalog.claim(draft(nbr_objects=2, description="tpyo"), token="first")
    catalog.add_frames(first, [frame(0)])
    catalog.release(first)
    second = catalog.claim(draft(nbr_objects=2, description="typo"), token="second")
    catalog.add_frames(second, [frame(1)])
    assert second.resumed
    assert catalog.publish(second).description == "typo"


def test_a_ready_dataset_is_not_claimed_and_shows_itself(catalog: Catalog) -> None:
    dataset = store(catalog, [frame()])
    with pytest.raises(DatasetExists) as exists:
        catalog.claim(draft(), token="again")
    assert exists.value.existing == dataset


def test_of_many_claims_at_once_one_wins(catalog: Catalog) -> None:
    for round_ in range(5):
        barrier = threading.Barrier(8)
        serial = f"RACE-2020-01-01-00-00-00-{round_:04d}"

        def claim(name: int, serial: str = serial, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                return catalog.claim(draft(serial), token=f"thread {name}").token
            except DatasetBusy:
                return ""

        with ThreadPoolExecutor(8) as pool:
            won = [token for token in pool.map(claim, range(8)) if token]
        assert len(won) == 1
        assert [one.owner for one in catalog.pending() if one.dataset.serial == serial] == won


def test_a_parent_must_be_there_and_complete(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match=f"{OTHER} does not exist; upload the parent first"):
        catalog.claim(draft(parent_serial=OTHER), token="me")
    pending = catalog.claim(draft(OTHER), token="me")
    with pytest.raises(ConfigError, match=rf"{OTHER} is not complete \(pending\)"):
        catalog.claim(draft(parent_serial=OTHER), token="me")
    assert [one.dataset.serial for one in catalog.pending()] == [OTHER]
    catalog.add_frames(pending, [frame()])
    catalog.publish(pending)
    assert catalog.claim(draft(parent_serial=OTHER), token="me").serial == SERIAL


def test_a_dataset_is_not_its_own_parent(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        catalog.claim(draft(parent_serial=SERIAL), token="me")


# --- serials that differ only by case


BY_CASE = "isp-2018-06-08-15-45-00-0001"


def test_a_serial_that_differs_only_by_case_is_refused(catalog: Catalog) -> None:
    """On Windows and macOS both datasets would have one folder."""
    message = f"{BY_CASE} differs only by case from {SERIAL}; choose another id"
    claim = catalog.claim(draft(), token="me")
    with pytest.raises(Conflict, match=message):
        catalog.claim(draft(BY_CASE), token="me")  # the other is pending
    catalog.add_frames(claim, [frame()])
    catalog.publish(claim)
    with pytest.raises(Conflict, match=message):
        catalog.claim(draft(BY_CASE), token="me")  # ready
    _, deletion = catalog.begin_delete(SERIAL, token="me")
    with pytest.raises(Conflict, match=message):
        catalog.claim(draft(BY_CASE), token="me")  # being deleted
    assert [one.dataset.serial for one in catalog.pending()] == [SERIAL]
    catalog.finish_delete(deletion)
    assert catalog.claim(draft(BY_CASE), token="me").serial == BY_CASE


@pytest.mark.parametrize("other", ["ISP_-2018-06-08-15-45-00-0001", "İSP-x", "%", "isp%", "ı"])
def test_serials_that_differ_by_more_than_case_are_two(catalog: Catalog, other: str) -> None:
    catalog.claim(draft(), token="me")
    assert catalog.claim(draft(other), token="me").serial == other


def test_serials_of_old_that_differ_only_by_case_stay(catalog: Catalog) -> None:
    """Each may be finished, described and deleted; only a third is refused."""
    store(catalog, [frame()], OTHER)
    pending = catalog.claim(draft(SERIAL), token="me")
    rename = text("UPDATE data_set SET dataset_serial = :to WHERE dataset_serial = :name")
    catalog._transactions.write(lambda c: c.execute(rename, {"to": BY_CASE, "name": OTHER}))
    catalog.release(pending)
    again = catalog.claim(draft(SERIAL), token="next")
    catalog.add_frames(again, [frame()])
    catalog.publish(again)
    assert [one.serial for one in catalog.datasets()] in ([SERIAL, BY_CASE], [BY_CASE, SERIAL])
    with pytest.raises(Conflict, match="differs only by case"):
        catalog.claim(draft(SERIAL.replace("ISP", "Isp")), token="me")
    _, deletion = catalog.begin_delete(BY_CASE, token="me")
    catalog.finish_delete(deletion)
    assert [one.serial for one in catalog.datasets()] == [SERIAL]


def test_of_many_spellings_at_once_one_wins(database: DatabaseSettings) -> None:
    spellings = ["abc", "ABC", "Abc", "aBC", "abC", "AbC"]
    for round_ in range(5):
        barrier = threading.Barrier(len(spellings))

        def claim(name: str, round_: int = round_, barrier: threading.Barrier = barrier) -> bool:
            with Catalog.open(database) as mine:
                barrier.wait()
                try:
                    mine.claim(draft(f"{name}-2020-01-01-00-00-00-{round_:04d}"), token=name)
                except Conflict:
                    return False
                return True

        with ThreadPoolExecutor(len(spellings)) as pool:
            assert list(pool.map(claim, spellings)).count(True) == 1


# --- describing


def test_a_ready_dataset_may_be_described_anew(catalog: Catalog) -> None:
    before = store(catalog, [frame()], description="tpyo", microscope="Leica")
    store(catalog, [frame()], OTHER, description="tpyo", microscope="Leica")
    assert catalog.describe(SERIAL, description="typo", microscope="Leica")
    assert not catalog.describe(SERIAL, description="typo", microscope="Leica")
    assert catalog.dataset(SERIAL) == replace(before, description="typo")
    assert catalog.describe(SERIAL, description=None, microscope="Zeiss")
    assert not catalog.describe(SERIAL, description=None, microscope="Zeiss")
    assert catalog.dataset(SERIAL) == replace(before, description=None, microscope="Zeiss")
    assert catalog.describe(SERIAL, description="", microscope=None)  # empty is not unknown
    assert catalog.dataset(SERIAL) == replace(before, description="", microscope=None)
    assert catalog.dataset(OTHER).description == "tpyo"


def test_a_description_that_no_database_keeps_is_compared_as_it_is_kept(catalog: Catalog) -> None:
    store(catalog, [frame()])
    assert catalog.describe(SERIAL, description="a\x00b", microscope=None)
    assert not catalog.describe(SERIAL, description="a\x00b", microscope=None)


def test_only_what_can_be_seen_is_described(catalog: Catalog) -> None:
    with pytest.raises(DatasetNotFound, match="there is no dataset"):
        catalog.describe(SERIAL, description="x", microscope=None)
    claim = catalog.claim(draft(description="mine"), token="me")
    with pytest.raises(DatasetNotFound, match="is pending"):
        catalog.describe(SERIAL, description="x", microscope=None)
    catalog.add_frames(claim, [frame()])
    assert catalog.publish(claim).description == "mine"
    catalog.begin_delete(SERIAL, token="me")
    with pytest.raises(DatasetNotFound, match="is being deleted"):
        catalog.describe(SERIAL, description="x", microscope=None)


# --- rows


def test_the_same_frame_may_come_again_but_not_with_other_pixels(catalog: Catalog) -> None:
    claim = catalog.claim(draft(nbr_objects=3), token="me")
    catalog.add_frames(claim, [frame(0), frame(1), frame(1)])
    catalog.add_frames(claim, [frame(1), frame(2)])
    with pytest.raises(Conflict, match="frame c1 z0 t0 p0 is there already"):
        catalog.add_frames(claim, [frame(3), frame(1, sha256=digest("other"))])
    with pytest.raises(Conflict, match="frame c4 z0 t0 p0 comes twice"):
        catalog.add_frames(claim, [frame(4), frame(4, sha256=digest("other"))])
    assert coords_of(map(frame, range(3))) == list(catalog.stored_coords(claim))
    assert catalog.publish(claim).nbr_objects == 3


def test_the_same_file_may_come_again_but_not_with_other_bytes(catalog: Catalog) -> None:
    claim = catalog.claim(file_draft(nbr_objects=2), token="me")
    catalog.add_files(claim, [file("a"), file("a")])
    catalog.add_files(claim, [file("a"), file("b")])
    with pytest.raises(Conflict, match="file b is there already"):
        catalog.add_files(claim, [file("c"), file("b", sha256=digest("other"))])
    assert catalog.stored_names(claim) == {"a": 10, "b": 10}


def test_what_is_stored_tells_the_recorded_sizes(catalog: Catalog) -> None:
    """Sizes are those of the objects in the store; the original imagingDB recorded none."""
    frames = catalog.claim(draft(nbr_objects=3), token="me")
    catalog.add_frames(frames, [frame(0, object_size=2**33), frame(1, object_size=None)])
    assert catalog.stored_coords(frames) == {
        FrameCoords(0, 0, 0, 0): 2**33,
        FrameCoords(1, 0, 0, 0): None,
    }
    assert catalog.stored_names(frames) == {}
    files = catalog.claim(file_draft(OTHER, nbr_objects=3), token="me")
    catalog.add_files(files, [file("b", size=0), file("a", size=2**33), file("c", size=None)])
    assert catalog.stored_names(files) == {"a": 2**33, "b": 0, "c": None}
    assert catalog.stored_coords(files) == {}


def test_a_file_that_comes_again_is_known_by_its_bytes_not_its_size(catalog: Catalog) -> None:
    claim = catalog.claim(file_draft(nbr_objects=2), token="me")
    catalog.add_files(claim, [file("a", size=7)])
    with pytest.raises(Conflict, match="file a is there already"):
        catalog.add_files(claim, [file("a", size=7, sha256=digest("other"))])
    catalog.add_files(claim, [file("a", size=None), file("b")])
    assert catalog.stored_names(claim) == {"a": 7, "b": 10}


def test_two_frames_may_have_the_same_pixels(catalog: Catalog) -> None:
    """Cameras repeat frames, and a closed shutter gives many that are black."""
    store(catalog, [frame(t=0, sha256=digest("black")), frame(t=1, sha256=digest("black"))])
    assert catalog.count_frames(SERIAL) == 2


def test_nothing_to_add_is_fine(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="me")
    catalog.add_frames(claim, [])
    catalog.add_files(claim, [])


@pytest.mark.parametrize("stored", [0, 1, 3])
def test_a_dataset_is_published_with_all_its_frames_and_no_more(
    catalog: Catalog, stored: int
) -> None:
    claim = catalog.claim(draft(nbr_objects=2), token="me")
    catalog.add_frames(claim, [frame(c) for c in range(stored)])
    with pytest.raises(IntegrityError, match=f"has {stored} of 2 objects"):
        catalog.publish(claim)
    with pytest.raises(DatasetNotFound):
        catalog.dataset(SERIAL)


def test_publishing_again_after_a_lost_answer_finds_it_done(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="me")
    catalog.add_frames(claim, [frame()])
    assert catalog.publish(claim) == catalog.publish(claim)


def test_numpy_numbers_are_kept_as_numbers(catalog: Catalog) -> None:
    numbers = np.arange(4)
    stored = [
        frame(
            *map(np.int64, (c, 1, 2, 3)),  # type: ignore[arg-type]
            object_size=np.uint64(5),
            width=np.int32(64),
            metadata={"gain": np.float32(1.5), "roi": numbers, "index": np.int16(7)},
        )
        for c in numbers
    ]
    store(
        catalog, stored, acquisition=acquisition(4, width=np.int64(2048), z_step_um=np.float32(2))
    )
    third = FrameSelection(channels=(IndexRange(np.int64(2), np.int64(3)),))  # type: ignore[arg-type]
    assert coords_of(catalog.frames(SERIAL, third)) == [FrameCoords(2, 1, 2, 3)]
    assert catalog.count_frames(SERIAL, FrameSelection(channels=(IndexRange(2, 3),))) == 1
    found = next(catalog.frames(SERIAL))
    assert (found.object_size, found.width) == (5, 64)
    assert found.metadata == {"gain": 1.5, "roi": [0, 1, 2, 3], "index": 7}
    assert _stored_types(catalog) == {"integer"}


def _stored_types(catalog: Catalog) -> set[str]:
    """Return the kinds of value that the database itself sees in a column of whole numbers."""
    sqlite = catalog._transactions.settings.is_sqlite
    function = "typeof" if sqlite else "pg_typeof"
    statement = text(f"SELECT DISTINCT CAST({function}(channel_idx) AS text) FROM frames")
    return set(catalog._transactions.read(lambda c: c.scalars(statement).all()))


def test_any_text_is_kept(catalog: Catalog) -> None:
    words = "Ωμέγα 🔬 \t\n\\ \\N ' \" ; -- \x07 %s %(x)s :name"
    stored = frame(
        channel_name=words, position_name=words, metadata={words: [words, {"deep": words}]}
    )
    store(catalog, [stored], description=words, metadata={"w": words})
    assert next(catalog.frames(SERIAL)) == stored
    assert catalog.dataset(SERIAL).description == words
    assert catalog.metadata(SERIAL) == {"w": words}


def test_text_that_no_database_keeps_is_replaced_alike(catalog: Catalog) -> None:
    odd = "a\x00b\ud800c"
    stored = frame(channel_name=odd, metadata={"odd": odd, "nan": float("nan"), "big": 2**70})
    store(catalog, [stored], description=odd)
    found = next(catalog.frames(SERIAL))
    assert found.channel_name == "a\ufffdb\ufffdc"
    assert found.metadata == {"odd": "a\ufffdb\ufffdc", "nan": "NaN", "big": 2**70}
    assert catalog.dataset(SERIAL).description == "a\ufffdb\ufffdc"


def test_twenty_thousand_frames_at_once(catalog: Catalog) -> None:
    frames = grid(4, 50, 50, 2)
    claim = catalog.claim(draft(nbr_objects=20_000), token="me")
    catalog.add_frames(claim, frames[:10])
    catalog.add_frames(claim, frames)  # beyond any limit of bound parameters, partly there already
    assert catalog.publish(claim).nbr_objects == 20_000
    assert coords_of(catalog.frames(SERIAL, with_metadata=False)) == sorted(coords_of(frames))


def test_what_is_stored_is_read_page_by_page(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.frames.STORED_PAGE", 5)
    frames = grid(2, 3, 2, 2)
    claim = catalog.claim(draft(nbr_objects=len(frames)), token="me")
    for count in (4, 5, 10, 24):
        catalog.add_frames(claim, frames[:count])
        known = catalog.stored_coords(claim)
        assert list(known) == coords_of(frames[:count])
        assert set(known.values()) == {3_700_000}


# --- many at once


def test_uploads_and_readers_at_once(database: DatabaseSettings) -> None:
    """Readers see a dataset whole or not at all, whoever writes meanwhile, each over its own catalog."""
    seen: list[int] = []
    stop = threading.Event()

    def upload(number: int) -> None:
        with Catalog.open(database) as mine:
            for round_ in range(4):
                store(mine, grid(3, 4, 1, 1), f"T{number}-2020-01-01-00-00-00-{round_:04d}")

    def watch() -> None:
        with Catalog.open(database) as mine:
            while not stop.is_set():
                seen.extend(mine.count_frames(one.serial) for one in mine.datasets())

    with ThreadPoolExecutor(6) as pool:
        watching = pool.submit(watch)
        for done in [pool.submit(upload, number) for number in range(4)]:
            done.result()
        stop.set()
        watching.result()
    with Catalog.open(database) as mine:
        assert mine.count_datasets() == 16
    assert set(seen) <= {12}


def test_a_heartbeat_beside_the_rows(catalog: Catalog) -> None:
    claim = catalog.claim(draft(nbr_objects=400), token="me")
    stop = threading.Event()

    def beat() -> int:
        number = 0
        while not stop.is_set():
            catalog.renew(claim)
            number += 1
        return number

    with ThreadPoolExecutor(1) as pool:
        beating = pool.submit(beat)
        for c in range(20):
            catalog.add_frames(claim, [frame(c, z) for z in range(20)])
        stop.set()
        assert beating.result() > 0
    assert catalog.publish(claim).nbr_objects == 400
