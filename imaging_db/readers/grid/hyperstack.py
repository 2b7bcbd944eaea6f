"""Kind ``hyperstack``: TIFF files that follow each other in time; their pages run over t, z and channel.

::

    {"kind": "hyperstack", "root": "/data/run1", "pattern": "run1_{file+1:03}.tif",
     "time_chunk_size": 50, "num_z_slices": 11, "num_channels": 2, "channel_index": 0,
     "grid": {"x": [0, 512], "y": [0, 512], "z": [0, 11], "t": [0, 900], "tile": [512, 512]}}

File number ``file`` holds ``time_chunk_size`` timepoints, the last one those that are left. In a file the
channel runs fastest, then z, then t: page = ((t mod time_chunk_size) * num_z_slices + z) * num_channels +
channel_index. A file with another number of pages than whole timepoints is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imaging_db.config.keys import Keys
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.description import keys_of
from imaging_db.readers.grid.forms import Form, plane_limits
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.patterns import Pattern
from imaging_db.readers.grid.planes import PlaneSource
from imaging_db.readers.grid.tiff_pages import TiffPages
from imaging_db.readers.grid.tile_names import check_tells, pattern_in, root_in

_SIZES = ("time_chunk_size", "num_z_slices", "num_channels")


@dataclass(frozen=True, slots=True)
class PageOrder:
    """How the pages of each file run: ``timepoints`` of ``slices`` of ``channels``, one channel wanted."""

    timepoints: int
    slices: int
    channels: int
    channel: int

    def file(self, t: int) -> int:
        """Return the number of the file that holds a timepoint."""
        return t // self.timepoints

    def page(self, t: int, z: int) -> int:
        """Return the page of a timepoint and slice in its file."""
        return ((t % self.timepoints) * self.slices + z) * self.channels + self.channel

    def wrong(self, pages: int) -> str | None:
        """Return what is wrong with a file of so many pages, None where nothing is."""
        each = self.slices * self.channels
        if pages % each == 0 and pages <= self.timepoints * each:
            return None
        return (
            f"holds {pages} pages, {self.timepoints} timepoints of {self.slices} slices and "
            f"{self.channels} channels are {self.timepoints * each}"
        )


def open_source(settings: JSONObject, grid: TileGrid) -> PlaneSource:
    """Return the pages that the settings describe.

    Raises
    ------
    ConfigError
        A key is missing or wrong, or the pattern does not suit the grid.
    ReaderError
        The settings do not tell the type of the pixels, and the first page cannot be read.
    """
    keys = keys_of(settings, "root", "pattern", "values", *_SIZES, "channel_index")
    form, order = Form.told(keys), _order(keys, grid)
    root, pattern = root_in(keys), pattern_in(keys, ("file",))
    _check_files(pattern, order, grid)

    def place(box: Box) -> PageRef:
        path = Path(root, pattern.name({"file": order.file(box.t)}))
        return PageRef(path, order.page(box.t, box.z))

    images = TiffPages(plane_limits(grid), wrong=order.wrong)
    return PlaneSource(grid, place, images=images, form=form)


def _order(keys: Keys, grid: TileGrid) -> PageOrder:
    sizes = []
    for key in _SIZES:
        if not keys.has(key):
            keys.problem(key, "is required")
        sizes.append(keys.whole(key) or 1)
    channel = keys.whole("channel_index", least=0) or 0
    timepoints, slices, channels = sizes
    if channel >= channels:
        keys.problem("channel_index", f"is {channel}, channels are 0 to {channels - 1}")
    if grid.z[1] > slices:
        keys.problem("grid", f"z ends at {grid.z[1]}, num_z_slices is {slices}")
    if keys.problems:
        raise ConfigError(keys.problems)
    return PageOrder(timepoints, slices, channels, channel)


def _check_files(pattern: Pattern, order: PageOrder, grid: TileGrid) -> None:
    first, last = order.file(grid.t[0]), order.file(grid.t[1] - 1)
    check_tells(pattern, {"file": (first, last + 1)})
