"""The first, middle and last places of an axis, told as the numbers that they are in one dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from imaging_db.catalog.expression_columns import INDICES
from imaging_db.catalog.tables import FrameRow
from imaging_db.model.expression import And, Comparison, Edge, Expression, Not, Or, Value
from imaging_db.model.selection import IndexRange


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one acquisition.

    Where they are numbers, a database finds the frames along its index, and reads no others.
    """

    connection: Connection
    acquisition_id: int

    def settled(self, expression: Expression) -> Expression:
        """Return an expression in which every edge is the number that it means."""
        if isinstance(expression, (And, Or)):
            return replace(expression, parts=tuple(map(self.settled, expression.parts)))
        if isinstance(expression, Not):
            return Not(self.settled(expression.part))
        if not isinstance(expression, Comparison):
            return expression
        values = tuple(self._value(expression.field.name, one) for one in expression.values)
        return replace(expression, values=values)

    def _value(self, axis: str, value: Value) -> Value:
        if not isinstance(value, Edge):
            return value
        place = self._place(axis, value) or 0  # where there are no frames, any number finds none
        return IndexRange(place, place + 1)

    def _place(self, axis: str, edge: Edge) -> int | None:
        column, own = INDICES[axis], FrameRow.frames_global_id == self.acquisition_id
        if edge is Edge.MID:
            present = sorted(self.connection.scalars(select(column).where(own).distinct()))
            return present[(len(present) - 1) // 2] if present else None
        end = func.min(column) if edge is Edge.FIRST else func.max(column)
        return self.connection.scalar(select(end).where(own))
