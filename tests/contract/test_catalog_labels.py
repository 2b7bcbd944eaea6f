"""Labels of channels and positions: what is present, by index, asked at once however many there are."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from imaging_db.catalog import Catalog
from tests.support.catalog_rows import OTHER, SERIAL, file_draft, frame, store


def test_labels_are_those_of_the_first_frame_of_each_index(catalog: Catalog) -> None:
    places = ((7, "B2"), (2, None), (40, "A1"))
    frames = [
        frame(c, t=t, p=p, position_name=name, channel_name=f"channel {c}")
        for p, name in places
        for c in (3, 0)
        for t in range(2)
    ]
    store(catalog, frames)
    store(catalog, [frame(9, p=9, position_name="elsewhere")], OTHER)
    assert catalog.positions(SERIAL) == [(2, None), (7, "B2"), (40, "A1")]
    assert catalog.channels(SERIAL) == [(0, "channel 0"), (3, "channel 3")]


def test_a_dataset_of_files_has_no_labels(catalog: Catalog) -> None:
    catalog.publish(catalog.claim(file_draft(nbr_objects=0), token="me"))
    assert catalog.positions(SERIAL) == catalog.channels(SERIAL) == []


def test_many_positions_are_asked_for_in_one_statement(catalog: Catalog) -> None:
    store(catalog, [frame(p=p, position_name=f"Pos{p}") for p in range(300)])
    seen: list[str] = []

    def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = catalog._transactions.engine
    event.listen(engine, "before_cursor_execute", look)
    try:
        assert catalog.positions(SERIAL) == [(p, f"Pos{p}") for p in range(300)]
    finally:
        event.remove(engine, "before_cursor_execute", look)
    assert len(seen) < 10
