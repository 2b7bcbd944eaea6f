"""Boxes: which pixels of a source one frame of a grid is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """One frame: pixels ``[y0, y1)`` and ``[x0, x1)`` of the plane at ``z`` and ``t``, counted by the source.

    ``row`` and ``column`` are those of its tile, counted from the source's pixel 0 too.
    """

    t: int
    z: int
    row: int
    column: int
    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Return how many lines the frame has."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Return how many pixels a line of it has."""
        return self.x1 - self.x0

    def __str__(self) -> str:
        return f"tile row {self.row} column {self.column} z {self.z} t {self.t}"
