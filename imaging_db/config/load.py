"""Login and config files -> frozen `Settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imaging_db.config.discovery import Found, data_home, find_config, find_login
from imaging_db.config.json_file import read_json_object
from imaging_db.config.keys import Keys, did_you_mean
from imaging_db.config.paths import expanded
from imaging_db.config.problems import Problems
from imaging_db.config.settings import (
    CODECS,
    STORAGES,
    DatabaseSettings,
    Settings,
    StoreSettings,
    UploadSettings,
)
from imaging_db.errors import ConfigError
from imaging_db.model import UploadType

LOGIN_KEYS = ("drivername", "username", "password", "host", "port", "dbname")
CONFIG_KEYS = (
    "upload_type",
    "frames_format",
    "frames_codec",
    "microscope",
    "filename_parser",
    "meta_schema",
    "schema_filename",
    "storage",
    "storage_access",
    "endpoint_url",
    "max_frame_bytes",
    "max_frames",
    "max_metadata_bytes",
)
_POSTGRES = ("postgres", "postgresql", "postgresql+psycopg2")
_DRIVERS = ("sqlite", *_POSTGRES)


def load_settings(
    login: Path | str | None = None,
    config: Path | str | None = None,
    *,
    storage: str | None = None,
    storage_access: str | None = None,
    codec: str | None = None,
    max_frame_bytes: int | None = None,
    max_frames: int | None = None,
) -> Settings:
    """Return the settings that flags, environment and files add up to; defaults where none speaks.

    All but ``login`` and ``config`` are command-line flags and win over the config.

    Raises
    ------
    ConfigError
        Every mistake in both files at once, a line each.
    """
    problems = Problems()
    origins: dict[str, str] = {}
    login_file = problems.collect(lambda: find_login(login))
    config_file = problems.collect(lambda: find_config(config))
    flags = {"storage": storage, "storage_access": storage_access}
    limits = {"max_frame_bytes": max_frame_bytes, "max_frames": max_frames}
    database = upload = store = None
    if login_file is not None:
        database = problems.collect(lambda: _database(login_file, origins))
    if config_file is not None:
        values = problems.collect(lambda: _config_values(config_file))
        if values is not None:
            upload = problems.collect(lambda: _upload(values, config_file, codec, limits, origins))
            store = problems.collect(
                lambda: _store(values, config_file, _default_store(database), flags, origins)
            )
    problems.stop()
    if database is None or upload is None or store is None:  # each failure above left a problem
        raise ConfigError("settings could not be read")
    return Settings(database, store, upload, origins)


def _config_values(found: Found) -> dict[str, Any]:
    return read_json_object(found.path) if found.path else {}


def _database(found: Found, origins: dict[str, str]) -> DatabaseSettings:
    if found.path is None:
        origins["database"] = found.origin
        return DatabaseSettings("sqlite", str(data_home() / "catalog.sqlite"))
    keys = Keys(read_json_object(found.path), found.path, LOGIN_KEYS)
    origins["database"] = f"{found.path} ({found.origin})"
    driver = keys.choice("drivername", _DRIVERS)
    if not keys.has("drivername"):
        keys.problem("drivername", "is required")
    dbname = keys.text("dbname", required=True)
    if driver == "sqlite":
        path = _sqlite_path(str(dbname), found.path.parent)
        if path != ":memory:" and not Path(path).parent.is_dir():
            keys.problem("dbname", f"the folder {Path(path).parent} does not exist")
        _stop_on(keys)
        return DatabaseSettings("sqlite", path)
    settings = DatabaseSettings(
        "postgresql+psycopg2",
        str(dbname),
        username=keys.text("username", required=True),
        password=_password(keys),
        host=keys.text("host", required=True),
        port=keys.whole("port"),
    )
    _stop_on(keys)
    return settings


def _password(keys: Keys) -> str | None:
    """An empty password is legal (trust authentication); a wrong type is not, and is never echoed."""
    value = keys.raw("password")
    if value is not None and not isinstance(value, str):
        keys.problem("password", "must be a text")
        return None
    return value


def _sqlite_path(dbname: str, folder: Path) -> str:
    return dbname if dbname == ":memory:" else str((folder / expanded(dbname)).absolute())


def _upload(
    values: Mapping[str, Any],
    found: Found,
    codec: str | None,
    limits: Mapping[str, int | None],
    origins: dict[str, str],
) -> UploadSettings:
    keys = Keys(values, found.path, CONFIG_KEYS)
    origins["upload"] = f"{found.path} ({found.origin})" if found.path else found.origin
    if keys.has("meta_schema") and keys.has("schema_filename"):
        keys.problem("schema_filename", "is the same as meta_schema; give one of them")
    upload_type = keys.choice("upload_type", [item.value for item in UploadType])
    schema = keys.text("meta_schema") or keys.text("schema_filename")
    settings = UploadSettings(
        upload_type=UploadType(upload_type or "frames"),
        frames_format=keys.text("frames_format"),
        frames_codec=_codec(keys, codec, origins),
        microscope=keys.text("microscope"),
        filename_parser=keys.text("filename_parser"),
        meta_schema=_beside(schema, found) if schema else None,
        max_frame_bytes=keys.size("max_frame_bytes"),
        max_frames=keys.whole("max_frames"),
        max_metadata_bytes=keys.size("max_metadata_bytes"),
    )
    for name in (name for name, limit in limits.items() if limit is not None):
        settings = replace(settings, **{name: limits[name]})  # type: ignore[arg-type]
        origins[name] = "command line"
    if settings.meta_schema and not settings.meta_schema.is_file():
        keys.problem("meta_schema", f"{settings.meta_schema} is not a file")
    _stop_on(keys)
    return settings


def _codec(keys: Keys, flag: str | None, origins: dict[str, str]) -> str:
    """Return the codec of the command line, else of the config; a wrong one in the config is told anyway."""
    named = keys.choice("frames_codec", CODECS)
    if flag is None:
        return named or CODECS[0]
    if flag not in CODECS:
        known = f"{', '.join(CODECS)}{did_you_mean(flag, CODECS)}"
        keys.problems.append(f"--codec: {flag!r} is none of {known}")
    if keys.raw("upload_type") == UploadType.FILE.value:
        keys.problems.append("--codec: means nothing here, upload_type is file in the config")
    origins["frames_codec"] = "command line"
    return flag


def _store(
    values: Mapping[str, Any],
    found: Found,
    default: Path,
    flags: Mapping[str, str | None],
    origins: dict[str, str],
) -> StoreSettings:
    given = {key: value for key, value in flags.items() if value is not None}
    keys = Keys({**values, **given}, found.path, (*CONFIG_KEYS, "storage"))
    keys.problems.clear()  # unknown keys were told by _upload
    storage = (
        keys.choice("storage", _storages(given.get("storage") or values.get("storage"))) or "local"
    )
    access = keys.text("storage_access")
    origins["store"] = "command line" if given else origins.get("upload", found.origin)
    if storage == "s3" and access is None:
        keys.problem("storage_access", "is required for s3: the name of the bucket")
    if storage == "local":
        folder = expanded(given["storage_access"]) if "storage_access" in given else None
        access = str(folder.absolute() if folder else _beside(access, found) if access else default)
        origins["store"] = "embedded default" if access == str(default) else origins["store"]
    endpoint_url = keys.text("endpoint_url")
    if endpoint_url and "@" in endpoint_url:  # it would be part of messages
        keys.problem("endpoint_url", "must not hold a name or a password")
    _stop_on(keys)
    return StoreSettings(storage, access or "", endpoint_url)


def _storages(named: object) -> tuple[str, ...]:
    """Return the kinds of stores: our own, and the plugins' only where one may be meant."""
    if named in (None, *STORAGES):
        return STORAGES
    from importlib.metadata import entry_points

    return (*STORAGES, *(entry.name for entry in entry_points(group="imaging_db.stores")))


def _default_store(database: DatabaseSettings | None) -> Path:
    """Return where bytes go if nothing else is said: beside a SQLite catalog, else the data folder."""
    if database is not None and database.is_sqlite and database.dbname != ":memory:":
        return Path(database.dbname).parent / "store"
    return data_home() / "store"


def _beside(text: str, found: Found) -> Path:
    """Paths in a config are relative to the config, so that a folder can be moved as a whole."""
    folder = found.path.parent if found.path else Path.cwd()
    return (folder / expanded(text)).absolute()


def _stop_on(keys: Keys) -> None:
    if keys.problems:
        raise ConfigError(keys.problems)
