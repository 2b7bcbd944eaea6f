"""The size of tiles, and where the last ones end, from the headers of those at the corners."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imaging_db.errors import UnsupportedFormat
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.grid.forms import Form, lossy_note
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.images import opened_image
from imaging_db.readers.grid.patterns import Pattern

_LIMITS = ReadLimits(max_frame_bytes=2**62)  # nothing is decoded here
_ONE = (0, 0)
_LAST = {"row": 1, "col": 1, "y": 1, "x": 1}


class Corners:
    """What the tiles at the corners of the first and the last slice say of all; see `check`.

    ``extents`` are the least and largest of each number that names tell.

    Raises
    ------
    ReaderError
        The first or the last tile cannot be read, or they do not lie side by side.
    """

    def __init__(self, root: Path, names: Pattern, extents: Mapping[str, Range]) -> None:
        self._root, self._names = root, names
        self._extents = {**dict.fromkeys(("row", "col", "y", "x", "z", "t"), _ONE), **extents}
        self.notes: tuple[str, ...] = ()
        height, width, self.form = self._size({})
        y, last_y = self._axis("row", "y", height)
        x, last_x = self._axis("col", "x", width)
        last_height, last_width, _ = self._size(_LAST)
        if last_height > height or last_width > width:
            self._size(_LAST, expected=(height, width))
        z, t = (self._extents[axis] for axis in "zt")
        self.grid = TileGrid(
            x=(x, last_x + last_width),
            y=(y, last_y + last_height),
            z=(z[0], z[1] + 1),
            t=(t[0], t[1] + 1),
            tile_width=width,
            tile_height=height,
        )
        self._first, self._last = (height, width), (last_height, last_width)

    def _axis(self, index: str, pixel: str, size: int) -> Range:
        """Return where the first and the last tile begin."""
        if index in self._names.fields or pixel not in self._names.fields:
            first, last = self._extents[index]
            return first * size, last * size
        first, last = self._extents[pixel]
        if (last - first) % size:
            cause = f"tiles of {size} pixels begin at {pixel} {first} and {last}: not side by side"
            raise UnsupportedFormat(self._root, cause)
        return first, last

    def check(self) -> None:
        """Let pass corners of the first and the last slice that are alike; the last tiles may be smaller.

        Raises
        ------
        ReaderError
            One is missing, cannot be read, or is of another size or type.
        """
        first, last = self._first, self._last
        for end in (0, 1):
            for down in (0, 1):
                for right in (0, 1):
                    ends = {"row": down, "y": down, "col": right, "x": right, "z": end, "t": end}
                    expected = (last[0] if down else first[0], last[1] if right else first[1])
                    self._size(ends, expected=expected)

    def _size(
        self, ends: Mapping[str, int], *, expected: tuple[int, int] | None = None
    ) -> tuple[int, int, Form]:
        """Return height, width and form of the tile at these ends (1: the last) of the numbers."""
        numbers = {name: extent[ends.get(name, 0)] for name, extent in self._extents.items()}
        with opened_image(self._root / self._names.name(numbers), _LIMITS) as image:
            height, width = image.shape[:2]
            if expected not in (None, (height, width)):
                cause = f"is {width} x {height} pixels, {expected[1]} x {expected[0]} are expected"
                raise UnsupportedFormat(image.name, cause)
            if expected is None and not ends:
                self.notes = lossy_note(image)
            elif expected is not None:
                self.form.check(image)
            return height, width, Form.of(image)
