"""Kind ``hdf5_slices``: an HDF5 file for each slice, which says where its pixels lie (Boss: ``Hdf5Slice``).

::

    {"kind": "hdf5_slices", "root": "sections", "base_filename": "<p:5>", "extension": "h5",
     "data_name": "img", "offset_name": "offset", "extent_name": "extent", "offset_origin_x": 0,
     "offset_origin_y": 0, "grid": {...}}

``offset_name`` and ``extent_name`` are datasets of two numbers, y before x: where the slice's first pixel
lies, and how many lines and pixels it has. The origins are added, each to its own axis (Boss added that of
x to both). A tile that the slice does not cover wholly is refused, unless the settings name the value of what
is not there: with ``"fill": 0`` slices of different sizes become tiles with 0 around, as Boss made them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from imaging_db.errors import ConfigError, CorruptSource
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.volumes_hdf5 import Hdf5Files, values
from imaging_db.readers.grid.volumes_hdf5_series import SliceFiles
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_source import Held, VolumeSource, check_covered

if TYPE_CHECKING:
    import numpy.typing as npt

_NAMES = ("data_name", "offset_name", "extent_name")
_KEYS = (
    "root",
    "base_filename",
    "extension",
    *_NAMES,
    "offset_origin_x",
    "offset_origin_y",
    "fill",
)


class Names(NamedTuple):
    """The datasets of a slice's file."""

    data: str
    offset: str
    extent: str


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of the slices' boxes; the first file is opened, unless the type is told.

    Raises
    ------
    ConfigError
        Settings are wrong, or h5py is not installed.
    ReaderError
        The first file cannot be read.
    """
    keys = VolumeKeys(settings, *_KEYS)
    names = Names(*(keys.needed(key) for key in _NAMES))
    origin = keys.offset("offset_origin_y"), keys.offset("offset_origin_x")
    files, fill = SliceFiles.of(keys), keys.raw("fill")
    if fill is not None and (isinstance(fill, bool) or not isinstance(fill, (int, float))):
        keys.problem("fill", f"must be a number, found {fill!r}")
    keys.check()
    dtype = keys.text("dtype")
    volume = SlicesVolume(files, names, grid, origin=origin, fill=fill, dtype=dtype)
    return VolumeSource(volume, grid)


class SlicesVolume:
    """A file for each slice, each with its own place and size."""

    def __init__(
        self,
        files: SliceFiles,
        names: Names,
        grid: TileGrid,
        *,
        origin: tuple[int, int],
        fill: float | None,
        dtype: str | None = None,
    ) -> None:
        self._paths, self._names, self._origin, self._fill = files, names, origin, fill
        self._files = Hdf5Files()
        dtype = dtype or self._files.dtype(files.path(grid.z[0]), names.data)
        check_fill(fill, dtype)
        self._held = Held(names.data, dtype, {"t": (0, 1)}, notes=_notes(fill))

    @property
    def held(self) -> Held:
        """Return what the first file says; its extent is its own."""
        return self._held

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on its slice; see `Volume.read`."""
        import numpy as np

        path = self._paths.path(box.z)
        there = self._there(path)
        if self._fill is None:
            check_covered(path, box, there, what=self._names.data)
        y, x = _overlap((box.y0, box.y1), there["y"]), _overlap((box.x0, box.x1), there["x"])
        with self._files.dataset(path, self._names.data) as dataset:
            inner: npt.NDArray[Any] = dataset[_moved(y, there["y"][0]), _moved(x, there["x"][0])]
        if inner.shape == (box.height, box.width):
            return inner[np.newaxis]
        pixels = np.full((box.height, box.width), self._fill, inner.dtype)
        pixels[_moved(y, box.y0), _moved(x, box.x0)] = inner
        return pixels[np.newaxis]

    def origin(self, box: Box) -> PageRef:
        """Return the slice's file."""
        return PageRef(self._paths.path(box.z), 0)

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
        self._files.close()

    def _there(self, path: Path) -> dict[str, Range]:
        """Return the lines and pixels that a slice's file holds."""
        offset, extent = (
            self._pair(path, name) for name in (self._names.offset, self._names.extent)
        )
        with self._files.dataset(path, self._names.data) as dataset:
            shape = tuple(dataset.shape)
        if len(shape) != 2 or extent[0] > shape[0] or extent[1] > shape[1] or min(extent) < 1:
            cause = f"{self._names.data} is {shape}, {self._names.extent} says {extent} (y, x)"
            raise CorruptSource(path, cause)
        y, x = offset[0] + self._origin[0], offset[1] + self._origin[1]
        return {"y": (y, y + extent[0]), "x": (x, x + extent[1])}

    def _pair(self, path: Path, name: str) -> tuple[int, int]:
        with self._files.dataset(path, name) as dataset:
            found = values(dataset).tolist()
        if len(found) != 2:
            raise CorruptSource(path, f"{name} holds {len(found)} numbers, not y and x")
        return found[0], found[1]


def _notes(fill: float | None) -> tuple[str, ...]:
    return () if fill is None else (f"pixels that no file holds are {fill}, as the settings say",)


def check_fill(fill: float | None, dtype: str) -> None:
    """Raise `ConfigError` where pixels of that type cannot have the value exactly."""
    import numpy as np

    if fill is None:
        return
    kind = np.dtype(dtype)
    limits = np.iinfo(kind) if kind.kind in "iu" else None
    if limits is not None and not (limits.min <= fill <= limits.max and fill == int(fill)):
        raise ConfigError(f"hdf5_slices source: fill: {fill} is no {dtype}")


def _overlap(wanted: Range, there: Range) -> Range:
    start = min(max(wanted[0], there[0]), wanted[1])
    return start, max(start, min(wanted[1], there[1]))


def _moved(ends: Range, start: int) -> slice:
    """Return a range, counted from ``start``; an empty one lies anywhere."""
    return slice(0, 0) if ends[1] <= ends[0] else slice(ends[0] - start, ends[1] - start)
