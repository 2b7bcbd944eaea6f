"""Putting back what is missing or damaged, from a second store or from the source; rerunning finishes it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.catalog.repairs import Recorded as Hashes
from imaging_db.errors import ImagingDBError, IntegrityError, Interrupted, ObjectNotFound
from imaging_db.model import Dataset, StoredFrame
from imaging_db.stores.base import Store
from imaging_db.transfer.fetch import damage_told, wrong_count
from imaging_db.transfer.pool import REMOTE_PUTS, StopFlag, pooled, worker_count
from imaging_db.transfer.replacements import Replacement, Spare
from imaging_db.transfer.report import Progress, Silent, noun_of
from imaging_db.transfer.verify import (
    Recorded,
    check_object,
    name_of,
    readers_for,
    recorded_objects,
    require_unchanged,
)

_LOOKED_UP = 1000  # damaged objects for which a source is read once
_HELD_OBJECTS = 64  # put back in one transaction
_HELD_BYTES = 16 * 2**20
_CHUNK = 4 * 2**20


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What came of a repair: ``checked`` objects were read, ``repaired`` were put back.

    ``failures`` holds an error for each object that is still not as recorded, and why it could not be put
    back. After a dry run ``repaired`` counts those for which there is a replacement.
    """

    serial: str
    noun: str
    checked: int
    repaired: int
    reencoded: int
    seconds: float
    dry_run: bool
    failures: tuple[ImagingDBError, ...] = ()


@dataclass(frozen=True)
class Repairer:
    """Repairs datasets of one catalog in one store from ``spares``, the first that has an object wins."""

    catalog: Catalog
    store: Store
    spares: Sequence[Spare] = ()
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)

    def repair(self, dataset: Dataset, *, dry_run: bool = False) -> RepairReport:
        """Return what was put back, after every object was read. What is right is never touched.

        Raises
        ------
        Interrupted
            Ctrl-C or a termination signal; what was put back by then stays.
        DatasetNotFound
            The dataset was deleted or replaced meanwhile.
        """
        run = _Run(self, dataset, dry_run)
        self.progress.start(dataset.serial, dataset.nbr_objects)
        try:
            with closing(run.damaged()) as damaged:
                while batch := list(islice(damaged, _LOOKED_UP)):
                    run.mend(batch)
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


@dataclass
class _Run:
    """One repair of one dataset."""

    repairer: Repairer
    dataset: Dataset
    dry_run: bool
    checked: int = 0
    repaired: int = 0
    reencoded: int = 0
    failures: list[ImagingDBError] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

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
                wrong = isinstance(outcome, ImagingDBError)
                repairer.progress.advance(
                    1, 0 if isinstance(outcome, ImagingDBError) else outcome[1]
                )
                if wrong and isinstance(outcome, ImagingDBError):
                    yield _Damage(item, outcome)

    def mend(self, batch: Sequence[_Damage]) -> None:
        """Put back what the spares have, one spare after the other; remember what none has, and why."""
        left = {name_of(damage.item): damage for damage in batch}
        reasons: dict[str, list[str]] = {name: [] for name in left}
        for spare in self.repairer.spares:
            wanted = {name: damage.item for name, damage in left.items()}
            held: list[Replacement] = []
            with closing(spare.replacements(self.dataset, wanted)) as found:
                for one in found:
                    if not isinstance(one, Replacement):
                        reasons[one[0]].append(_reason(one[1], spare))
                        continue
                    del left[one.name]
                    held.append(one)
                    if len(held) >= _HELD_OBJECTS or sum(x.size for x in held) >= _HELD_BYTES:
                        self._put_back(held)
                        held = []
            self._put_back(held)
        for name, damage in left.items():
            self.failures.append(_unmended(damage.error, reasons[name], self.dataset))

    def _put_back(self, held: Sequence[Replacement]) -> None:
        small = [one for one in held if one.row is not None or one.size <= _HELD_BYTES]
        if small and not self.dry_run:
            names = [one.name for one in small]
            self.repairer.catalog.upkeep.mend(
                self.dataset, names, lambda hashes: self._replace(small, hashes)
            )
        for one in held:
            if one not in small and not self.dry_run:
                self._replace_large(one)
            one.stream.close()
            self.repaired += 1
            self.reencoded += one.row is not None

    def _replace_large(self, one: Replacement) -> None:
        """Put back what takes longer than a transaction may: only its removal is inside of one.

        Where the dataset is replaced meanwhile, the new upload finds the object in its way, and never
        takes it for its own unless it is the same.
        """
        store = self.repairer.store
        before = store.stat(one.key)
        if _sha256_there(store, one.key) == one.sha256:  # another repair was faster
            return

        def remove(hashes: Hashes) -> list[StoredFrame]:
            there = store.stat(one.key)
            same = before is not None and there == before and there.modified == before.modified
            if same and store.delete(one.key):
                failpoints.reach("object.deleted")
            return []

        self.repairer.catalog.upkeep.mend(self.dataset, [one.name], remove)
        one.stream.seek(0)
        store.put_stream(one.key, one.stream, size=one.size, sha256=one.sha256)
        store.flush()
        failpoints.reach("object.repaired")
        require_unchanged(self.repairer.catalog, self.dataset)

    def _replace(self, held: Sequence[Replacement], hashes: Hashes) -> list[StoredFrame]:
        """Return the frames whose rows have to change, once every replacement is in its place, for good."""
        workers = REMOTE_PUTS if self.dataset.storage == "s3" else 1
        threads = worker_count(self.repairer.workers, frame_bytes=0, remote=workers)
        work = partial(self._replace_one, hashes=hashes)
        with closing(pooled(work, held, workers=min(threads, len(held)))) as results:
            changed = [row for row in results if row is not None]
        self.repairer.store.flush()
        failpoints.reach("object.repaired")
        return changed

    def _replace_one(self, one: Replacement, *, hashes: Hashes) -> StoredFrame | None:
        """Put one object back; another repair may have done so since it was found damaged."""
        store = self.repairer.store
        there = _sha256_there(store, one.key)
        if there is not None and there == hashes.get(one.name):
            return None
        if there != one.sha256:
            if there is not None:
                store.delete(one.key)
                failpoints.reach("object.deleted")
            one.stream.seek(0)
            store.put_stream(one.key, one.stream, size=one.size, sha256=one.sha256)
        return one.row

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
            failures=tuple(sorted(self.failures, key=str)),
        )


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
