"""The packages that read volumes, imported where they are used: ``imaging_db[volumes]``."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from imaging_db.errors import ConfigError


def require(module: str) -> ModuleType:
    """Return a module that ``pip install 'imaging_db[volumes]'`` brings.

    Raises
    ------
    ConfigError
        It is not installed; the message names it, and the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and misses something itself
        raise ConfigError(f"needs {error.name}", hint="pip install 'imaging_db[volumes]'") from None
