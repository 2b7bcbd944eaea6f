"""Volumes as sources of pixels: what a file or an address holds, cut into the boxes of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.volumes_blocks import LastBlocks

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Held:
    """What a volume says of itself.

    ``extent`` has where it begins and ends (exclusive) on the axes ``t``, ``z``, ``y``, ``x``, in the grid's
    indices; an axis is absent where only its files tell. ``chunk`` is how many slices, lines and pixels are
    stored together; blocks of slices begin at ``chunk_start`` and multiples of the chunk from there.
    ``sizes`` are physical ones, under the keys of settings; ``notes`` is what a user should be told once.
    """

    place: str
    dtype: str
    extent: Mapping[str, Range] = field(default_factory=dict)
    chunk: tuple[int, int, int] | None = None
    chunk_start: int = 0
    sizes: JSONObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def extent_text(self) -> str:
        """Return the extent for people."""
        return ", ".join(f"{axis} [{a}, {b})" for axis, (a, b) in self.extent.items())


class Volume(Protocol):
    """An open volume. Safe for threads."""

    @property
    def held(self) -> Held:
        """Return what it says of itself."""

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on the slices ``z``: ``(Z, Y, X)``, of any byte and memory order.

        Raises
        ------
        ReaderError
            They cannot be read, or are not there.
        """

    def origin(self, box: Box) -> PageRef:
        """Return where the pixels of a box come from."""

    def close(self) -> None:
        """Close what is open; closing twice is allowed."""


class VolumeSource:
    """The boxes of a grid, read from a volume.

    The source owns the volume. Where slices are stored together, the slices of a tile are read together
    and kept until they were asked for: one block a thread, so that a chunk is decoded once as long as there
    is room.

    Raises
    ------
    UnsupportedFormat
        The grid reaches beyond the volume.
    """

    colors = 1

    def __init__(self, volume: Volume, grid: TileGrid) -> None:
        self._volume = volume
        self._grid = grid
        self._held = volume.held
        self._blocks = LastBlocks()
        self.dtype = self._held.dtype
        self.notes = (*self._held.notes, *self._slow())
        try:
            self._check_inside()
        except ReaderError:
            volume.close()
            raise

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the pixels of a box: ``(Y, X)``, C-contiguous, in native byte order; not to be written to.

        Raises
        ------
        ReaderError
            They cannot be read, or not exactly; names the file, the tile and the cause.
        """
        first, stop = self._together(box)
        if stop - first > 1:
            size = (stop - first) * box.height * box.width * _itemsize(self.dtype)
            key = (box.t, first, box.y0, box.y1, box.x0, box.x1)
            block = self._blocks.get(key, nbytes=size, read=lambda: self._cut(box, (first, stop)))
            if block is not None:
                if box.z == stop - 1:
                    self._blocks.forget()
                return _slice(block, box.z - first)
        return _slice(self._cut(box, (box.z, box.z + 1)), 0)

    def origin(self, box: Box) -> PageRef:
        """Return where the pixels of a box come from."""
        return self._volume.origin(box)

    def describe(self) -> JSONObject:
        """Return extent, type, chunk ``[z, y, x]`` and physical sizes, as far as the source tells them."""
        return described(self._held)

    def close(self) -> None:
        """Close what is open; closing twice is allowed."""
        self._blocks.clear()
        self._volume.close()

    def _cut(self, box: Box, z: Range) -> npt.NDArray[Any]:
        pixels = native(self._volume.read(box, z))
        shape = (z[1] - z[0], box.height, box.width)
        if pixels.shape != shape or pixels.dtype.name != self.dtype:
            cause = f"{box}: is {pixels.shape} {pixels.dtype.name}, not {shape} {self.dtype}"
            raise CorruptSource(self.origin(box).path, cause)
        return pixels

    def _together(self, box: Box) -> Range:
        """Return the slices that are read together with a box's: of its chunk, block and grid."""
        depth, chunk = self._grid.depth, self._held.chunk
        if depth == 1 or chunk is None or chunk[0] == 1:
            return box.z, box.z + 1
        of_chunk = box.z - (box.z - self._held.chunk_start) % chunk[0]
        of_block = box.z - box.z % depth
        first = max(of_chunk, of_block, self._grid.z[0])
        return first, min(of_chunk + chunk[0], of_block + depth, self._grid.z[1])

    def _slow(self) -> tuple[str, ...]:
        depth = self._held.chunk[0] if self._held.chunk else 1
        if depth == 1 or self._grid.depth > 1 or self._grid.nbr_slices == 1:
            return ()
        told = f'a grid with "depth": {depth} would decode each chunk once'
        return (f"{depth} slices are stored together and are read one by one; {told}",)

    def _check_inside(self) -> None:
        for axis, (start, stop) in self._held.extent.items():
            wanted: Range = getattr(self._grid, axis)
            if wanted[0] < start or wanted[1] > stop:
                cause = f"grid.{axis} is {list(wanted)}, it holds {self._held.extent_text}"
                raise UnsupportedFormat(self._held.place, cause, hint="choose a grid inside it")


def described(held: Held) -> JSONObject:
    """Return what a volume says of itself as JSON: ``x``, ``y``, ``z``, ``t``, ``dtype``, ``chunk``, sizes."""
    extent: JSONObject = {axis: list(ends) for axis, ends in held.extent.items()}
    told: JSONObject = {"dtype": held.dtype, "chunk": list(held.chunk) if held.chunk else None}
    return {**extent, **told, **held.sizes}


def native(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return pixels C-contiguous and in native byte order; the same memory where they are that already."""
    import numpy as np

    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def dtype_name(place: object, dtype: np.dtype[Any]) -> str:
    """Return NumPy's name of a type of pixels, in native byte order.

    Raises
    ------
    UnsupportedFormat
        It is not a plain number: text, a record, an object.
    """
    longest = 16 if dtype.kind == "c" else 8
    if dtype.kind not in "biufc" or dtype.itemsize > longest:
        raise UnsupportedFormat(str(place), f"holds {dtype}, not plain numbers")
    return dtype.newbyteorder("=").name


def check_covered(place: object, box: Box, extent: Mapping[str, Range], *, what: str = "") -> None:
    """Raise `CorruptSource` where a box reaches beyond what is there on the axes ``y`` and ``x``."""
    wanted = {"y": (box.y0, box.y1), "x": (box.x0, box.x1)}
    for axis, (start, stop) in wanted.items():
        there = extent[axis]
        if start < there[0] or stop > there[1]:
            name = f"{what}: " if what else ""
            cause = (
                f"{name}{box} is {axis} [{start}, {stop}), there is {axis} [{there[0]}, {there[1]})"
            )
            raise CorruptSource(str(place), cause)


def _slice(block: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
    pixels: npt.NDArray[Any] = block[number]
    return pixels


def _itemsize(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize
