"""Rows and objects in the order of their names are matched as sets would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imaging_db.catalog.inventory import Promised
from imaging_db.model import Dataset, DatasetStatus, UploadType
from imaging_db.stores.base import ObjectInfo
from imaging_db.transfer.check import merged

DATASET = Dataset(
    "a", DatasetStatus.READY, UploadType.FILE, *[None] * 6, "raw_files/a", None, 0, None, None
)
NAMES = st.lists(
    st.sampled_from(["a", "a/b", "a.b", "b", "ä", "\U0001f600", "\uffff", "c0", "c00"])
)


def matched(rows: list[str], objects: list[str]) -> list[tuple[str | None, str | None]]:
    promised = [Promised(name, None) for name in sorted(rows)]
    there = [ObjectInfo(f"raw_files/a/{name}", 1) for name in sorted(set(objects))]
    return [
        (row and row.name, found and found.key.removeprefix("raw_files/a/"))
        for row, found in merged(promised, there, DATASET)
    ]


@given(NAMES, NAMES)
def test_each_row_meets_its_object_and_each_object_its_row(
    rows: list[str], objects: list[str]
) -> None:
    found = matched(rows, objects)
    assert sorted(row for row, _ in found if row is not None) == sorted(rows)
    for row, there in found:
        assert row is None or there == (row if row in objects else None)
    assert {there for row, there in found if row is None} == set(objects) - set(rows)


def test_two_rows_may_promise_one_object() -> None:
    assert matched(["a", "a", "b"], ["a", "c"]) == [
        ("a", "a"),
        ("a", "a"),
        ("b", None),
        (None, "c"),
    ]
