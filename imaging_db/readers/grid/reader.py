"""A reader over a grid: frames that are told by arithmetic, their pixels from a source of any kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, JSONObject, SourceFrame
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.frame_buffer import check_out
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.description import Description
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.source import PixelSource

if TYPE_CHECKING:
    import numpy.typing as npt

_LIMITS = ReadLimits()


class GridReader:
    """The frames of a grid. A context manager that owns and closes the source.

    A tile is a position: its number counts row by row from the grid's first tile, its name
    (``r0003c0012``) tells row and column as the source counts them. Slices and timepoints keep the
    numbers of the source. Frames are made when they are asked for, so that a grid may have any number.

    Raises
    ------
    UnsupportedFormat
        A frame is above the limit.
    """

    def __init__(
        self,
        grid: TileGrid,
        source: PixelSource,
        description: Description,
        *,
        limits: ReadLimits = _LIMITS,
    ) -> None:
        self.grid = grid
        self.source = source
        self._description = description
        self._dtype, self._colors = source.dtype, source.colors
        self._check_limit(limits)

    @property
    def settings(self) -> JSONObject:
        """Return the settings of the source, type and colours of its pixels with them.

        Opened with these, a tile of any other kind is refused wherever it is read.
        """
        told: JSONObject = {"dtype": self._dtype, "colors": self._colors}
        return {**self._description.settings, "grid": self.grid.to_json(), **told}

    @property
    def frame_bytes(self) -> int:
        """Return how many bytes the pixels of the largest frame have."""
        import numpy as np

        pixels = max(self.grid.heights) * max(self.grid.widths)
        return pixels * self._colors * np.dtype(self._dtype).itemsize

    @cached_property
    def acquisition(self) -> Acquisition:
        """Return what the source says of the whole acquisition."""
        grid, told = self.grid, self._description
        rows = range(grid.first_row, grid.first_row + grid.rows)
        columns = range(grid.first_column, grid.first_column + grid.columns)
        return Acquisition(
            format=told.kind,
            nbr_frames=grid.nbr_frames,
            nbr_channels=1,
            nbr_slices=grid.nbr_slices,
            nbr_timepoints=grid.nbr_timepoints,
            nbr_positions=grid.nbr_positions,
            height=_only(grid.heights),
            width=_only(grid.widths),
            colors=self._colors,
            dtype=self._dtype,
            channel_names=(told.channel,),
            position_names=tuple(_name(row, column) for row in rows for column in columns),
            pixel_size_x_um=told.pixel_size_x_um,
            pixel_size_y_um=told.pixel_size_y_um,
            z_step_um=told.z_step_um,
            time_interval_s=told.time_interval_s,
            metadata={**told.metadata, "source": {**told.source, "grid": grid.to_json()}},
            notes=(*told.notes, *getattr(self.source, "notes", ())),
        )

    @property
    def sources(self) -> Sequence[Path]:
        """Return every file that frames come from, in their order; none of those at an address.

        All of them are listed: not to be asked of a grid of millions.
        """
        boxes = self.grid.frames_between(0, self.grid.nbr_frames)
        origins = (self.source.origin(box).path for box in boxes)
        return [path for path in dict.fromkeys(origins) if not _is_address(path)]

    def frames(self) -> Iterator[SourceFrame]:
        """Yield every frame once, in the order of the grid, without reading pixels."""
        return self.frames_between(0, self.grid.nbr_frames)

    def frames_between(self, first: int, stop: int) -> Iterator[SourceFrame]:
        """Yield the frames from number ``first`` to before ``stop``, without reading pixels."""
        return (self._frame(index) for index in range(first, stop))

    def portions(self, most_frames: int, most_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield number and count of frames that are read together; see `TileGrid.portions`."""
        return self.grid.portions(most_frames, most_bytes, self.frame_bytes)

    def sample(self, count: int) -> list[SourceFrame]:
        """Return the first frame, the last, and others evenly between them: ``count``, or all there are."""
        last, steps = self.grid.nbr_frames - 1, max(1, count - 1)
        return [self._frame(n) for n in sorted({step * last // steps for step in range(count)})]

    def read(self, frame: SourceFrame, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the stored pixels of one frame, in ``out`` where that is given; see `Reader.read`.

        Raises
        ------
        ReaderError
            They are missing, damaged, or not of the promised shape and dtype; names file and tile.
        """
        import numpy as np

        box = self.grid.box(frame.index)
        shape = self._shape(box)
        if out is not None:
            check_out(out, shape, self._dtype)
        found = self.source.read(box)
        if found.shape != shape or found.dtype != np.dtype(self._dtype):
            cause = f"{box} is {found.shape} {found.dtype.name}, not {shape} {self._dtype}"
            raise CorruptSource(frame.source.path, cause)
        pixels = np.empty(shape, self._dtype) if out is None else out
        pixels[...] = found
        return pixels

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
        self.source.close()

    def __enter__(self) -> GridReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _frame(self, index: int) -> SourceFrame:
        box = self.grid.box(index)
        place: JSONObject = {"row": box.row, "column": box.column, "x": box.x0, "y": box.y0}
        return SourceFrame(
            index=index,
            coords=FrameCoords(0, box.z, box.t, self.grid.position(box)),
            shape=self._shape(box),
            dtype=self._dtype,
            source=self.source.origin(box),
            channel_name=self._description.channel,
            position_name=_name(box.row, box.column),
            metadata={**place, "z": box.z, "t": box.t},
        )

    def _shape(self, box: Box) -> tuple[int, ...]:
        plane = (box.height, box.width)
        return plane if self._colors == 1 else (*plane, self._colors)

    def _check_limit(self, limits: ReadLimits) -> None:
        if self.frame_bytes > limits.max_frame_bytes:
            path = self.source.origin(self.grid.box(0)).path
            cause = f"a tile has {self.frame_bytes} bytes, the limit is {limits.max_frame_bytes} a frame"
            raise UnsupportedFormat(
                path, cause, hint="choose smaller tiles, or raise max_frame_bytes"
            )


def _name(row: int, column: int) -> str:
    return f"r{row:04d}c{column:04d}"


def _only(sizes: set[int]) -> int | None:
    return next(iter(sizes)) if len(sizes) == 1 else None


def _is_address(path: Path) -> bool:
    """Return True of ``https:`` and the like; a drive of Windows has one letter."""
    scheme = path.parts[0] if path.parts else ""
    return scheme.endswith(":") and len(scheme) > 2
