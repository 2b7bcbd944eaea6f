"""Columns on their way into a table: never other than what the bind processors make of each value."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from imaging_db.catalog.columns import copy_lines, plain
from imaging_db.catalog.tables import FrameRow
from imaging_db.catalog.types import (
    _CUT,
    BigWhole,
    CleanText,
    Document,
    Real,
    Whole,
    dump_json,
    dump_json_each,
)

DIALECTS = [
    sqlite.dialect(json_serializer=dump_json),
    postgresql.dialect(json_serializer=dump_json),  # type: ignore[no-untyped-call]
]
texts = st.text(st.characters(codec=None, categories=("L", "Cc", "Cs", "P")), max_size=4)
wholes = st.one_of(
    st.integers(-(2**31), 2**31 - 1), st.booleans(), st.integers(-100, 100).map(np.int64)
)
reals = st.one_of(st.floats(), st.integers(-9, 9), st.floats(width=32).map(np.float32))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.just(_CUT)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


def _one_by_one(kind: Any, values: list[Any], dialect: Any) -> list[Any]:
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    return [value if process is None else process(value) for value in values]


def _spelled(values: Any) -> list[tuple[type, str]]:
    """Values with their kinds, so that 1, True and 1.0 differ, and 0.0 and -0.0."""
    return [(type(value), repr(value)) for value in values]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda found: found.name)
@pytest.mark.parametrize(
    ("kind", "values"),
    [(Whole(), wholes), (BigWhole(), wholes), (Real(), reals), (CleanText(), texts)],
    ids=lambda value: type(value).__name__,
)
def test_a_column_is_what_its_values_are_one_by_one(dialect: Any, kind: Any, values: Any) -> None:
    @given(st.lists(st.one_of(st.none(), values), max_size=6), st.lists(values, max_size=6))
    def check(some_absent: list[Any], all_there: list[Any]) -> None:
        for column in (some_absent, all_there, [None, None]):
            found = plain(kind, column, dialect)
            expected = _one_by_one(kind, column, dialect)
            assert list(found) == expected
            assert list(map(type, found)) == list(map(type, expected))

    check()


def test_numbers_of_numpy_become_plain_in_a_column_too() -> None:
    frames = FrameRow.__table__.c
    for name in ("channel_idx", "object_size"):
        found = plain(frames[name].type, [np.int64(3), 4, np.uint8(5)], DIALECTS[0])
        assert _spelled(found) == _spelled([3, 4, 5])
    assert _spelled(plain(Real(), [np.float32(0.5)] * 2, DIALECTS[0])) == _spelled([0.5, 0.5])


def test_what_does_not_fit_is_refused_in_a_column_too() -> None:
    with pytest.raises(OverflowError, match="32 bits"):
        plain(Whole(), [1, 2**31], DIALECTS[0])
    with pytest.raises(TypeError):
        plain(Whole(), [1.5, 1.5], DIALECTS[0])


@pytest.mark.parametrize("column", [[math.nan] * 2, [1.0, math.nan], [math.inf, -math.inf, 1.0]])
def test_no_column_of_floats_holds_nan(column: list[float]) -> None:
    found = plain(Real(), column, DIALECTS[0])
    assert list(found) == [None if math.isnan(value) else value for value in column]


@given(st.lists(st.dictionaries(texts, json_values, max_size=3), min_size=1, max_size=5))
def test_objects_written_at_once_are_those_written_one_by_one(objects: list[Any]) -> None:
    expected = [dump_json(one) for one in objects]
    assert dump_json_each(objects) == expected
    assert list(plain(Document(), objects, DIALECTS[0])) == expected


def test_metadata_that_holds_the_mark_of_the_cut_stays_whole() -> None:
    objects: list[dict[str, Any]] = [{"a": [1, _CUT, 2]}, {"b": _CUT}, {_CUT: [_CUT, {}]}]
    assert [json.loads(text) for text in dump_json_each(objects)] == objects


def _read_copy(text: str) -> list[list[str | None]]:
    """Read COPY's text format as PostgreSQL's manual tells it, for the escapes that we write."""
    letters = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    rows = []
    for line in text.splitlines() if not text else text[:-1].split("\n"):
        row: list[str | None] = []
        for cell in line.split("\t"):
            parts = iter(cell)
            whole = "".join(
                letters[next(parts)] if c == "\\" else c for c in parts if cell != r"\N"
            )
            row.append(None if cell == r"\N" else whole)
        rows.append(row)
    return rows


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text("ab\\\t\n\rN\x08é")), st.text("\\\t\n\r"), st.integers()
        ),
        min_size=1,
    )
)
def test_copy_reads_what_was_written(rows: list[tuple[str | None, str, int]]) -> None:
    columns = dict(zip("abc", zip(*rows, strict=True), strict=True))
    assert _read_copy("".join(copy_lines(columns))) == [[a, b, str(c)] for a, b, c in rows]


def test_many_lines_come_in_pieces() -> None:
    numbers = list(range(1234))
    pieces = list(copy_lines({"a": numbers, "b": ["x"] * 1234}))
    assert len(pieces) > 2
    assert "".join(pieces) == "".join(f"{n}\tx\n" for n in numbers)
