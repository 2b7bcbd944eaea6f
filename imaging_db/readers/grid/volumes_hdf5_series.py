"""Kind ``hdf5_series``: an HDF5 file for each slice, with all its timepoints (Boss: ``Hdf5TimeSeries``).

::

    {"kind": "hdf5_series", "root": "calcium", "base_filename": "plane_<p:4>", "extension": "h5",
     "dataset": "cell", "channel_index": 0, "grid": {...}}

``base_filename`` holds the slice as Boss's names do. The dataset is indexed ``[t, x, y, c]``, x before y: that
is what ``axes`` says, ``txyc`` unless it is given; labels that are indexed ``[x, y]`` have ``"axes": "xy"``.
Pixels stay of the dataset's own type. Boss's ``scale_factor`` multiplied them and cut off what was behind
the point: any other than 1 is refused, scale before or after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.names import boss_name
from imaging_db.readers.grid.volumes_array import ArrayPlace
from imaging_db.readers.grid.volumes_axes import Axes, axes_of
from imaging_db.readers.grid.volumes_hdf5 import Hdf5Files
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_source import Held, VolumeSource, check_covered, dtype_name

if TYPE_CHECKING:
    import numpy.typing as npt

_AXES = "txyc"
_KEYS = ("root", "base_filename", "extension", "dataset", "axes", "channel_index", "scale_factor")


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of a series' boxes; the first file is opened, unless the type is told.

    Raises
    ------
    ConfigError
        Settings are wrong, or h5py is not installed.
    ReaderError
        The first file cannot be read, or the grid reaches beyond it.
    """
    keys = VolumeKeys(settings, *_KEYS)
    name, axes = keys.needed("dataset"), keys.text("axes") or _AXES
    channel, scale = keys.whole("channel_index", least=0), keys.raw("scale_factor")
    files = SliceFiles.of(keys)
    if scale not in (None, 1):
        keys.problem(
            "scale_factor", f"{scale!r} would change the pixels, which are kept as they are"
        )
    keys.check()
    known = axes_of(axes, without="z")
    dtype = keys.text("dtype")
    volume = SeriesVolume(files, name, grid.z[0], axes=known, channel=channel, dtype=dtype)
    return VolumeSource(volume, grid)


class SliceFiles:
    """The files of slices by their number, as Boss names them."""

    def __init__(self, root: Path, base_filename: str, extension: str) -> None:
        self._root, self._base, self._extension = root, base_filename, extension

    @classmethod
    def of(cls, keys: VolumeKeys) -> SliceFiles:
        """Return the files that ``root``, ``base_filename`` and ``extension`` name."""
        root, base = keys.needed("root"), keys.needed("base_filename")
        return cls(Path(root), base, keys.needed("extension"))

    def path(self, z: int) -> Path:
        """Return the file of a slice."""
        return self._root / f"{boss_name(self._base, z)}.{self._extension}"


class SeriesVolume:
    """A file for each slice; each is checked to be as the first."""

    def __init__(
        self,
        files: SliceFiles,
        name: str,
        first: int,
        *,
        axes: Axes,
        channel: int | None,
        dtype: str | None = None,
    ) -> None:
        self._paths, self._name, self._axes, self._channel = files, name, axes, channel
        self._files = Hdf5Files()
        self._held = self._first(first) if dtype is None else Held(name, dtype)

    @property
    def held(self) -> Held:
        """Return what the first file says."""
        return self._held

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on its slice; see `Volume.read`."""
        with self._at(box.z) as (dataset, place):
            there = place.extent
            check_covered(self._paths.path(box.z), box, there, what=self._name)
            if not there["t"][0] <= box.t < there["t"][1]:
                cause = f"{self._name}: holds {there['t'][1]} timepoints, {box} is not there"
                raise CorruptSource(self._paths.path(box.z), cause)
            return place.axes.to_zyx(dataset[place.index(box, (0, 1))])

    def origin(self, box: Box) -> PageRef:
        """Return the slice's file and the timepoint."""
        return PageRef(self._paths.path(box.z), box.t)

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
        self._files.close()

    def _first(self, z: int) -> Held:
        with self._files.kept(), self._at(z) as (dataset, place):
            extent = {axis: ends for axis, ends in place.extent.items() if axis != "z"}
            return Held(place.place, dtype_name(place.place, dataset.dtype), extent)

    @contextmanager
    def _at(self, z: int) -> Iterator[tuple[Any, ArrayPlace]]:
        path = self._paths.path(z)
        with self._files.dataset(path, self._name) as dataset:
            place = f"{path}: {self._name}"
            yield dataset, ArrayPlace.of(place, self._axes, dataset.shape, channel=self._channel)
