"""Kind ``plane_files``: one image a slice, as large as a tile or larger; tiles are cut out of it.

::

    {"kind": "plane_files", "root": "/data/em", "pattern": "section_{z+200:04}.tif",
     "grid": {"x": [1000, 9000], "y": [0, 7000], "z": [0, 300], "tile": [1024, 1024]}}

The pattern tells ``z``, and ``t`` where there are several timepoints. The extent may begin and end at any
pixel inside the planes.
"""

from __future__ import annotations

from pathlib import Path

from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.description import keys_of
from imaging_db.readers.grid.forms import Form
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.planes import PlaneSource
from imaging_db.readers.grid.tile_names import check_tells, pattern_in, root_in


def open_source(settings: JSONObject, grid: TileGrid) -> PlaneSource:
    """Return the planes that the settings describe.

    Raises
    ------
    ConfigError
        A key is missing or wrong, or the pattern does not suit the grid.
    ReaderError
        The settings do not tell the type of the pixels, and the first plane cannot be read.
    """
    keys = keys_of(settings, "root", "pattern", "values")
    form, root = Form.told(keys), root_in(keys)
    pattern = pattern_in(keys, ("z", "t"))
    check_tells(pattern, {"z": grid.z, "t": grid.t})

    def place(box: Box) -> PageRef:
        return PageRef(Path(root, pattern.name({"z": box.z, "t": box.t})), 0)

    return PlaneSource(grid, place, form=form)
