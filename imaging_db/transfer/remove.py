"""Taking a dataset away: out of sight first, then its objects, then its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from imaging_db import failpoints
from imaging_db.catalog import Catalog, Deletable
from imaging_db.errors import (
    DatasetNotFound,
    Interrupted,
    StoreDenied,
    StoreUnavailable,
    UsageError,
)
from imaging_db.model import Claim, Dataset, DatasetStatus
from imaging_db.stores.base import Leftover, ObjectInfo, Store
from imaging_db.transfer.claims import STALE_AFTER, HeldClaim, claimed
from imaging_db.transfer.pool import REMOTE_PUTS, pooled, worker_count
from imaging_db.transfer.report import Progress, Silent, noun_of

_DELETE_TRIES = 4
_COARSE = timedelta(seconds=2)  # S3 and FAT tell times in whole seconds


@dataclass(slots=True)
class Tally:
    """What was removed so far: how many objects, leftovers too, and their bytes."""

    objects: int = 0
    nbr_bytes: int = 0

    def add(self, nbr_bytes: int) -> None:
        """Count one object."""
        self.objects += 1
        self.nbr_bytes += nbr_bytes


def remove_dataset(
    catalog: Catalog,
    store: Store,
    serial: str,
    *,
    shown: Dataset | None = None,
    rows_only: bool = False,
    with_annotations: bool = False,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> int:
    """Return how many objects were deleted with a dataset; may be repeated after an interruption.

    ``rows_only`` touches no object: they are lost. What people said of it stays, for a dataset that
    replaces it, unless it goes ``with_annotations``.

    Raises
    ------
    DatasetNotFound
        There is none, or not any more the one that was ``shown``.
    DatasetBusy
        Another run uploads or deletes it.
    Conflict
        Another dataset names it as its parent.
    """
    dataset, claim = claimed(
        lambda token, evict: catalog.begin_delete(
            serial, token=token, stale_after=STALE_AFTER, evict=evict, shown=shown
        ),
    )
    if rows_only:
        return _finish_rows(catalog, claim, with_annotations=with_annotations)
    return remove_hidden(
        catalog,
        store,
        dataset,
        claim,
        with_annotations=with_annotations,
        tally=tally,
        progress=progress,
    )


def remove_hidden(
    catalog: Catalog,
    store: Store,
    dataset: Dataset,
    claim: Claim,
    *,
    with_annotations: bool = False,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> int:
    """Return how many objects of a dataset were deleted whose deletion is claimed, and then its rows.

    With a ``tally`` what killed runs left below its prefix goes, too. Of a reservation only the row goes,
    and of an upload that was never complete what was put since it began: what lies there else is another
    catalog's.
    """
    if is_reservation(dataset):
        return _finish_rows(catalog, claim, with_annotations=with_annotations)
    with HeldClaim(catalog, claim) as held:
        failpoints.reach("dataset.hidden")
        removed = remove_objects(
            store,
            dataset.storage_dir,
            check=held.check_to_delete,
            wanted=own_objects(dataset),
            workers=_workers(dataset.storage),
            tally=tally,
            progress=progress,
        )
        if tally is not None:
            for leftover in store.leftovers(dataset.storage_dir):
                held.check_to_delete()
                discard(store, leftover, tally)
        failpoints.reach("objects.deleted")
        catalog.finish_delete(claim, with_annotations=with_annotations)
    return removed


def own_objects(dataset: Dataset) -> Callable[[ObjectInfo], bool]:
    """Return what tells objects of a dataset from older ones, which an upload only found in its folder."""
    began = dataset.created_at
    if dataset.published_at is not None or began is None:
        return lambda found: True
    return lambda found: found.modified is None or found.modified >= began - _COARSE


def _finish_rows(catalog: Catalog, claim: Claim, *, with_annotations: bool) -> int:
    with HeldClaim(catalog, claim):
        failpoints.reach("dataset.hidden")
        catalog.finish_delete(claim, with_annotations=with_annotations)
    return 0


def is_reservation(dataset: Dataset) -> bool:
    """Return True for a row that only kept a serial free, of a run that was killed: it has no objects."""
    return dataset.status is DatasetStatus.DELETING and not dataset.nbr_objects


def remove_objects(
    store: Store,
    directory: str,
    *,
    check: Callable[[], None],
    wanted: Callable[[ObjectInfo], bool] = lambda found: True,
    workers: int = 1,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> int:
    """Return how many objects below a dataset's prefix were deleted, those that are ``wanted`` only.

    ``check`` is asked before each deletion and raises `DatasetBusy` once the claim is lost: what lies
    there then is another run's.
    """

    def remove(found: ObjectInfo) -> int | None:
        gone = _deleted(store, found.key, check)
        failpoints.reach("object.deleted")
        return found.size if gone else None

    removed, progress = 0, progress or Silent()
    doomed = (found for found in store.list(directory) if wanted(found))
    with closing(pooled(remove, doomed, workers=workers)) as sizes:
        for size in sizes:
            if size is not None:
                removed += 1
                progress.advance(1, size)
                if tally is not None:
                    tally.add(size)
    return removed


def _deleted(store: Store, key: str, check: Callable[[], None]) -> bool:
    """Delete an object; a store does not try for long, lest it outlives the claim, which is asked again."""
    for _ in range(_DELETE_TRIES - 1):
        check()
        try:
            return store.delete(key)
        except StoreUnavailable as error:
            if not error.transient:
                raise
    check()
    return store.delete(key)


def discard(store: Store, leftover: Leftover, tally: Tally) -> None:
    """Remove a leftover and count it."""
    if store.discard(leftover):
        tally.add(leftover.size)
    failpoints.reach("object.deleted")


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """One deletion: what went, or would go in a dry run. ``status`` is what the dataset was before.

    ``objects`` and ``nbr_bytes`` are what the store had below its folder, ``stored`` is how many frames or
    files had a row.
    """

    serial: str
    status: DatasetStatus
    noun: str
    objects: int
    nbr_bytes: int
    parent_serial: str | None = None
    stored: int = 0
    published_at: datetime | None = None


def preview(catalog: Catalog, serial: str, *, besides: Collection[str] = frozenset()) -> Deletable:
    """Return what a deletion would take; raises as it does. ``besides`` are children that go before."""
    return claimed(
        lambda token, evict: catalog.preview_delete(
            serial, token=token, stale_after=STALE_AFTER, evict=evict, besides=besides
        )
    )


def count_below(store: Store, dataset: Dataset) -> Tally:
    """Return what a deletion takes of the store: objects, and what killed runs left."""
    tally, directory = Tally(), dataset.storage_dir
    own = filter(own_objects(dataset), store.list(directory))
    for found in chain(own, store.leftovers(directory)):
        tally.add(found.size)
    return tally


def would_delete(store: Store, found: Deletable, *, rows_only: bool) -> DeleteReport:
    """Return the report of a deletion to come: what is in the store is counted."""
    if rows_only or is_reservation(found.dataset):
        return delete_report(found, Tally())
    return delete_report(found, count_below(store, found.dataset))


def require_shown(found: Deletable, shown: DeleteReport) -> None:
    """Let pass a dataset that is still the one of which a dry run told. Raises `DatasetNotFound`."""
    if found.dataset.published_at != shown.published_at:
        raise DatasetNotFound(f"{shown.serial} was deleted or replaced meanwhile")


def delete_report(found: Deletable, tally: Tally) -> DeleteReport:
    """Return the report of a deletion that took so much."""
    dataset = found.dataset
    return DeleteReport(
        dataset.serial,
        dataset.status,
        noun_of(dataset),
        tally.objects,
        tally.nbr_bytes,
        dataset.parent_serial,
        found.stored,
        dataset.published_at,
    )


def require_its_store(store: Store, found: Deletable, *, recorded: bool) -> None:
    """Refuse to delete from a store that a dataset was not uploaded to: the rows would go, its objects stay.

    ``recorded`` says that ``store`` is the one. Another may stand in for a folder that this computer does
    not have: shares are mounted elsewhere.

    Raises
    ------
    StoreDenied
        It is another store, and the recorded one is here.
    """
    dataset = found.dataset
    if recorded or is_reservation(dataset):
        return
    if dataset.storage != "local" or Path(str(dataset.storage_access)).is_dir():
        raise StoreDenied(
            f"{dataset.serial} was uploaded to {_place(dataset)}, and {store.address} is another store",
            hint="leave out --storage and --storage_access",
        )


def require_objects(store: Store, found: Deletable, *, recorded: bool) -> None:
    """Refuse to delete only the rows of a dataset: its objects may be on a disk that is not here.

    Raises
    ------
    StoreDenied
        The store has nothing of the dataset, though objects were put.
    """
    dataset = found.dataset
    done = recorded and dataset.status is DatasetStatus.DELETING  # they may be gone already
    if done or not found.stored or not _is_empty(store, dataset):
        return
    lies = "" if recorded else f" lies in {_place(dataset)}, which is not here:"
    raise StoreDenied(
        f"{dataset.serial}{lies or ':'} {store.address} has nothing of it",
        hint="mount that folder, or name where it is now in the config; if its objects are lost for good, "
        "imaging-db delete --objects_lost",
    )


def require_lost(store: Store, found: Deletable) -> None:
    """Refuse to leave objects behind that are said to be lost, and are there.

    Raises
    ------
    UsageError
        The store has some of the dataset.
    """
    try:
        there = not _is_empty(store, found.dataset)
    except StoreDenied:  # the bucket or the folder is gone
        there = False
    if there:
        raise UsageError(
            f"{found.dataset.serial} has objects in {store.address}: they are not lost",
            hint="delete it without --objects_lost",
        )


def _place(dataset: Dataset) -> str:
    return f"{dataset.storage}:{dataset.storage_access}"


def _is_empty(store: Store, dataset: Dataset) -> bool:
    return next(store.list(dataset.storage_dir), None) is None


def delete_reported(
    catalog: Catalog, store: Store, found: Deletable, *, rows_only: bool, progress: Progress
) -> DeleteReport:
    """Return what was deleted of a dataset that is still what was ``found``; raises as `remove_dataset`.

    Raises
    ------
    Interrupted
        The user stopped it; says how far it came.
    """
    tally, serial = Tally(), found.dataset.serial
    progress.start(serial, found.stored)
    try:
        remove_dataset(
            catalog,
            store,
            serial,
            shown=found.dataset,
            rows_only=rows_only,
            with_annotations=True,
            tally=tally,
            progress=progress,
        )
    except KeyboardInterrupt as stop:
        raise interrupted(stop, tally, serial) from stop
    finally:
        progress.finish()
    return delete_report(found, tally)


def interrupted(stop: BaseException, tally: Tally, serial: str = "") -> Interrupted:
    """Return what to raise when the user stops a removal: how far it came."""
    of = f" of {serial}" if serial else ""
    noun = "object" if tally.objects == 1 else "objects"
    return Interrupted(
        f"interrupted: {tally.objects} {noun}{of} removed; rerun to continue",
        signal_number=getattr(stop, "signal_number", 2),
    )


def _workers(storage: str | None) -> int:
    """A folder deletes as fast from one thread as from many; a network is waited for."""
    return (
        1 if storage in (None, "local") else worker_count(None, frame_bytes=0, remote=REMOTE_PUTS)
    )
