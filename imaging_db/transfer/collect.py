"""Collecting what killed runs left in a store: nothing of a live run, and only what is old enough.

Each removal happens where no upload can begin meanwhile: behind the claim of a deletion, behind a
reservation of a serial that the catalog does not know, or while a ready dataset is held still.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from itertools import islice
from typing import TypeVar

from imaging_db import failpoints
from imaging_db.catalog import Catalog, Place, Unfinished
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import (
    Conflict,
    DatasetBusy,
    DatasetNotFound,
    InvalidDatasetId,
)
from imaging_db.model import Dataset, DatasetId, DatasetStatus
from imaging_db.stores.base import Leftover, ObjectInfo, Store
from imaging_db.stores.layout import split_storage_dir
from imaging_db.transfer.claims import STALE_AFTER, HeldClaim, claimed
from imaging_db.transfer.orphans import (
    Names,
    Owner,
    Owners,
    folder_of,
    folders,
    is_here,
    without_row,
)
from imaging_db.transfer.remove import Tally, discard, interrupted, remove_hidden, remove_objects
from imaging_db.transfer.run_token import is_dead

One = TypeVar("One", bound=ObjectInfo)

GRACE = timedelta(days=7)
"""How old something has to be, by the store's clock, unless the user says otherwise."""

_AT_ONCE = 100
_HELD_SECONDS = 2.0
_IN_USE = (DatasetBusy, DatasetNotFound, Conflict)


class Kind(str, Enum):
    """Why something may go.

    ``upload``, ``deletion``: nobody goes on with it. ``unknown``: a folder of no dataset of this catalog.
    ``extra``: an object without a row, in the folder of a dataset. ``leftover``: of a killed run, and no
    object.
    """

    UPLOAD = "upload"
    DELETION = "deletion"
    UNKNOWN = "unknown"
    EXTRA = "extra"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True)
class Found:
    """Something that goes, would go in a dry run, or has to be confirmed first.

    ``where`` is a key, or a folder that goes as a whole and then ends in a slash.
    """

    kind: Kind
    where: str
    objects: int
    nbr_bytes: int


@dataclass(frozen=True, slots=True)
class CollectReport:
    """One collection: how much went, or would go in a dry run.

    ``unconfirmed`` is what stays because another catalog may know it, ``in_use`` what others had taken
    when its turn came, a line each.
    """

    dry_run: bool
    objects: int
    nbr_bytes: int
    datasets: int
    unconfirmed: tuple[Found, ...] = ()
    in_use: tuple[str, ...] = ()


def _nobody(found: Found) -> None:
    """Hear what was found and say nothing."""


