"""The kinds of sources that a grid lies over, by name; each is imported when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from imaging_db.errors import UnknownPlugin, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.base import Match, ReaderOptions, ReaderSpec, ReadLimits

if TYPE_CHECKING:
    from imaging_db.readers.grid.grid import TileGrid
    from imaging_db.readers.grid.reader import GridReader
    from imaging_db.readers.grid.source import PixelSource

_HERE = "imaging_db.readers.grid"
KINDS: dict[str, str] = {
    "tile_files": f"{_HERE}.tile_files:open_source",
    "tile_urls": f"{_HERE}.tile_urls:open_source",
    "plane_files": f"{_HERE}.plane_files:open_source",
    "page_series": f"{_HERE}.page_series:open_source",
    "hyperstack": f"{_HERE}.hyperstack:open_source",
    "hdf5_series": f"{_HERE}.volumes_hdf5_series:open_source",
    "hdf5_slices": f"{_HERE}.volumes_hdf5_slices:open_source",
    "hdf5_chunks": f"{_HERE}.volumes_hdf5_chunks:open_source",
    "hdf5_file": f"{_HERE}.volumes_hdf5_file:open_source",
    "zarr": f"{_HERE}.volumes_zarr:open_source",
    "precomputed": f"{_HERE}.volumes_precomputed:open_source",
    "boss": f"{_HERE}.volumes_boss:open_source",
}
"""Names of kinds, and the function of each that opens a source: ``(settings, grid) -> PixelSource``."""

_LIMITS = ReadLimits()


def open_grid(settings: JSONObject, limits: ReadLimits = _LIMITS) -> GridReader:
    """Return a reader of the source that the settings describe.

    Raises
    ------
    ConfigError
        The settings are wrong; names the key.
    ReaderError
        The source is refused.
    """
    from imaging_db.readers.grid.description import described, without_description
    from imaging_db.readers.grid.grid import grid_of
    from imaging_db.readers.grid.reader import GridReader

    opening = _opening(settings)
    grid, description = grid_of(settings), described(settings)
    source = opening(without_description(settings), grid)
    try:
        description.check(source, grid)
        return GridReader(grid, source, description, limits=limits)
    except BaseException:
        source.close()
        raise


def _opening(settings: JSONObject) -> Callable[[JSONObject, TileGrid], PixelSource]:
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnknownPlugin("kind of source", str(kind), list(KINDS))
    module, _, function = KINDS[kind].partition(":")
    found = getattr(import_module(module), function)
    return cast("Callable[[JSONObject, TileGrid], PixelSource]", found)


def _sniff(path: Path) -> Match:
    return Match.NO


def _open(path: Path, options: ReaderOptions) -> GridReader:
    if options.settings is None:
        cause = "a grid is read only by settings that describe it"
        raise UnsupportedFormat(path, cause, hint="use imaging-db ingest create")
    return open_grid(options.settings, options.limits)


SPEC = ReaderSpec(
    name="grid",
    summary="tiles, planes or a volume, described by settings: imaging-db ingest",
    sniff=_sniff,
    open=_open,
    needs_settings=True,
)
