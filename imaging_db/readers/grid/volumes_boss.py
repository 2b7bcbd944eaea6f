"""Kind ``boss``: cutouts of a channel of a BossDB, over http.

::

    {"kind": "boss", "uri": "bossdb://collection/experiment/channel", "resolution": 0, "dtype": "uint8",
     "grid": {...}}

``host`` is ``api.bossdb.io`` and ``protocol`` ``https`` unless they are given. ``x_offset``, ``y_offset``,
``z_offset``: index in the channel = index in the grid + offset. The server is asked for the type where the
settings do not tell it. The token comes from the environment variable ``INTERN_TOKEN``, never from settings;
without it the one for public data is used. What lies beyond the channel the server refuses.
``timeout_seconds`` (120) and ``pause_seconds`` (0.5) are those of ``tile_urls``.

Source: the cutout service as the public client jhuapl-boss/intern asks it, version v1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.http_get import PAUSE_SECONDS
from imaging_db.readers.grid.volumes_boss_channel import BossChannel, BossService, ChannelTold
from imaging_db.readers.grid.volumes_errors import refusing
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_source import Held, VolumeSource

if TYPE_CHECKING:
    import numpy.typing as npt

_OFFSETS = ("x_offset", "y_offset", "z_offset")
_PAUSES = ("timeout_seconds", "pause_seconds")
_KEYS = ("uri", "host", "protocol", "resolution", *_OFFSETS, *_PAUSES)
# How a Boss stores its channels; cutouts of whole cuboids cost it least.
_CUBOID = (16, 512, 512)
TIMEOUT_SECONDS = 120.0
"""How long a server may be silent: it puts a cutout together before it begins to answer."""
_OVERHEAD = 2**20
"""Bytes that a compressed cutout may have beyond its pixels."""


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of a channel's boxes.

    Raises
    ------
    ConfigError
        Settings are wrong.
    ReaderError
        The server knows no such channel, or refuses.
    StoreUnavailable
        The server does not answer.
    """
    return VolumeSource(open_volume(settings), grid)


def open_volume(settings: JSONObject) -> BossVolume:
    """Return the channel as a volume; see `open_source`."""
    keys = VolumeKeys(settings, *_KEYS)
    uri, host = keys.needed("uri"), keys.text("host") or "api.bossdb.io"
    protocol = keys.choice("protocol", ("https", "http")) or "https"
    resolution = keys.whole("resolution", least=0) or 0
    offset = {key[0]: keys.offset(key) for key in _OFFSETS}
    names = uri.removeprefix("bossdb://").strip("/").split("/")
    if uri and (len(names) != 3 or not all(names)):
        keys.problem("uri", f"must be bossdb://collection/experiment/channel, found {uri!r}")
    if "@" in host or "/" in host:
        keys.problem("host", "must be a server's name, with its port where it has one")
    usual = (TIMEOUT_SECONDS, PAUSE_SECONDS)
    pauses = {key: keys.seconds(key, value) for key, value in zip(_PAUSES, usual, strict=True)}
    keys.check()
    service = BossService(f"{protocol}://{host}/v1", **pauses)
    channel = BossChannel(service, names, resolution=resolution)
    told = ChannelTold(dtype) if (dtype := keys.text("dtype")) else channel.told()
    return BossVolume(channel, told, offset)


@dataclass(frozen=True, slots=True)
class BossVolume:
    """One resolution of one channel."""

    channel: BossChannel
    told: ChannelTold
    offset: dict[str, int]

    @property
    def held(self) -> Held:
        """Return what the server says of the channel."""
        extent = {
            axis: (start - self.offset.get(axis, 0), stop - self.offset.get(axis, 0))
            for axis, (start, stop) in self.told.extent.items()
        }
        start = -self.offset["z"]
        return Held(
            self.channel.address, self.told.dtype, extent, _CUBOID, start, sizes=self.told.sizes
        )

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on some slices; see `Volume.read`."""
        import numpy as np

        shape = (z[1] - z[0], box.height, box.width)
        size = math.prod(shape) * np.dtype(self.told.dtype).itemsize
        place = self.channel.cutout(self._ranges(box, z), box.t)
        packed = self.channel.service.pixels(place, size + size // 8 + _OVERHEAD)
        if _sizes(packed) != (size, len(packed)):
            cause = f"{box}: the cutout does not have {size} bytes ({shape} {self.told.dtype})"
            raise CorruptSource(place, cause)
        with refusing(place, what=str(box)):
            import imagecodecs

            pixels = np.frombuffer(imagecodecs.blosc_decode(packed), self.told.dtype)
            return pixels.reshape(shape)

    def origin(self, box: Box) -> PageRef:
        """Return the channel's address, and the slice."""
        return PageRef(Path(self.channel.address), max(0, box.z + self.offset["z"]))

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _ranges(self, box: Box, z: Range) -> list[Range]:
        wanted = {"x": (box.x0, box.x1), "y": (box.y0, box.y1), "z": z}
        found = [(a + self.offset[axis], b + self.offset[axis]) for axis, (a, b) in wanted.items()]
        if min(start for start, _ in found) < 0:
            raise CorruptSource(
                self.channel.address, f"{box} lies before the channel's first pixel"
            )
        return found


def _sizes(packed: bytes) -> tuple[int, int]:
    """Return how many bytes blosc's header says that there are, unpacked and packed: blosc itself trusts it."""
    return int.from_bytes(packed[4:8], "little"), int.from_bytes(packed[12:16], "little")
