"""Names of tiles: a pattern that suits a grid, and the name of each box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging_db.config.keys import Keys
from imaging_db.errors import ConfigError
from imaging_db.model import JSONValue
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.patterns import Pattern

FIELDS = ("row", "col", "y", "x", "z", "t")
"""The numbers that the name of a tile may tell."""


@dataclass(frozen=True, slots=True)
class TileNames:
    """The names of the tiles of a grid.

    Raises
    ------
    ConfigError
        Two tiles would have one name, a tile would have none, or the tiles do not lie as their names say.
    """

    pattern: Pattern
    grid: TileGrid

    def __post_init__(self) -> None:
        grid, told = self.grid, self.pattern.fields
        first, last = grid.box(0), grid.box(grid.nbr_frames - 1)
        check_tells(
            self.pattern,
            {
                "row": (first.row, last.row + 1),
                "col": (first.column, last.column + 1),
                "y": (first.y0, last.y0 + 1),
                "x": (first.x0, last.x0 + 1),
                "z": grid.z,
                "t": grid.t,
            },
            either=(("row", "y"), ("col", "x")),
        )
        grid.check_aligned(("y" if "row" in told else "") + ("x" if "col" in told else ""))

    def name(self, box: Box) -> str:
        """Return the name of a box's tile, with ``/`` between folders."""
        return self.pattern.name(
            {"row": box.row, "col": box.column, "y": box.y0, "x": box.x0, "z": box.z, "t": box.t}
        )


def check_tells(
    pattern: Pattern,
    numbers: Mapping[str, Range],
    *,
    either: Sequence[tuple[str, str]] = (),
) -> None:
    """Let pass a pattern with a name of its own for all of these numbers.

    A number of which there are several must be told; of two in ``either`` one is enough.

    Raises
    ------
    ConfigError
        One is not told, or its first or last has no name.
    """
    instead = {name: pair for pair in either for name in pair}
    missing = {
        " or ".join(instead.get(name, (name,)))
        for name, (start, stop) in numbers.items()
        if stop - start > 1 and pattern.fields.isdisjoint(instead.get(name, (name,)))
    }
    if missing:
        raise ConfigError(
            f"pattern: {pattern.text!r} does not tell {', '.join(sorted(missing))}",
            hint="every image needs a name of its own",
        )
    for ends in (0, 1):
        try:
            pattern.name({name: extent[ends] - ends for name, extent in numbers.items()})
        except ValueError as error:
            raise ConfigError(f"pattern: {pattern.text!r}: {error}") from error


def root_in(keys: Keys) -> Path:
    """Return the folder that settings name as ``root``.

    Raises
    ------
    ConfigError
        There is none.
    """
    root = keys.text("root", required=True)
    if root is None or not Path(root).is_dir():
        if root is not None:
            keys.problem("root", f"{root} is not a folder")
        raise ConfigError(keys.problems)
    return Path(root)


def pattern_in(keys: Keys, fields: tuple[str, ...]) -> Pattern:
    """Return the pattern that settings hold as ``pattern``, with the ``values`` of its other fields.

    Raises
    ------
    ConfigError
        It is missing or cannot be read, or another key is wrong.
    """
    text, values = keys.text("pattern", required=True), keys.raw("values") or {}
    if not isinstance(values, dict) or not all(_is_value(value) for value in values.values()):
        keys.problem("values", f"must be an object of texts and whole numbers, found {values!r}")
    if keys.problems:
        raise ConfigError(keys.problems)
    return Pattern.of(text or "", fields, values)


def _is_value(value: JSONValue) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)
