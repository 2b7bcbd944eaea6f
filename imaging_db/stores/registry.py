"""Stores by name: those that come along, and those that other packages add."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeAlias

from imaging_db.config.settings import StoreSettings
from imaging_db.errors import ConfigError, UnknownPlugin
from imaging_db.stores.base import Store

StoreOpener: TypeAlias = Callable[[StoreSettings], Store]

GROUP = "imaging_db.stores"


def open_store(settings: StoreSettings) -> Store:
    """Return the store that ``settings`` describe; nothing is looked at yet, `Store.probe` does that.

    Raises
    ------
    UnknownPlugin
        No store of that name.
    ConfigError
        The package that brings the store cannot be imported, or brings one that exists already.
    """
    opener = _BUILT_IN.get(settings.storage) or _plugin(settings.storage)
    return opener(settings)


def names() -> tuple[str, ...]:
    """Return the names of all stores, sorted."""
    return tuple(sorted({*_BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))}))


def _open_local(settings: StoreSettings) -> Store:
    from imaging_db.stores.local import LocalStore

    return LocalStore(Path(settings.access))


def _open_s3(settings: StoreSettings) -> Store:
    from imaging_db.stores.s3 import S3Store

    return S3Store(settings.access, endpoint_url=settings.endpoint_url)


def _open_memory(settings: StoreSettings) -> Store:
    from imaging_db.stores.memory import MemoryStore

    return MemoryStore(settings.access)


_BUILT_IN: dict[str, StoreOpener] = {
    "local": _open_local,
    "s3": _open_s3,
    "memory": _open_memory,
}


def _plugin(name: str) -> StoreOpener:
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise UnknownPlugin("storage", name, names())
    if len(found) > 1:
        raise ConfigError(f"storage '{name}' is brought by {' and '.join(map(_origin, found))}")
    try:
        opener = found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"storage '{name}' of {_origin(found[0])} cannot be used: {error}"
        ) from error
    if not callable(opener):
        raise ConfigError(f"storage '{name}' of {_origin(found[0])} is not callable")
    return opener  # type: ignore[no-any-return]  # what a plugin returns, its contract suite checks


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
