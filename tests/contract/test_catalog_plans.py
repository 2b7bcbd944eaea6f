"""How the databases find what is asked for: along an index, and straight to it, in a catalog of any size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings
from imaging_db.model import FrameSelection, parse_expression
from tests.support.catalog_rows import OTHER, SERIAL, acquisition, draft, grid, store

SIZES = (4, 10, 50, 10)
C, Z, T, P = "channel_idx", "slice_idx", "time_idx", "pos_idx"
Question = Callable[[Catalog], object]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """A catalog in which one dataset has 20 000 frames and others have few.

    PostgreSQL has counted them, as its autovacuum does within minutes; SQLite never does by itself.
    """
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("large") / "catalog.sqlite"
        where = DatabaseSettings("sqlite", str(path))
    else:
        where = request.getfixturevalue("postgres_server").create()
    with Catalog.open(where, create=True) as catalog:
        store(catalog, grid(*SIZES), acquisition=acquisition(20_000))
        for number in range(20):
            store(catalog, grid(2, 2, 2, 2), f"SMALL-2018-06-08-15-45-00-{number:04d}")
        if request.param != "sqlite":
            catalog._transactions.write(lambda c: c.exec_driver_sql("ANALYZE"))
        yield catalog
    if request.param != "sqlite":
        request.getfixturevalue("postgres_server").drop(where)


def _plans(catalog: Catalog, ask: Question) -> list[str]:
    """Ask, and return how the database finds the frames of every statement that looks for them."""
    engine = catalog._transactions.engine
    seen: list[tuple[str, Any]] = []

    def look(connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if re.search(r"(FROM|,) frames\b", statement) and "RECURSIVE" not in statement:
            seen.append((statement, values))

    event.listen(engine, "before_cursor_execute", look)
    try:
        ask(catalog)
    finally:
        event.remove(engine, "before_cursor_execute", look)
    return [_explained(catalog, *one) for one in seen]


def _explained(catalog: Catalog, statement: str, values: Any) -> str:
    with catalog._transactions.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return "; ".join(row.detail for row in rows)
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
        return json.dumps(plan)


def _bounds(plan: str) -> set[str]:
    """Return the columns of `frames` by which an index is searched; fail where the table is read whole."""
    assert not re.search(r"SCAN frames\b", plan), plan
    assert not re.search(r'"Seq Scan"[^{}]*"Relation Name": "frames"', plan), plan
    searched = re.findall(r'"Index Cond": "([^"]*)|INDEX \w+ \((.*?)\)(?:;|$)', plan)
    return set(re.findall(r"\w+_idx|frames_global_id", str(searched)))


@pytest.mark.parametrize(
    ("selection", "count", "narrowed"),
    [
        (FrameSelection.of(1, slices=3, timepoints=slice(0, 10)), 100, {C, Z}),
        (FrameSelection.of(1, slices=3, timepoints=slice(None, None, 5)), 100, {C, Z}),
        (FrameSelection.of(slices=3, timepoints=7), 40, {Z, T}),
        (FrameSelection.of("channel 2", slices=3, timepoints=7), 10, {Z, T}),
        (FrameSelection.of(timepoints=7, positions=3), 40, {T, P}),
    ],
    ids=["ranges", "stride", "without channel", "by name", "one stack"],
)
def test_a_few_frames_are_looked_up_one_by_one(
    large: Catalog, selection: FrameSelection, count: int, narrowed: set[str]
) -> None:
    assert large.count_frames(SERIAL, selection) == count
    for ask in (
        lambda catalog: list(catalog.frames(SERIAL, selection)),
        lambda catalog: catalog.count_frames(SERIAL, selection),
    ):
        (plan,) = _plans(large, ask)
        assert _bounds(plan) >= {"frames_global_id", *narrowed}, plan


def test_a_dataset_is_read_in_the_order_of_an_index(large: Catalog) -> None:
    plans = _plans(large, lambda catalog: list(catalog.frames(SERIAL)))
    assert len(plans) == 5  # pages of 5000, and the end
    for plan in plans:
        assert "frames_global_id" in _bounds(plan)
        assert "ix_frames_name_order" in plan
    assert "TEMP B-TREE" not in plans[0] and '"Sort"' not in plans[0], plans[0]


def test_publishing_counts_the_rows_of_its_own_dataset_only(large: Catalog) -> None:
    claim = large.claim(draft(OTHER, 16), token="me")
    large.add_frames(claim, grid(2, 2, 2, 2))
    plans = _plans(large, lambda catalog: catalog.publish(claim))
    assert plans
    assert all("frames_global_id" in _bounds(plan) for plan in plans)


def test_what_an_upload_has_stored_is_read_along_an_index(large: Catalog) -> None:
    claim = large.claim(draft("OPEN-2018-06-08-15-45-00-0001", 16), token="me")
    large.add_frames(claim, grid(2, 2, 2, 2))
    (plan,) = _plans(large, lambda catalog: catalog.stored_coords(claim))
    assert "frames_global_id" in _bounds(plan)


@pytest.mark.parametrize(
    "query",
    [
        "channel = GFP",
        "microscope = Leica and t >= 3",
        "meta.Exposure-ms > 50",
        "width = 64",
        "leica",
    ],
)
def test_a_query_of_one_dataset_reads_its_frames_along_an_index(large: Catalog, query: str) -> None:
    selection = FrameSelection.of(1, slices=3, where=parse_expression(query))
    for ask in (
        lambda catalog: list(catalog.frames(SERIAL, selection)),
        lambda catalog: catalog.count_frames(SERIAL, selection),
    ):
        (plan,) = _plans(large, ask)
        assert _bounds(plan) >= {"frames_global_id", C, Z}, plan


def test_the_middle_of_a_stack_is_looked_up_as_the_number_that_it_is(large: Catalog) -> None:
    """What lies beside it is left alone: a frame that does not fit is never read."""
    selection = FrameSelection(where=parse_expression("z = mid and t = last"))
    assert len(list(large.frames(SERIAL, selection))) == 40
    *_, plan = _plans(large, lambda catalog: list(catalog.frames(SERIAL, selection)))
    assert "frames_1" not in plan, plan
    if "SEARCH" not in plan:  # PostgreSQL; SQLite looks at the index without telling
        assert _bounds(plan) >= {"frames_global_id", Z, T}, plan


def test_a_search_with_a_limit_reads_no_dataset_behind_it(large: Catalog) -> None:
    """Frames come in the order of an index, dataset by dataset: nothing is sorted before the first is there."""
    where = parse_expression("meta.Exposure-ms > 5")
    (plan,) = _plans(large, lambda catalog: list(catalog.search.frames(where, limit=10)))
    if "SEARCH" in plan:  # SQLite; PostgreSQL may find sorting a part of it cheaper
        assert "TEMP B-TREE" not in plan
        assert "frames_global_id" in _bounds(plan)


@pytest.mark.parametrize(
    "query", ["meta.Exposure-ms > 1e6", "meta.Exposure-ms = 7", "meta.Exposure-ms = x"]
)
def test_an_index_of_metadata_is_used(large: Catalog, query: str) -> None:
    large.json_indexes.make("meta.Exposure-ms")
    try:
        if "postgresql" in large.address:
            large._transactions.write(lambda c: c.exec_driver_sql("ANALYZE frames"))
        where = parse_expression(query)
        (plan,) = _plans(large, lambda catalog: catalog.search.count_frames(where))
        assert "ix_json_" in plan, plan
    finally:
        large.json_indexes.drop("meta.Exposure-ms")
