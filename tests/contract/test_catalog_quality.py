"""What a catalog keeps of the quality of frames, over SQLite and over PostgreSQL alike."""

from __future__ import annotations

from dataclasses import astuple, replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from imaging_db.catalog import Catalog, claims, quality
from imaging_db.errors import DatasetNotFound
from imaging_db.model import FrameCoords, FrameQuality, FrameSelection
from tests.support.catalog_rows import (
    OTHER,
    SERIAL,
    digest,
    draft,
    file,
    frame,
    grid,
    store,
    store_files,
)

MEASURED = FrameQuality(0.0, 9.0, 4.5, 0.25, 12.5, 1.0, 8.0)
EVERYTHING = FrameSelection()


def repeats(catalog: Catalog, serial: str = SERIAL) -> list[bool | None]:
    return [found.is_repeat for found in catalog.frames(serial)]


def forget(catalog: Catalog, columns: str) -> None:
    """Make the rows those of a version that did not know these columns."""
    named = ", ".join(f"{column} = NULL" for column in columns.split())
    catalog._transactions.write(lambda c: c.execute(text(f"UPDATE frames SET {named}")))


def test_percentiles_come_back(catalog: Catalog) -> None:
    store(catalog, [frame(0, quality=MEASURED), frame(1)])
    assert [found.quality for found in catalog.frames(SERIAL)] == [MEASURED, None]


def test_every_frame_but_the_first_with_its_pixels_repeats_another(catalog: Catalog) -> None:
    same, other = digest("same"), digest("other")
    new = [
        frame(0, t=2, sha256=same),
        frame(0, t=0, sha256=digest("alone")),
        frame(1, t=1, sha256=other),
        frame(0, t=1, sha256=same),
        frame(1, t=0, sha256=same),
        frame(2, t=0, sha256=other),
    ]
    store(catalog, new)
    assert [(tuple(f.coords)[::2], f.is_repeat) for f in catalog.frames(SERIAL)] == [
        ((0, 0), False),
        ((0, 1), False),
        ((0, 2), True),
        ((1, 0), True),
        ((1, 1), False),
        ((2, 0), True),
    ]


def test_pixels_of_another_dataset_are_not_repeated(catalog: Catalog) -> None:
    store(catalog, [frame(0)], OTHER)
    store(catalog, [frame(0)])
    assert repeats(catalog) == repeats(catalog, OTHER) == [False]


def test_of_a_frame_without_hash_nobody_knows_whether_it_repeats(catalog: Catalog) -> None:
    store(catalog, [frame(0, sha256=None), frame(1, sha256=None), frame(2)])
    assert repeats(catalog) == [None, None, False]


def test_rows_from_before_the_upgrade_are_told_when_they_are_published(catalog: Catalog) -> None:
    claim = catalog.claim(draft(nbr_objects=3), token="me")
    catalog.add_frames(claim, [frame(0, sha256=digest(1)), frame(1, sha256=digest(2))])
    forget(catalog, "is_repeat")
    catalog.add_frames(claim, [frame(2, sha256=digest(1))])
    catalog.publish(claim)
    assert repeats(catalog) == [False, False, True]


@pytest.mark.parametrize("of_before", [False, True])
def test_very_many_repeats_are_told_in_portions(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, of_before: bool
) -> None:
    monkeypatch.setattr(quality, "_DECIDED_AT_ONCE", 4)
    claim = catalog.claim(
        draft(SERIAL, 9), token="uploader"
    )  # eight repeats are two whole portions
    catalog.add_frames(claim, [frame(t=t, sha256=digest("same")) for t in range(9)])
    if of_before:
        forget(catalog, "is_repeat")
    assert catalog._transactions.write(lambda connection: claims.publish(connection, claim)) is None
    with pytest.raises(DatasetNotFound):
        catalog.dataset(SERIAL)
    assert catalog.publish(claim).serial == SERIAL
    assert repeats(catalog) == [False, *[True] * 8]


