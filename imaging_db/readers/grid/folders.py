"""What a folder of tiles or planes holds: found by the names of its files and the sizes of a few."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from imaging_db.errors import ConfigError, CorruptSource
from imaging_db.model import JSONObject
from imaging_db.readers.grid.corners import Corners
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.patterns import Pattern
from imaging_db.readers.grid.tile_names import FIELDS, TileNames

_SHOWN = 5
_MOST_PROBED = 100_000
_PLACES = frozenset(("row", "col", "y", "x"))


def grid_from_folder(
    root: Path,
    pattern: str,
    *,
    values: Mapping[str, str | int] | None = None,
    tile: tuple[int, int] | None = None,
) -> JSONObject:
    """Return the settings of a source whose files lie in a folder, named by a pattern.

    The extent is that of the names; the size of a tile, and where the last row and column end, are told by
    the headers of the tiles at the corners. Where names tell neither rows nor columns an image is one tile,
    or is cut into tiles of ``tile`` (width, height). Files that have other names are left out; ``notes``
    tell how many.

    Raises
    ------
    ConfigError
        The pattern cannot be read, or ``tile`` is given and names tell rows or columns.
    CorruptSource
        No file has such a name, tiles are missing (the first few are named), or one cannot be read.
    UnsupportedFormat
        Tiles do not lie side by side, or differ in size or type.
    """
    names = Pattern.of(pattern, FIELDS, values)
    if tile is not None and names.fields & _PLACES:
        raise ConfigError(f"tile: the names of {pattern!r} tell tiles already", hint="leave it out")
    found = _walked(root, names)
    if not found.count:
        cause = f"no file has a name such as {pattern!r}, {found.others} have others"
        raise CorruptSource(root, cause, hint="mend the pattern")
    corners = Corners(root, names, found.extents)
    _check_all_there(root, TileNames(names, corners.grid), found.count)
    corners.check()
    grid, kind = corners.grid, "tile_files"
    if tile is not None:
        grid, kind = TileGrid(grid.x, grid.y, grid.z, grid.t, *tile), "plane_files"
    settings: JSONObject = {"kind": kind, "root": str(root), "pattern": pattern}
    if values:
        settings["values"] = dict(values)
    told: JSONObject = {"dtype": corners.form.dtype, "colors": corners.form.colors}
    notes: JSONObject = {"notes": [*corners.notes, *found.notes]}
    return {**settings, "grid": grid.to_json(), **told, **notes}


@dataclass(slots=True)
class _Found:
    """What the names in a folder tell: how many match, and the least and largest of each number."""

    count: int = 0
    others: int = 0
    examples: list[str] = field(default_factory=list)
    extents: dict[str, Range] = field(default_factory=dict)

    def add(self, numbers: Mapping[str, int]) -> None:
        self.count += 1
        for name, value in numbers.items():
            least, most = self.extents.get(name, (value, value))
            self.extents[name] = (min(least, value), max(most, value))

    def add_other(self, name: str) -> None:
        self.others += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(name)

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.others:
            return ()
        more = ", ..." if self.others > len(self.examples) else ""
        return (f"{self.others} files of other names left out: {', '.join(self.examples)}{more}",)


def _walked(root: Path, names: Pattern) -> _Found:
    found = _Found()
    for name in _files(root):
        numbers = names.match(name)
        if numbers is None:
            found.add_other(name)
        else:
            found.add(numbers)
    return found


def _files(root: Path) -> Iterator[str]:
    """Yield the files below a folder, relative to it, with ``/`` between folders."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if _leads_on(entry):
                        waiting.append(f"{name}/")
                    else:
                        yield name
        except OSError as error:
            raise CorruptSource(root / folder, f"cannot be listed: {error.strerror}") from error


def _leads_on(entry: os.DirEntry[str]) -> bool:
    """Return True for a folder; a link that leads to itself is a file, which cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _check_all_there(root: Path, names: TileNames, count: int) -> None:
    grid = names.grid
    missing = grid.nbr_frames - count
    if missing == 0:
        return
    if missing < 0:
        cause = (
            f"{count} files have names for {grid.nbr_frames} tiles: they do not lie side by side"
        )
        raise CorruptSource(root, cause)
    boxes = grid.frames_between(0, min(grid.nbr_frames, _MOST_PROBED))
    absent = (name for name in map(names.name, boxes) if not _is_there(root / name))
    shown = ", ".join(islice(absent, min(missing, _SHOWN)))
    more = ", ..." if missing > _SHOWN else ""
    cause = f"{missing} of {grid.nbr_frames} tiles are missing: {shown}{more}"
    raise CorruptSource(root, cause, hint="complete the folder, or describe a smaller extent")


def _is_there(path: Path) -> bool:
    """Return True for whatever was counted: not for a folder that has the name of a tile."""
    return os.path.lexists(path) and not path.is_dir()
