"""Putting back what is missing or damaged, from a second store or from the source; rerunning finishes it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import islice
from typing import TypeAlias

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.catalog.repairs import Recorded as Hashes
from imaging_db.errors import (
    ImagingDBError,
    IntegrityError,
    Interrupted,
    ObjectNotFound,
    StoreUnavailable,
)
from imaging_db.model import Dataset, StoredFrame
from imaging_db.stores.base import ObjectInfo, Store
from imaging_db.transfer.fetch import damage_told, wrong_count
from imaging_db.transfer.pool import REMOTE_PUTS, StopFlag, pooled, worker_count
from imaging_db.transfer.replacements import Found, Held, Replacement, Spare
from imaging_db.transfer.report import Failures, Progress, Silent, noun_of
from imaging_db.transfer.verify import (
    Recorded,
    check_object,
    name_of,
    readers_for,
    recorded_objects,
    require_unchanged,
    unchanged,
)

_LOOKED_UP = 1000  # damaged objects for which a source is read once, at first
_MORE = 4  # times as many the next time: each time the whole source is looked through
_MOST_LOOKED_UP = 32_000
_HELD_OBJECTS = 64  # put back in one transaction
_HELD_BYTES = 16 * 2**20
_SHORT_SECONDS = 1.0
_GIVE_WAY_SECONDS = 0.2  # SQLite lets whoever waits look ten times a second
_CHUNK = 4 * 2**20


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What came of a repair: ``checked`` objects were read, ``repaired`` were put back.

    ``wrong`` counts what is still not as recorded; ``failures`` tells, up to a thousand times, why it could
    not be put back. After a dry run ``repaired`` counts those for which there is a replacement.
    """

    serial: str
    noun: str
    checked: int
    repaired: int
    reencoded: int
    seconds: float
    dry_run: bool
    failures: tuple[ImagingDBError, ...] = ()
    wrong: int = 0


@dataclass(frozen=True)
class Repairer:
    """Repairs datasets of one catalog in one store from ``spares``, the first that has an object wins.

    ``recorded`` tells whether the store is the one that the catalog names: only then rows may change.
    """

    catalog: Catalog
    store: Store
    spares: Sequence[Spare] = ()
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)
    recorded: bool = True

    def repair(self, dataset: Dataset, *, dry_run: bool = False) -> RepairReport:
        """Return what was put back, after every object was read. What is right is never touched.

        Raises
        ------
        Interrupted
            Ctrl-C or a termination signal; what was put back by then stays.
        DatasetNotFound, CatalogUnavailable
            The dataset was deleted, or replaced, meanwhile.
        """
        with unchanged(self.catalog, dataset):
            return self._repair(dataset, dry_run=dry_run)

    def _repair(self, dataset: Dataset, *, dry_run: bool) -> RepairReport:
        run = _Run(self, dataset, dry_run)
        self.progress.start(dataset.serial, dataset.nbr_objects)
        try:
            run.mend_all()
        except KeyboardInterrupt as stop:
            raise Interrupted(
                f"interrupted: {run.repaired} {noun_of(dataset)}s of {dataset.serial} repaired; "
                "rerun to continue",
                signal_number=getattr(stop, "signal_number", 2),
            ) from stop
        finally:
            self.progress.finish()
        require_unchanged(self.catalog, dataset)
        if run.checked != dataset.nbr_objects:
            run.failures.append(wrong_count(dataset, run.checked))
        for text in self.catalog.upkeep.contradictions(dataset.serial):
            hint = "restore the catalog from a backup; repair mends objects, not rows"
            run.failures.append(IntegrityError(f"{dataset.serial} {text}", hint=hint))
        return run.report()


