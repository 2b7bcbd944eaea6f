"""Grids: which frames a source of tiles or a volume has, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from imaging_db.config.keys import Keys
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject, JSONValue
from imaging_db.readers.grid.boxes import Box

Range: TypeAlias = tuple[int, int]

AXES = ("x", "y", "z", "t")
_KEYS = (*AXES, "tile", "depth")
_LARGEST_INDEX = 2**31 - 1  # the catalog's columns are 32-bit integers
_ONE: Range = (0, 1)
_EXAMPLE = 'such as {"x": [0, 2048], "y": [0, 2048], "z": [0, 16], "tile": [512, 512]}'


@dataclass(frozen=True, slots=True)
class TileGrid:
    """An extent cut into tiles; nothing of it is listed, so it may have any number of frames.

    ``x``, ``y``, ``z`` and ``t`` are ``(start, stop)`` in pixels and indices of the source. Tiles follow each
    other from the start of x and y; the last row and column are cut off where the extent ends. Slices lie
    next to each other in blocks of ``depth``, which begin at multiples of it: frames are ordered by
    timepoint, block, row, column, and slice within the block.

    Raises
    ------
    ConfigError
        An extent that is negative, empty or reversed, or a size below 1; each is named.
    """

    x: Range
    y: Range
    z: Range
    t: Range
    tile_width: int
    tile_height: int
    depth: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"grid: {axis}: {list(extent)} {wrong}"
            for axis, extent in zip(AXES, (self.x, self.y, self.z, self.t), strict=True)
            if (wrong := _wrong(extent))
        ]
        sizes = {"tile width": self.tile_width, "tile height": self.tile_height}
        for name, size in {**sizes, "depth": self.depth}.items():
            if not 1 <= size <= _LARGEST_INDEX:
                problems.append(f"grid: {name}: must be from 1 to {_LARGEST_INDEX}, found {size}")
        if not problems and self.nbr_positions > _LARGEST_INDEX:
            problems.append(f"grid: tile: makes {self.nbr_positions} tiles a slice, too many")
        if not problems and self.nbr_frames > _LARGEST_INDEX:
            problems.append(
                f"grid: has {self.nbr_frames} frames, a dataset has {_LARGEST_INDEX} at most"
            )
        if problems:
            raise ConfigError(problems)

    @property
    def rows(self) -> int:
        """Return how many rows of tiles a slice has."""
        return -((self.y[0] - self.y[1]) // self.tile_height)

    @property
    def columns(self) -> int:
        """Return how many columns of tiles a slice has."""
        return -((self.x[0] - self.x[1]) // self.tile_width)

    @property
    def first_row(self) -> int:
        """Return the row of the first tile, counted from the source's pixel 0."""
        return self.y[0] // self.tile_height

    @property
    def first_column(self) -> int:
        """Return the column of the first tile, counted from the source's pixel 0."""
        return self.x[0] // self.tile_width

    @property
    def nbr_positions(self) -> int:
        """Return how many tiles a slice has."""
        return self.rows * self.columns

    @property
    def nbr_slices(self) -> int:
        """Return how many slices a timepoint has."""
        return self.z[1] - self.z[0]

    @property
    def nbr_timepoints(self) -> int:
        """Return how many timepoints there are."""
        return self.t[1] - self.t[0]

    @property
    def nbr_frames(self) -> int:
        """Return how many frames there are."""
        return self.nbr_timepoints * self.nbr_slices * self.nbr_positions

    @property
    def heights(self) -> set[int]:
        """Return the heights that frames have: one, or two where the last row is cut off."""
        return _sizes(self.y, self.tile_height)

    @property
    def widths(self) -> set[int]:
        """Return the widths that frames have: one, or two where the last column is cut off."""
        return _sizes(self.x, self.tile_width)

    def box(self, index: int) -> Box:
        """Return the box of frame number ``index``.

        Raises
        ------
        IndexError
            There is no such frame.
        """
        if not 0 <= index < self.nbr_frames:
            raise IndexError(f"the grid has {self.nbr_frames} frames, no number {index}")
        t, rest = divmod(index, self.nbr_slices * self.nbr_positions)
        z, length, rest = self._block(rest)
        cell, within = divmod(rest, length)
        row, column = divmod(cell, self.columns)
        return self._box(self.t[0] + t, z + within, row, column)

    def frames_between(self, first: int, stop: int) -> Iterator[Box]:
        """Yield the boxes of the frames from number ``first`` to before ``stop``."""
        return map(self.box, range(first, stop))

    def position(self, box: Box) -> int:
        """Return the number of a box's tile in its slice, from 0."""
        return (box.row - self.first_row) * self.columns + box.column - self.first_column

    def portions(
        self, most_frames: int, most_bytes: int, frame_bytes: int
    ) -> Iterator[tuple[int, int]]:
        """Yield number and count of frames that are read together; each frame is in one portion.

        A portion lies in one block of one timepoint. It holds all slices of a tile in that block, of several
        tiles if they fit, or some slices of one tile where not even one fits. ``frame_bytes`` is the size of
        the largest frame; one frame is a portion however large it is.
        """
        most = max(1, min(most_frames, most_bytes // max(1, frame_bytes)))
        first = 0
        for _ in range(*self.t):
            for length in self._block_lengths():
                whole, step = length * self.nbr_positions, most // length * length
                for start, stop in _cut(whole, step or length):
                    for inner, end in _cut(stop - start, step or most):
                        yield first + start + inner, end - inner
                first += whole

    def check_aligned(self, axes: str = "xy") -> None:
        """Let pass a grid whose tiles begin at multiples of their size on these axes.

        Where names hold a tile's row and column, the files were cut that way.

        Raises
        ------
        ConfigError
            x or y begins elsewhere; tells the nearest starts that are right.
        """
        tiles = {"x": (self.x[0], self.tile_width), "y": (self.y[0], self.tile_height)}
        problems = []
        for axis, (start, size) in tiles.items():
            if axis in axes and start % size:
                near = f"{start - start % size} or {start - start % size + size}"
                problems.append(
                    f"grid: {axis}: starts at {start}, must start at a multiple of the tile ({size}): {near}"
                )
        if problems:
            raise ConfigError(problems, hint="files that are named by tile hold whole tiles")

    def to_json(self) -> JSONObject:
        """Return the grid as settings hold it; `grid_of` reads it."""
        made: JSONObject = {axis: list(getattr(self, axis)) for axis in AXES}
        return {**made, "tile": [self.tile_width, self.tile_height], "depth": self.depth}

    def _block(self, index: int) -> tuple[int, int, int]:
        """Return first slice and length of the block with that frame of a timepoint, and its number there."""
        start, stop = self.z
        first = min(self.depth - start % self.depth, stop - start)
        if index < first * self.nbr_positions:
            return start, first, index
        index -= first * self.nbr_positions
        block, rest = divmod(index, self.depth * self.nbr_positions)
        start += first + block * self.depth
        return start, min(self.depth, stop - start), rest

    def _block_lengths(self) -> Iterator[int]:
        z, stop = self.z
        while z < stop:
            end = min(stop, z - z % self.depth + self.depth)
            yield end - z
            z = end

    def _box(self, t: int, z: int, row: int, column: int) -> Box:
        y0, x0 = self.y[0] + row * self.tile_height, self.x[0] + column * self.tile_width
        return Box(
            t=t,
            z=z,
            row=self.first_row + row,
            column=self.first_column + column,
            y0=y0,
            y1=min(y0 + self.tile_height, self.y[1]),
            x0=x0,
            x1=min(x0 + self.tile_width, self.x[1]),
        )


def grid_of(settings: JSONObject) -> TileGrid:
    """Return the grid that the settings of a source hold as ``grid``.

    ``{"x": [0, 2048], "y": [0, 2048], "z": [0, 16], "t": [0, 1], "tile": [512, 512], "depth": 1}``: starts and
    stops, the tile's width and height; t and depth may be left out.

    Raises
    ------
    ConfigError
        A key is missing, unknown or wrong; all of them at once.
    """
    given = settings.get("grid")
    if not isinstance(given, dict):
        raise ConfigError(
            "grid: must be an object with x, y, z and tile", hint="see docs/formats.md"
        )
    keys = Keys(given, Path("grid"), _KEYS)
    x, y, z = (_pair(keys, axis) for axis in "xyz")
    t = _pair(keys, "t") if keys.has("t") else _ONE
    tile, depth = _pair(keys, "tile"), keys.whole("depth")
    if keys.problems:
        raise ConfigError(keys.problems)
    return TileGrid(x, y, z, t, *tile, depth or 1)


def _pair(keys: Keys, key: str) -> Range:
    value: JSONValue = keys.raw(key)
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value):
        return cast(Range, tuple(value))
    keys.problem(key, f"must be two whole numbers [a, b], found {value!r}")
    return _ONE


def _wrong(extent: Range) -> str:
    start, stop = extent
    if start < 0:
        return "starts below 0"
    if stop <= start:
        return "is empty" if stop == start else "ends before it begins"
    return "ends beyond 2147483647" if stop > _LARGEST_INDEX else ""


def _sizes(extent: Range, size: int) -> set[int]:
    length = extent[1] - extent[0]
    return {min(size, length), length % size or min(size, length)}


def _cut(length: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield starts and stops that cut a length into pieces of ``step``, the last what is left."""
    for start in range(0, length, step):
        yield start, min(start + step, length)
