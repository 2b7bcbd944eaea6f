"""Taking a dataset away: out of sight first, then its objects, then its rows."""

from __future__ import annotations

from imaging_db.catalog import Catalog
from imaging_db.stores.base import Store


def remove_dataset(catalog: Catalog, store: Store, serial: str) -> int:
    """Return how many objects were deleted with a dataset; may be repeated after an interruption.

    Raises
    ------
    Conflict
        Another dataset names it as its parent.
    """
    dataset = catalog.begin_delete(serial)
    removed = remove_objects(store, dataset.storage_dir)
    catalog.finish_delete(serial)
    return removed


def remove_objects(store: Store, directory: str) -> int:
    """Return how many objects below a dataset's prefix were deleted."""
    keys = [found.key for found in store.list(directory)]
    return sum(store.delete(key) for key in keys)
