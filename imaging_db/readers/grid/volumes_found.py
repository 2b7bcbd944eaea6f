"""Volumes without a configuration: what kind one is, and the grid that suits it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from imaging_db.errors import ConfigError, UnsupportedFormat
from imaging_db.model import JSONObject, JSONValue
from imaging_db.readers.grid.description import without_description
from imaging_db.readers.grid.grid import AXES, TileGrid, grid_of
from imaging_db.readers.grid.volumes_places import place_of
from imaging_db.readers.grid.volumes_source import Held, Volume

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZARR = (".zarray", ".zgroup", "zarr.json")
_KINDS = ("hdf5_file", "zarr", "precomputed", "boss")
_GRID_KEYS = (*AXES, "tile", "depth")
_USUAL_TILE = 1024
_LEAST_TILE, _LARGEST_TILE = 512, 8192
_SHOWN = 8


def volume_kind(path: str) -> str | None:
    """Return the kind of source that a path or address is, None where nothing tells."""
    if path.startswith("bossdb://"):
        return "boss"
    if path.startswith("precomputed://"):
        return "precomputed"
    place = place_of(path, key="path")
    if isinstance(place, str):
        return "zarr" if any(part.endswith(".zarr") for part in place.split("/")) else None
    if place.is_dir():
        if any((place / mark).is_file() for mark in _ZARR):
            return "zarr"
        return "precomputed" if (place / "info").is_file() else None
    return "hdf5_file" if _is_hdf5(place) else None


def grid_from_volume(path: str, **settings: JSONValue) -> JSONObject:
    """Return the settings of a volume, its grid with them: all of it, in tiles that suit its chunks.

    ``settings`` are those of its kind, and parts of the grid (``x``, ``y``, ``z``, ``t``, ``tile``,
    ``depth``) that are wanted otherwise. ``kind`` is needed where the path does not tell it.

    Raises
    ------
    ConfigError
        A setting is wrong, or the extent is not known and not given.
    ReaderError
        It is no volume, or cannot be read.
    """
    made = _settings(path, {key: x for key, x in settings.items() if key not in _GRID_KEYS})
    volume = _open_volume(without_description(made))
    try:
        held = volume.held
    finally:
        volume.close()
    grid = suited_grid(held, {key: x for key, x in settings.items() if key in _GRID_KEYS})
    return {**held.sizes, **made, "grid": grid.to_json()}


def suited_grid(held: Held, wanted: JSONObject) -> TileGrid:
    """Return the grid over a volume: what is wanted, else its whole extent and tiles of whole chunks.

    Raises
    ------
    ConfigError
        Its extent is not known and not given.
    """
    told: JSONObject = {axis: list(ends) for axis, ends in held.extent.items()}
    missing = [axis for axis in AXES if axis not in told and axis not in wanted]
    if missing:
        cause = f"{held.place}: does not tell its extent on {', '.join(missing)}"
        raise ConfigError(cause, hint='give it, such as "z": [0, 100]')
    z, y, x = held.chunk or (1, 0, 0)
    sizes = [_tile(held, axis, chunk) for axis, chunk in (("x", x), ("y", y))]
    chosen: JSONObject = {"tile": cast(JSONValue, sizes), "depth": z, **told, **wanted}
    return grid_of({"grid": chosen})


def _tile(held: Held, axis: str, chunk: int) -> int:
    """Return the size of a tile: whole chunks, neither very small nor very large frames."""
    start, stop = held.extent.get(axis, (0, _USUAL_TILE))
    whole = chunk * max(1, _LEAST_TILE // max(1, chunk))
    return min(whole if 1 <= chunk <= _LARGEST_TILE else _USUAL_TILE, stop - start)


def _settings(path: str, settings: JSONObject) -> JSONObject:
    kind = settings.get("kind") or volume_kind(path)
    if kind is None:
        hint = f"name its kind: {', '.join(_KINDS)}"
        raise UnsupportedFormat(path, "is no volume that is known by its looks", hint=hint)
    if kind not in _KINDS:
        raise ConfigError(f"kind: {kind!r} is none of {', '.join(_KINDS)}")
    if kind == "boss":
        return {**settings, "kind": kind, "uri": path}
    place = place_of(path.removeprefix("precomputed://"), key="path")
    if isinstance(place, Path):
        place = place.absolute()  # it will be opened from other folders
    made: JSONObject = {**settings, "kind": kind, "path": str(place)}
    if kind == "hdf5_file" and "data_name" not in made:
        made["data_name"] = _only_dataset(Path(place))
    return made


def _only_dataset(path: Path) -> str:
    from imaging_db.readers.grid.volumes_hdf5 import datasets_in

    found = {name: shape for name, shape in datasets_in(path).items() if len(shape) >= 2}
    if len(found) == 1:
        return next(iter(found))
    shown = ", ".join(f"{name} {shape}" for name, shape in list(found.items())[:_SHOWN])
    cause = f"holds {len(found)} datasets of two axes or more{': ' if shown else ''}{shown}"
    raise UnsupportedFormat(path, cause, hint='name one in the settings as "data_name"')


class _Opening(Protocol):
    def __call__(self, settings: JSONObject) -> Volume: ...


def _open_volume(settings: JSONObject) -> Volume:
    module = import_module(f"imaging_db.readers.grid.volumes_{settings['kind']}")
    return cast(_Opening, module.open_volume)(settings)


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5)) == _HDF5
    except OSError:
        return False
