"""What comes with an extra of this package, imported where it is used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from imaging_db.errors import ConfigError


def require(module: str, extra: str) -> ModuleType:
    """Return a module that ``pip install 'imaging_db[extra]'`` brings.

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
        name = module.partition(".")[0]
        raise ConfigError(f"needs {name}", hint=f"pip install 'imaging_db[{extra}]'") from None
