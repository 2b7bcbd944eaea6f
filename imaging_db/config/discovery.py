"""Where login and config are looked for, in order, and where the embedded default lives."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from imaging_db.config.paths import expanded, home, is_file
from imaging_db.errors import ConfigError

LOGIN_NAME = "db_credentials.json"
CONFIG_NAME = "config.json"


@dataclass(frozen=True, slots=True)
class Found:
    """A file and what led to it, for `imaging-db config show`; ``path`` None means the default."""

    path: Path | None
    origin: str


def find_login(flag: Path | str | None = None) -> Found:
    """Return the login file: the flag, ``IMAGING_DB_LOGIN``, the working folder, the user's config folder.

    Raises
    ------
    ConfigError
        A file that was named does not exist.
    """
    return _find(flag, "--login", "IMAGING_DB_LOGIN", LOGIN_NAME)


def find_config(flag: Path | str | None = None) -> Found:
    """Return the config file; looked for as `find_login` does, with ``IMAGING_DB_CONFIG``."""
    return _find(flag, "--config", "IMAGING_DB_CONFIG", CONFIG_NAME)


def data_home() -> Path:
    """Return the folder of the embedded default: ``IMAGING_DB_HOME``, or the system's place for data."""
    named = os.environ.get("IMAGING_DB_HOME")
    if named:
        return expanded(named).absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home()) / "imaging_db"
    if sys.platform == "darwin":
        return home() / "Library" / "Application Support" / "imaging_db"
    return Path(os.environ.get("XDG_DATA_HOME") or home() / ".local" / "share") / "imaging_db"


def config_home() -> Path:
    """Return the user's config folder for imaging_db."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home()) / "imaging_db"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config") / "imaging_db"


def _find(flag: Path | str | None, option: str, variable: str, name: str) -> Found:
    named, origin = (flag, option) if flag is not None else (os.environ.get(variable), variable)
    if named:
        path = expanded(named)
        if not is_file(path, origin):
            what = "is not a file" if path.exists() else "not found"
            raise ConfigError(f"{origin} {path}: {what}")
        return Found(path.absolute(), origin)
    for folder, place in ((Path.cwd(), "working folder"), (_config_home(), "user config folder")):
        if folder is not None and is_file(folder / name, place):
            return Found(folder / name, place)
    return Found(None, "embedded default")


def _config_home() -> Path | None:
    """Who has no home has no config folder either, and may still name every file by an option."""
    try:
        return config_home()
    except ConfigError:
        return None
