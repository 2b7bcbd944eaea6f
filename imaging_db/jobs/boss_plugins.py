"""The plugins of the Boss ingest client by name, and the kind of source that reads what each of them read.

Source: jhuapl-boss/ingest-client, ``ingestclient.plugins``. A plugin is a pair of classes, one that tells where
pixels are and one that reads them; those of two pairs do not fit each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imaging_db.config.boss import BossConfig, BossPlugin
from imaging_db.errors import ConfigError
from imaging_db.jobs import boss_files, boss_volumes
from imaging_db.jobs.boss_source import BossSource
from imaging_db.model import JSONObject

PACKAGES = ("ingestclient.plugins.", "bossingest.plugins.", "ingest.plugins.")
"""Where the classes were, newest first: the client was renamed twice."""
_DEPTH = 16  # of the server's cuboids, and of the client's groups of tiles
_OF_TESTS = (
    "path.TestPathProcessor",
    "path.TestPassThroughPathProcessor",
    "tile.TestTileProcessor",
    "tile.TestRandomTileProcessor",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes that belong together, and the ``kind`` of source that they are here.

    ``translate`` returns the keys of that kind; it may name another kind itself. ``by_tile`` tells that files
    are named by the number of a tile, ``has_time`` that there may be more than one timepoint,
    ``is_volumetric`` that the second class reads chunks. ``depth`` is how many slices of a tile are read one
    after the other; chunks tell it themselves.
    """

    path: str
    pixels: str
    kind: str
    translate: Callable[[BossSource], JSONObject]
    by_tile: bool = False
    has_time: bool = False
    is_volumetric: bool = False
    depth: int = 1


PAIRS = (
    Pair(
        "catmaid.CatmaidFileImageStackPathProcessor",
        "catmaid.CatmaidFileImageStackTileProcessor",
        "tile_files",
        boss_files.catmaid_files,
        by_tile=True,
    ),
    Pair(
        "catmaid.CatmaidFileImageStackZoomLevelPathProcessor",
        "catmaid.CatmaidFileImageStackZoomLevelTileProcessor",
        "tile_files",
        boss_files.catmaid_zoom_levels,
        by_tile=True,
    ),
    Pair(
        "catmaid.CatmaidDirectoryImageStackPathProcessor",
        "catmaid.CatmaidDirectoryImageStackTileProcessor",
        "tile_files",
        boss_files.catmaid_folders,
        by_tile=True,
    ),
    Pair(
        "catmaid.CatmaidURLPathProcessor",
        "catmaid.CatmainURLTileProcessor",  # misspelt by the client
        "tile_urls",
        boss_files.catmaid_urls,
        by_tile=True,
    ),
    Pair(
        "stack.ZindexStackPathProcessor",
        "stack.ZindexStackTileProcessor",
        "plane_files",
        boss_files.z_stack,
    ),
    Pair(
        "multipage_tiff.SingleTimeTiffPathProcessor",
        "multipage_tiff.SingleTimeTiffTileProcessor",
        "page_series",
        boss_files.time_series,
        has_time=True,
    ),
    Pair(
        "multipage_tiff.TiffMultiFileHyperStackPathProcessor",
        "multipage_tiff.TiffMultiFileHyperStackTileProcessor",
        "hyperstack",
        boss_files.hyperstack,
        has_time=True,
    ),
    Pair(
        "hdf5.Hdf5TimeSeriesPathProcessor",
        "hdf5.Hdf5TimeSeriesTileProcessor",
        "hdf5_series",
        boss_volumes.hdf5_series,
        has_time=True,
    ),
    Pair(
        "hdf5.Hdf5TimeSeriesPathProcessor",
        "hdf5.Hdf5TimeSeriesLabelTileProcessor",
        "hdf5_series",
        boss_volumes.hdf5_labels,
    ),
    Pair(
        "hdf5.Hdf5SlicePathProcessor",
        "hdf5.Hdf5SliceTileProcessor",
        "hdf5_slices",
        boss_volumes.hdf5_slices,
    ),
    Pair(
        "hdf5.Hdf5ChunkPathProcessor",
        "hdf5.Hdf5ChunkTileProcessor",
        "hdf5_chunks",
        boss_volumes.hdf5_chunks,
        depth=_DEPTH,
    ),
    Pair(
        "hdf5.Hdf5SingleFilePathProcessor",
        "hdf5.Hdf5SingleFileTileProcessor",
        "hdf5_file",
        boss_volumes.hdf5_file,
        depth=_DEPTH,
    ),
    Pair(
        "intern.InternPathProcessor",
        "intern.InternTileProcessor",
        "boss",
        boss_volumes.boss_tiles,
        depth=_DEPTH,
    ),
    Pair(
        "intern.InternPathProcessor",
        "intern.InternChunkProcessor",
        "boss",
        boss_volumes.boss_chunks,
        is_volumetric=True,
    ),
    Pair(
        "cloudvolume.CloudVolumePathProcessor",
        "cloudvolume.CloudVolumeChunkProcessor",
        "precomputed",
        boss_volumes.cloud_volume,
        is_volumetric=True,
    ),
    Pair(
        "zarr.ZarrPathProcessor",
        "zarr.ZarrChunkProcessor",
        "zarr",
        boss_volumes.zarr_chunks,
        is_volumetric=True,
    ),
)


def pair_of(config: BossConfig) -> Pair:
    """Return the pair of classes that a configuration names.

    Raises
    ------
    ConfigError
        A class that is no plugin of the client or only there for its tests, or two that do not belong
        together; tells those that do.
    """
    path, pixels = _short(config.path_processor), _short(config.pixels)
    found = next((pair for pair in PAIRS if (pair.path, pair.pixels) == (path, pixels)), None)
    if found is not None and found.is_volumetric == config.is_volumetric:
        return found
    fitting = [pair for pair in PAIRS if pair.is_volumetric == config.is_volumetric]
    problems = [
        *_unknown(config.path_processor, [pair.path for pair in PAIRS]),
        *_unknown(config.pixels, [pair.pixels for pair in fitting]),
    ]
    if not problems:
        partners = [pair.pixels for pair in fitting if pair.path == path]
        only = "tiles" if config.is_volumetric else "chunks"
        known = f"it goes with {' or '.join(partners)}" if partners else f"it reads {only} only"
        problems = [f"{config.pixels.place}.class: does not belong to {path}; {known}"]
    raise ConfigError([f"{config.path}: {problem}" for problem in problems])


def _short(plugin: BossPlugin) -> str:
    """Return a class without the client's package, nothing where it comes from elsewhere."""
    package = next((name for name in PACKAGES if plugin.name.startswith(name)), None)
    return "" if package is None else plugin.name[len(package) :]


def _unknown(plugin: BossPlugin, known: list[str]) -> list[str]:
    name = _short(plugin)
    if name in known:
        return []
    if name in _OF_TESTS:
        return [f"{plugin.place}.class: {plugin.name} was made for the client's own tests"]
    names = ", ".join(dict.fromkeys(known))
    return [
        f"{plugin.place}.class: {plugin.name!r} is no plugin that is known here "
        f"(known in {PACKAGES[0].rstrip('.')}: {names})"
    ]
