"""Collecting what killed runs left in a store: nothing of a live run, and only what is old enough.

Each removal happens where no upload can begin meanwhile: behind the claim of a deletion, behind a
reservation of a serial that the catalog does not know, or while a ready dataset is held still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from imaging_db import failpoints
from imaging_db.catalog import Catalog, Place, Unfinished
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import (
    ConfigError,
    Conflict,
    DatasetBusy,
    DatasetNotFound,
    ImagingDBError,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
    UsageError,
)
from imaging_db.model import Dataset, DatasetStatus
from imaging_db.stores.base import Leftover, ObjectInfo, Store
from imaging_db.stores.layout import SELFTEST_FOLDER, dataset_folders
from imaging_db.transfer.claims import STALE_AFTER, HeldClaim, claimed
from imaging_db.transfer.collected import CollectReport, Found, Kind
from imaging_db.transfer.orphans import (
    Names,
    Owner,
    Owners,
    folder_of,
    folders,
    is_here,
    place_of,
    without_row,
)
from imaging_db.transfer.portions import remove_held
from imaging_db.transfer.remove import Tally, discard, interrupted, remove_hidden, remove_objects
from imaging_db.transfer.run_token import is_dead

GRACE = timedelta(days=7)
"""How old something has to be, by the store's clock, unless the user says otherwise."""

LONGEST = timedelta(days=36_525)
UNRECORDED = 1512
"""How many objects without a row a killed upload leaves at most: a batch, and what is ahead of it."""

_PROBE_GRACE = timedelta(hours=1)
_IN_USE = (DatasetBusy, DatasetNotFound, Conflict)
_STORE_FAILED = (StoreUnavailable, StoreDenied, UnsafePath)


def _nobody(found: Found) -> None:
    """Hear what was found and say nothing."""


