"""Kind ``tile_files``: one image a tile, in a folder, named by a pattern.

::

    {"kind": "tile_files", "root": "/data/em", "pattern": "{z:04}/{row}_{col}.png",
     "grid": {"x": [0, 2048], "y": [0, 2048], "z": [0, 16], "tile": [512, 512]}}

`imaging_db.readers.grid.patterns` tells what a pattern may hold. With ``row`` or ``col`` in it the extent
begins at a multiple of the tile. ``dtype`` and ``colors`` are those of the first tile unless they are given.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.description import keys_of
from imaging_db.readers.grid.forms import Form, lossy_note, tile_limits, tile_of
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.images import opened_image
from imaging_db.readers.grid.tile_names import FIELDS, TileNames, pattern_in, root_in
from imaging_db.readers.tiff_source import AlikeFiles

if TYPE_CHECKING:
    import numpy.typing as npt


class _Memory(threading.local):
    """What each thread remembers of the TIFF files that it read."""

    def __init__(self) -> None:
        self.alike = AlikeFiles()


class TileFiles:
    """Tiles that are files of their own; none is open between reads."""

    def __init__(self, root: Path, names: TileNames, form: Form | None = None) -> None:
        self._root, self._names, self._grid = root, names, names.grid
        self._limits = tile_limits(names.grid)
        self._thread = _Memory()
        self.notes: tuple[str, ...] = ()
        if form is None:
            with opened_image(self._path(self._grid.box(0)), self._limits) as image:
                form, self.notes = Form.of(image), lossy_note(image)
        self._form = form

    @property
    def dtype(self) -> str:
        """Return the type of the pixels."""
        return self._form.dtype

    @property
    def colors(self) -> int:
        """Return how many samples a pixel has."""
        return self._form.colors

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the pixels of a tile; see `PixelSource.read`.

        Raises
        ------
        ReaderError
            The file is missing, damaged, or of another size or type.
        """
        with opened_image(self._path(box), self._limits, alike=self._thread.alike) as image:
            return tile_of(image, box, self._grid, self._form)

    def origin(self, box: Box) -> PageRef:
        """Return the file of a tile."""
        return PageRef(self._path(box), 0)

    def close(self) -> None:
        """Nothing is open."""

    def _path(self, box: Box) -> Path:
        return self._root / self._names.name(box)


def open_source(settings: JSONObject, grid: TileGrid) -> TileFiles:
    """Return the tiles that the settings describe.

    Raises
    ------
    ConfigError
        A key is missing or wrong, or the pattern does not suit the grid.
    ReaderError
        The settings do not tell the type of the pixels, and the first tile cannot be read.
    """
    keys = keys_of(settings, "root", "pattern", "values")
    form, root = Form.told(keys), root_in(keys)
    return TileFiles(root, TileNames(pattern_in(keys, FIELDS), grid), form)
