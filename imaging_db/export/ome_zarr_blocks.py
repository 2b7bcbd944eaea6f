"""Blocks of planes on their way into the arrays: read, verified, made smaller, written, read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging_db.errors import IntegrityError
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.journal import Journal
from imaging_db.export.ome_zarr_layout import Block, Layout
from imaging_db.export.part import written_to
from imaging_db.export.plan import ExportPlan
from imaging_db.export.pyramid import halved
from imaging_db.model import FrameCoords, StoredFrame, sha256_of_pixels
from imaging_db.transfer.pool import pooled

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Done:
    """A block that is there: so many of its frames were written, or kept of an earlier run."""

    written: int
    kept: int
    nbr_bytes: int


@dataclass(frozen=True)
class Blocks:
    """Writes blocks into ``images``: the arrays of each position, by level; from many threads.

    ``target`` is the final name, for errors. ``known`` are the hashes at each level that an earlier run
    wrote into the ``journal``. ``readers`` threads read the frames of one block.
    """

    plan: ExportPlan
    layout: Layout
    source: FrameSource
    images: list[list[Any]]
    target: Path
    fill: float | None
    journal: Journal
    known: Mapping[str, tuple[str, ...]]
    readers: int

    def write(self, item: tuple[Block, Mapping[FrameCoords, StoredFrame]]) -> Done:
        """Return once a block is there and was read back as it was meant.

        Raises
        ------
        IntegrityError
            A frame is missing or damaged, or what was written reads otherwise.
        StoreUnavailable
            The disk is full.
        """
        block, rows = item
        frames = dict(self._frames(block, rows))
        arrays, region = self.images[block.position], block.region(self.layout.raster.colors)
        if self._is_there(block, arrays, region):
            return Done(0, len(frames), 0)
        pixels: npt.NDArray[Any] = self._read(block, frames)
        hashes = []
        for level, array in enumerate(arrays):
            if level:
                pixels = halved(pixels)
            with written_to(self.target):
                array[region] = pixels
            back = self._read_back(array, region)
            if back is None or not _same(back, pixels):
                raise self._wrong(block, level)
            hashes.append(sha256_of_pixels(back))
            if not level:
                self._compare(back, block, frames)
        self.journal.add(block.name, hashes)
        return Done(len(frames), 0, len(frames) * self.layout.raster.nbr_bytes)

    def _coords(self, block: Block, place: tuple[int, int]) -> FrameCoords:
        timepoint, slice_ = place
        return self.plan.at(
            channel=block.channel, slice_=slice_, timepoint=timepoint, position=block.position
        )

    def _frames(
        self, block: Block, rows: Mapping[FrameCoords, StoredFrame]
    ) -> Iterator[tuple[tuple[int, int], StoredFrame]]:
        """Yield the frames that there are, with their places within the block."""
        for timepoint, slice_ in block.places():
            frame = rows.get(self._coords(block, (timepoint, slice_)))
            if frame is not None:
                yield (timepoint - block.timepoints.start, slice_ - block.slices.start), frame

    def _read(
        self, block: Block, frames: Mapping[tuple[int, int], StoredFrame]
    ) -> npt.NDArray[Any]:
        """Return the pixels of a block, t c z y x; of frames that are missing the fill value."""
        pixels: npt.NDArray[Any] = self.layout.empty(block)
        if len(frames) < block.nbr_frames:
            if self.fill is None:
                raise IntegrityError(
                    f"{self.plan.serial}: a frame went while it was exported", hint="rerun"
                )
            pixels[...] = self.fill

        def put(item: tuple[tuple[int, int], StoredFrame]) -> None:
            (timepoint, slice_), frame = item
            found = self.source.read(frame)
            planes = np.moveaxis(found, -1, 0) if found.ndim == 3 else found[np.newaxis]
            if planes.shape != pixels[timepoint, :, slice_].shape:
                raise IntegrityError(
                    f"{frame.file_name} of {self.plan.serial} has another shape than recorded"
                )
            pixels[timepoint, :, slice_] = planes

        if min(self.readers, len(frames)) == 1:
            for one in frames.items():
                put(one)
            return pixels
        with closing(pooled(put, frames.items(), workers=min(self.readers, len(frames)))) as done:
            for _ in done:
                pass
        return pixels

    def _is_there(self, block: Block, arrays: list[Any], region: tuple[slice, ...]) -> bool:
        """Return True where an earlier run wrote the block and it still reads as it did then."""
        hashes = self.known.get(block.name, ())
        if len(hashes) != len(arrays):
            return False
        for array, known in zip(arrays, hashes, strict=True):
            found = self._read_back(array, region)
            if found is None or sha256_of_pixels(found) != known:
                return False
        return True

    def _read_back(self, array: Any, region: tuple[slice, ...]) -> npt.NDArray[Any] | None:
        """Return what lies there, None where it cannot be decoded."""
        try:
            return np.asarray(array[region])
        except OSError as error:
            if error.errno is not None:
                with written_to(self.target):
                    raise
            return None
        except (RuntimeError, ValueError):  # of Blosc, of the index of a shard
            return None

    def _compare(
        self,
        back: npt.NDArray[Any],
        block: Block,
        frames: Mapping[tuple[int, int], StoredFrame],
    ) -> None:
        """Compare the pixels that were read back with the hash that was recorded of each frame."""
        for (timepoint, slice_), frame in frames.items():
            planes = back[timepoint, :, slice_]
            found = planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1)
            if frame.sha256 is not None and sha256_of_pixels(found) != frame.sha256:
                raise self._wrong(block, 0)

    def _wrong(self, block: Block, level: int) -> IntegrityError:
        return IntegrityError(
            f"{self.target}: block {block.name} of level {level} reads otherwise than it was written",
            hint="check the disk and its memory, and rerun",
        )


def _same(back: npt.NDArray[Any], pixels: npt.NDArray[Any]) -> bool:
    """Return True for the same bytes, which NaNs have too; comparing them is faster than hashing."""
    alike = back.shape == pixels.shape and back.dtype == pixels.dtype
    return alike and np.array_equal(_bytes_of(back), _bytes_of(pixels))


def _bytes_of(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
