"""What a catalog promises of tags and notes: who and when, one of a key at a time, history that stays."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import event

from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import DatasetNotFound, UsageError
from imaging_db.model import Annotation, AnnotationEdit, DatasetQuery
from imaging_db.model.annotation import LONGEST_KEY, LONGEST_VALUE
from tests.support.catalog_rows import OTHER, SERIAL, draft, frame, store

ODD = 'a, "b"\r\n=1+1\t\U0001f52c é \x07'


def say(catalog: Catalog, key: str, value: str | None = None, *, author: str = "ada") -> str:
    (change,) = catalog.annotations.edit([AnnotationEdit(SERIAL, key, value)], author=author)
    return change.outcome


def take_back(catalog: Catalog, key: str, *, author: str = "ada") -> str:
    edit = AnnotationEdit(SERIAL, key, removes=True)
    return catalog.annotations.edit([edit], author=author)[0].outcome


def keys(catalog: Catalog) -> list[str]:
    return [one.key for one in catalog.annotations.of(SERIAL)]


def test_tags_and_notes_come_back_with_who_and_when(catalog: Catalog) -> None:
    store(catalog, [frame()])
    before = catalog.now()
    assert [say(catalog, "stain", ODD), say(catalog, "good"), say(catalog, "empty", "")] == [
        "added"
    ] * 3
    found = catalog.annotations.of(SERIAL)
    assert [(one.key, one.value, one.author) for one in found] == [
        ("empty", "", "ada"),
        ("good", None, "ada"),
        ("stain", ODD, "ada"),
    ]
    assert all(before <= one.created_at <= catalog.now() for one in found)
    assert found == catalog.annotations.all()


def test_the_longest_value_is_kept(catalog: Catalog) -> None:
    store(catalog, [frame()])
    chance = random.Random(1)  # what repeats would be pressed, and fit into any index
    longest = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(LONGEST_VALUE))
    assert say(catalog, "k" * LONGEST_KEY, longest) == "added"
    (found,) = catalog.annotations.of(SERIAL)
    assert found.value == longest


def test_what_is_so_already_stays_whose_it_is(catalog: Catalog) -> None:
    store(catalog, [frame()])
    say(catalog, "stain", "DAPI")
    (first,) = catalog.annotations.of(SERIAL)
    assert say(catalog, "stain", "DAPI", author="bob") == "unchanged"
    assert catalog.annotations.of(SERIAL, history=True) == [first]


def test_changes_and_removals_stay_as_history(catalog: Catalog) -> None:
    store(catalog, [frame()])
    say(catalog, "stain", "DAPI")
    assert say(catalog, "stain", "Hoechst", author="bob") == "changed"
    assert take_back(catalog, "stain", author="eve") == "removed"
    assert take_back(catalog, "stain", author="eve") == "unchanged"
    assert say(catalog, "stain") == "added"
    story = catalog.annotations.of(SERIAL, history=True)
    assert [(one.value, one.author, one.removed_by) for one in story] == [
        ("DAPI", "ada", "bob"),
        ("Hoechst", "bob", "eve"),
        (None, "ada", None),
    ]
    assert all(old.removed_at <= new.created_at for old, new in pairwise(story) if old.removed_at)
    assert [one.value for one in catalog.annotations.of(SERIAL)] == [None]


def test_only_ready_datasets_are_annotated(catalog: Catalog) -> None:
    store(catalog, [frame()])
    catalog.claim(draft(OTHER), token="me")
    with pytest.raises(DatasetNotFound, match="is pending"):
        catalog.annotations.edit([AnnotationEdit(OTHER, "good")], author="ada")
    with pytest.raises(DatasetNotFound) as unknown:
        catalog.annotations.edit([AnnotationEdit(SERIAL[:-1] + "9", "good")], author="ada")
    assert unknown.value.nearest == (SERIAL,)
    with pytest.raises(DatasetNotFound, match="is pending"):
        catalog.annotations.of(OTHER)
    assert list(catalog.annotations.unseen([SERIAL, OTHER])) == [OTHER]


def test_edits_are_made_all_or_none(catalog: Catalog) -> None:
    store(catalog, [frame()])
    edits = [AnnotationEdit(SERIAL, "good"), AnnotationEdit(OTHER, "good")]
    with pytest.raises(DatasetNotFound):
        catalog.annotations.edit(edits, author="ada")
    with pytest.raises(UsageError, match="'good' is given twice"):
        catalog.annotations.edit([edits[0], edits[0]], author="ada")
    assert catalog.annotations.all(history=True) == []


def test_a_dry_run_tells_the_same_and_changes_nothing(catalog: Catalog) -> None:
    store(catalog, [frame()])
    say(catalog, "stain", "DAPI")
    edits = [AnnotationEdit(SERIAL, "stain", "Hoechst"), AnnotationEdit(SERIAL, "good")]
    told = catalog.annotations.edit(edits, author="bob", dry_run=True)
    assert [change.outcome for change in told] == ["changed", "added"]
    assert keys(catalog) == ["stain"]
    done = catalog.annotations.edit(edits, author="bob")
    assert [change.outcome for change in done] == ["changed", "added"]


def test_who_and_when_of_another_catalog_count_only_where_the_key_is_new(catalog: Catalog) -> None:
    store(catalog, [frame()])
    then = datetime(2019, 3, 1, 14, 30, 0, 123000, tzinfo=UTC)
    said = AnnotationEdit(SERIAL, "good", author="eve", created_at=then)
    (change,) = catalog.annotations.edit([said], author="ada")
    assert change.after == Annotation(SERIAL, "good", None, "eve", then)
    assert catalog.annotations.of(SERIAL) == [change.after]
    take_back(catalog, "good")
    (again,) = catalog.annotations.edit([said], author="ada")
    assert again.after is not None
    assert again.after.author == "ada"
    assert catalog.now() - again.after.created_at < timedelta(minutes=1)


def test_of_many_runs_at_once_one_writes_a_key(
    catalog: Catalog, database: DatabaseSettings
) -> None:
    store(catalog, [frame()])

    def write(number: int) -> str:
        with Catalog.open(database) as mine:
            return say(mine, "stain", str(number), author=f"run {number}")

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(write, range(8)))
    assert sorted(outcomes) == ["added", *["changed"] * 7]
    (standing,) = catalog.annotations.of(SERIAL)
    story = catalog.annotations.of(SERIAL, history=True)
    assert len(story) == 8
    assert [one.removed_by for one in story] == [*(one.author for one in story[1:]), None]
    assert story[-1] == standing


def test_runs_over_many_datasets_do_not_wait_for_each_other_forever(
    database: DatabaseSettings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portions of one run begin in the midst of those of the other, and the ids run backwards."""
    monkeypatch.setattr("imaging_db.catalog.annotations._ASKED_AT_ONCE", 2)
    serials = [f"ISP-2018-06-08-15-45-00-{number:04d}" for number in range(1, 10)]
    for serial in reversed(serials):
        store(catalog, [frame()], serial)
    problems: list[object] = []

    def tag(run: int) -> None:
        with Catalog.open(database) as mine:
            event.listen(mine._transactions.engine, "handle_error", problems.append)
            event.listen(
                mine._transactions.engine, "after_cursor_execute", lambda *_: time.sleep(0.01)
            )
            for number in range(3):
                edits = [AnnotationEdit(one, f"{run} {number}") for one in serials[run:]]
                mine.annotations.edit(edits, author="ada")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tag, range(2)))
    assert not problems
    assert len(catalog.annotations.all()) == 3 * (9 + 8)


