"""Paths as people write them: ``~`` is expanded where it means a home, and kept where it is a name."""

from __future__ import annotations

from pathlib import Path

from imaging_db.errors import ConfigError


def expanded(text: str | Path) -> Path:
    """Return a path with its ``~`` expanded; a ``~name`` that is no user's home stays as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_file(path: Path, what: str) -> bool:
    """Return True where ``path`` is a file; ``what`` names it in the message.

    Raises
    ------
    ConfigError
        The path cannot be looked at: too long, or in a folder that is closed to us.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigError(f"{what} {str(path)[:200]}: {error.strerror}") from error


def home() -> Path:
    """Return the user's home folder.

    Raises
    ------
    ConfigError
        The system knows none; tells the variable that helps.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigError(
            "no home folder is known", hint="set IMAGING_DB_HOME to a folder for the data"
        ) from error
