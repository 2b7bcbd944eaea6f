"""Kind ``hdf5_file``: one dataset of one HDF5 file is the whole volume.

::

    {"kind": "hdf5_file", "path": "brain.h5", "data_name": "volume", "axes": "zyx", "offset_z": 0,
     "grid": {...}}

``axes`` may be ``zyx``, ``tzyx``, ``czyx`` or another order of these letters; an array of three axes is
``zyx`` unless it says otherwise. ``channel_index`` chooses one of several channels. ``offset_x``,
``offset_y``, ``offset_z``: index in the file = index in the grid + offset. What lies beyond the dataset is
refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.volumes_array import ArrayPlace
from imaging_db.readers.grid.volumes_axes import axes_of, usual_axes
from imaging_db.readers.grid.volumes_hdf5 import Hdf5Files
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_places import place_of
from imaging_db.readers.grid.volumes_source import Held, VolumeSource, dtype_name

if TYPE_CHECKING:
    import numpy.typing as npt

_OFFSETS = {"offset_x": "x", "offset_y": "y", "offset_z": "z"}
_KEYS = ("path", "data_name", "axes", "channel_index", *_OFFSETS)


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of a dataset's boxes.

    Raises
    ------
    ConfigError
        Settings are wrong, or h5py is not installed.
    ReaderError
        The file or dataset cannot be read, or the grid reaches beyond it.
    """
    return VolumeSource(open_volume(settings), grid)


def open_volume(settings: JSONObject) -> Hdf5Volume:
    """Return the dataset as a volume; see `open_source`."""
    keys = VolumeKeys(settings, *_KEYS)
    path, name = keys.needed("path"), keys.needed("data_name")
    axes, channel = keys.text("axes"), keys.whole("channel_index", least=0)
    offset = {axis: keys.offset(key) for key, axis in _OFFSETS.items()}
    keys.check()
    place = Path(place_of(path, key="path", schemes=()))
    return Hdf5Volume(place, name, axes=axes, channel=channel, offset=offset)


class Hdf5Volume:
    """One dataset of one HDF5 file."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        axes: str | None = None,
        channel: int | None = None,
        offset: dict[str, int] | None = None,
    ) -> None:
        self._path, self._name = path, name
        place = f"{path}: {name}"
        self._files = Hdf5Files()
        with self._files.kept(), self._files.dataset(path, name) as dataset:
            known = axes_of(axes) if axes else usual_axes(place, dataset.shape)
            self._place = ArrayPlace.of(place, known, dataset.shape, channel=channel, offset=offset)
            self._held = self._place.held(dtype_name(place, dataset.dtype), dataset.chunks)

    @property
    def held(self) -> Held:
        """Return what the dataset says of itself."""
        return self._held

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on some slices; see `Volume.read`."""
        index = self._place.index(box, z)
        with self._files.dataset(self._path, self._name) as dataset:
            return self._place.axes.to_zyx(dataset[index])

    def origin(self, box: Box) -> PageRef:
        """Return the file, and the slice counted through all timepoints."""
        return PageRef(self._path, self._place.origin(box).page)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._files.close()
