"""Paths into metadata as SQL: the same expression in queries and in indexes, on both databases.

A path is written into the statement, safely quoted, and not bound: only then does the database see that an
index is of this expression. What Micro-Manager says of a frame lies in an object of its own, as imagingDB
kept it; a path that finds nothing at the top looks there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Dialect, Text, and_, cast, func, literal, literal_column
from sqlalchemy.orm import InstrumentedAttribute

from imaging_db.catalog.functions import JSON_TYPE, JSON_VALUE
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FrameRow
from imaging_db.catalog.types import CleanText
from imaging_db.model.fields import Field

Path: TypeAlias = "tuple[str | int, ...]"
Condition: TypeAlias = ColumnElement[bool]

_DOCUMENTS: dict[str, tuple[InstrumentedAttribute[Any], str | None]] = {
    "meta": (FrameRow.metadata_json, "MicroManagerMetadata"),
    "global": (AcquisitionRow.metadata_json, "IJMetadata"),
    "dataset": (DatasetRow.metadata_json, None),
}
"""The column of each root, and the key below which a path is looked for, too."""

_ODD = re.compile(r"[\"\\\x00-\x1f]")  # JSON writes these as escapes, which old SQLites do not read


def is_odd(field: Field) -> bool:
    """Return True for a path that SQLite cannot follow by itself."""
    return any(isinstance(part, str) and _ODD.search(part) for part in field.path)


class JSONField:
    """One path into metadata as SQL of one database: its value, its type, comparisons with it."""

    def __init__(self, field: Field, dialect: Dialect) -> None:
        column, below = _DOCUMENTS[field.name]
        paths = [field.path]
        if below is not None and field.path[0] != below:
            paths.append((below, *field.path))
        self._sqlite = dialect.name == "sqlite"
        self.value: ColumnElement[Any]
        if self._sqlite:
            value, kind = (
                (JSON_VALUE, JSON_TYPE) if is_odd(field) else ("json_extract", "json_type")
            )
            self.value = _first([_called(value, column, path) for path in paths])
            kinds = [func.nullif(_called(kind, column, path), "null") for path in paths]
            self._type = _first(kinds)
        else:
            null: ColumnElement[Any] = literal_column("'null'::jsonb")
            self.value = _first([func.nullif(_arrows(column, path), null) for path in paths])

    def is_missing(self) -> Condition:
        """Return the condition that there is nothing, or null."""
        return self.value.is_(None) if not self._sqlite else self._type.is_(None)

    def flag(self, value: bool) -> Condition:
        """Return the condition that it is true, or false."""
        if self._sqlite:
            return self._type == literal("true" if value else "false", Text())
        return self.value == self._jsonb_of(value)

    def number(self, operator: str, value: float) -> Condition:
        """Return the condition that it is a number that compares so."""
        is_number: Condition
        if self._sqlite:
            is_number = self._type.in_(["integer", "real"])
            return and_(self.value.op(operator, is_comparison=True)(value), is_number)
        is_number = func.jsonb_typeof(self.value) == literal_column("'number'")
        return and_(self.value.op(operator, is_comparison=True)(self._jsonb_of(value)), is_number)

    def equals_text(self, value: str) -> Condition:
        """Return the condition that it is this text."""
        if self._sqlite:
            return and_(self.value == literal(value, CleanText()), self._is_text())
        return self.value == func.to_jsonb(cast(literal(value, CleanText()), Text()))

    def if_text(self, condition: Condition) -> Condition:
        """Return a condition on `text`, and that it is a text."""
        return and_(condition, self._is_text())

    @property
    def text(self) -> ColumnElement[Any]:
        """Return its characters, where it is a text."""
        if self._sqlite:
            return cast(self.value, Text())
        return self.value.op("#>>", return_type=Text())(literal_column("'{}'"))

    def _is_text(self) -> Condition:
        if self._sqlite:
            return self._type == literal_column("'text'")
        return func.jsonb_typeof(self.value) == literal_column("'string'")

    def _jsonb_of(self, value: float) -> ColumnElement[Any]:
        return cast(literal(json.dumps(value), Text()), _jsonb())


def quoted(text: str) -> str:
    """Return a text as a literal of SQL; both databases read a backslash as itself."""
    return "'" + text.replace("'", "''") + "'"


def _jsonb() -> Any:
    from sqlalchemy.dialects.postgresql import JSONB  # 30 ms

    return JSONB()


def _first(values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return values[0] if len(values) == 1 else func.coalesce(*values)


def _called(function: str, column: InstrumentedAttribute[Any], path: Path) -> ColumnElement[Any]:
    """Return a function of SQLite, or ours in it, of a document and a path."""
    if function in (JSON_VALUE, JSON_TYPE):
        spelled = json.dumps([_clean(part) for part in path])
    else:
        spelled = "$" + "".join(map(_step, path))
    called: ColumnElement[Any] = getattr(func, function)(column, literal_column(quoted(spelled)))
    return called


def _arrows(column: InstrumentedAttribute[Any], path: Path) -> ColumnElement[Any]:
    """Return what PostgreSQL's arrows lead to, and from the first place in a list on its strict paths.

    A number behind an arrow would also lead from a value that is no list to itself.
    """
    found: ColumnElement[Any] = column.expression
    for number, part in enumerate(path):
        if isinstance(part, int):
            rest = quoted("strict $" + "".join(map(_step, path[number:])))
            told: list[ColumnElement[Any]] = [
                literal_column(one) for one in (f"{rest}::jsonpath", "'{}'::jsonb", "true")
            ]
            return func.jsonb_path_query_first(found, *told, type_=_jsonb())
        key: ColumnElement[Any] = literal_column(quoted(str(_clean(part))))
        found = found.op("->", precedence=100, return_type=_jsonb())(key)
    return found


def _step(part: str | int) -> str:
    """Return a part of a path as both databases spell paths."""
    return (
        f"[{part}]" if isinstance(part, int) else f".{json.dumps(_clean(part), ensure_ascii=False)}"
    )


def _clean(part: str | int) -> str | int:
    """Return a part as a database keeps it."""
    if isinstance(part, int):
        return part
    return CleanText().process_bind_param(part, None) or ""  # type: ignore[arg-type]
