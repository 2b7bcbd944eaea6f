"""Kind ``hdf5_chunks``: HDF5 files that hold a chunk each, named by where it lies (Boss: ``Hdf5Chunk``).

::

    {"kind": "hdf5_chunks", "root": "chunks", "prefix": "vol", "extension": "h5", "data_name": "main",
     "x_chunk_size": 512, "y_chunk_size": 512, "z_chunk_size": 16, "x_offset": 0, "y_offset": 0,
     "z_offset": 0, "use_python_convention": true, "grid": {...}}

A file is named ``prefix_x0-x1_y0-y1_z0-z1.extension`` and holds ``[z, y, x]``. Pixel x of the grid lies in chunk
number ``x // x_chunk_size``; the names count from the offset. The stops are exclusive with
``use_python_convention``, else inclusive. A chunk at the end of the volume may hold less than its name says;
a tile may lie in several chunks. A file that is missing or damaged is refused (Boss made it black).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.volumes_hdf5 import Hdf5Files
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_source import Held, VolumeSource, dtype_name

if TYPE_CHECKING:
    import numpy.typing as npt

_SIZES = ("x_chunk_size", "y_chunk_size", "z_chunk_size")
_OFFSETS = ("x_offset", "y_offset", "z_offset")
_TEXTS = ("root", "prefix", "extension", "data_name")
_KEYS = (*_TEXTS, *_SIZES, *_OFFSETS, "use_python_convention")


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of the chunks' boxes; the first file is opened, unless the type is told.

    Raises
    ------
    ConfigError
        Settings are wrong, or h5py is not installed.
    ReaderError
        The first file cannot be read.
    """
    keys = VolumeKeys(settings, *_KEYS)
    root, prefix, extension, name = (keys.needed(key) for key in _TEXTS)
    sizes = {key[0]: keys.size(key) for key in _SIZES}
    offsets = {key[0]: keys.offset(key) for key in _OFFSETS}
    exclusive = keys.flag("use_python_convention", default=True)
    keys.check()
    files = ChunkFiles(Path(root), prefix, extension, sizes, offsets, exclusive=exclusive)
    volume = ChunksVolume(files, name, grid.box(0), dtype=keys.text("dtype"))
    return VolumeSource(volume, grid)


class ChunkFiles:
    """The files of chunks by where they lie."""

    def __init__(
        self,
        root: Path,
        prefix: str,
        extension: str,
        sizes: Mapping[str, int],
        offsets: Mapping[str, int],
        *,
        exclusive: bool,
    ) -> None:
        self.sizes = dict(sizes)
        self._root, self._prefix, self._extension = root, prefix, extension
        self._offsets = dict(offsets)
        self._shorter = 0 if exclusive else 1

    def path(self, x: int, y: int, z: int) -> Path:
        """Return the file with that pixel of the grid."""
        parts = [self._ends(axis, place) for axis, place in (("x", x), ("y", y), ("z", z))]
        return self._root / f"{self._prefix}_{'_'.join(parts)}.{self._extension}"

    def pieces(self, axis: str, ends: Range) -> Iterator[Range]:
        """Yield the parts of a range that lie in one chunk each."""
        start, size = ends[0], self.sizes[axis]
        while start < ends[1]:
            stop = min(ends[1], start - start % size + size)
            yield start, stop
            start = stop

    def _ends(self, axis: str, place: int) -> str:
        start = place - place % self.sizes[axis] + self._offsets[axis]
        return f"{start}-{start + self.sizes[axis] - self._shorter}"


class ChunksVolume:
    """A file for each chunk."""

    def __init__(
        self, files: ChunkFiles, name: str, first: Box, *, dtype: str | None = None
    ) -> None:
        self._paths, self._name = files, name
        self._files = Hdf5Files()
        dtype = dtype or self._files.dtype(files.path(first.x0, first.y0, first.z), name)
        z, y, x = (files.sizes[axis] for axis in "zyx")
        self._held = Held(name, dtype, {"t": (0, 1)}, (z, y, x))

    @property
    def held(self) -> Held:
        """Return what the first file says."""
        return self._held

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on some slices of one chunk; see `Volume.read`."""
        import numpy as np

        pixels = np.empty((z[1] - z[0], box.height, box.width), self._held.dtype)
        pieces = self._paths.pieces
        for y, x in product(pieces("y", (box.y0, box.y1)), pieces("x", (box.x0, box.x1))):
            place = np.s_[:, y[0] - box.y0 : y[1] - box.y0, x[0] - box.x0 : x[1] - box.x0]
            pixels[place] = self._piece(box, {"z": z, "y": y, "x": x})
        return pixels

    def origin(self, box: Box) -> PageRef:
        """Return the file with the tile's first pixel, and the slice in it."""
        path = self._paths.path(box.x0, box.y0, box.z)
        return PageRef(path, box.z % self._paths.sizes["z"])

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
        self._files.close()

    def _piece(self, box: Box, ranges: Mapping[str, Range]) -> npt.NDArray[Any]:
        path = self._paths.path(ranges["x"][0], ranges["y"][0], ranges["z"][0])
        index = tuple(self._inside(axis, ranges[axis]) for axis in "zyx")
        with self._files.dataset(path, self._name) as dataset:
            shape, dtype = tuple(dataset.shape), dtype_name(path, dataset.dtype)
            fits = len(shape) == 3 and all(i.stop <= n for i, n in zip(index, shape, strict=True))
            if not fits or dtype != self._held.dtype:
                wanted = ", ".join(f"{i.start}:{i.stop}" for i in index)
                cause = (
                    f"{self._name} is {shape} {dtype}, {box} needs [{wanted}] {self._held.dtype}"
                )
                raise CorruptSource(path, cause)
            return dataset[index]  # type: ignore[no-any-return]

    def _inside(self, axis: str, ends: Range) -> slice:
        start = ends[0] % self._paths.sizes[axis]
        return slice(start, start + ends[1] - ends[0])
