"""Columns of values on their way into a table: as a driver takes them, and as the text of COPY.

The bind processors of the column types say how a Python value is kept. A call for each value would cost
more than the database does, so a column passes as it is where one look at all of it shows that its
processors would change nothing; every other column goes through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Dialect
from sqlalchemy.types import TypeEngine

from imaging_db.catalog.types import (
    LARGEST_INTEGER,
    BigWhole,
    CleanText,
    Document,
    Real,
    Whole,
    dump_json_each,
)

Column: TypeAlias = Sequence[Any]

_NOTHING = {type(None)}
_JSON_AT_ONCE = 500
_COPY_AT_ONCE = 500


def plain(kind: TypeEngine[Any], values: Column, dialect: Dialect) -> Column:
    """Return what the bind processor of ``kind`` makes of each value."""
    if isinstance(kind, Document):
        return _json(kind, values, dialect)
    unchanged = _UNCHANGED.get(type(kind))
    if unchanged is not None and unchanged(values):
        return values
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    if process is None:
        return values
    known = {value: process(value) for value in set(values)}  # most columns repeat few values
    return list(map(known.__getitem__, values))


def copy_lines(columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield plain columns, in their order, as lines of COPY's text format, some hundred lines a piece."""
    (length,) = {len(values) for values in columns.values()}
    for start in range(0, length, _COPY_AT_ONCE):
        end = start + _COPY_AT_ONCE
        cells = [_copy_cells(values[start:end]) for values in columns.values()]
        yield "\n".join(map("\t".join, zip(*cells, strict=True)))
        yield "\n"


def _json(kind: TypeEngine[Any], values: Column, dialect: Dialect) -> Column:
    if set(map(type, values)) != {dict}:
        process: Any = kind.dialect_impl(dialect).bind_processor(dialect)
        return [None if value is None else process(value) for value in values]
    found: list[str] = []
    for start in range(0, len(values), _JSON_AT_ONCE):
        found += dump_json_each(values[start : start + _JSON_AT_ONCE])
    return found


def _whole(values: Column) -> bool:
    kinds = set(map(type, values))
    return kinds == _NOTHING or (
        kinds == {int} and min(values) >= -LARGEST_INTEGER - 1 and max(values) <= LARGEST_INTEGER
    )


def _big_whole(values: Column) -> bool:
    return set(map(type, values)) <= {int, type(None)}


def _real(values: Column) -> bool:
    kinds = set(map(type, values))
    return kinds == _NOTHING or (kinds == {float} and (total := sum(values)) == total)


def _clean_text(values: Column) -> bool:
    kinds = set(map(type, values))
    if kinds != {str}:
        return kinds == _NOTHING
    text = "".join(values)
    return text.isascii() and "\x00" not in text


_UNCHANGED: dict[type[TypeEngine[Any]], Callable[[Column], bool]] = {
    Whole: _whole,
    BigWhole: _big_whole,
    Real: _real,
    CleanText: _clean_text,
}


def _copy_cells(values: Column) -> Sequence[str]:
    kinds = set(map(type, values))
    if kinds == {str}:
        return _escaped(values)
    if kinds == _NOTHING:
        return [r"\N"] * len(values)
    if type(None) in kinds or str in kinds:
        return [
            r"\N"
            if value is None
            else _escaped([value])[0]
            if isinstance(value, str)
            else str(value)
            for value in values
        ]
    distinct = set(values)
    if kinds == {int} and 2 * len(distinct) < len(values):
        known = {value: str(value) for value in distinct}
        return list(map(known.__getitem__, values))
    return list(map(str, values))


def _escaped(texts: Sequence[str]) -> Sequence[str]:
    """Return texts with the escapes of COPY; no text holds NUL, which PostgreSQL has no room for."""
    joined = "\x00".join(texts)
    if not any(character in joined for character in "\\\t\n\r"):
        return texts
    joined = joined.replace("\\", r"\\").replace("\t", r"\t")
    return joined.replace("\n", r"\n").replace("\r", r"\r").split("\x00")