@dataclass
class Collector:
    """Collects from one store what one catalog does not know, or what no live run works on any more.

    ``unknown`` allows to remove whole datasets that the catalog does not know: another catalog may share
    the store. ``told`` hears of each thing once it is gone, in a dry run of each that would go.
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
    _datasets: int = 0
    _oldest_kept: datetime = field(init=False)

    def run(self) -> CollectReport:
        """Return what went; may be repeated after an interruption at any point.

        Raises
        ------
        Interrupted
            The user stopped it; what is gone is gone whole.
        """
        self._oldest_kept = self.store.now() - self.grace
        try:
            self._collect_unfinished()
            owners = Owners.of(self.catalog, self.settings)
            for directory, objects in folders(self.store):
                self._collect_folder(owners, directory, objects)
            self._collect_leftovers(owners)
        except KeyboardInterrupt as stop:
            raise interrupted(stop, self.tally) from stop
        return CollectReport(
            self.dry_run,
            self.tally.objects,
            self.tally.nbr_bytes,
            self._datasets,
            tuple(self._unconfirmed),
            tuple(self._in_use),
        )

    # --- uploads and deletions that stopped

    def _collect_unfinished(self) -> None:
        for one in self.catalog.pending():
            dataset = one.dataset
            if not is_here(dataset, self.settings) or is_live(one):
                continue
            if dataset.status is DatasetStatus.DELETING or self._is_given_up(one):
                with self._unless_in_use():
                    self._finish(dataset)

    def _is_given_up(self, one: Unfinished) -> bool:
        """Return True for an upload that nobody has worked on for the time of grace."""
        seconds = self.grace.total_seconds()
        if not seconds:
            return True
        if any(age is not None and age < seconds for age in (one.age, one.seconds_ago)):
            return False
        return all(map(self._is_old, self._below(one.dataset.storage_dir)))

    def _finish(self, dataset: Dataset) -> None:
        kind = Kind.UPLOAD if dataset.status is DatasetStatus.PENDING else Kind.DELETION
        tally = Tally()
        try:
            if self.dry_run:
                for found in self._below(dataset.storage_dir):
                    tally.add(found.size)
            else:
                hidden, claim = claimed(
                    lambda token, evict: self.catalog.begin_delete(
                        dataset.serial,
                        token=token,
                        stale_after=STALE_AFTER,
                        evict=evict,
                        unfinished_only=True,
                    )
                )
                remove_hidden(self.catalog, self.store, hidden, claim, tally=tally)
            self._datasets += 1
        finally:
            self._count(tally)
        self.told(Found(kind, f"{dataset.storage_dir}/", tally.objects, tally.nbr_bytes))

    def _below(self, directory: str) -> Iterator[ObjectInfo]:
        yield from self.store.list(directory)
        yield from self.store.leftovers(directory)

    # --- objects

    def _collect_folder(
        self, owners: Owners, directory: str, objects: Iterable[ObjectInfo]
    ) -> None:
        of_folder = owners.of_folder(directory)
        if owners.is_odd(directory) or len(of_folder) > 1:
            return  # laid out by hand, or shared by rows of imagingDB, which protect each other
        if not of_folder:
            self._collect_unknown(owners, directory, objects)
            return
        (owner,) = of_folder
        if owner.ready and owner.here and owner.directory == directory:
            with self._unless_in_use():
                self._collect_extras(owner, objects)

    def _collect_extras(self, owner: Owner, objects: Iterable[ObjectInfo]) -> None:
        """What a ready dataset's folder holds beside its own: an upload that was killed left it there."""
        dataset = self.catalog.dataset(owner.serial)
        if self.catalog.upkeep.count_promised(owner.serial) != dataset.nbr_objects:
            return  # rows were lost: what seems to be beside them may be theirs
        names = Names(one.name for one in self.catalog.upkeep.promised(owner.serial))
        extras = filter(self._is_old, without_row(objects, owner.directory, names))
        self._remove_held(dataset, extras, self._remove_extra)

    def _remove_extra(self, found: ObjectInfo) -> None:
        if not self.dry_run:
            gone = self.store.delete(found.key)
            failpoints.reach("object.deleted")
            if not gone:
                return
        self.tally.add(found.size)
        self.told(Found(Kind.EXTRA, found.key, 1, found.size))

    def _collect_unknown(
        self, owners: Owners, directory: str, objects: Iterable[ObjectInfo]
    ) -> None:
        """A folder of no dataset goes as a whole, or stays as a whole: a part of it may be at work."""
        place = self._place(directory)
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
        if not self.unknown:
            self._unconfirmed.append(found_here)
            if not self.dry_run:
                return
        with self._unless_in_use():
            if self.dry_run:
                self._count(size)
            else:
                self._remove_unknown(place, owner)
            self.told(found_here)

    def _remove_unknown(self, place: Place, owner: Owner | None) -> None:
        if owner is not None:  # that serial has its objects elsewhere, as files instead of frames
            dataset = self.catalog.dataset(owner.serial)
            doomed = filter(self._is_old, self.store.list(place.storage_dir))
            self._remove_held(dataset, doomed, self._remove_quietly)
            return
        with self._reserved(place) as held:
            remove_objects(
                self.store,
                place.storage_dir,
                check=held.check,
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
        for one in filter(self._is_old, self.store.leftovers()):
            left.setdefault(folder_of(one.key), []).append(one)
        for directory, some in left.items():
            with self._unless_in_use():
                self._collect_leftovers_of(owners, directory, some)

    def _collect_leftovers_of(
        self, owners: Owners, directory: str, some: Sequence[Leftover]
    ) -> None:
        place = self._place(directory) if directory else None
        of_folder = owners.of_folder(directory)
        owner = of_folder[0] if of_folder else owners.of_serial(place.serial) if place else None
        if owner is not None:
            if owner.ready:
                self._remove_held(self.catalog.dataset(owner.serial), some, self._discard)
            return
        if place is None or self.dry_run:  # a probe's, or below no dataset's folder
            for one in some:
                self._discard(one)
            return
        with self._reserved(place) as held:
            for one in some:
                held.check()
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

    def _remove_held(
        self, dataset: Dataset, found: Iterable[One], remove: Callable[[One], None]
    ) -> None:
        """Remove things below a ready dataset, a portion at a time, while it is held still."""
        if self.dry_run:
            for one in found:
                remove(one)
            return
        for portion in _portions(found):
            while portion:
                self.catalog.while_ready(dataset, partial(_empty, portion, remove))

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
    def _unless_in_use(self) -> Iterator[None]:
        """Leave what somebody took meanwhile; the next run looks again."""
        try:
            yield
        except _IN_USE as error:
            self._in_use.append(error.message)

    def _place(self, directory: str) -> Place | None:
        """Return what a folder's name says, None where no upload of ours can have made it."""
        found = split_storage_dir(directory)
        try:
            if found is None or str(DatasetId.parse(found[1])) != found[1]:
                return None
        except InvalidDatasetId:
            return None
        upload_type, serial = found
        return Place(serial, upload_type, self.settings.storage, self.settings.access, directory)

    def _is_old(self, found: ObjectInfo) -> bool:
        if not self.grace:
            return True
        return found.modified is not None and found.modified <= self._oldest_kept

    def _count(self, tally: Tally) -> None:
        self.tally.objects += tally.objects
        self.tally.nbr_bytes += tally.nbr_bytes


def is_live(one: Unfinished) -> bool:
    """Return True where a run holds a dataset that was heard of, and is not known to be dead."""
    if one.owner is None or one.seconds_ago is None:
        return False
    return abs(one.seconds_ago) < STALE_AFTER and not is_dead(one.owner)


def _portions(found: Iterable[One]) -> Iterator[deque[One]]:
    rest = iter(found)
    while portion := deque(islice(rest, _AT_ONCE)):
        yield portion


def _empty(portion: deque[One], remove: Callable[[One], None]) -> None:
    """Remove what is in a portion, for a short time; what is done is not done again."""
    until = time.monotonic() + _HELD_SECONDS
    while portion and time.monotonic() < until:
        remove(portion[0])
        portion.popleft()
