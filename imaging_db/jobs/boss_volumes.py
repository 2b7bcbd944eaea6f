"""Plugins of the Boss ingest client that read volumes: HDF5, CloudVolume, Zarr, and another Boss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from imaging_db.jobs.boss_files import datatype
from imaging_db.jobs.boss_source import BossSource
from imaging_db.model import JSONObject
from imaging_db.readers.grid.names import boss_name

_NAMES = ("collection", "experiment", "channel")
_OFFSETS = ("x_offset", "y_offset", "z_offset")
_CHUNK_SIZES = ("x_chunk_size", "y_chunk_size", "z_chunk_size")
_BOSS_HOST = "api.bossdb.io"  # where the client's intern plugin looks unless it is told
_CLOUD_VOLUME_WHY: Mapping[str, tuple[object, str]] = {
    "bounded": (True, "what lies beyond the volume never becomes black"),
    "background_color": (0, "no pixel is made up"),
    "info": (None, "the volume's own info file is read"),
    "agglomerate": (False, "labels are read as they are stored"),
    "timestamp": (None, "labels are read as they are stored"),
}
"""Parameters that change what is read: the value that changes nothing, and why another is refused."""
_CLOUD_VOLUME_HOW = (
    "autocrop",
    "cache",
    "cache_locking",
    "cdn_cache",
    "codec_threads",
    "compress",
    "compress_cache",
    "compress_level",
    "delete_black_uploads",
    "green_threads",
    "lru_bytes",
    "lru_encoding",
    "max_redirects",
    "non_aligned_writes",
    "parallel",
    "progress",
    "provenance",
    "use_https",
)
"""Parameters that tell how bytes are fetched or written, not which."""
_URI = re.compile(r"bossdb://[^/]+/[^/]+/[^/]+/?")


def hdf5_series(source: BossSource) -> JSONObject:
    """Return an HDF5 file for each slice with all its timepoints, ``[t, x, y, c]``."""
    pixels = source.pixels
    scale = pixels.raw("scale_factor")
    if scale not in (None, 1):
        why = f"{scale!r} would change the pixels, and the client cut off what is behind the point"
        pixels.problem("scale_factor", f"{why}; write 1, then they are kept as they are")
    named: JSONObject = {
        "dataset": pixels.text("dataset"),
        "channel_index": pixels.whole("channel_index", least=0),
    }
    return _slice_files(source) | named


def hdf5_labels(source: BossSource) -> JSONObject:
    """Return an HDF5 file for each slice with labels, ``[x, y]``."""
    return _slice_files(source) | {"dataset": source.pixels.text("dataset"), "axes": "xy"}


def hdf5_slices(source: BossSource) -> JSONObject:
    """Return an HDF5 file for each slice that tells where its pixels lie.

    ``fill`` is not of the client, which always took 0: what no file covers is refused without it.
    """
    pixels = source.pixels
    made = _slice_files(source) | datatype(pixels, "uint8", "uint16")
    for key in ("data_name", "offset_name", "extent_name"):
        made[key] = pixels.text(key)
    for key in ("offset_origin_x", "offset_origin_y"):
        made[key] = pixels.whole(key)
    if pixels.has("fill"):
        made["fill"] = pixels.whole("fill")
    return made


def hdf5_chunks(source: BossSource) -> JSONObject:
    """Return HDF5 files that hold a chunk each, named by where it lies."""
    path, pixels = source.path, source.pixels
    made: JSONObject = {key: path.whole(key, least=1) for key in _CHUNK_SIZES[:2]}
    made["z_chunk_size"] = source.same("z_chunk_size")
    made |= {key: path.whole(key) for key in _OFFSETS}
    made |= {"prefix": path.text("prefix"), "extension": path.text("extension")}
    made |= {"use_python_convention": path.flag("use_python_convention")}
    made |= {"data_name": pixels.text("data_name")}
    made |= {"root": source.folder("root_dir", first=_first_chunk(source, made))}
    _hdf5(source)
    return made | datatype(pixels, "uint8", "uint16", "uint32")


def hdf5_file(source: BossSource) -> JSONObject:
    """Return one dataset ``[z, y, x]`` of one HDF5 file."""
    pixels = source.pixels
    made: JSONObject = {"path": source.file("filename"), "axes": "zyx"}
    made |= {key: pixels.whole(key) for key in ("offset_x", "offset_y", "offset_z")}
    made |= {"data_name": pixels.text("data_name")}
    _hdf5(source)
    return made | datatype(pixels, "uint8", "uint16", "uint32")


def boss_tiles(source: BossSource) -> JSONObject:
    """Return cutouts of another channel of a Boss, moved by offsets."""
    pixels = source.pixels
    for key, size in zip(("x_tile", "y_tile"), source.config.size, strict=False):
        if pixels.whole(key, least=1, default=size) != size:
            pixels.problem(key, f"must be ingest_job.tile_size.{key[0]}, which is {size}")
    names = [pixels.text(key) for key in _NAMES]
    for key, name in zip(_NAMES, names, strict=True):
        if "/" in name:
            pixels.problem(key, f"is a name without '/', found {name!r}")
    offsets = {key: pixels.whole(key, default=0) for key in _OFFSETS}
    for key, offset in offsets.items():
        start = source.config.extent[key[0]][0]
        if start + offset < 0:
            pixels.problem(key, f"{offset} leads from {start} to before 0, where nothing is")
    return {
        "uri": f"bossdb://{'/'.join(names)}",
        "resolution": pixels.whole("resolution", least=0),
        "host": source.config.host,
        "protocol": source.config.protocol,
        **offsets,
    }


def boss_chunks(source: BossSource) -> JSONObject:
    """Return cutouts of a channel of a Boss that an address names; always of resolution 0, as the client."""
    pixels = source.pixels
    uri = pixels.text("uri")
    if uri and not _URI.fullmatch(uri):
        pixels.problem("uri", f"must be bossdb://collection/experiment/channel, found {uri!r}")
    return {
        "uri": uri,
        "resolution": 0,
        "host": pixels.text("host", default=_BOSS_HOST),
        "protocol": pixels.choice("protocol", ["https", "http"], default="https"),
    }


def zarr_chunks(source: BossSource) -> JSONObject:
    """Return one array ``[z, y, x]`` of a Zarr."""
    pixels = source.pixels
    path = source.address(pixels, "cloud_path")
    return {"path": path, "dataset": pixels.text("volume_name"), "axes": "zyx"}


def cloud_volume(source: BossSource) -> JSONObject:
    """Return a volume in Neuroglancer's precomputed format.

    ``channel_index`` is not of the client, which took channels for timepoints: of several, one is named.
    """
    pixels = source.pixels
    made: JSONObject = {"path": source.address(pixels, "cloudpath")}
    resolution = pixels.raw("mip")
    named = isinstance(resolution, list) and len(resolution) == 3
    made |= {"mip": resolution if named else pixels.whole("mip", least=0, default=0)}
    if pixels.flag("fill_missing", default=False):
        made["fill_missing"] = True
    if pixels.has("channel_index"):
        made["channel_index"] = pixels.whole("channel_index", least=0)
    for key, (value, why) in _CLOUD_VOLUME_WHY.items():
        if pixels.raw(key) not in (None, value):
            pixels.problem(key, f"must be left out; {why}")
    source.no_effect(pixels, *_CLOUD_VOLUME_HOW)
    return made


def _first_chunk(source: BossSource, made: JSONObject) -> str:
    from imaging_db.readers.grid.volumes_hdf5_chunks import ChunkFiles

    numbers: dict[str, int] = {key: n for key, n in made.items() if isinstance(n, int)}
    files = ChunkFiles(
        Path(),
        str(made["prefix"]),
        str(made["extension"]),
        {key[0]: max(1, numbers[key]) for key in _CHUNK_SIZES},
        {key[0]: numbers[key] for key in _OFFSETS},
        exclusive=bool(made["use_python_convention"]),
    )
    x, y, z = (source.config.extent[axis][0] for axis in "xyz")
    return str(files.path(x, y, z))


def _slice_files(source: BossSource) -> JSONObject:
    path = source.path
    base, extension = path.text("base_filename"), path.text("extension")
    first = f"{boss_name(base, source.config.extent['z'][0])}.{extension}"
    _hdf5(source)
    return {
        "root": source.folder("root_dir", first=first),
        "base_filename": base,
        "extension": extension,
    }


def _hdf5(source: BossSource) -> None:
    source.local_files(source.pixels)
    source.no_effect(source.pixels, "upload_format")
