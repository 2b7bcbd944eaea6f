"""An OME-Zarr that is there already, compared with what it should be: its texts, and every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging_db.api.extras import require
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.ome_zarr_attributes import image_attributes
from imaging_db.export.ome_zarr_layout import Block, Layout
from imaging_db.export.plan import ExportPlan
from imaging_db.export.pyramid import halved
from imaging_db.model import FrameCoords, StoredFrame, sha256_of_pixels
from imaging_db.transfer.pool import pooled

if TYPE_CHECKING:
    import numpy.typing as npt

# What zarr, numcodecs and Blosc raise of files that are missing, cut off or scrambled.
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class ThereAlready:
    """A finished export at ``path``; only read."""

    path: Path
    plan: ExportPlan
    layout: Layout
    source: FrameSource
    fill: float | None
    version: str

    def says_the_same(self) -> bool:
        """Return True where names, axes and sizes are those of the plan."""
        try:
            for place, group in enumerate(self._images()):
                meant = image_attributes(self.plan, self.layout, place, self.version)
                if self._told(group.attrs.asdict()) != self._told(meant):
                    return False
        except _DAMAGE:
            return False
        return True

    def has_the_pixels(self, *, workers: int) -> bool:
        """Return True where every frame has its recorded hash, and every smaller copy follows from it."""
        try:
            images = [self._arrays(group) for group in self._images()]
        except _DAMAGE:
            return False

        def is_right(item: tuple[Block, Mapping[FrameCoords, StoredFrame]]) -> bool:
            try:
                return self._is_right(images[item[0].position], *item)
            except _DAMAGE:
                return False

        with closing(pooled(is_right, self._blocks(), workers=workers)) as found:
            return all(found)

    def _images(self) -> Iterator[Any]:
        root = require("zarr", "export").open_group(self.path, mode="r")
        alone = len(self.plan.positions) == 1
        for place in range(len(self.plan.positions)):
            yield root if alone else root[str(place)]

    def _arrays(self, group: Any) -> list[Any]:
        return [group[str(level)] for level in range(len(self.layout.levels))]

    def _blocks(self) -> Iterator[tuple[Block, Mapping[FrameCoords, StoredFrame]]]:
        for place, position in enumerate(self.plan.positions.indices):
            rows = self.source.rows(position)
            for block in self.layout.blocks(place):
                yield block, rows

    def _is_right(
        self, arrays: list[Any], block: Block, rows: Mapping[FrameCoords, StoredFrame]
    ) -> bool:
        region = block.region(self.layout.raster.colors)
        pixels: npt.NDArray[Any] = np.asarray(arrays[0][region])
        if pixels.shape != self.layout.empty(block).shape or not self._has(pixels, block, rows):
            return False
        for array in arrays[1:]:
            pixels = halved(pixels)
            found = np.asarray(array[region])
            if found.dtype != pixels.dtype or sha256_of_pixels(found) != sha256_of_pixels(pixels):
                return False
        return True

    def _has(
        self, pixels: npt.NDArray[Any], block: Block, rows: Mapping[FrameCoords, StoredFrame]
    ) -> bool:
        """Return True where the planes are the frames; those that are missing have the fill value."""
        if pixels.dtype.name != self.layout.raster.dtype:
            return False
        for t, z in block.places():
            planes = pixels[t - block.timepoints.start, :, z - block.slices.start]
            frame = rows.get(
                self.plan.at(channel=block.channel, slice_=z, timepoint=t, position=block.position)
            )
            wanted = self._hole(planes) if frame is None else frame.sha256
            found = planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1)
            if sha256_of_pixels(found if frame is not None else planes) != wanted:
                return False
        return True

    def _hole(self, planes: npt.NDArray[Any]) -> str:
        return sha256_of_pixels(np.full(planes.shape, self.fill, planes.dtype))

    def _told(self, attributes: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        found = attributes if self.version == "0.4" else attributes.get("ome", {})
        channels = found.get("omero", {}).get("channels", [])
        return found.get("multiscales"), [channel.get("label") for channel in channels]
