"""A channel of a BossDB: its addresses, the token that is sent there, and what the server says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONObject
from imaging_db.readers.grid.grid import Range
from imaging_db.readers.grid.http_get import WebServer

TOKEN_VARIABLE = "INTERN_TOKEN"  # noqa: S105 - its name, not the token
_PUBLIC = "public"
_REFUSED = (401, 403)
_MOST_JSON = 2**20
_MICROMETRES = {"nanometers": 1e-3, "micrometers": 1.0, "millimeters": 1e3, "centimeters": 1e4}


@dataclass(frozen=True, slots=True)
class ChannelTold:
    """What the server says of a channel; the extent is known of its full resolution only."""

    dtype: str
    extent: Mapping[str, Range] = field(default_factory=dict)
    sizes: JSONObject = field(default_factory=dict)


class BossService:
    """A server's cutouts and facts; ``address`` ends with the version. The token is sent nowhere else."""

    def __init__(self, address: str, *, timeout_seconds: float, pause_seconds: float) -> None:
        self.address = address
        token = os.environ.get(TOKEN_VARIABLE, "").strip() or _PUBLIC
        self._pixels, self._facts = (
            WebServer(
                timeout_seconds=timeout_seconds,
                pause_seconds=pause_seconds,
                headers={"Authorization": f"Token {token}", "Accept": f"application/{form}"},
            )
            for form in ("blosc", "json")
        )

    def pixels(self, url: str, most_bytes: int) -> bytes:
        """Return the compressed pixels at an address.

        Raises
        ------
        ReaderError
            The server refuses; a refused token is told with what to do.
        StoreUnavailable
            It does not answer, or not whole.
        """
        return _asked(self._pixels, url, most_bytes)

    def facts(self, path: str, *keys: str) -> dict[str, Any]:
        """Return the JSON object at a path, which has these keys; raises as `pixels` does."""
        url = f"{self.address}/{path}/"
        try:
            told: dict[str, Any] = json.loads(_asked(self._facts, url, _MOST_JSON))
            missing = [key for key in keys if told.get(key) is None]
        except (AttributeError, ValueError) as error:
            raise CorruptSource(url, "answers no JSON object") from error
        if missing:
            raise CorruptSource(url, f"does not tell {', '.join(missing)}")
        return told


class BossChannel:
    """One resolution of one channel; ``names`` are those of collection, experiment and channel."""

    def __init__(self, service: BossService, names: Sequence[str], *, resolution: int) -> None:
        self.service = service
        self._names = tuple(_spelled(name) for name in names)
        self._resolution = resolution

    @property
    def address(self) -> str:
        """Return the address below which its cutouts are."""
        return "/".join((self.service.address, "cutout", *self._names, str(self._resolution)))

    def cutout(self, ranges: Sequence[Range], t: int) -> str:
        """Return the address of a part: ranges of x, y and z; timepoint 0 need not be named."""
        named = [*ranges, (t, t + 1)] if t else ranges
        return "/".join((self.address, *(f"{start}:{stop}" for start, stop in named), ""))

    def told(self) -> ChannelTold:
        """Return what the server says of the channel; raises as `BossService.pixels` does."""
        collection, experiment, channel = self._names
        above = f"collection/{collection}/experiment/{experiment}"
        dtype = self.service.facts(f"{above}/channel/{channel}", "datatype")["datatype"]
        if self._resolution:
            return ChannelTold(str(dtype))
        facts = self.service.facts(above, "coord_frame", "num_time_samples")
        ends = [f"{axis}_{end}" for axis in "xyz" for end in ("start", "stop")]
        frame = self.service.facts(f"coord/{_spelled(facts['coord_frame'])}", *ends)
        extent = {axis: (int(frame[f"{axis}_start"]), int(frame[f"{axis}_stop"])) for axis in "xyz"}
        times = int(facts["num_time_samples"])
        return ChannelTold(str(dtype), {"t": (0, times), **extent}, _sizes(frame))


def _spelled(name: object) -> str:
    return quote(str(name), safe="")


def _sizes(frame: Mapping[str, Any]) -> JSONObject:
    """Return the physical sizes that a coordinate frame tells, under the keys of settings."""
    factor = _MICROMETRES.get(frame.get("voxel_unit", ""), 0.0)
    x, y, z = (float(frame.get(f"{axis}_voxel_size") or 0) * factor for axis in "xyz")
    return {"pixel_size_um": [x, y], "z_step_um": z} if min(x, y, z) > 0 else {}


def _asked(server: WebServer, url: str, most_bytes: int) -> bytes:
    try:
        return server.get(url, most_bytes=most_bytes)
    except CorruptSource as error:
        if isinstance(error.__cause__, HTTPError) and error.__cause__.code in _REFUSED:
            hint = f"set the environment variable {TOKEN_VARIABLE} to your token"
            raise CorruptSource(url, error.cause, hint=hint) from error
        raise
