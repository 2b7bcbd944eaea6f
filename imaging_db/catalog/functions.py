"""SQL functions that the two databases spell differently."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Float, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from imaging_db.catalog.types import CleanText, UTCDateTime

CONTAINS = "imaging_db_contains"
"""Name of the function that `imaging_db.catalog.engine` registers in every SQLite connection."""

JSON_VALUE, JSON_TYPE = "imaging_db_json_value", "imaging_db_json_type"
"""Names of the functions that do what ``json_extract`` and ``json_type`` do, for any key."""


class UtcNow(FunctionElement[datetime]):
    """The database's clock, in UTC, at the start of the statement rather than of the transaction."""

    name = "utc_now"
    type = UTCDateTime()
    inherit_cache = True


class SecondsSince(FunctionElement[float]):
    """How long ago, by the database's clock, an instant was; negative where it is still to come."""

    name = "seconds_since"
    type = Float()
    inherit_cache = True


class ContainsText(FunctionElement[bool]):
    """Whether a text holds another, without regard to case; no character is a wildcard.

    A to Z fold alike everywhere, other letters by Python's rules on SQLite, and by those of the
    database's locale on PostgreSQL.
    """

    name = "contains_text"
    type = Boolean()
    inherit_cache = True


class ListHoldsText(FunctionElement[bool]):
    """Whether one of the texts in a list of JSON holds another text, as `ContainsText` does."""

    name = "list_holds_text"
    type = Boolean()
    inherit_cache = True


class ByCodes(FunctionElement[str]):
    """A text that is compared and ordered by the codes of its characters, in every locale."""

    name = "by_codes"
    type = CleanText()
    inherit_cache = True


class FoldedASCII(FunctionElement[str]):
    """A text with A to Z in lower case; every other character stays, in every locale."""

    name = "folded_ascii"
    type = CleanText()
    inherit_cache = True


def contains_text(
    column: ColumnElement[Any] | InstrumentedAttribute[Any], needle: str
) -> ContainsText:
    """Return the condition that ``column`` holds ``needle``."""
    return ContainsText(column, literal(needle, CleanText()))


def list_holds_text(column: InstrumentedAttribute[Any], needle: str) -> ListHoldsText:
    """Return the condition that one of the texts in the JSON list ``column`` holds ``needle``."""
    return ListHoldsText(column, literal(needle, CleanText()))


def now(connection: Connection) -> datetime:
    """Return the time by the database's clock, in UTC."""
    return connection.execute(select(UtcNow())).scalar_one()


def fold_contains(text: str | None, needle: str) -> bool:
    """Return whether ``text`` holds ``needle`` once both are case-folded; this is SQLite's half."""
    return text is not None and needle.casefold() in text.casefold()


def json_value(text: str | None, path: str) -> Any:
    """Return what ``json_extract`` would for a path, which is a JSON list of keys and indices."""
    found = _led_to(text, path)
    if isinstance(found, (dict, list)):
        return json.dumps(found)
    return found if not isinstance(found, int) or found.bit_length() < 64 else float(found)


def json_type(text: str | None, path: str) -> str | None:
    """Return what ``json_type`` would for a path, of what can be compared; None for all else."""
    found = _led_to(text, path)
    if isinstance(found, bool):
        return str(found).lower()
    names = {str: "text", int: "integer", float: "real", list: "array", dict: "object"}
    return names.get(type(found))


def _led_to(text: str | None, path: str) -> Any:
    """Return what lies at the end of a path, None where it leads nowhere."""
    found: Any = None if text is None else json.loads(text)
    for part in json.loads(path):
        if isinstance(part, str):
            found = found.get(part) if isinstance(found, dict) else None
        elif isinstance(found, list) and part < len(found):
            found = found[part]
        else:
            found = None
    return found


@compiles(UtcNow, "postgresql")
def _now_postgresql(element: UtcNow, compiler: SQLCompiler, **options: Any) -> str:
    return "timezone('utc', statement_timestamp())"


@compiles(UtcNow, "sqlite")
def _now_sqlite(element: UtcNow, compiler: SQLCompiler, **options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(SecondsSince, "postgresql")
def _since_postgresql(element: SecondsSince, compiler: SQLCompiler, **options: Any) -> str:
    instant = compiler.process(element.clauses, **options)
    return f"CAST(extract(epoch FROM timezone('utc', clock_timestamp()) - ({instant})) AS float)"


@compiles(SecondsSince, "sqlite")
def _since_sqlite(element: SecondsSince, compiler: SQLCompiler, **options: Any) -> str:
    instant = compiler.process(element.clauses, **options)
    return f"((julianday('now') - julianday({instant})) * 86400.0)"


@compiles(FoldedASCII, "postgresql")
def _folded_postgresql(element: FoldedASCII, compiler: SQLCompiler, **options: Any) -> str:
    return f'lower(({compiler.process(element.clauses, **options)}) COLLATE "C")'


@compiles(FoldedASCII, "sqlite")
def _folded_sqlite(element: FoldedASCII, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(ContainsText, "postgresql")
def _contains_postgresql(element: ContainsText, compiler: SQLCompiler, **options: Any) -> str:
    text, needle = (compiler.process(part, **options) for part in element.clauses)
    return _holds_postgresql(text, needle)


@compiles(ContainsText, "sqlite")
def _contains_sqlite(element: ContainsText, compiler: SQLCompiler, **options: Any) -> str:
    return f"{CONTAINS}({compiler.process(element.clauses, **options)})"


def _holds_postgresql(text: str, needle: str) -> str:
    """Return SQL that a text holds another; A to Z first, for they fold otherwise in Turkish."""
    folded = (f'lower(lower(({one}) COLLATE "C") COLLATE "default")' for one in (text, needle))
    return f"(strpos({', '.join(folded)}) > 0)"


@compiles(ListHoldsText, "postgresql")
def _list_holds_postgresql(element: ListHoldsText, compiler: SQLCompiler, **options: Any) -> str:
    names, needle = (compiler.process(part, **options) for part in element.clauses)
    elements = f"CASE jsonb_typeof({names}) WHEN 'array' THEN {names} ELSE '[]' END"
    holds = _holds_postgresql("held #>> '{}'", needle)
    return (
        f"EXISTS (SELECT 1 FROM jsonb_array_elements({elements}) AS listed(held) "  # noqa: S608
        f"WHERE jsonb_typeof(held) = 'string' AND {holds})"
    )


@compiles(ListHoldsText, "sqlite")
def _list_holds_sqlite(element: ListHoldsText, compiler: SQLCompiler, **options: Any) -> str:
    names, needle = (compiler.process(part, **options) for part in element.clauses)
    return (
        f"EXISTS (SELECT 1 FROM json_each({names}) AS listed "  # noqa: S608
        f"WHERE listed.type = 'text' AND {CONTAINS}(listed.value, {needle}))"
    )


@compiles(ByCodes, "postgresql")
def _by_codes_postgresql(element: ByCodes, compiler: SQLCompiler, **options: Any) -> str:
    return f'(({compiler.process(element.clauses, **options)}) COLLATE "C")'


@compiles(ByCodes, "sqlite")
def _by_codes_sqlite(element: ByCodes, compiler: SQLCompiler, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))
