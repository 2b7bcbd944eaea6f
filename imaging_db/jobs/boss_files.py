"""Plugins of the Boss ingest client that read images: tiles, planes and pages."""

from __future__ import annotations

from imaging_db.config.boss_section import Section
from imaging_db.jobs.boss_source import BossSource
from imaging_db.model import JSONObject
from imaging_db.readers.grid.names import boss_name, boss_pattern, plane_pattern

_ESCAPED = str.maketrans({"{": "{{", "}": "}}"})
_SHOWN = 3


def catmaid_files(source: BossSource) -> JSONObject:
    """Return tiles as CATMAID's type 1 names them: ``<z>/<row>_<column>_<resolution>.<filetype>``."""
    return _catmaid(source, "{z}/{row}_{col}_{resolution}")


def catmaid_zoom_levels(source: BossSource) -> JSONObject:
    """Return tiles as CATMAID's type 4 names them: ``<resolution>/<z>/<row>_<column>.<filetype>``."""
    return _catmaid(source, "{resolution}/{z}/{row}_{col}")


def catmaid_folders(source: BossSource) -> JSONObject:
    """Return tiles as CATMAID's type 5 names them: ``<resolution>/<z>/<row>/<column>.<filetype>``."""
    return _catmaid(source, "{resolution}/{z}/{row}/{col}")


def catmaid_urls(source: BossSource) -> JSONObject:
    """Return tiles behind addresses ``<url><z>/<row>/<column>.<filetype>``."""
    pixels = source.pixels
    url, filetype = pixels.text("url"), pixels.text("filetype")
    if not url.startswith(("http://", "https://")):
        pixels.problem("url", "must begin with http:// or https://")
    for key in ("x_offset", "y_offset", "z_offset"):
        if pixels.whole(key, default=0) != 0:
            pixels.problem(key, "must be 0; the client did not add it to the address either")
    source.no_effect(source.path, "root_dir", "filetype")
    source.no_effect(pixels, "x_tile", "y_tile")
    return {"url": url, "pattern": f"{{z}}/{{row}}/{{col}}.{_literal(filetype)}"}


def z_stack(source: BossSource) -> JSONObject:
    """Return an image for each slice, or for each tile where its name tells ``<x>`` and ``<y>``."""
    path, pixels = source.path, source.pixels
    base, extension = path.text("base_filename"), path.text("extension")
    source.local_files(path, pixels)
    source.no_effect(pixels, "extension")
    if pixels.flag("fail_gracefully", default=False):
        pixels.problem(
            "fail_gracefully", "must be false; a file that is missing never becomes black"
        )
    pattern = f"{plane_pattern(base)}.{_literal(extension)}"
    first = _first_name(source, base, extension)
    named: JSONObject = {"root": source.folder("root_dir", first=first), "pattern": pattern}
    if "{row}" not in pattern and "{col}" not in pattern:
        return named
    source.check_aligned()
    return {"kind": "tile_files", **named}


def time_series(source: BossSource) -> JSONObject:
    """Return a file for each slice, whose pages are its timepoints."""
    path, pixels = source.path, source.pixels
    slices = range(*source.config.extent["z"])
    missing = [f"z_{z}" for z in slices if not path.has(f"z_{z}")]
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        path.problem(
            f"z_{slices[0]}",
            f"a file is needed for each slice; {len(missing)} are not named: {shown}",
        )
    files: JSONObject = {str(z): source.file(f"z_{z}") for z in slices if path.has(f"z_{z}")}
    source.no_effect(pixels, "filetype")
    return {"files": files, **datatype(pixels, "uint8", "uint16")}


def hyperstack(source: BossSource) -> JSONObject:
    """Return movies of all slices and channels, each file with some timepoints."""
    path, pixels = source.path, source.pixels
    base, extension = path.text("base_filename"), path.text("extension")
    per_file = source.same("time_chunk_size")
    source.local_files(pixels)
    number = source.config.extent["t"][0] // max(1, per_file)
    first = f"{boss_name(base, number)}.{extension}"
    return {
        "root": source.folder("root_dir", first=first),
        "pattern": f"{boss_pattern(base, 'file')}.{_literal(extension)}",
        "time_chunk_size": per_file,
        "num_z_slices": pixels.whole("num_z_slices", least=1),
        "num_channels": pixels.whole("num_channels", least=1),
        "channel_index": pixels.whole("channel_index", least=0),
    }


def datatype(pixels: Section, *known: str) -> JSONObject:
    """Return the type that the pixels must have; the client converted others to it."""
    if not pixels.has("datatype"):
        return {}
    return {"dtype": pixels.choice("datatype", known)}


def _catmaid(source: BossSource, pattern: str) -> JSONObject:
    filetype = source.path.text("filetype")
    source.no_effect(source.pixels, "filetype", "root_dir")
    values: JSONObject = (
        {"resolution": source.config.resolution} if "{resolution}" in pattern else {}
    )
    first = pattern.format(
        z=source.config.extent["z"][0], resolution=source.config.resolution, **_corner(source)
    )
    root = source.folder("root_dir", first=f"{first}.{filetype}")
    return {"root": root, "pattern": f"{pattern}.{_literal(filetype)}", "values": values}


def _corner(source: BossSource) -> dict[str, int]:
    width, height, _ = source.config.size
    extent = source.config.extent
    return {"row": extent["y"][0] // max(1, height), "col": extent["x"][0] // max(1, width)}


def _first_name(source: BossSource, base: str, extension: str) -> str:
    z, corner = source.config.extent["z"][0], _corner(source)
    name = boss_name(base, z).replace("<z>", str(z))
    name = name.replace("<y>", str(corner["row"])).replace("<x>", str(corner["col"]))
    return f"{name}.{extension}"


def _literal(text: str) -> str:
    """Return a text as a pattern that stands for itself."""
    return text.translate(_ESCAPED)
