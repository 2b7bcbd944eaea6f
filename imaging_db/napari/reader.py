"""What napari calls with a path that somebody opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from imaging_db.api import ImagingDB
from imaging_db.napari.address import SCHEME, Address
from imaging_db.napari.layer_data import LayerData, layers

Paths: TypeAlias = "str | Sequence[str]"


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the function that reads addresses of datasets, None for any other path."""
    addresses = _listed(path)
    ours = all(str(one).lower().startswith(SCHEME) for one in addresses)
    return read if addresses and ours else None


def read(path: Paths) -> list[LayerData]:
    """Return the layers of one or several addresses, from the database that login and config describe.

    Raises
    ------
    UsageError
        An address cannot be read, or its frames are no array.
    ConfigError, CatalogUnavailable
        There is no such database.
    DatasetNotFound, NothingSelected
        There is no such dataset, or no such frame in it.
    """
    addresses = [Address.parse(one) for one in _listed(path)]
    with ImagingDB.connect() as db:  # the arrays go on without it
        found = (layers(db, one.serial, **one.selection) for one in addresses)
        return [layer for of_one in found for layer in of_one]


def _listed(path: Paths) -> list[str]:
    return [path] if isinstance(path, str) else list(path)