@dataclass
class Collector:
    """Collects from one store what one catalog does not know, or what no live run works on any more.

    ``unknown`` allows to remove what another catalog may know, if it shares the store. ``told`` hears of
    each thing once it is gone, in a dry run of each that would go.
    """

    catalog: Catalog
    store: Store
    settings: StoreSettings
    grace: timedelta = GRACE
    dry_run: bool = False
    unknown: bool = False
    told: Callable[[Found], None] = _nobody
    tally: Tally = field(default_factory=Tally)
    _unconfirmed: list[Found] = field(default_factory=list)
    _in_use: list[str] = field(default_factory=list)
    _failures: dict[str, ImagingDBError] = field(default_factory=dict)
    _datasets: int = 0
    _dropped: set[str] = field(default_factory=set)
    _now: datetime = field(init=False)

    def run(self) -> CollectReport:
        """Return what went; may be repeated after an interruption at any point.

        What the store does not let go is in the report, and the rest goes on.

        Raises
        ------
        UsageError
            The time of grace is negative, or longer than a century.
        ConfigError
            To a catalog that has no dataset in this store everything would be ``unknown``.
        StoreUnavailable, StoreDenied
            The store as a whole is out of reach.
        Interrupted
            The user stopped it; what is gone is gone whole.
        """
        if not timedelta() <= self.grace <= LONGEST:
            raise UsageError(f"{self.grace} is no time of grace", hint="give up to 100 years")
        if self.unknown:
            self._require_dataset()
        self._now = self._clock()
        try:
            for one in self.catalog.pending():
                if is_here(one.dataset, self.settings) and not is_live(one):
                    with self._going_on():
                        self._collect_unfinished(one)
            owners = Owners.of(self.catalog, self.settings, without=self._dropped)
            for top in dataset_folders():
                with self._going_on():
                    self._collect_folders(owners, top)
            with self._going_on():
                self._collect_leftovers(owners)
        except KeyboardInterrupt as stop:
            raise interrupted(stop, self.tally) from stop
        return self._report()

    def _report(self) -> CollectReport:
        return CollectReport(
            self.dry_run,
            self.tally.objects,
            self.tally.nbr_bytes,
            self._datasets,
            tuple(self._unconfirmed),
            tuple(self._in_use),
            tuple(self._failures.values()),
        )

    def _require_dataset(self) -> None:
        if not any(is_here(dataset, self.settings) for dataset in self.catalog.datasets()):
            raise ConfigError(
                f"the catalog has no dataset in {self.store.address}: all that lies there would go",
                hint="name the catalog that belongs to this store, with --login",
            )

    def _clock(self) -> datetime:
        if self.dry_run and self.settings.storage == "local":
            return datetime.now(UTC)  # a folder tells its time by a new file
        return self.store.now()

    # --- uploads and deletions that stopped

    def _collect_unfinished(self, one: Unfinished) -> None:
        """Without rows nothing tells whose the objects are: then only the row of the dataset goes."""
        dataset = one.dataset
        reserved = dataset.status is DatasetStatus.DELETING and not dataset.nbr_objects
        if not (reserved or self._is_given_up(one)):
            return
        row_only = reserved or not one.stored
        if row_only or self._is_explained(one):
            self._finish(dataset, row_only=row_only)

    def _is_given_up(self, one: Unfinished) -> bool:
        """Return True where nobody has worked on a dataset for the time of grace."""
        seconds = self.grace.total_seconds()
        if not seconds:
            return True
        if any(age is not None and age < seconds for age in (one.age, one.seconds_ago)):
            return False
        return all(map(self._is_old, self._below(one.dataset.storage_dir)))

    def _is_explained(self, one: Unfinished) -> bool:
        """Return True where a killed run can have left all objects, or what nothing explains may go."""
        directory, size = one.dataset.storage_dir, Tally()
        for found in self.store.list(directory):
            size.add(found.size)
        if size.objects - one.stored <= UNRECORDED:
            return True
        return self._may_go(Found(Kind.EXTRA, f"{directory}/", size.objects, size.nbr_bytes))

    def _may_go(self, found: Found) -> bool:
        """Return True where that was said of what another catalog may know; note it."""
        if self.dry_run or not self.unknown:
            self._unconfirmed.append(found)
        return self.unknown

    def _finish(self, dataset: Dataset, *, row_only: bool) -> None:
        kind = Kind.UPLOAD if dataset.status is DatasetStatus.PENDING else Kind.DELETION
        tally = Tally()
        try:
            if self.dry_run:
                for found in () if row_only else self._below(dataset.storage_dir):
                    tally.add(found.size)
            else:
                self._remove_unfinished(dataset, tally, row_only=row_only)
            self._datasets += 1
        finally:
            self._count(tally)
        if row_only:
            self._dropped.add(dataset.serial)
        self.told(Found(kind, f"{dataset.storage_dir}/", tally.objects, tally.nbr_bytes))

    def _remove_unfinished(self, dataset: Dataset, tally: Tally, *, row_only: bool) -> None:
        hidden, claim = claimed(
            lambda token, evict: self.catalog.begin_delete(
                dataset.serial,
                token=token,
                stale_after=STALE_AFTER,
                evict=evict,
                unfinished_only=True,
            )
        )
        if not row_only and hidden.nbr_objects:
            remove_hidden(
                self.catalog,
                self.store,
                hidden,
                claim,
                with_annotations=hidden.published_at is not None,  # it is a deletion that stopped
                tally=tally,
            )
            return
        with HeldClaim(self.catalog, claim) as held:
            failpoints.reach("dataset.hidden")
            held.withdraw()

    def _below(self, directory: str) -> Iterator[ObjectInfo]:
        yield from self.store.list(directory)
        yield from self.store.leftovers(directory)

    # --- objects

    def _collect_folders(self, owners: Owners, top: str) -> None:
        for directory, objects in folders(self.store, [top]):
            of_folder = owners.of_folder(directory)
            if owners.is_odd(directory) or len(of_folder) > 1:
                continue  # laid out by hand, or shared by rows of imagingDB, which protect each other
            with self._going_on():
                if not of_folder:
                    self._collect_unknown(owners, directory, objects)
                elif (owner := of_folder[0]).directory == directory and owner.ready and owner.here:
                    self._collect_extras(owner, objects)

    def _collect_extras(self, owner: Owner, objects: Iterable[ObjectInfo]) -> None:
        """What a ready dataset's folder holds beside its own; of another catalog's it may be the own."""
        dataset = self.catalog.dataset(owner.serial)
        if self.catalog.upkeep.count_promised(owner.serial) != dataset.nbr_objects:
            return  # rows were lost: what seems to be beside them may be theirs
        names = Names(one.name for one in self.catalog.upkeep.promised(owner.serial))
        extras = filter(self._is_old, without_row(objects, owner.directory, names))
        size, where = Tally(), f"{owner.directory}/"
        if self.unknown and not self.dry_run:
            before = replace(self.tally)
            remove_held(self.catalog, dataset, extras, self._remove_quietly)
            size.objects = self.tally.objects - before.objects
            size.nbr_bytes = self.tally.nbr_bytes - before.nbr_bytes
        else:
            for found in extras:
                size.add(found.size)
        found_here = Found(Kind.EXTRA, where, size.objects, size.nbr_bytes)
        if size.objects and self._may_go(found_here):
            if self.dry_run:
                self._count(size)
            self.told(found_here)

    def _collect_unknown(
        self, owners: Owners, directory: str, objects: Iterable[ObjectInfo]
    ) -> None:
        """A folder of no dataset goes as a whole, or stays as a whole: a part of it may be at work."""
        place = place_of(directory, self.settings)
        if place is None:
            return
        size, all_old = Tally(), True
        for found in objects:
            size.add(found.size)
            all_old = all_old and self._is_old(found)
        owner = owners.of_serial(place.serial)
        if not all_old or (owner is not None and not (owner.ready and owner.here)):
            return
        found_here = Found(Kind.UNKNOWN, f"{directory}/", size.objects, size.nbr_bytes)
        if self._may_go(found_here):
            if self.dry_run:
                self._count(size)
            else:
                self._remove_unknown(place, owner)
            self.told(found_here)

    def _remove_unknown(self, place: Place, owner: Owner | None) -> None:
        if owner is not None:  # that serial has its objects elsewhere, as files instead of frames
            dataset = self.catalog.dataset(owner.serial)
            doomed = filter(self._is_old, self.store.list(place.storage_dir))
            remove_held(self.catalog, dataset, doomed, self._remove_quietly)
            return
        with self._reserved(place) as held:
            remove_objects(
                self.store,
                place.storage_dir,
                check=held.check_to_delete,
                wanted=self._is_old,
                tally=self.tally,
            )
            self.catalog.finish_delete(held.claim)

    def _remove_quietly(self, found: ObjectInfo) -> None:
        if self.store.delete(found.key):
            self.tally.add(found.size)
        failpoints.reach("object.deleted")

    # --- leftovers

    def _collect_leftovers(self, owners: Owners) -> None:
        """They are few: a killed process leaves one for each of its threads at most."""
        left: dict[str, list[Leftover]] = {}
        for one in self.store.leftovers():
            directory = folder_of(one.key)
            if self._is_old(one, timedelta() if directory else _PROBE_GRACE):
                left.setdefault(directory, []).append(one)
        for directory, some in left.items():
            with self._going_on():
                self._collect_leftovers_of(owners, directory, some)

    def _collect_leftovers_of(
        self, owners: Owners, directory: str, some: Sequence[Leftover]
    ) -> None:
        place = place_of(directory, self.settings) if directory else None
        of_folder = owners.of_folder(directory)
        owner = of_folder[0] if of_folder else owners.of_serial(place.serial) if place else None
        if owner is None and place is None:
            some = [*filter(_is_of_probe, some)]
        elif owner is not None and not owner.ready:
            return
        if self.dry_run or (owner is None and place is None):
            for one in some:
                self._discard(one)
        elif owner is not None:
            dataset = self.catalog.dataset(owner.serial)
            remove_held(self.catalog, dataset, some, self._discard)
        elif place is not None:
            self._discard_reserved(place, some)

    def _discard_reserved(self, place: Place, some: Iterable[Leftover]) -> None:
        with self._reserved(place) as held:
            for one in some:
                held.check_to_delete()
                self._discard(one)
            self.catalog.finish_delete(held.claim)

    def _discard(self, leftover: Leftover) -> None:
        before = self.tally.objects
        if self.dry_run:
            self.tally.add(leftover.size)
        else:
            discard(self.store, leftover, self.tally)
        if self.tally.objects > before:
            self.told(Found(Kind.LEFTOVER, leftover.key, 1, leftover.size))

    # --- how

    @contextmanager
    def _reserved(self, place: Place) -> Iterator[HeldClaim]:
        claim = claimed(
            lambda token, evict: self.catalog.reserve(
                place, token=token, stale_after=STALE_AFTER, evict=evict
            )
        )
        with HeldClaim(self.catalog, claim) as held:
            failpoints.reach("dataset.hidden")
            yield held

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Leave what somebody took meanwhile, and what the store does not let go; the next run looks again."""
        try:
            yield
        except _IN_USE as error:
            self._in_use.append(error.message)
        except _STORE_FAILED as error:
            self.store.probe(write=False)  # where nothing can be reached, that is the end
            self._failures.setdefault(str(error), error.with_traceback(None))

    def _is_old(self, found: ObjectInfo, at_least: timedelta = timedelta()) -> bool:
        grace = max(self.grace, at_least)
        if not grace:
            return True
        return found.modified is not None and found.modified <= self._now - grace

    def _count(self, tally: Tally) -> None:
        self.tally.objects += tally.objects
        self.tally.nbr_bytes += tally.nbr_bytes


def is_live(one: Unfinished) -> bool:
    """Return True where a job holds a dataset, or a run that was heard of and is not known to be dead."""
    if one.job is not None:
        return True
    if one.owner is None or one.seconds_ago is None:
        return False
    return abs(one.seconds_ago) < STALE_AFTER and not is_dead(one.owner)


def _is_of_probe(leftover: Leftover) -> bool:
    """Return True where a probe or a self-test left something; anything else is somebody else's."""
    top, slash, _ = leftover.key.partition("/")
    return not slash or top == SELFTEST_FOLDER
