"""Comparing the catalog with a store, object by object; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from imaging_db.catalog import Catalog, Unfinished
from imaging_db.catalog.inventory import Promised
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import ImagingDBError, IntegrityError, ObjectNotFound
from imaging_db.model import Dataset
from imaging_db.stores.base import ObjectInfo, Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.fetch import wrong_count
from imaging_db.transfer.orphans import Owners, folders
from imaging_db.transfer.report import Failures, Progress, Silent, noun_of
from imaging_db.transfer.verify import Verifier, require_unchanged, unchanged

_EXTRAS_TOLD = 5


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What came of comparing one dataset with its store.

    ``objects`` counts those that its rows promise, ``failures`` holds an error for each thing that is wrong,
    up to a thousand; ``wrong`` counts them all. ``extra`` counts objects below its prefix that have no row,
    ``extras`` names some. ``read`` tells whether every hash was compared, else only that the objects are
    there in their size. Where ``rows_missing``, the extra objects may be those of the missing rows.
    """

    serial: str
    noun: str
    objects: int
    wrong: int
    extra: int
    read: bool
    seconds: float
    failures: tuple[ImagingDBError, ...] = ()
    extras: tuple[str, ...] = ()
    unrecorded: int = 0
    rows_missing: bool = False


@dataclass(frozen=True, slots=True)
class Orphan:
    """A folder of objects that no dataset of the catalog knows; another catalog may."""

    folder: str
    objects: int
    nbr_bytes: int


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What a store and a catalog hold beside the datasets that can be seen; none of it is an error.

    ``leftovers`` counts temporary files and unfinished uploads of objects, those of live runs too.
    """

    store: str
    orphans: tuple[Orphan, ...]
    unfinished: tuple[Unfinished, ...]
    leftovers: int
    leftover_bytes: int


@dataclass(frozen=True)
class Checker:
    """Compares datasets of one catalog with one store, in the memory of a page of rows."""

    catalog: Catalog
    store: Store
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)

    def check(self, dataset: Dataset, *, read_data: bool = False) -> CheckReport:
        """Return what is missing, of another size than recorded, without a row, or announced otherwise.

        With ``read_data`` every object is read and its hashes are compared, too.

        Raises
        ------
        DatasetNotFound, CatalogUnavailable
            The dataset was deleted, or replaced, meanwhile.
        """
        with unchanged(self.catalog, dataset):
            return self._check(dataset, read_data=read_data)

    def _check(self, dataset: Dataset, *, read_data: bool) -> CheckReport:
        found = _Findings(dataset, time.monotonic())
        for text in self.catalog.upkeep.contradictions(dataset.serial):
            found.failures.append(IntegrityError(f"{dataset.serial} {text}", hint=_MEND_ROWS))
        if not read_data:
            self.progress.start(dataset.serial, dataset.nbr_objects)
        try:
            self._compare(dataset, found, sizes=not read_data)
        finally:
            if not read_data:
                self.progress.finish()
        unrecorded = self._read(dataset, found) if read_data else 0
        if found.failures or found.extra:
            require_unchanged(self.catalog, dataset)
        return found.report(read=read_data, unrecorded=unrecorded)

    def _compare(self, dataset: Dataset, found: _Findings, *, sizes: bool) -> None:
        promised = self.catalog.upkeep.promised(dataset.serial)
        for row, there in merged(promised, self.store.list(dataset.storage_dir), dataset):
            if row is None:
                found.add_extra(there)
                continue
            found.objects += 1
            error = (
                self._wrong(dataset, row, there, look=len(found.failures) < Failures.MOST_TOLD)
                if sizes
                else None
            )
            if error is not None:
                found.failures.append(error)
            if sizes:
                self.progress.advance(1, 0)
        if sizes and found.objects != dataset.nbr_objects:
            found.failures.append(wrong_count(dataset, found.objects))

    def _wrong(
        self, dataset: Dataset, row: Promised, there: ObjectInfo | None, *, look: bool
    ) -> ImagingDBError | None:
        """Return what is wrong with an object, by its size alone.

        ``look`` asks for what is not listed: some stores list with a delay what was put. Where a whole
        bucket is gone, that would take hours.
        """
        try:
            key = object_key(dataset.storage_dir, row.name)
            there = there or (self.store.stat(key) if look else None)
        except IntegrityError as unsafe:  # a name that leads elsewhere, or a link in its place
            return unsafe
        error: IntegrityError | None = None
        if there is None:
            error = ObjectNotFound(key, self.store.address)
        elif row.size is not None and there.size != row.size:
            error = IntegrityError(f"{key} has {there.size} bytes instead of {row.size}")
        if error is not None:
            error.hint = f"imaging-db repair {dataset.serial} can put it back"
        return error

    def _read(self, dataset: Dataset, found: _Findings) -> int:
        verifier = Verifier(self.catalog, self.store, self.workers, self.progress)
        report = verifier.verify(dataset)
        found.failures.extend(report.failures, count=report.wrong)
        return report.unrecorded


_MEND_ROWS = "restore the catalog from a backup, or upload the source again with --overwrite"


def check_store(catalog: Catalog, store: Store, settings: StoreSettings) -> StoreReport:
    """Return what a store holds that no dataset knows, and which datasets are unfinished."""
    orphans = _orphans(store, Owners.of(catalog, settings))
    if orphans:  # one of them may have been begun meanwhile
        owners = Owners.of(catalog, settings)
        orphans = [one for one in orphans if _is_unknown(one.folder, owners)]
    leftovers = nbr_bytes = 0
    for left in store.leftovers():
        leftovers, nbr_bytes = leftovers + 1, nbr_bytes + left.size
    unfinished = tuple(catalog.pending())
    return StoreReport(store.address, tuple(orphans), unfinished, leftovers, nbr_bytes)


def _orphans(store: Store, owners: Owners) -> list[Orphan]:
    found: list[Orphan] = []
    for folder, objects in folders(store):
        if _is_unknown(folder, owners):
            number = nbr_bytes = 0
            for one in objects:
                number, nbr_bytes = number + 1, nbr_bytes + one.size
            found.append(Orphan(folder, number, nbr_bytes))
    return found


def _is_unknown(folder: str, owners: Owners) -> bool:
    return not owners.of_folder(folder) and not owners.is_odd(folder)


@dataclass
class _Findings:
    """What was found wrong with one dataset; keeps no more than can be told."""

    dataset: Dataset
    started: float
    objects: int = 0
    extra: int = 0
    failures: Failures = field(default_factory=Failures)
    extras: list[str] = field(default_factory=list)

    def add_extra(self, there: ObjectInfo | None) -> None:
        """Take an object that has no row."""
        self.extra += 1
        if there is not None and len(self.extras) < _EXTRAS_TOLD:
            self.extras.append(there.key)

    def report(self, *, read: bool, unrecorded: int) -> CheckReport:
        """Return all of it."""
        return CheckReport(
            serial=self.dataset.serial,
            noun=noun_of(self.dataset),
            objects=self.objects,
            wrong=len(self.failures),
            extra=self.extra,
            read=read,
            seconds=time.monotonic() - self.started,
            failures=self.failures.told,
            extras=tuple(self.extras),
            unrecorded=unrecorded,
            rows_missing=self.objects < self.dataset.nbr_objects,
        )


def merged(
    promised: Iterable[Promised], there: Iterable[ObjectInfo], dataset: Dataset
) -> Iterator[tuple[Promised | None, ObjectInfo | None]]:
    """Yield each promised object with what the store has of it, and each object without a row.

    Both come in the order of their names, so that one of each is in memory. Two rows may share a name.
    """
    start = len(dataset.storage_dir) + 1
    objects = iter(there)
    current = next(objects, None)
    used = False
    for row in promised:
        while current is not None and current.key[start:] < row.name:
            if not used:
                yield None, current
            current, used = next(objects, None), False
        if current is not None and current.key[start:] == row.name:
            used = True
            yield row, current
        else:
            yield row, None
    while current is not None:
        if not used:
            yield None, current
        current, used = next(objects, None), False
