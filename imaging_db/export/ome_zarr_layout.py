"""How an image is cut: levels, chunks, shards, and the blocks of planes that are written in one piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imaging_db.export.plan import ExportPlan, RasterShape
from imaging_db.export.pyramid import level_sizes

_CHUNK_SIDE = 1024
_SHARD_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Block:
    """Planes that are written in one piece: places (not indices) on the axes t, c and z of a position.

    ``timepoints`` and ``slices`` are runs of places; ``channel`` is one channel of the dataset, whose
    samples lie beside each other on the axis c of the array.
    """

    position: int
    channel: int
    timepoints: range
    slices: range

    @property
    def name(self) -> str:
        """Return what the journal calls it: its position and first places."""
        return f"{self.position}/{self.timepoints.start}/{self.channel}/{self.slices.start}"

    @property
    def nbr_frames(self) -> int:
        """Return how many frames it holds."""
        return len(self.timepoints) * len(self.slices)

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield the places of its frames: timepoint and slice."""
        return itertools.product(self.timepoints, self.slices)

    def region(self, colors: int) -> tuple[slice, ...]:
        """Return where it lies in an array t c z y x of any level."""
        first = self.channel * colors
        return (
            slice(self.timepoints.start, self.timepoints.stop),
            slice(first, first + colors),
            slice(self.slices.start, self.slices.stop),
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of one image, all positions alike.

    ``block_times`` and ``block_slices`` say how many planes are written in one piece: those of a shard
    of at most 16 MiB of pixels where there are shards, one plane elsewhere.
    """

    raster: RasterShape
    nbr_timepoints: int
    nbr_channels: int
    nbr_slices: int
    sharded: bool
    block_times: int
    block_slices: int

    @classmethod
    def of(cls, plan: ExportPlan, *, sharded: bool) -> Layout:
        """Return how the images of a plan are cut; raises `UsageError` where its frames differ."""
        raster = plan.require_alike()
        times, slices = len(plan.timepoints), len(plan.slices)
        fitting = max(1, _SHARD_BYTES // max(1, raster.nbr_bytes)) if sharded else 1
        block_slices = min(slices, fitting)
        block_times = min(times, fitting // block_slices) if block_slices == slices else 1
        channels = len(plan.channels)
        return cls(raster, times, channels, slices, sharded, block_times, block_slices)

    @property
    def levels(self) -> list[tuple[int, int]]:
        """Return height and width of each level."""
        return level_sizes(self.raster.height, self.raster.width)

    @property
    def block_bytes(self) -> int:
        """Return the bytes of the pixels of one block."""
        return self.raster.nbr_bytes * self.block_times * self.block_slices

    def shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of a level's array, t c z y x; samples of a colour are channels."""
        channels = self.nbr_channels * self.raster.colors
        return (self.nbr_timepoints, channels, self.nbr_slices, *self.levels[level])

    def chunks(self, level: int) -> tuple[int, ...]:
        """Return the shape of a chunk: a plane, or a tile of it of 1024 pixels a side."""
        height, width = self.levels[level]
        return (1, 1, 1, min(height, _CHUNK_SIDE), min(width, _CHUNK_SIDE))

    def shards(self, level: int) -> tuple[int, ...] | None:
        """Return the shape of a shard, in whole chunks; None without shards."""
        if not self.sharded:
            return None
        chunks = self.chunks(level)
        sides = (
            -(-size // chunk) * chunk
            for size, chunk in zip(self.levels[level], chunks[-2:], strict=True)
        )
        return (self.block_times, self.raster.colors, self.block_slices, *sides)

    def blocks(self, position: int) -> Iterator[Block]:
        """Yield the blocks of one position (its place), in the order of the array."""
        for t in range(0, self.nbr_timepoints, self.block_times):
            times = range(t, min(t + self.block_times, self.nbr_timepoints))
            for c in range(self.nbr_channels):
                for z in range(0, self.nbr_slices, self.block_slices):
                    slices = range(z, min(z + self.block_slices, self.nbr_slices))
                    yield Block(position, c, times, slices)

    def empty(self, block: Block) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """Return an array for the pixels of a block, t c z y x."""
        raster = self.raster
        planes = (len(block.timepoints), raster.colors, len(block.slices))
        return np.empty((*planes, raster.height, raster.width), dtype=raster.dtype)
