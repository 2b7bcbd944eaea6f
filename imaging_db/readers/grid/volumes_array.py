"""One array as a volume: its axes by their letters, where it lies in the grid, and which channel is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imaging_db.model import PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range
from imaging_db.readers.grid.volumes_axes import Axes, channel_of, check_axes
from imaging_db.readers.grid.volumes_source import Held


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """How an array lies in the grid: index in the array = index in the grid + offset of that axis."""

    place: str
    axes: Axes
    shape: tuple[int, ...]
    channel: int
    offset: Mapping[str, int]

    @classmethod
    def of(
        cls,
        place: object,
        axes: Axes,
        shape: tuple[int, ...],
        *,
        channel: int | None = None,
        offset: Mapping[str, int] | None = None,
    ) -> ArrayPlace:
        """Return the place of an array.

        Raises
        ------
        UnsupportedFormat
            The axes are not those of the array, or the channel is not there or not chosen.
        """
        check_axes(str(place), axes, shape)
        chosen = channel_of(str(place), axes, shape, index=channel)
        return cls(str(place), axes, tuple(map(int, shape)), chosen, dict(offset or {}))

    @property
    def extent(self) -> dict[str, Range]:
        """Return where the array begins and ends on ``t``, ``z``, ``y`` and ``x`` of the grid."""
        return {axis: self._ends(axis) for axis in "tzyx"}

    def held(self, dtype: str, chunks: tuple[int, ...] | None) -> Held:
        """Return what the array says of itself, with the chunks that it is stored in."""
        stored = None
        if chunks is not None:
            z, y, x = (self.axes.size(axis, chunks) for axis in "zyx")
            stored = (z, y, x)
        return Held(self.place, dtype, self.extent, stored, chunk_start=-self.offset.get("z", 0))

    def index(self, box: Box, z: Range) -> tuple[slice, ...]:
        """Return the index of a box on the slices ``z``."""
        wanted = {"t": (box.t, box.t + 1), "z": z, "y": (box.y0, box.y1), "x": (box.x0, box.x1)}
        moved = {
            axis: (start + self.offset.get(axis, 0), stop + self.offset.get(axis, 0))
            for axis, (start, stop) in wanted.items()
        }
        return self.axes.cut({**moved, "c": (self.channel, self.channel + 1)})

    def origin(self, box: Box) -> PageRef:
        """Return the array's place and the slice, counted through all timepoints."""
        slices = self.axes.size("z", self.shape)
        z, t = box.z + self.offset.get("z", 0), box.t + self.offset.get("t", 0)
        return PageRef(Path(self.place), t * slices + z)

    def _ends(self, axis: str) -> Range:
        start = -self.offset.get(axis, 0)
        return start, start + self.axes.size(axis, self.shape)