def test_a_dataset_that_is_replaced_keeps_what_was_said(catalog: Catalog) -> None:
    store(catalog, [frame()])
    say(catalog, "good")
    catalog.finish_delete(catalog.begin_delete(SERIAL, token="me")[1])
    assert catalog.annotations.all(history=True) == []
    store(catalog, [frame()])
    assert keys(catalog) == ["good"]


def test_a_deletion_takes_what_was_said_of_that_dataset_alone(catalog: Catalog) -> None:
    for serial in (SERIAL, OTHER):
        store(catalog, [frame()], serial)
        catalog.annotations.edit([AnnotationEdit(serial, "good")], author="ada")
    say(catalog, "stain", "DAPI")
    take_back(catalog, "stain")
    claim = catalog.begin_delete(SERIAL, token="me")[1]
    assert [one.serial for one in catalog.annotations.all()] == [OTHER]
    catalog.finish_delete(claim, with_annotations=True)
    store(catalog, [frame()])
    assert catalog.annotations.of(SERIAL, history=True) == []
    assert [one.serial for one in catalog.annotations.all()] == [OTHER]


@pytest.mark.parametrize("find", ["hOECHST", "counter", "50%"])
def test_text_is_found_in_what_is_said_today(catalog: Catalog, find: str) -> None:
    store(catalog, [frame()])
    store(catalog, [frame()], OTHER)
    say(catalog, "counterstain", "Hoechst, 50% of it")
    assert [d.serial for d in catalog.datasets(DatasetQuery(text=find))] == [SERIAL]
    take_back(catalog, "counterstain")
    assert catalog.count_datasets(DatasetQuery(text=find)) == 0


def test_many_are_read_page_by_page(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging_db.catalog.annotations.PAGE", 3)
    store(catalog, [frame()])
    edits = [AnnotationEdit(SERIAL, f"key {number}") for number in range(9)]
    catalog.annotations.edit(edits, author="ada")
    assert [one.key for one in catalog.annotations.all()] == [edit.key for edit in edits]


_EDITS: tuple[Callable[[], AnnotationEdit], ...] = (
    lambda: AnnotationEdit(SERIAL, ""),
    lambda: AnnotationEdit(SERIAL, "a=b"),
    lambda: AnnotationEdit(SERIAL, "a\nb"),
    lambda: AnnotationEdit(SERIAL, "a\u2028b"),
    lambda: AnnotationEdit(SERIAL, " a"),
    lambda: AnnotationEdit(SERIAL, "k" * 101),
    lambda: AnnotationEdit(SERIAL, "key", "v" * 10_001),
    lambda: AnnotationEdit(SERIAL, "key", "\x00"),
    lambda: AnnotationEdit(SERIAL, "key", "\ud800"),
    lambda: AnnotationEdit(SERIAL, "key", 5),  # type: ignore[arg-type]
    lambda: AnnotationEdit(SERIAL, "key", author=" "),
)


@pytest.mark.parametrize("make", _EDITS)
def test_what_cannot_be_kept_is_refused(make: Callable[[], AnnotationEdit]) -> None:
    with pytest.raises(UsageError):
        make()


def test_the_longest_key_and_value_are_kept(catalog: Catalog) -> None:
    store(catalog, [frame()])
    say(catalog, "\U0001f52c" * 100, "é" * 10_000)
    (found,) = catalog.annotations.of(SERIAL)
    assert (found.key, found.value) == ("\U0001f52c" * 100, "é" * 10_000)
