"""Taking a dataset away: out of sight first, then its objects, then its rows."""

from __future__ import annotations

from collections.abc import Callable

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.stores.base import Store
from imaging_db.transfer.claims import STALE_AFTER, HeldClaim, claimed


def remove_dataset(catalog: Catalog, store: Store, serial: str) -> int:
    """Return how many objects were deleted with a dataset; may be repeated after an interruption.

    Raises
    ------
    DatasetBusy
        Another run uploads or deletes it.
    Conflict
        Another dataset names it as its parent.
    """
    dataset, claim = claimed(
        lambda token, evict: catalog.begin_delete(
            serial, token=token, stale_after=STALE_AFTER, evict=evict
        ),
    )
    with HeldClaim(catalog, claim) as held:
        failpoints.reach("dataset.hidden")
        removed = remove_objects(store, dataset.storage_dir, check=held.check)
        failpoints.reach("objects.deleted")
        catalog.finish_delete(claim)
    return removed


def remove_objects(store: Store, directory: str, *, check: Callable[[], None]) -> int:
    """Return how many objects below a dataset's prefix were deleted.

    ``check`` is asked before each deletion and raises `DatasetBusy` once the claim is lost: what lies
    there then is another run's.
    """
    removed = 0
    for key in [found.key for found in store.list(directory)]:
        check()
        removed += store.delete(key)
        failpoints.reach("object.deleted")
    return removed
