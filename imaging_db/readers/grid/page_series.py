"""Kind ``page_series``: a TIFF file for each slice, its pages the timepoints; tiles are cut out of a page.

::

    {"kind": "page_series", "root": "/data/run1", "pattern": "z{z:02}.tif",
     "grid": {"x": [0, 2048], "y": [0, 2048], "z": [0, 5], "t": [0, 900], "tile": [512, 512]}}

Instead of root and pattern, ``files`` may name the file of each slice: ``{"0": "/data/a.tif", "1": ...}``.
Timepoint n is page n of the file, from 0; smaller copies and masks among the pages are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imaging_db.config.keys import Keys
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.description import keys_of
from imaging_db.readers.grid.forms import Form, plane_limits
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.planes import PlaneSource
from imaging_db.readers.grid.tiff_pages import TiffPages
from imaging_db.readers.grid.tile_names import check_tells, pattern_in, root_in


def open_source(settings: JSONObject, grid: TileGrid) -> PlaneSource:
    """Return the pages that the settings describe.

    Raises
    ------
    ConfigError
        A key is missing or wrong, or no file is named for a slice.
    ReaderError
        The settings do not tell the type of the pixels, and the first page cannot be read.
    """
    keys = keys_of(settings, "root", "pattern", "values", "files")
    form = Form.told(keys)
    file_of = _listed(keys, grid) if keys.has("files") else _named(keys, grid)

    def place(box: Box) -> PageRef:
        return PageRef(file_of(box.z), box.t)

    return PlaneSource(grid, place, images=TiffPages(plane_limits(grid)), form=form)


def _named(keys: Keys, grid: TileGrid) -> Callable[[int], Path]:
    root, pattern = root_in(keys), pattern_in(keys, ("z",))
    check_tells(pattern, {"z": grid.z})
    return lambda z: Path(root, pattern.name({"z": z}))


def _listed(keys: Keys, grid: TileGrid) -> Callable[[int], Path]:
    files = keys.raw("files")
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        keys.problem("files", 'must be an object {"0": "file.tif", ...}')
    else:
        missing = [z for z in range(*grid.z) if str(z) not in files]
        if missing:
            keys.problem("files", f"names no file for slice {', '.join(map(str, missing[:5]))}")
    for key in ("root", "pattern", "values"):
        if keys.has(key):
            keys.problem(key, "means nothing beside 'files'")
    if keys.problems:
        raise ConfigError(keys.problems)
    return {z: Path(files[str(z)]) for z in range(*grid.z)}.__getitem__
