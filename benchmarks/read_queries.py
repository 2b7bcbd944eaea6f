"""Queries on paths into metadata over a million frames: with and without an index of the path."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import event

from benchmarks.catalog_fill import Grid, Metadata, micro_manager, varied
from benchmarks.catalogs import Database, filled
from benchmarks.result import Result
from benchmarks.scratch import is_quick
from imaging_db.catalog import Catalog
from imaging_db.catalog.json_indexes import PREFIX
from imaging_db.model import parse_expression

_GROUP = "Queries"
_EACH = Grid(4, 25, 20, 5)
_DATASETS = 100
_QUERIES = (
    "meta.Exposure-ms > 99",  # a hundredth of the frames
    "meta.Exposure-ms > 49",  # half of them
    "meta.Filter = F7",  # a twentieth
    "meta.Number = 7001234",  # one
)
_PATHS = ("meta.Exposure-ms", "meta.Filter", "meta.Number")
_CONTENTS: dict[str, Metadata] = {
    "3 keys a frame": varied,
    "3 KB a frame, as Micro-Manager": micro_manager,
}
_JUDGED = "3 keys a frame"
_INDEXED = ", indexed"
_PAGE = 100
_PATIENCE = 900.0  # seconds, far more than users have: slow questions are to be measured, too
_MOST_SECONDS = {"PostgreSQL": 1.0, "SQLite": 3.0}
_NOTE = (
    f"A first page is of {_PAGE} frames with their metadata. `meta.Exposure-ms > 99` fits a hundredth of the"
    " frames, `> 49` half, `meta.Filter = F7` a twentieth, `meta.Number = 7001234` one. *Indexed* means that"
    " `imaging-db db index` made an index of each of the three paths; the others read every row until they"
    " have what was asked for. With 3 KB of metadata each question was asked once."
)


def measure_queries(databases: Mapping[str, Database], repeats: int) -> Iterator[Result]:
    """Give seconds of counts and first pages, and tell which of them an index of the path answered."""
    for content, metadata in _CONTENTS.items():
        for name, database in databases.items():
            few = repeats if content == _JUDGED else 1
            yield from _measured(name, database, content, metadata, few)


def _measured(
    name: str, database: Database, content: str, metadata: Metadata, repeats: int
) -> Iterator[Result]:
    grids = [_EACH] * (10 if is_quick() else _DATASETS)
    with database.fresh(patience=_PATIENCE) as (catalog, admin):
        filled(catalog, grids, admin, metadata=metadata)
        case = f"{sum(grid.frames for grid in grids)} frames, {content}"
        yield from _all_asked(catalog, case, name, repeats, note=_NOTE)
        for path in _PATHS:
            catalog.json_indexes.make(path)
        if admin is not None:
            admin("ANALYZE data_set, frames_global, frames")  # as autovacuum does within a minute
        note = f"{name}, {case}: an index of the path answers {_indexed(catalog)}."
        yield from _all_asked(catalog, case, f"{name}{_INDEXED}", repeats, note=note)


def _all_asked(
    catalog: Catalog, case: str, name: str, repeats: int, *, note: str
) -> Iterator[Result]:
    """Ask all questions, in turns; the slowest of them is judged."""
    found: dict[str, list[float]] = {question: [] for question in _QUESTIONS}
    for turn in range(repeats + 1 if case.endswith(_JUDGED) else 1):
        for question, ask in _QUESTIONS.items():
            started = time.perf_counter()
            ask(catalog)
            found[question].append(time.perf_counter() - started)
            if turn == 1:
                found[question].pop(0)  # which warmed up
    contender = f"imaging_db, {name}"
    for question, values in found.items():
        yield Result(_GROUP, f"{case}: {question}", contender, "s", tuple(values), note=note)
    slowest = tuple(max(values) for values in zip(*found.values(), strict=True))
    whole = f"{case}: the slowest of {len(found)} questions"
    yield Result(_GROUP, whole, contender, "s", slowest, **_target(name, case, slowest))


def _target(name: str, case: str, values: tuple[float, ...]) -> dict[str, Any]:
    if not case.endswith(_JUDGED):
        return {}
    most = _MOST_SECONDS[name.removesuffix(_INDEXED)]
    return {
        "target": f"--where on JSON paths over 1000000 frames under {most:.0f} s on {name}",
        "met": statistics.median(values) < most,
    }


def _count(catalog: Catalog, query: str) -> None:
    catalog.search.count_frames(parse_expression(query))


def _first_page(catalog: Catalog, query: str) -> None:
    if not sum(1 for _ in catalog.search.frames(parse_expression(query), limit=_PAGE)):
        raise RuntimeError(f"no frame fits {query}")


_QUESTIONS: dict[str, Callable[[Catalog], None]] = {
    f"{what} of {query}": partial(ask, query=query)
    for query in _QUERIES
    for what, ask in (("count", _count), ("first page", _first_page))
}


def _indexed(catalog: Catalog) -> str:
    """Return which questions the database answers with an index of a path, in words."""
    found = [f"the {name}" for name, ask in _QUESTIONS.items() if _uses_index(catalog, ask)]
    left = [f"the {name}" for name in _QUESTIONS if f"the {name}" not in found]
    if not left:
        return "all of these questions"
    return f"{', '.join(found) or 'none'}; not {', '.join(left)}"


def _uses_index(catalog: Catalog, ask: Callable[[Catalog], None]) -> bool:
    """Return True where the database says that it looks into an index of a path."""
    engine = catalog._transactions.engine
    seen: list[tuple[str, Any]] = []

    def look(connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if re.search(r"(FROM|,) frames\b", statement):
            seen.append((statement, values))

    event.listen(engine, "before_cursor_execute", look)
    try:
        ask(catalog)
    finally:
        event.remove(engine, "before_cursor_execute", look)
    return any(PREFIX in _plan(catalog, *one) for one in seen)


def _plan(catalog: Catalog, statement: str, values: Any) -> str:
    with catalog._transactions.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return "; ".join(row.detail for row in rows)
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
        return json.dumps(plan.scalar_one())
