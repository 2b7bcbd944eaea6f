"""Expressions as SQL conditions; every value is a bound parameter.

A comparison with NULL is NULL in SQL, which counts as false wherever rows are chosen. Only ``not`` would
let it through, so only there it is asked whether something IS NOT true.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from imaging_db.catalog.expression_columns import COLUMNS, INDICES, INHERITED, globbed
from imaging_db.catalog.functions import ByCodes, contains_text, list_holds_text
from imaging_db.catalog.json_paths import JSONField
from imaging_db.catalog.tables import AcquisitionRow, AnnotationRow, DatasetRow, FrameRow
from imaging_db.catalog.types import BigWhole, CleanText, UTCDateTime
from imaging_db.model.expression import (
    And,
    Comparison,
    Edge,
    Expression,
    Glob,
    Mention,
    Missing,
    Not,
    Or,
    Period,
    Value,
    asks_frames,
    conditions_of,
)
from imaging_db.model.fields import Field, Kind, Level
from imaging_db.model.selection import IndexRange

Condition: TypeAlias = ColumnElement[bool]
_COMPARE: dict[str, Callable[[Any, Any], Condition]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Compiler:
    """Turns expressions into conditions on `DatasetRow`, `AcquisitionRow` and `FrameRow`.

    ``of_files`` says that the datasets hold files: what is said of acquisitions and frames is missing.
    """

    dialect: Dialect
    of_files: bool = False

    def condition(self, expression: Expression) -> Condition:
        """Return the condition that rows fit; where they do not it is false or NULL."""
        if isinstance(expression, And):
            return and_(true(), *map(self.condition, sorted(expression.parts, key=_cost)))
        if isinstance(expression, Or):
            return or_(false(), *map(self.condition, expression.parts))
        if isinstance(expression, Not):
            return self.condition(expression.part).is_not(true())
        if isinstance(expression, Mention):
            return self._mentions(expression.text)
        if self.of_files and expression.field.level is not Level.DATASET:
            return true() if isinstance(expression, Missing) else false()
        if isinstance(expression, Missing):
            return self._missing(expression.field)
        return _BY_KIND[expression.field.kind](self, expression)

    # --- conditions by the kind of their field

    def _missing(self, field: Field) -> Condition:
        if field.kind is Kind.TAG:
            return ~annotated(true())
        if field.kind is Kind.NOTE:
            return ~annotated(_noted(field))
        if field.kind is Kind.JSON:
            return JSONField(field, self.dialect).is_missing()
        return COLUMNS[field.name].is_(None)

    def _text(self, asked: Comparison) -> Condition:
        return self._compared_text(COLUMNS[asked.field.name], asked)

    def _compared_text(self, column: ColumnElement[Any], asked: Comparison) -> Condition:
        if asked.operator in ("=", "!="):
            return _listed(asked, partial(self._fits_text, column), _is_among(column, asked))
        text = str(asked.values[0])
        if asked.operator == "~":
            return contains_text(column, text)
        return _COMPARE[asked.operator](ByCodes(column), literal(text, CleanText()))

    def _fits_text(self, column: ColumnElement[Any], value: Value) -> Condition | None:
        return globbed(column, value.pattern, self.dialect) if isinstance(value, Glob) else None

    def _number(self, asked: Comparison) -> Condition:
        column = COLUMNS[asked.field.name]
        if asked.operator in ("=", "!="):
            fits = or_(false(), *(column == _bound(value) for value in asked.values))
            return fits if asked.operator == "=" else and_(column.is_not(None), ~fits)
        return _COMPARE[asked.operator](column, _bound(asked.values[0]))

    def _index(self, asked: Comparison) -> Condition:
        column = INDICES[asked.field.name]
        if asked.operator not in ("=", "!="):
            return _COMPARE[asked.operator](column, _bound(asked.values[0]))
        single = [v.start for v in asked.values if isinstance(v, IndexRange) and _is_single(v)]
        parts: list[Condition] = [self._places(column, value) for value in _others(asked.values)]
        if single:
            parts.append(column.in_([literal(one, BigWhole()) for one in sorted(set(single))]))
        fits = parts[0] if len(parts) == 1 else or_(false(), *parts)
        return fits if asked.operator == "=" else fits.is_not(true())

    def _places(self, column: InstrumentedAttribute[int], value: Value) -> Condition:
        if isinstance(value, Edge):
            return self._edge(column, value)
        if not isinstance(value, IndexRange):
            raise TypeError(f"{value!r} is no place on an axis")
        parts: list[Condition] = [column >= literal(value.start, BigWhole())]
        if value.stop is not None:
            parts.append(column < literal(value.stop, BigWhole()))
        if value.step != 1:
            step = literal(value.step, BigWhole())
            parts.append((column - literal(value.start, BigWhole())) % step == 0)
        return and_(*parts)

    def _edge(self, column: InstrumentedAttribute[int], edge: Edge) -> Condition:
        """Return that an index is the first, middle or last of those that its dataset has."""
        places = _edges(column, edge)
        return tuple_(FrameRow.frames_global_id, column).in_(
            select(places.c.acquisition, places.c.place)
        )

    def _time(self, asked: Comparison) -> Condition:
        column = COLUMNS[asked.field.name]
        periods = [value for value in asked.values if isinstance(value, Period)]
        start, end = (literal(at, UTCDateTime()) for at in (periods[0].start, periods[0].end))
        if asked.operator in ("=", "!="):
            within = [
                and_(
                    column >= literal(one.start, UTCDateTime()),
                    column < literal(one.end, UTCDateTime()),
                )
                for one in periods
            ]
            fits = or_(false(), *within)
            return fits if asked.operator == "=" else and_(column.is_not(None), ~fits)
        bound = start if asked.operator in ("<", ">=") else end
        return _COMPARE[{"<=": "<", ">": ">="}.get(asked.operator, asked.operator)](column, bound)

    def _flag(self, asked: Comparison) -> Condition:
        column = COLUMNS[asked.field.name]
        fits = or_(false(), *(column.is_(true() if v else false()) for v in asked.values))
        return fits if asked.operator == "=" else and_(column.is_not(None), ~fits)

    def _tag(self, asked: Comparison) -> Condition:
        """With ``!=`` it has none of the tags, perhaps no tag at all."""
        wanted = Comparison(asked.field, asked.operator.removeprefix("!"), asked.values)
        fits = annotated(self._compared_text(AnnotationRow.key.expression, wanted))
        return ~fits if asked.operator == "!=" else fits

    def _note(self, asked: Comparison) -> Condition:
        fits = self._compared_text(AnnotationRow.value.expression, asked)
        return annotated(and_(_noted(asked.field), fits))

    def _json(self, asked: Comparison) -> Condition:
        found = JSONField(asked.field, self.dialect)
        parts = [self._compared_json(found, asked.operator, value) for value in asked.values]
        if len(parts) == 1:
            return parts[0]
        return and_(*parts) if asked.operator == "!=" else or_(*parts)

    def _compared_json(self, found: JSONField, sign: str, value: Value) -> Condition:
        if isinstance(value, bool):
            return found.flag(value if sign == "=" else not value)
        if isinstance(value, (int, float)):
            return found.number(sign, value)
        if sign == "=" and isinstance(value, str):
            return found.equals_text(value)
        asked = Comparison(_ANY_TEXT, sign, (value,))
        return found.if_text(self._compared_text(found.text, asked))

    # --- free text

    def _mentions(self, text: str) -> Condition:
        """Return that a dataset mentions a text."""
        origin = JSONField(_ORIGIN, self.dialect)
        columns = (DatasetRow.dataset_serial, DatasetRow.description, DatasetRow.microscope)
        parts: list[Condition] = [contains_text(column, text) for column in columns]
        parts.append(origin.if_text(contains_text(origin.text, text)))
        names = (AnnotationRow.key, AnnotationRow.value)
        parts.append(annotated(or_(*(contains_text(column, text) for column in names))))
        if not self.of_files:
            labels = (AcquisitionRow.channel_names, AcquisitionRow.position_names)
            parts += [list_holds_text(column, text) for column in labels]
        return or_(*parts)


_ORIGIN = Field("dataset", Kind.JSON, Level.DATASET, path=("file_origin",))
_ANY_TEXT = Field("text", Kind.TEXT, Level.DATASET)
_SAMPLE = 6
_BY_KIND: dict[Kind, Callable[[Compiler, Comparison], Condition]] = {
    Kind.TEXT: Compiler._text,
    Kind.NUMBER: Compiler._number,
    Kind.INDEX: Compiler._index,
    Kind.TIME: Compiler._time,
    Kind.FLAG: Compiler._flag,
    Kind.TAG: Compiler._tag,
    Kind.NOTE: Compiler._note,
    Kind.JSON: Compiler._json,
}


def dataset_condition(connection: Connection, where: Expression) -> ColumnElement[bool]:
    """Return the condition that a row of `data_set` has a frame that fits, or fits itself."""
    files = Compiler(connection.dialect, of_files=True).condition(where)
    found = select(AcquisitionRow.dataset_id).where(AcquisitionRow.dataset_id == DatasetRow.id)
    if asks_frames(where):
        found = found.where(FrameRow.frames_global_id == AcquisitionRow.id)
    found = found.where(Compiler(connection.dialect).condition(where))
    fits: Condition = found.correlate(DatasetRow).exists()
    postgresql = connection.dialect.name == "postgresql"
    if postgresql and asks_frames(where) and not _fits_often(connection, fits):
        fits = DatasetRow.id.in_(found.correlate(None))
    return or_(and_(DatasetRow.frames.is_(True), fits), and_(DatasetRow.frames.is_(False), files))


def _fits_often(connection: Connection, fits: Condition) -> bool:
    """Return True where half of a few datasets fit.

    Then the first frames of each tell. Else PostgreSQL would look at all frames, a dataset after the other
    along an index; it is sooner done where it looks at all at once, or along an index of metadata.
    """
    some = select(DatasetRow.id).where(DatasetRow.frames.is_(True))
    sample = some.order_by(DatasetRow.id.desc()).limit(_SAMPLE).subquery()
    wanted = select(func.count(), func.count().filter(fits)).select_from(DatasetRow)
    number, fitting = connection.execute(wanted.where(DatasetRow.id.in_(select(sample.c.id)))).one()
    return bool(2 * fitting >= number)


def joins(expression: Expression) -> list[Condition]:
    """Return the conditions that join the tables which an expression asks to `FrameRow`."""
    named = list(conditions_of(expression))
    mentions = any(isinstance(one, Mention) for one in named)
    fields = [one.field for one in named if not isinstance(one, Mention)]
    dataset = mentions or any(one.level is Level.DATASET for one in fields)
    acquisition = any(one.level is Level.ACQUISITION or one.name in INHERITED for one in fields)
    found: list[Condition] = []
    if dataset or acquisition:
        found.append(AcquisitionRow.id == FrameRow.frames_global_id)
    if dataset:
        found.append(DatasetRow.id == AcquisitionRow.dataset_id)
    return found


def _cost(part: Expression) -> int:
    """Return what comes later: SQLite asks the conditions in their order, until one is false."""
    if isinstance(part, Mention):
        return 3
    if isinstance(part, (And, Or, Not)):
        return 2
    in_text = isinstance(part, Comparison) and part.operator == "~"
    return 2 * in_text + (part.field.kind is Kind.JSON)


def _listed(
    asked: Comparison, fits: Callable[[Value], Condition | None], exact: Condition | None
) -> Condition:
    """Return that one of several values fits, or with ``!=`` that there is a value and none does."""
    parts = [part for part in map(fits, asked.values) if part is not None]
    if exact is not None:
        parts.append(exact)
    found = parts[0] if len(parts) == 1 else or_(false(), *parts)
    return found if asked.operator == "=" else ~found  # NULL stays NULL


def _is_among(column: ColumnElement[Any], asked: Comparison) -> Condition | None:
    words = sorted({value for value in asked.values if isinstance(value, str)})
    if not words:
        return None
    bound = [literal(word, CleanText()) for word in words]
    return column == bound[0] if len(bound) == 1 else column.in_(bound)


def _bound(value: Value) -> ColumnElement[Any]:
    """Return a number as a parameter that no column's type narrows."""
    if isinstance(value, int):
        return literal(int(value), BigWhole())
    return literal(value)