@dataclass(frozen=True, slots=True)
class _Damage:
    item: Recorded
    error: ImagingDBError


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a replacement goes, and what lay there when it was looked at: of that hash, None if nothing."""

    new: Replacement
    there: ObjectInfo | None
    sha256: str | None


class _State(Enum):
    """How the place of a replacement is.

    ``late``: nothing was done, the time was over. ``whole``: as recorded. ``replaced``: the replacement is
    there. ``free``: nothing is there.
    """

    LATE = "late"
    WHOLE = "whole"
    REPLACED = "replaced"
    FREE = "free"


Fill: TypeAlias = Callable[[Sequence[_Place], Hashes, float], "tuple[set[str], list[StoredFrame]]"]
"""Fills places until a time; returns the names of those that are filled, and the rows that change."""


@dataclass
class _Run:
    """One repair of one dataset."""

    repairer: Repairer
    dataset: Dataset
    dry_run: bool
    checked: int = 0
    repaired: int = 0
    reencoded: int = 0
    failures: Failures = field(default_factory=Failures)
    started: float = field(default_factory=time.monotonic)

    def mend_all(self) -> None:
        """Read the dataset, and put back what is damaged, more and more of it at a time."""
        size = _LOOKED_UP
        with closing(self.damaged()) as damaged:
            while batch := list(islice(damaged, size)):
                self.mend(batch)
                size = min(size * _MORE, _MOST_LOOKED_UP)

    def damaged(self) -> Generator[_Damage, None, None]:
        """Yield every object that is not as recorded."""
        repairer, stop = self.repairer, StopFlag()
        check = damage_told(
            partial(check_object, dataset=self.dataset, store=repairer.store, stop=stop)
        )

        def work(item: Recorded) -> tuple[Recorded, tuple[bool, int] | ImagingDBError]:
            return item, check(item)

        items = recorded_objects(repairer.catalog, self.dataset)
        workers = readers_for(repairer.catalog, self.dataset, repairer.workers)
        with closing(pooled(work, items, workers=workers, stop=stop)) as results:
            for item, outcome in results:
                self.checked += 1
                if isinstance(outcome, ImagingDBError):
                    repairer.progress.advance(1, 0)
                    yield _Damage(item, outcome)
                else:
                    repairer.progress.advance(1, outcome[1])

    def mend(self, batch: Sequence[_Damage]) -> None:
        """Put back what the spares have, one spare after the other; remember what none has, and why."""
        left = {name_of(damage.item): damage for damage in batch}
        reasons: dict[str, list[str]] = {name: [] for name in left}
        for spare in self.repairer.spares:
            wanted = {name: damage.item for name, damage in left.items()}
            with closing(spare.replacements(self.dataset, wanted)) as found, Held() as held:
                for one in map(self._allowed, found):
                    if not isinstance(one, Replacement):
                        reasons[one[0]].append(_reason(one[1], spare))
                        continue
                    del left[one.name]
                    held.append(one)
                    if len(held) >= _HELD_OBJECTS or held.nbr_bytes >= _HELD_BYTES:
                        self._put_back(held)
                self._put_back(held)
        for name, damage in left.items():
            self.failures.append(_unmended(damage.error, reasons[name], self.dataset))

    def _allowed(self, found: Found) -> Found:
        """Return what was found, or why it is not taken: rows speak of the store that they name, of no copy."""
        if not isinstance(found, Replacement) or found.row is None or self.repairer.recorded:
            return found
        found.stream.close()
        return found.name, IntegrityError(
            f"{found.key} can be encoded only to other bytes than recorded, which "
            f"{self.repairer.store.address}, a copy, may not have"
        )

    def _put_back(self, held: Held) -> None:
        """Put objects back: small ones while the dataset is held still, a few seconds at a time."""
        if not self.dry_run:
            small = [one for one in held if not _is_large(one)]
            with closing(pooled(self._place, small, workers=self._threads(small))) as places:
                left = list(places)
            while left:
                left = self._hold(left, self._fill)
            for one in filter(_is_large, held):
                self._replace_large(one)
        self.repaired += len(held)
        self.reencoded += sum(one.row is not None for one in held)
        held.clear()

    def _place(self, one: Replacement) -> _Place:
        """Return the place of a replacement, and what lies there before the dataset is held still."""
        there = self.repairer.store.stat(one.key)
        sha256 = None if there is None else _sha256_there(self.repairer.store, one.key)
        return _Place(one, there, sha256)

    def _hold(self, places: Sequence[_Place], fill: Fill) -> list[_Place]:
        """Fill places while the dataset can be neither deleted nor replaced; return those that are left.

        A transaction is short: an upload beside it waits for it, and one that lasts is cut by the
        catalog, which would let others in.
        """
        left: list[_Place] = []

        def put_back(hashes: Hashes, until: float) -> list[StoredFrame]:
            nonlocal left
            filled, rows = fill(places, hashes, until)
            left = [one for one in places if one.new.name not in filled]
            return rows

        begun = time.monotonic()
        names = [one.new.name for one in places]
        self.repairer.catalog.upkeep.mend(self.dataset, names, put_back)
        if time.monotonic() - begun > _SHORT_SECONDS:
            time.sleep(_GIVE_WAY_SECONDS)
        return left

    def _fill(
        self, places: Sequence[_Place], hashes: Hashes, until: float
    ) -> tuple[set[str], list[StoredFrame]]:
        """Return which replacements are in their places for good, and the frames whose rows change."""
        work = partial(self._fill_one, hashes=hashes, until=until)
        filled: set[str] = set()
        rows: list[StoredFrame] = []
        with closing(pooled(work, places, workers=self._threads(places))) as results:
            for one, state in results:
                if state is not _State.LATE:
                    filled.add(one.new.name)
                if state is _State.REPLACED and one.new.row is not None:
                    rows.append(one.new.row)
        self.repairer.store.flush()
        failpoints.reach("object.repaired")
        return filled, rows

    def _threads(self, work: Sequence[object]) -> int:
        remote = REMOTE_PUTS if self.dataset.storage == "s3" else 1
        wanted = worker_count(self.repairer.workers, frame_bytes=0, remote=remote)
        return max(1, min(wanted, len(work)))

    def _fill_one(self, place: _Place, *, hashes: Hashes, until: float) -> tuple[_Place, _State]:
        state = self._clear(place, hashes.get(place.new.name), until)
        if state is _State.FREE:
            self._put(place.new)
            state = _State.REPLACED
        return place, state

    def _clear(self, place: _Place, recorded: str | None, until: float) -> _State:
        """Return how a place is once what was found damaged is gone; nothing else is ever removed."""
        if place.sha256 is not None and place.sha256 in (recorded, place.new.sha256):
            return _state_of(place.sha256, recorded)  # another repair was faster
        if time.monotonic() > until:
            return _State.LATE
        store, key = self.repairer.store, place.new.key
        there = store.stat(key)
        if there is None:
            return _State.FREE
        if there != place.there or there.modified != place.there.modified:
            sha256 = _sha256_there(store, key)
            if sha256 is not None and sha256 in (recorded, place.new.sha256):
                return _state_of(sha256, recorded)
            raise StoreUnavailable(
                f"{key} was changed by somebody else while it was repaired", hint="rerun"
            )
        if time.monotonic() > until:
            return _State.LATE
        if store.delete(key):
            failpoints.reach("object.deleted")
        return _State.FREE

    def _put(self, one: Replacement) -> None:
        one.stream.seek(0)
        self.repairer.store.put_stream(one.key, one.stream, size=one.size, sha256=one.sha256)

    def _replace_large(self, one: Replacement) -> None:
        """Put back what takes longer than a transaction may: only its removal is inside of one.

        Where the dataset is replaced meanwhile, the new upload finds the object in its way, and never
        takes it for its own unless it is the same.
        """
        left, states = [self._place(one)], [_State.LATE]

        def clear(
            places: Sequence[_Place], hashes: Hashes, until: float
        ) -> tuple[set[str], list[StoredFrame]]:
            states[0] = self._clear(places[0], one.sha256, until)
            return set() if states[0] is _State.LATE else {one.name}, []

        while left:
            left = self._hold(left, clear)
        if states[0] is _State.FREE:
            self._put(one)
            self.repairer.store.flush()
            failpoints.reach("object.repaired")
            require_unchanged(self.repairer.catalog, self.dataset)

    def report(self) -> RepairReport:
        """Return what came of it."""
        return RepairReport(
            serial=self.dataset.serial,
            noun=noun_of(self.dataset),
            checked=self.checked,
            repaired=self.repaired,
            reencoded=self.reencoded,
            seconds=time.monotonic() - self.started,
            dry_run=self.dry_run,
            failures=tuple(sorted(self.failures.told, key=str)),
            wrong=len(self.failures),
        )


def _is_large(one: Replacement) -> bool:
    return one.row is None and one.size > _HELD_BYTES


def _state_of(sha256: str, recorded: str | None) -> _State:
    return _State.WHOLE if sha256 == recorded else _State.REPLACED


def _sha256_there(store: Store, key: str) -> str | None:
    """Return the hex SHA-256 of the bytes under a key, None where there is nothing."""
    digest = hashlib.sha256()
    try:
        with store.open(key) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except ObjectNotFound:
        return None
    return digest.hexdigest()


def _reason(error: ImagingDBError, spare: Spare) -> str:
    """Return why a spare does not have an object, which is named where the reason does not name it."""
    return error.message if spare.address in error.message else f"{spare.address}: {error.message}"


def _unmended(error: ImagingDBError, reasons: Sequence[str], dataset: Dataset) -> ImagingDBError:
    if not reasons:
        error.hint = (
            f"name what it was uploaded from (imaging-db repair {dataset.serial} --source PATH), or a store "
            "with a copy (--from_storage, --from_storage_access)"
        )
        return error
    return IntegrityError(f"{error.message}; not repaired: {'; '.join(reasons)}")
