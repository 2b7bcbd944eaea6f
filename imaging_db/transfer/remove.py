"""Taking a dataset away: out of sight first, then its objects, then its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass

from imaging_db import failpoints
from imaging_db.catalog import Catalog, Deletable
from imaging_db.errors import Interrupted, StoreDenied
from imaging_db.model import Claim, Dataset, DatasetStatus
from imaging_db.stores.base import Leftover, ObjectInfo, Store
from imaging_db.transfer.claims import STALE_AFTER, HeldClaim, claimed
from imaging_db.transfer.pool import REMOTE_PUTS, pooled, worker_count
from imaging_db.transfer.report import Progress, Silent, noun_of


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
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> int:
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
    return remove_hidden(catalog, store, dataset, claim, tally=tally, progress=progress)


def remove_hidden(
    catalog: Catalog,
    store: Store,
    dataset: Dataset,
    claim: Claim,
    *,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> int:
    """Return how many objects of a dataset were deleted whose deletion is claimed, and then its rows.

    With a ``tally`` what killed runs left below its prefix goes, too.
    """
    with HeldClaim(catalog, claim) as held:
        failpoints.reach("dataset.hidden")
        removed = remove_objects(
            store,
            dataset.storage_dir,
            check=held.check,
            workers=_workers(dataset.storage),
            tally=tally,
            progress=progress,
        )
        if tally is not None:
            for leftover in store.leftovers(dataset.storage_dir):
                held.check()
                discard(store, leftover, tally)
        failpoints.reach("objects.deleted")
        catalog.finish_delete(claim)
    return removed


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
        check()
        gone = store.delete(found.key)
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


def discard(store: Store, leftover: Leftover, tally: Tally) -> None:
    """Remove a leftover and count it."""
    if store.discard(leftover):
        tally.add(leftover.size)
    failpoints.reach("object.deleted")


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """One deletion: what went, or would go in a dry run. ``status`` is what the dataset was before."""

    serial: str
    status: DatasetStatus
    noun: str
    objects: int
    nbr_bytes: int
    parent_serial: str | None = None


def preview(catalog: Catalog, serial: str, *, besides: Collection[str]) -> Deletable:
    """Return what a deletion would take; raises as it does. ``besides`` are children that go before."""
    return claimed(
        lambda token, evict: catalog.preview_delete(
            serial, token=token, stale_after=STALE_AFTER, evict=evict, besides=besides
        )
    )


def delete_report(found: Deletable, objects: int, nbr_bytes: int) -> DeleteReport:
    """Return the report of a deletion that took so many objects."""
    dataset = found.dataset
    return DeleteReport(
        dataset.serial,
        dataset.status,
        noun_of(dataset),
        objects,
        nbr_bytes,
        dataset.parent_serial,
    )


def require_objects(store: Store, found: Deletable, *, recorded: bool) -> None:
    """Refuse to delete only the rows of a dataset whose objects lie in a store that is not at hand.

    ``recorded`` says that ``store`` is where the dataset was uploaded to.

    Raises
    ------
    StoreDenied
        Another store stands in for that one, and holds nothing of the dataset.
    """
    dataset = found.dataset
    if recorded or not found.stored or dataset.status is DatasetStatus.DELETING:
        return
    if next(store.list(dataset.storage_dir), None) is None:
        raise StoreDenied(
            f"{dataset.serial} lies in {dataset.storage}:{dataset.storage_access}, which is not here, and "
            f"{store.address} has nothing of it",
            hint="mount that folder, or name it with --storage and --storage_access",
        )


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
