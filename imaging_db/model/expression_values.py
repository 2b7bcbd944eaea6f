"""Values of a query: what a word beside a field means, by the kind of the field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from imaging_db.model.expression import Edge, Glob, Period, Value
from imaging_db.model.expression_tokens import Sort, Token
from imaging_db.model.fields import Field, Kind
from imaging_db.model.selection import IndexRange

ORDERED = ("<", "<=", ">", ">=")
OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("=", "!=", *ORDERED, "~"),
    Kind.NUMBER: ("=", "!=", *ORDERED),
    Kind.INDEX: ("=", "!=", *ORDERED),
    Kind.TIME: ("=", "!=", *ORDERED),
    Kind.FLAG: ("=", "!="),
    Kind.TAG: ("=", "!=", "~"),
    Kind.NOTE: ("=", "!=", "~"),
    Kind.JSON: ("=", "!=", *ORDERED, "~"),
}
_LARGEST = 2**63 - 1
LONGEST_PATTERN = 40_000
"""Bytes of a pattern, as SQLite gets it; it refuses longer ones than 50 000."""
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_RANGE = re.compile(r"([0-9]*):([0-9]*)(?::([0-9]*))?", re.ASCII)
_TIME = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2}))?)?Z?)?)?)?",
    re.ASCII,
)
_STEPS = (None, None, None, timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))


class Unfit(ValueError):
    """A word is no value of a field; the message tells what it would have to be."""


def value_of(field: Field, operator: str, token: Token) -> Value:
    """Return what a word means beside a field.

    Raises
    ------
    Unfit
        It does not fit the field, or the operator.
    """
    if operator == "~":
        return _text(field, operator, token)
    return _READ[field.kind](field, operator, token)


def _text(field: Field, operator: str, token: Token) -> Value:
    if field.choices and operator in ("=", "!=") and token.glob is None:
        if token.text not in field.choices:
            raise Unfit(f"{field} is {' or '.join(field.choices)}, not {token.text!r}")
        return token.text
    if token.glob is not None and operator in ("=", "!="):
        return _glob(re.sub(r"(?<!\\)((?:\\\\)*)\*+", r"\1*", token.glob))
    return token.text


def _glob(pattern: str) -> Glob:
    """Return a pattern that is not too long for a database: it may write one character as three."""
    wide = len(re.findall(r"\\.|[\[\x00]", pattern, re.DOTALL))
    if len(pattern.encode(errors="surrogatepass")) + 2 * wide > LONGEST_PATTERN:
        raise Unfit(f"a pattern is longer than {LONGEST_PATTERN} bytes")
    return Glob(pattern)


def _number(field: Field, operator: str, token: Token) -> Value:
    found = number_in(token)
    if found is None:
        raise Unfit(f"{field} is a number, not {token.text!r}")
    return found


def number_in(token: Token) -> int | float | None:
    """Return the number that a word without quotes spells, None for other words.

    Raises
    ------
    Unfit
        It is too large for any database.
    """
    if token.sort is Sort.QUOTED or not _NUMBER.fullmatch(token.text):
        return None
    if _INTEGER.fullmatch(token.text):
        return _whole(token.text)
    found = float(token.text)
    if math.isinf(found):
        raise Unfit(f"{token.text} is larger than any number here")
    return found


def _whole(text: str) -> int:
    found = int(text) if len(text) < 25 else _LARGEST + 1
    if not -_LARGEST <= found <= _LARGEST:
        raise Unfit(f"{text[:24]} does not fit into 64 bits")
    return found


def _index(field: Field, operator: str, token: Token) -> Value:
    equal = operator in ("=", "!=")
    word = token.text.lower()
    if equal and token.sort is Sort.WORD and word in ("first", "mid", "last"):
        return Edge(word)
    if token.sort is Sort.WORD and _INTEGER.fullmatch(token.text):
        number = _whole(token.text)
        if not equal:
            return number
        if 0 <= number < _LARGEST:
            return IndexRange(number, number + 1)
    shape = _RANGE.fullmatch(token.text) if equal and token.sort is Sort.WORD else None
    if shape is None:
        ranges = ", a range such as 0:10 or ::2, first, mid or last" if equal else ""
        raise Unfit(f"{field} is a whole number from 0{ranges}, not {token.text!r}")
    return _range(field, token.text, [_whole(part) if part else None for part in shape.groups()])


def _range(field: Field, text: str, parts: list[int | None]) -> IndexRange:
    start, stop, step = parts[0] or 0, parts[1], 1 if parts[2] is None else parts[2]
    if step < 1 or (stop is not None and stop <= start):
        raise Unfit(f"{text} holds no {field}; the end of a range is not part of it")
    return IndexRange(start, stop, 1 if stop == start + 1 else step)


def _time(field: Field, operator: str, token: Token) -> Value:
    shape = _TIME.fullmatch(token.text)
    period = _period(shape) if shape else None
    if period is None:
        raise Unfit(f"{field} is a date such as 2024, 2024-01 or 2024-01-31, not {token.text!r}")
    return period


def _period(shape: re.Match[str]) -> Period | None:
    numbers = [int(part) for part in shape.groups() if part is not None]
    year, month, day, hour, minute, second = [*numbers, *(0, 1, 1, 0, 0, 0)[len(numbers) :]]
    try:
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return Period(shape[0], start, _end(start, len(numbers)))


def _end(start: datetime, precision: int) -> datetime:
    """Return where a period of so many parts ends: a year, a month, a day, an hour ..."""
    try:
        if precision == 1:
            return start.replace(year=start.year + 1)
        if precision == 2:
            following = start.replace(day=1) + timedelta(days=31)
            return following.replace(day=1)
        return start + (_STEPS[precision - 1] or timedelta(days=1))
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC)


def _flag(field: Field, operator: str, token: Token) -> Value:
    found = flag_in(token)
    if found is None:
        raise Unfit(f"{field} is true or false, not {token.text!r}")
    return found


def flag_in(token: Token) -> bool | None:
    """Return what ``true`` and ``false`` mean, None for other words."""
    return (
        {"true": True, "false": False}.get(token.text.lower()) if token.sort is Sort.WORD else None
    )


def _json(field: Field, operator: str, token: Token) -> Value:
    flag = flag_in(token)
    if flag is not None:
        if operator in ORDERED:
            raise Unfit(f"{token.text} has no order; write = or !=")
        return flag
    number = number_in(token)
    return _text(field, operator, token) if number is None else number


_READ: dict[Kind, Callable[[Field, str, Token], Value]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.INDEX: _index,
    Kind.TIME: _time,
    Kind.FLAG: _flag,
    Kind.TAG: _text,
    Kind.NOTE: _text,
    Kind.JSON: _json,
}
