"""Kind ``tile_urls``: one image a tile, at an address of a web server, named by a pattern.

::

    {"kind": "tile_urls", "url": "https://tiles.example.org/stack1", "pattern": "{z}/{row}/{col}.png",
     "grid": {"x": [0, 2048], "y": [0, 2048], "z": [0, 16], "tile": [512, 512]}}

As ``tile_files``, but for where the bytes come from. ``timeout_seconds`` (30) is how long a server may be
silent, ``pause_seconds`` (0.5) how long is waited after a first failure. An address holds no password: the
settings are kept in the catalog. What a server refuses (403, 404) is never taken for an empty tile.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from imaging_db.config.keys import Keys
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.description import keys_of
from imaging_db.readers.grid.forms import Form, lossy_note, tile_limits, tile_of
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.http_get import PAUSE_SECONDS, TIMEOUT_SECONDS, WebServer, check_url
from imaging_db.readers.grid.images import image_in
from imaging_db.readers.grid.tile_names import FIELDS, TileNames, pattern_in

if TYPE_CHECKING:
    import numpy.typing as npt


class TileUrls:
    """Tiles that a web server gives, one an address."""

    def __init__(
        self, url: str, names: TileNames, *, server: WebServer, form: Form | None = None
    ) -> None:
        self._url, self._names, self._grid = url.rstrip("/"), names, names.grid
        self._server, self._limits = server, tile_limits(names.grid)
        self.notes: tuple[str, ...] = ()
        if form is None:
            address = self._address(self._grid.box(0))
            with image_in(self._bytes(address), address, self._limits) as image:
                form, self.notes = Form.of(image), lossy_note(image)
        self._form = form

    @property
    def dtype(self) -> str:
        """Return the type of the pixels."""
        return self._form.dtype

    @property
    def colors(self) -> int:
        """Return how many samples a pixel has."""
        return self._form.colors

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the pixels of a tile; see `PixelSource.read`.

        Raises
        ------
        ReaderError
            The server refuses, or sends something else than the tile.
        StoreUnavailable
            It does not answer.
        """
        address = self._address(box)
        with image_in(self._bytes(address), address, self._limits) as image:
            return tile_of(image, box, self._grid, self._form)

    def origin(self, box: Box) -> PageRef:
        """Return the address of a tile."""
        return PageRef(Path(self._address(box)), 0)

    def close(self) -> None:
        """Nothing is open."""

    def _address(self, box: Box) -> str:
        return f"{self._url}/{quote(self._names.name(box))}"

    def _bytes(self, address: str) -> bytes:
        limits = self._limits
        most = 2 * limits.max_frame_bytes + limits.max_metadata_bytes
        return self._server.get(address, most_bytes=most)


def open_source(settings: JSONObject, grid: TileGrid) -> TileUrls:
    """Return the tiles that the settings describe.

    Raises
    ------
    ConfigError
        A key is missing or wrong, or the pattern does not suit the grid.
    ReaderError
        The settings do not tell the type of the pixels, and the first tile is refused.
    StoreUnavailable
        The same, and the server does not answer.
    """
    known = ("url", "pattern", "values", "timeout_seconds", "pause_seconds")
    keys = keys_of(settings, *known)
    url, form = keys.text("url", required=True) or "", Form.told(keys)
    wrong = check_url(url) if url else None
    if wrong:
        keys.problem("url", wrong)
    server = WebServer(
        timeout_seconds=_seconds(keys, "timeout_seconds", TIMEOUT_SECONDS),
        pause_seconds=_seconds(keys, "pause_seconds", PAUSE_SECONDS),
    )
    return TileUrls(url, TileNames(pattern_in(keys, FIELDS), grid), server=server, form=form)


def _seconds(keys: Keys, key: str, usual: float) -> float:
    value = keys.raw(key)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        keys.problem(key, f"must be a number of seconds above 0, found {value!r}")
        return usual
    return float(value)