def test_to_publish_twice_tells_the_same(catalog: Catalog) -> None:
    """The answer to the first COMMIT was lost."""
    claim = catalog.claim(draft(nbr_objects=2), token="me")
    catalog.add_frames(claim, [frame(0, sha256=digest(1)), frame(1, sha256=digest(1))])
    assert catalog.publish(claim) == catalog.publish(claim)
    assert repeats(catalog) == [False, True]


def test_a_dataset_of_files_has_no_repeats(catalog: Catalog) -> None:
    dataset = store_files(catalog, [file("a.czi")])
    assert catalog.upkeep.decide_repeats(dataset) == 0
    assert catalog.upkeep.count_unmeasured(dataset.serial, EVERYTHING) == 0
    assert list(catalog.upkeep.unmeasured(dataset.serial, EVERYTHING)) == []


def test_repeats_of_before_are_decided_later_and_once(catalog: Catalog) -> None:
    new = [frame(n, sha256=digest(n % 3)) for n in range(7)]
    dataset = store(catalog, new)
    expected = repeats(catalog)
    forget(catalog, "is_repeat")
    assert catalog.upkeep.decide_repeats(dataset) == 7
    assert repeats(catalog) == expected == [False] * 3 + [True] * 4
    assert catalog.upkeep.decide_repeats(dataset) == 0


def test_frames_without_figures_or_some_of_them_are_unmeasured(catalog: Catalog) -> None:
    before = replace(MEASURED, p01=None, p99=None)
    store(catalog, [frame(0, quality=MEASURED), frame(1), frame(2, quality=before), frame(3)])
    found = [f.coords.channel for f in catalog.upkeep.unmeasured(SERIAL, EVERYTHING)]
    assert found == [1, 2, 3]
    some = FrameSelection.of(channels=range(2))
    assert [f.coords.channel for f in catalog.upkeep.unmeasured(SERIAL, some)] == [1]
    assert catalog.upkeep.count_unmeasured(SERIAL, EVERYTHING) == 3
    assert catalog.upkeep.count_unmeasured(SERIAL, some) == 1


def test_unmeasured_frames_of_many_pages_come_all_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.frames.PAGE", 3)
    new = grid(2, 2, 2, 1)
    store(catalog, new)
    found = [f.coords for f in catalog.upkeep.unmeasured(SERIAL, EVERYTHING)]
    assert found == sorted(f.coords for f in new)


def test_only_what_is_missing_is_filled(catalog: Catalog) -> None:
    before = replace(MEASURED, mean=4.0, p01=None, p99=None)
    dataset = store(catalog, [frame(0), frame(1, quality=before), frame(2, quality=MEASURED)])
    other = FrameQuality(0.0, 9.0, 5.0, None, None, 2.0, 7.0)
    coords = [found.coords for found in catalog.frames(SERIAL)]
    catalog.upkeep.fill_quality(dataset, [(one, other) for one in coords])
    assert [found.quality for found in catalog.frames(SERIAL)] == [
        other,
        replace(before, p01=2.0, p99=7.0),
        MEASURED,
    ]


def test_figures_that_are_no_numbers_stay_missing(catalog: Catalog) -> None:
    dataset = store(catalog, [frame(0)])
    nan = float("nan")
    catalog.upkeep.fill_quality(
        dataset, [(FrameCoords(0, 0, 0, 0), FrameQuality(1.0, 2.0, nan, None, None, 1.0, 2.0))]
    )
    (found,) = catalog.frames(SERIAL)
    assert found.quality is not None
    known = [figure for figure in astuple(found.quality) if figure == figure]
    assert known == [1.0, 2.0, None, None, 1.0, 2.0]


def test_nothing_is_filled_of_a_dataset_that_was_replaced(catalog: Catalog) -> None:
    now = store(catalog, [frame(0)])
    assert now.published_at is not None
    before = replace(now, published_at=now.published_at - timedelta(seconds=1))
    with pytest.raises(DatasetNotFound, match="replaced meanwhile"):
        catalog.upkeep.fill_quality(before, [(FrameCoords(0, 0, 0, 0), MEASURED)])
    with pytest.raises(DatasetNotFound, match="replaced meanwhile"):
        catalog.upkeep.decide_repeats(before)
    assert [found.quality for found in catalog.frames(SERIAL)] == [None]
