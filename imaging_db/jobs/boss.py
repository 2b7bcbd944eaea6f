"""Configurations of the Boss ingest client as jobs of ours: their source, metadata and dataset id.

What each of the client's plugins reads is read by one of our own kinds of sources, at the same indices.
Where the client shifted, cut, rounded or blackened pixels in silence, either the right thing is done or the
configuration is refused; `docs/how-to/ingest-boss.md` lists every case.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from imaging_db.config.boss import AXES, BossConfig
from imaging_db.jobs.boss_plugins import pair_of
from imaging_db.jobs.boss_source import BossSource
from imaging_db.model import DatasetId, JSONObject
from imaging_db.model.checksum import sha256_of_bytes

_LONGEST_ID = 64
_HASH = 8
_LARGEST_NUMBER = 9999
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Translation:
    settings: JSONObject
    unused: JSONObject
    notes: tuple[str, ...]


def grid_settings(config: BossConfig) -> JSONObject:
    """Return what opens the source of a configuration on any computer, for the reader ``grid``.

    Paths are absolute: relative ones are looked for in the working folder, then beside the configuration.

    Raises
    ------
    ConfigError
        A plugin that is unknown, two that do not belong together, or everything that is wrong in their
        parameters and cannot be done as it is written, at once.
    """
    return _translated(config).settings


def boss_notes(config: BossConfig) -> tuple[str, ...]:
    """Return what the user should know of a configuration that is right: what means nothing here.

    Raises
    ------
    ConfigError
        As `grid_settings`.
    """
    return _translated(config).notes


def boss_metadata(config: BossConfig) -> JSONObject:
    """Return what goes into the global metadata of the dataset: names, and what is not used to read it.

    Raises
    ------
    ConfigError
        As `grid_settings`.
    """
    return {
        "boss": {
            "collection": config.collection,
            "experiment": config.experiment,
            "channel": config.channel,
            "resolution": config.resolution,
            "schema": config.schema,
            "host": config.host,
            "path_processor": config.path_processor.name,
            "tile_processor": None if config.is_volumetric else config.pixels.name,
            "chunk_processor": config.pixels.name if config.is_volumetric else None,
            "unused": _translated(config).unused,
        }
    }


def boss_serial(config: BossConfig) -> DatasetId:
    """Return the id of a configuration's dataset where the user names none; always the same for the same.

    ``<COLLECTION>_<EXPERIMENT>_<CHANNEL>_<hash>-1970-01-01-00-00-00-<resolution>``. The hash is of the exact
    names, the resolution, the extent and the size of tiles or chunks, not of where the files lie. The
    configuration tells no time of acquisition, so the id tells the beginning of Unix time.
    """
    extent: JSONObject = {axis: list(config.extent[axis]) for axis in AXES}
    names = (config.collection, config.experiment, config.channel)
    told: JSONObject = {
        "names": list(names),
        "resolution": config.resolution,
        "extent": extent,
        "size": list(config.size),
        "volumetric": config.is_volumetric,
    }
    digest = sha256_of_bytes(json.dumps(told, sort_keys=True).encode())[:_HASH]
    project = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(names))[: _LONGEST_ID - _HASH - 1]
    return DatasetId(f"{project}_{digest}", _NO_TIME, min(config.resolution, _LARGEST_NUMBER))


def _translated(config: BossConfig) -> _Translation:
    pair = pair_of(config)
    source = BossSource(config)
    kind = pair.translate(source)
    if pair.by_tile:
        source.check_aligned()
    if not pair.has_time:
        source.check_one_timepoint()
    source.stop()
    settings: JSONObject = {
        "kind": pair.kind,
        "grid": _grid(config, pair.depth),
        "channel": config.channel,
        **kind,
    }
    return _Translation(settings, config.unused | source.unused(), config.notes + source.notes())


def _grid(config: BossConfig, depth: int) -> JSONObject:
    width, height, chunk_depth = config.size
    extent: JSONObject = {axis: list(config.extent[axis]) for axis in AXES}
    depth = chunk_depth if config.is_volumetric else depth
    return {**extent, "tile": [width, height], "depth": depth}
