"""Whether a dataset's store is at hand: a disk may not be mounted, and another folder may stand in for it."""

from __future__ import annotations

from pathlib import Path

from imaging_db.config import StoreSettings, data_home
from imaging_db.errors import StoreDenied
from imaging_db.model import Dataset
from imaging_db.stores.base import Store
from imaging_db.transfer.orphans import is_here


def require_some(store: Store, place: StoreSettings, dataset: Dataset) -> None:
    """Let pass a store that stands in for the recorded one where it has something of a dataset.

    Raises
    ------
    StoreDenied
        It has nothing of it: it is another store, or the disk that stands in is not mounted either.
    """
    if is_here(dataset, place) or next(iter(store.list(dataset.storage_dir)), None) is not None:
        return
    raise StoreDenied(
        f"{dataset.serial} is in {dataset.storage_access}, which is not here, and {store.address} "
        "has nothing of it",
        hint="mount the disk or share",
    )


def require_recorded(store: Store, place: StoreSettings, dataset: Dataset) -> None:
    """Let pass the store that a dataset was uploaded to, none that stands in for it.

    Raises
    ------
    StoreDenied
        It is another one.
    """
    if is_here(dataset, place):
        return
    raise StoreDenied(
        f"{dataset.serial} is in {dataset.storage_access}, which is not here, and {store.address} only "
        "stands in for it",
        hint="mount the disk or share; to repair what stands in, name it with --storage and --storage_access",
    )


def make_default_folder(folder: Path) -> None:
    """Make a store's folder below our own data folder; no other's parents: it may be an unmounted share.

    Raises
    ------
    StoreDenied
        It cannot be made.
    """
    if not folder.is_relative_to(data_home()):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreDenied(f"{folder}: cannot be made: {error.strerror}") from error
