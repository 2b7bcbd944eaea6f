"""What a user names, as the settings of a source of tiles or of a volume; None where it is an acquisition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imaging_db.config.json_file import read_json_object
from imaging_db.config.paths import expanded
from imaging_db.errors import ConfigError, UsageError
from imaging_db.model import JSONObject, JSONValue

_OURS = ("serial", "description")
_PLACE = ("root", "path")
_FILES = "files"
_TILE = "tile"


@dataclass(frozen=True, slots=True)
class GridSource:
    """A described source: ``settings`` open it, ``config`` is what the user wrote, ``metadata`` goes along.

    ``serial`` is the id that the configuration gives its dataset, None where it gives none.
    """

    settings: JSONObject
    config: JSONObject = field(default_factory=dict)
    metadata: JSONObject = field(default_factory=dict)
    serial: str | None = None
    notes: tuple[str, ...] = ()
    description: str | None = None


def grid_source(
    source: str, *, pattern: str | None, settings: Mapping[str, str]
) -> GridSource | None:
    """Return the description of a source, None for an acquisition that a reader knows by looking at it.

    A ``pattern`` describes a folder of tiles; a JSON file is a configuration, ours or of the Boss; a Zarr,
    HDF5 or precomputed volume describes itself, and ``settings`` add what it does not tell.

    Raises
    ------
    ConfigError
        All that is wrong in a configuration.
    UsageError
        A pattern was given for what is no folder.
    ReaderError
        Tiles are missing, or a volume cannot be read.
    """
    path, given = Path(source), {key: _value(text) for key, text in settings.items()}
    if pattern is not None:
        return _of_folder(path, pattern, given)
    if path.suffix.lower() == ".json" and "://" not in source:
        if given:
            raise UsageError(f"a configuration takes no settings ({', '.join(given)})")
        return _of_config(path)
    return _of_volume(source, given)


def _of_folder(path: Path, pattern: str, given: Mapping[str, JSONValue]) -> GridSource:
    if not path.is_dir():
        raise UsageError(f"{path} is no folder; a pattern names the files of a folder of tiles")
    from imaging_db.readers.grid.folders import grid_from_folder

    values: dict[str, str | int] = {}
    for key, value in given.items():
        if isinstance(value, str | int) and key != _TILE:
            values[key] = value
        elif key != _TILE:
            raise UsageError(f"{key}={value!r}: a field of a pattern is a word or a number")
    tile = given.get(_TILE)
    if tile is not None and not _is_pair(tile):
        raise UsageError(f"{_TILE}={tile!r}: write [width,height]")
    size = None if not isinstance(tile, list) else (int(str(tile[0])), int(str(tile[1])))
    return GridSource(grid_from_folder(path.absolute(), pattern, values=values, tile=size))


def _of_volume(source: str, given: Mapping[str, JSONValue]) -> GridSource | None:
    from imaging_db.readers.grid.volumes_found import grid_from_volume, volume_kind

    if volume_kind(source) is None and "kind" not in given:
        return None
    place = source if "://" in source else str(Path(source).absolute())
    return GridSource(grid_from_volume(place, **given))


def _of_config(path: Path) -> GridSource:
    from imaging_db.config.boss import is_boss, read_boss

    config = read_json_object(path)
    if is_boss(config):
        from imaging_db.jobs import boss

        read = read_boss(path)
        return GridSource(
            boss.grid_settings(read),
            config,
            boss.boss_metadata(read),
            str(boss.boss_serial(read)),
            boss.boss_notes(read),
        )
    if "kind" not in config:
        raise ConfigError(
            f"{path}: is no ingest configuration: it has neither 'schema' (Boss) nor 'kind'",
            hint="see docs/how-to/ingest.md",
        )
    settings = {key: value for key, value in config.items() if key not in _OURS}
    settings |= _places(settings, path)
    serial, description = (config.get(key) for key in _OURS)
    return GridSource(
        settings,
        config,
        serial=None if serial is None else str(serial),
        description=None if description is None else str(description),
    )


def _places(settings: JSONObject, config: Path) -> JSONObject:
    """Return the folders and files that settings name, absolute: others open them from other folders."""
    found: JSONObject = {
        key: _found(text, config)
        for key, text in settings.items()
        if key in _PLACE and isinstance(text, str)
    }
    files = settings.get(_FILES)
    if isinstance(files, dict):
        found[_FILES] = {
            name: _found(text, config) if isinstance(text, str) else text
            for name, text in files.items()
        }
    return found


def _found(text: str, config: Path) -> str:
    """Return an absolute path; a relative one is looked for in the working folder, then beside the file."""
    if "://" in text:
        return text
    named = expanded(text)
    for folder in (Path.cwd(), config.absolute().parent):
        if (folder / named).exists():
            return str((folder / named).absolute())
    return str((Path.cwd() / named).absolute())


def _value(text: str) -> JSONValue:
    """Return what a word of the command line says: JSON where it is, else the word itself."""
    try:
        value: JSONValue = json.loads(text)
    except ValueError:
        return text
    return value


def _is_pair(value: JSONValue) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)
