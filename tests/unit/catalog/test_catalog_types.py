"""Column types: what goes in, what a database keeps, what comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, MetaData, Table, create_engine, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from imaging_db.catalog.functions import SecondsSince, UtcNow, contains_text, fold_contains
from imaging_db.catalog.types import (
    BigWhole,
    CleanText,
    Real,
    UTCDateTime,
    Whole,
    dump_json,
    dump_json_each,
)

values = Table(
    "v",
    MetaData(),
    Column("whole", Whole()),
    Column("big", BigWhole()),
    Column("real", Real()),
    Column("words", CleanText()),
    Column("time", UTCDateTime()),
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A SQLite database in memory, which keeps whatever it is given."""
    engine = create_engine("sqlite://")
    with engine.connect() as opened:
        values.create(opened)
        yield opened
    engine.dispose()


def _kept(connection: Connection, column: str, value: Any) -> tuple[Any, Any]:
    """Return what SQLite keeps of a value, and the name that it has for its kind."""
    connection.execute(insert(values).values({column: value}))
    row = connection.exec_driver_sql(f"SELECT {column}, typeof({column}) FROM v").one()
    return row[0], row[1]


@pytest.mark.parametrize("kind", [int, np.int8, np.uint16, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("column", ["whole", "big"])
def test_a_whole_number_of_any_kind_is_kept_as_one(
    connection: Connection, column: str, kind: Any
) -> None:
    assert _kept(connection, column, kind(7)) == (7, "integer")
    assert connection.scalar(select(values.c[column]).where(values.c[column] == kind(7))) == 7


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, int, np.int64])
def test_a_number_of_any_kind_is_kept_as_a_float(connection: Connection, kind: Any) -> None:
    assert _kept(connection, "real", kind(2)) == (2.0, "real")


def test_what_is_no_whole_number_is_refused() -> None:
    for value in (1.5, "1", np.float64(1)):
        with pytest.raises(TypeError):
            Whole().process_bind_param(value, sqlite.dialect())


def test_a_number_that_only_sqlite_would_take_is_refused() -> None:
    assert Whole().process_bind_param(2**31 - 1, sqlite.dialect()) == 2**31 - 1
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(OverflowError, match="32 bits"):
            Whole().process_bind_param(value, sqlite.dialect())


def test_nothing_stays_nothing(connection: Connection) -> None:
    connection.execute(
        insert(values).values(whole=None, big=None, real=None, words=None, time=None)
    )
    assert tuple(connection.execute(select(values)).one()) == (None,) * 5


def test_a_time_comes_back_in_utc(connection: Connection) -> None:
    summer = datetime(2018, 6, 8, 17, 45, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert _kept(connection, "time", summer)[0] == "2018-06-08 15:45:00.123456"
    found = connection.scalar(select(values.c.time))
    assert found == summer
    assert found is not None and found.tzinfo is UTC


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        UTCDateTime().process_bind_param(datetime(2018, 6, 8), sqlite.dialect())


def test_the_databases_clock_is_read_in_utc(connection: Connection) -> None:
    connection.execute(insert(values).values(time=UtcNow()))
    found = connection.scalar(select(values.c.time))
    assert found is not None and abs((datetime.now(UTC) - found).total_seconds()) < 5
    ago = connection.scalar(select(SecondsSince(values.c.time)))
    assert ago is not None and -0.1 < ago < 5


@pytest.mark.parametrize(
    ("text", "needle", "found"),
    [
        ("100% of it", "0% OF", True),
        ("100 of it", "0% of", False),
        ("a_b", "a_b", True),
        ("axb", "a_b", False),
        ("STRASSE", "straße", True),
        ("Äpfel", "äp", True),
        ("", "", True),
        (None, "", False),
        (None, "x", False),
    ],
)
def test_a_text_that_holds_another(text: str | None, needle: str, found: bool) -> None:
    assert fold_contains(text, needle) is found


@pytest.mark.fault("S1")
def test_no_word_of_the_user_becomes_sql() -> None:
    condition = contains_text(literal("x"), "'; DROP TABLE frames; --")
    for dialect in (postgresql.dialect(), sqlite.dialect()):  # type: ignore[no-untyped-call]
        assert "DROP" not in str(condition.compile(dialect=dialect))


# --- JSON


def test_clean_json_is_written_as_it_is() -> None:
    value = {"a": [1, 2.5, None, True, "é 🔬"], "b": {"c": "\t\\u0000"}}
    assert json.loads(dump_json(value)) == value
    assert "é 🔬" in dump_json(value)  # so that it can be searched for


@pytest.mark.fault("M7")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"x": math.nan}, {"x": "NaN"}),
        ({"x": [math.inf, -math.inf]}, {"x": ["Infinity", "-Infinity"]}),
        ({"x": "a\x00b"}, {"x": "a\ufffdb"}),
        ({"x\x00": 1}, {"x\ufffd": 1}),
        ({"x": "\ud83d"}, {"x": "\ufffd"}),
        ({"x": np.int64(3)}, {"x": 3}),
        ({"x": np.arange(3)}, {"x": [0, 1, 2]}),
        ({"x": {1}}, {"x": [1]}),
        ({"x": (1, 2)}, {"x": [1, 2]}),
        ({"x": b"abc"}, {"x": "abc"}),
        ({"x": PurePosixPath("/a/b")}, {"x": "/a/b"}),
        ({1: 2}, {"1": 2}),
    ],
    ids=str,
)
def test_what_jsonb_refuses_is_replaced(value: Any, written: Any) -> None:
    assert json.loads(dump_json(value)) == written


def test_json_that_is_nested_too_deep_is_refused() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested deeper"):
        dump_json(value)


def test_json_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append(value)
    for write in (dump_json, lambda one: dump_json_each([one, {}])):
        with pytest.raises(ValueError, match="nested deeper"):
            write(value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=20,
)


@settings(database=None)
@given(anything)
def test_whatever_is_written_can_be_kept_and_read(value: Any) -> None:
    text = dump_json(value)
    text.encode()
    kept = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in {text}"))
    assert "\x00" not in str(kept)


@settings(database=None)
@given(st.text(st.characters()))
def test_text_is_kept_or_replaced_but_never_refused(text: str) -> None:
    kept = CleanText().process_bind_param(text, sqlite.dialect())
    assert kept is not None
    assert "\x00" not in kept
    assert len(kept.encode()) >= len(kept)
    if "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text):
        assert kept == text
