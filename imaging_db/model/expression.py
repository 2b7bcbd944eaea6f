"""Expressions: what a query asks, as a tree; `str` gives text that parses to the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from imaging_db.model.fields import Field
from imaging_db.model.selection import IndexRange


class Edge(Enum):
    """A place among the indices that a dataset has: ``mid`` is the middle one, of two the lower."""

    FIRST = "first"
    MID = "mid"
    LAST = "last"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Glob:
    r"""A text with wildcards: ``*`` any characters, ``?`` one; behind a backslash they are themselves."""

    pattern: str

    def __str__(self) -> str:
        return '"' + self.pattern.replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Period:
    """A time as precise as it was written: from ``start`` on, before ``end``; both aware, in UTC."""

    text: str
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f'"{self.text}"'


Value: TypeAlias = "str | int | float | bool | Glob | Period | IndexRange | Edge"
Expression: TypeAlias = "And | Or | Not | Comparison | Missing | Mention"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field beside values. With ``=`` one of them fits, with ``!=`` none; others have one value."""

    field: Field
    operator: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.field} {self.operator} {', '.join(map(_spelled, self.values))}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A field has no value."""

    field: Field

    def __str__(self) -> str:
        return f"{self.field} is null"


@dataclass(frozen=True, slots=True)
class Mention:
    """The dataset mentions a text somewhere."""

    text: str

    def __str__(self) -> str:
        return _spelled(self.text)


@dataclass(frozen=True, slots=True)
class Not:
    """The other is not true."""

    part: Expression

    def __str__(self) -> str:
        return f"not {_nested(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """All parts are true."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " and ".join(_nested(part, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """One part is true."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.parts))


def all_of(parts: list[Expression]) -> Expression:
    """Return what is true where all parts are; one part is itself."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, And) else (part,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(parts: list[Expression]) -> Expression:
    """Return what is true where one part is; one part is itself."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, Or) else (part,))]
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def conditions_of(expression: Expression) -> Iterator[Comparison | Missing | Mention]:
    """Yield every condition in an expression."""
    if isinstance(expression, (And, Or)):
        for part in expression.parts:
            yield from conditions_of(part)
    elif isinstance(expression, Not):
        yield from conditions_of(expression.part)
    else:
        yield expression


def asks_frames(expression: Expression) -> bool:
    """Return True where frames of one dataset may differ in whether they fit."""
    return any(
        not isinstance(one, Mention) and one.field.level.of_frames
        for one in conditions_of(expression)
    )


def asks_edges(expression: Expression) -> bool:
    """Return True where the first, middle or last of an axis is asked for."""
    return any(
        isinstance(one, Comparison) and any(isinstance(value, Edge) for value in one.values)
        for one in conditions_of(expression)
    )


def without_edges(expression: Expression) -> Expression | None:
    """Return what is true at least wherever an expression is, without edges; None for all there is."""
    if isinstance(expression, (And, Or)):
        found = [without_edges(part) for part in expression.parts]
        parts = [part for part in found if part is not None]
        if isinstance(expression, And):
            return all_of(parts) if parts else None
        return any_of(parts) if len(parts) == len(found) else None
    return None if asks_edges(expression) else expression


def _nested(part: Expression, *looser: type) -> str:
    return f"({part})" if isinstance(part, looser) else str(part)


def _spelled(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + re.sub(r'(["\\*?])', r"\\\1", value) + '"'
    return repr(value) if isinstance(value, float) else str(value)
