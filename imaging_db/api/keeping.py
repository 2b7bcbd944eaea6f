"""The side of `ImagingDB` that takes away: deletes datasets, collects what killed runs left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from imaging_db.api.opened import Opened
from imaging_db.config import StoreSettings

if TYPE_CHECKING:
    from imaging_db.catalog import Deletable, Unfinished
    from imaging_db.model import Dataset
    from imaging_db.stores.base import Store
    from imaging_db.transfer import Progress
    from imaging_db.transfer.collected import CollectReport, Found
    from imaging_db.transfer.remove import DeleteReport


def _nobody(found: object) -> None:
    """Hear what was found and say nothing."""


class Keeping(Opened):
    """What `imaging_db.api.ImagingDB` can do beside."""

    def delete(
        self,
        serial: str,
        *,
        dry_run: bool = False,
        besides: Collection[str] = frozenset(),
        shown: DeleteReport | None = None,
        objects_lost: bool = False,
        progress: Progress | None = None,
    ) -> DeleteReport:
        """Return what was deleted of a dataset, finished or not: out of sight, then objects, then rows.

        Run again after an interruption, it finishes the deletion. In a dry run nothing is changed, and
        ``besides`` are children of it that would go before; what it returned may be ``shown``, so that
        nothing else goes. ``objects_lost`` says that the objects are gone for good: only rows are deleted.

        Raises
        ------
        DatasetNotFound
            There is none, or not any more what was ``shown``.
        DatasetBusy
            A live run uploads or deletes it.
        Conflict
            It is the parent of another dataset, or their folders lie in each other.
        StoreDenied
            It lies in a store that is not at hand, such as a disk that is not mounted.
        UsageError
            Its objects are not lost.
        Interrupted
            The user stopped it; it cannot be seen any more.
        """
        from imaging_db.transfer import Silent, remove

        found = remove.preview(self.catalog, serial, besides=besides)
        if shown is not None:
            remove.require_shown(found, shown)
        store = self._store_to_delete_from(found, lost=objects_lost, write=not dry_run)
        if dry_run:
            return remove.would_delete(store, found, rows_only=objects_lost)
        return remove.delete_reported(
            self.catalog, store, found, rows_only=objects_lost, progress=progress or Silent()
        )

    def _store_to_delete_from(self, found: Deletable, *, lost: bool, write: bool) -> Store:
        from imaging_db.transfer import remove

        recorded, store = self._is_recorded(found), self.store_of(found.dataset)
        if remove.is_reservation(found.dataset):
            return store
        remove.require_its_store(store, found, recorded=recorded)
        if lost:
            remove.require_lost(store, found)
            return store
        if recorded:
            self._check_mounted(found.dataset)
        store.probe(write=write)
        remove.require_objects(store, found, recorded=recorded)
        return store

    def _check_mounted(self, dataset: Dataset) -> None:
        """Raise `StoreDenied` where the disk that a dataset was uploaded to is not mounted."""
        from imaging_db.transfer.emptied import check_mounted

        place = self.settings.store
        if dataset.storage is not None and dataset.storage_access is not None:
            place = StoreSettings(dataset.storage, dataset.storage_access)
        check_mounted(self.catalog, place)

    def _is_recorded(self, found: Deletable) -> bool:
        """Return True where the store at hand is the one that a dataset was uploaded to."""
        dataset = found.dataset
        if self.store_of(dataset) is not self.store:
            return True  # it was opened as recorded
        from imaging_db.transfer.orphans import is_here

        return is_here(dataset, self.settings.store)

    def collect(
        self,
        *,
        older_than: timedelta | None = None,
        dry_run: bool = False,
        unknown: bool = False,
        told: Callable[[Found], None] = _nobody,
    ) -> CollectReport:
        """Return what was removed of the store that uploads go to: what killed runs left, older than that.

        Without ``older_than`` seven days. ``unknown`` allows to remove what this catalog has no rows of,
        whole datasets too: only where no other catalog uses the store, and never from a copy of a catalog
        or after it was restored. ``told`` hears of each thing. What the store did not let go is in the
        report.

        Raises
        ------
        ConfigError
            ``unknown`` was said, and the catalog has no dataset in this store.
        StoreDenied
            The store is a disk that is not mounted.
        Interrupted
            The user stopped it; run again, it goes on.
        """
        from imaging_db.transfer.collect import GRACE, Collector
        from imaging_db.transfer.emptied import check_mounted

        check_mounted(self.catalog, self.settings.store)
        self.store.probe(write=not dry_run)
        return Collector(
            self.catalog,
            self.store,
            self.settings.store,
            GRACE if older_than is None else older_than,
            dry_run,
            unknown,
            told,
        ).run()

    def unfinished(self) -> list[Unfinished]:
        """Return every dataset that cannot be seen: pending, or being deleted."""
        return self.catalog.pending()