def _is_single(value: IndexRange) -> bool:
    return value.stop == value.start + 1


def _others(values: tuple[Value, ...]) -> list[Value]:
    return [v for v in values if not (isinstance(v, IndexRange) and _is_single(v))]


def _noted(field: Field) -> Condition:
    key = literal(str(field.path[0]), CleanText())
    return and_(AnnotationRow.key == key, AnnotationRow.value.is_not(None))


def annotated(condition: Condition) -> Condition:
    """Return that something which is said of the dataset today fulfils a condition."""
    today = AnnotationRow.removed_at.is_(None)
    mine = AnnotationRow.dataset_serial == DatasetRow.dataset_serial
    return select(AnnotationRow.id).where(mine, today, condition).correlate(DatasetRow).exists()


def _edges(column: InstrumentedAttribute[int], edge: Edge) -> Any:
    """Return, for each acquisition, the place that an edge means on an axis."""
    one = aliased(FrameRow)
    place, owner = getattr(one, column.key), one.frames_global_id
    wanted: Select[Any] = select(owner.label("acquisition"))
    if edge is not Edge.MID:
        end = func.min(place) if edge is Edge.FIRST else func.max(place)
        return wanted.add_columns(end.label("place")).group_by(owner).subquery()
    present = wanted.add_columns(place.label("place")).distinct().subquery().c
    rank = func.row_number().over(order_by=present.place, partition_by=present.acquisition)
    number = func.count().over(partition_by=present.acquisition).label("number")
    twice = (2 * rank).label("twice")
    ranked = select(present.acquisition, present.place, twice, number).subquery().c
    middle = or_(ranked.twice == ranked.number, ranked.twice == ranked.number + 1)
    return select(ranked.acquisition, ranked.place).where(middle).subquery()
