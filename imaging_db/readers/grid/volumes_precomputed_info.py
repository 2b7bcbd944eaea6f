"""The ``info`` of a precomputed volume: its scales, where each begins, and how it is cut into chunks.

Source: the description of the format that comes with Neuroglancer (datasource/precomputed, volume).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.grid.grid import Range

_NM_PER_UM = 1000


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale; ``resolution`` is in nanometres a voxel, ``chunk`` and ``resolution`` are x, y, z."""

    number: int
    key: str
    extent: Mapping[str, Range]
    resolution: tuple[float, ...]
    chunk: tuple[int, int, int]
    encoding: str
    sharded: bool

    @property
    def sizes(self) -> JSONObject:
        """Return the physical sizes in micrometres, under the keys of settings; none where one is 0."""
        if min(self.resolution) <= 0:
            return {}
        x, y, z = (size / _NM_PER_UM for size in self.resolution)
        return {"pixel_size_um": [x, y], "z_step_um": z}


@dataclass(frozen=True, slots=True)
class Info:
    """What a volume says of itself; ``content`` is the file as it is."""

    place: str
    dtype: str
    channels: int
    scales: tuple[Scale, ...]
    content: bytes

    def scale(self, mip: int | tuple[float, ...]) -> Scale:
        """Return a scale by its number, or by its resolution.

        Raises
        ------
        UnsupportedFormat
            There is no such scale; tells those that are there.
        """
        for scale in self.scales:
            if mip in (scale.number, scale.resolution):
                return scale
        wanted = list(mip) if isinstance(mip, tuple) else mip
        there = ", ".join(f"{scale.number} {list(scale.resolution)}" for scale in self.scales)
        raise UnsupportedFormat(self.place, f"has no mip {wanted}; its mips are {there} nm")


def info_of(place: str, content: bytes) -> Info:
    """Return what the content of a file ``info`` says.

    Raises
    ------
    CorruptSource
        It is not JSON, or not that of a volume.
    """
    try:
        told = json.loads(content)
        scales = tuple(_scale(number, scale) for number, scale in enumerate(told["scales"]))
        return Info(place, str(told["data_type"]), int(told["num_channels"]), scales, content)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        cause = f"info is not that of a precomputed volume: {type(error).__name__}: {error}"
        raise CorruptSource(place, cause) from error


def _scale(number: int, told: Mapping[str, Any]) -> Scale:
    size, start = told["size"], told.get("voxel_offset", [0, 0, 0])
    x, y, z = (int(step) for step in told["chunk_sizes"][0])
    return Scale(
        number,
        str(told["key"]),
        {
            axis: (int(first), int(first) + int(length))
            for axis, first, length in zip("xyz", start, size, strict=True)
        },
        tuple(map(float, told["resolution"])),
        (x, y, z),
        str(told["encoding"]),
        sharded=told.get("sharding") is not None,
    )
