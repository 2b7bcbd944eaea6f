"""The side of `ImagingDB` that takes away: deletes datasets, collects what killed runs left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from imaging_db.config import Settings, StoreSettings

if TYPE_CHECKING:
    from imaging_db.catalog import Catalog, Deletable, Unfinished
    from imaging_db.model import Dataset
    from imaging_db.stores.base import Store
    from imaging_db.transfer import Progress
    from imaging_db.transfer.collect import CollectReport, Found
    from imaging_db.transfer.remove import DeleteReport


def _nobody(found: object) -> None:
    """Hear what was found and say nothing."""


class Keeping:
    """What `imaging_db.api.ImagingDB` can do beside."""

    settings: Settings

    @property
    def catalog(self) -> Catalog:
        """Return the catalog."""
        raise NotImplementedError

    @property
    def store(self) -> Store:
        """Return the store that uploads go to."""
        raise NotImplementedError

    def store_of(self, dataset: Dataset) -> Store:
        """Return the store that holds a dataset."""
        raise NotImplementedError

    def delete(
        self,
        serial: str,
        *,
        dry_run: bool = False,
        besides: Collection[str] = frozenset(),
        progress: Progress | None = None,
    ) -> DeleteReport:
        """Return what was deleted of a dataset, finished or not: out of sight, then objects, then rows.

        Run again after an interruption, it finishes the deletion. In a dry run nothing is changed, and
        ``besides`` are children of it that would go before.

        Raises
        ------
        DatasetNotFound
            There is none.
        DatasetBusy
            A live run uploads or deletes it.
        Conflict
            It is the parent of another dataset.
        StoreDenied
            It lies in a store that is not at hand, such as a disk that is not mounted.
        Interrupted
            The user stopped it; it cannot be seen any more.
        """
        from imaging_db.transfer import Silent
        from imaging_db.transfer.remove import (
            Tally,
            delete_report,
            interrupted,
            preview,
            remove_dataset,
            require_objects,
        )

        found = preview(self.catalog, serial, besides=besides)
        if dry_run:
            return delete_report(found, found.stored, found.nbr_bytes)
        recorded = self._is_recorded(found)
        store = self._store_to_delete_from(found, recorded=recorded)
        require_objects(store, found, recorded=recorded)
        tally, progress = Tally(), progress or Silent()
        progress.start(serial, found.stored)
        try:
            remove_dataset(self.catalog, store, serial, tally=tally, progress=progress)
        except KeyboardInterrupt as stop:
            raise interrupted(stop, tally, serial) from stop
        finally:
            progress.finish()
        return delete_report(found, tally.objects, tally.nbr_bytes)

    def _store_to_delete_from(self, found: Deletable, *, recorded: bool) -> Store:
        from imaging_db.transfer.emptied import check_mounted

        dataset = found.dataset
        if recorded:
            storage, access = dataset.storage, dataset.storage_access
            known = storage is not None and access is not None
            place = StoreSettings(str(storage), str(access)) if known else self.settings.store
            check_mounted(self.catalog, place)
        store = self.store_of(dataset)
        store.probe()
        return store

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

        Without ``older_than`` seven days. ``unknown`` allows to remove whole datasets that this catalog
        does not know; only where no other catalog uses the store. ``told`` hears of each thing.

        Raises
        ------
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
