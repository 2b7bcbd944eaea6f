"""A store's folder that is empty though the catalog has datasets there: a disk that is not mounted."""

from __future__ import annotations

from pathlib import Path

from imaging_db.catalog import Catalog
from imaging_db.config import StoreSettings
from imaging_db.errors import StoreDenied
from imaging_db.stores.layout import dataset_folders
from imaging_db.transfer.orphans import is_here


def check_mounted(catalog: Catalog, settings: StoreSettings) -> None:
    """Let pass a store unless it is a folder that holds nothing where datasets should be.

    The mount point of a disk that is not mounted is a folder like any other, and what went there would
    vanish below the disk. So would the folder that was made because only its parent was there.

    Raises
    ------
    StoreDenied
        The catalog has datasets in this folder, and it has not even the folder they would lie in.
    """
    root = Path(settings.access)
    if settings.storage != "local" or any((root / name).is_dir() for name in dataset_folders()):
        return
    for dataset in catalog.datasets():
        if is_here(dataset, settings):
            raise StoreDenied(
                f"{root} holds nothing, and the catalog has {dataset.serial} there",
                hint="mount the disk or share; if its content is lost for good, make the folder "
                f"{root / dataset_folders()[0]} and upload with --overwrite",
            )
