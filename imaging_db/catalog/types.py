"""Column types: the one place where Python values become what both databases keep alike.

NumPy's integers are made plain here. The SQLite driver would store ``np.int64(2)`` as eight raw bytes,
and a later ``WHERE channel_idx = 2`` would find nothing, without any error.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Float, Integer, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from imaging_db.model import clean_json

LARGEST_INTEGER = 2**31 - 1


class Document(TypeDecorator[Any]):
    """JSON text on SQLite, JSONB on PostgreSQL, whose module is only imported there: 30 ms."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that a database keeps JSON in."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON())
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB())


BIG_KEY = BigInteger().with_variant(Integer(), "sqlite")
"""A primary key of 64 bits; SQLite numbers rows by itself only where the type is INTEGER."""

_CUT = "-- cut here: 7c1d9e --"
_write = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,  # what holds itself is nested too deep, and ends in a RecursionError
).encode


class Whole(TypeDecorator[int]):
    """A whole number of 32 bits, also when it comes from NumPy."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        """Return a plain int; OverflowError beyond 32 bits, which SQLite alone would accept."""
        if value is None:
            return None
        number = int(operator.index(value))  # a bool stays one without int
        if not -LARGEST_INTEGER - 1 <= number <= LARGEST_INTEGER:
            raise OverflowError(f"{number} does not fit into a column of 32 bits")
        return number


class BigWhole(TypeDecorator[int]):
    """A whole number of 64 bits, such as a size in bytes, also when it comes from NumPy."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        """Return a plain int."""
        return None if value is None else int(operator.index(value))


class Real(TypeDecorator[float]):
    """A floating-point number, also when it comes from NumPy. SQLite knows no NaN, so neither has one."""

    impl = Float
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> float | None:
        """Return a plain float, None for NaN."""
        if value is None:
            return None
        number = float(value)
        return None if math.isnan(number) else number


class CleanText(TypeDecorator[str]):
    """Text that both databases accept: NUL and lone surrogates become U+FFFD."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text without what PostgreSQL refuses."""
        if value is None:
            return None
        return value if value.isascii() and "\x00" not in value else str(clean_json(value))


class UTCDateTime(TypeDecorator[datetime]):
    """An instant: aware in, aware and in UTC out, kept without a zone as imagingDB's columns are."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant in UTC without its zone; ValueError for a time that has none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant as an aware time in UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


def dump_json(value: Any) -> str:
    """Return JSON text that JSONB accepts; see `imaging_db.model.clean_json` for what changes.

    What is clean already, nearly everything, is written at the speed of the C encoder; only where that
    fails, or where JSONB would refuse the text, is the value cleaned first.
    """
    try:
        text = _write(value)
    except (TypeError, ValueError, RecursionError):
        return _write(clean_json(value))
    if "\\u0000" in text or not _encodable(text):
        return _write(clean_json(value))
    return text


def dump_json_each(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return the JSON text of each object, as `dump_json` writes it, with one call of the encoder.

    A string between the objects tells where the text is to be cut. Where metadata holds that string too,
    the pieces are too many, and every object is written by itself.
    """
    spaced: list[Any] = [_CUT] * (2 * len(objects) - 1)
    spaced[::2] = objects
    try:
        text = _write(spaced)
    except (TypeError, ValueError, RecursionError):
        return list(map(dump_json, objects))
    pieces = text[1:-1].split(f', "{_CUT}", ')
    if len(pieces) != len(objects) or "\\u0000" in text or not _encodable(text):
        return list(map(dump_json, objects))
    return pieces


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
