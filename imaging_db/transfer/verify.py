"""Reading a dataset, or a sample of it, back and comparing every hash; a journal lets the next run go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from imaging_db.catalog import Catalog
from imaging_db.errors import (
    CatalogUnavailable,
    Conflict,
    DatasetNotFound,
    ImagingDBError,
    IntegrityError,
    Interrupted,
    UsageError,
)
from imaging_db.model import Dataset, FrameSelection, StoredFile, StoredFrame, UploadType
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.fetch import (
    damage_told,
    decode_checked,
    fetch_file,
    fetch_frame,
    frame_bytes,
    wrong_count,
)
from imaging_db.transfer.pool import REMOTE_GETS, StopFlag, pooled, worker_count
from imaging_db.transfer.report import Failures, Progress, Silent, VerifyReport, noun_of
from imaging_db.transfer.sample import Sample
from imaging_db.transfer.verify_journal import Mark, VerifyJournal

Recorded: TypeAlias = StoredFrame | StoredFile
Outcome: TypeAlias = "tuple[bool, int] | ImagingDBError"
"""Whether a hash was recorded, and the bytes that were read; or what is wrong."""
Numbered: TypeAlias = tuple[int, Recorded]

_CHECKPOINT_SECONDS = 5.0


@dataclass(frozen=True)
class Verifier:
    """Verifies datasets of one catalog against one store; changes nothing."""

    catalog: Catalog
    store: Store
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)

    def verify(
        self,
        dataset: Dataset,
        *,
        sample: Sample | None = None,
        journal: VerifyJournal | None = None,
    ) -> VerifyReport:
        """Return what was checked: of every frame the stored bytes and the decoded pixels, of files the bytes.

        With a ``sample`` only of those that it chooses. What a ``journal`` knows to be well is passed over.

        Raises
        ------
        Interrupted
            Ctrl-C or a termination signal; says how far it came. The journal has it.
        DatasetNotFound, CatalogUnavailable
            The dataset was deleted, or replaced, meanwhile.
        """
        with unchanged(self.catalog, dataset):
            return self._verify(dataset, sample, journal)

    def _verify(
        self, dataset: Dataset, sample: Sample | None, journal: VerifyJournal | None
    ) -> VerifyReport:
        mark = Mark() if journal is None else journal.mark(dataset, self.store.address)
        run = _Run(dataset, self.store.address, journal, mark, sample, time.monotonic())
        total = self._total(dataset, sample)
        run.total = total
        wanted = total if sample is None else sample.size(total)
        self.progress.start(dataset.serial, wanted)
        self.progress.advance(min(mark.done, wanted), 0)
        try:
            self._read(run)
        except KeyboardInterrupt as stop:
            run.write_down()
            raise Interrupted(
                f"interrupted: {mark.done} of {wanted} {noun_of(dataset)}s of {dataset.serial} verified; "
                f"{run.how_to_go_on}",
                signal_number=getattr(stop, "signal_number", 2),
            ) from stop
        finally:
            self.progress.finish()
        if run.failures:
            require_unchanged(self.catalog, dataset)  # what a deletion takes away is no damage
        return run.report()

    def _read(self, run: _Run) -> None:
        dataset, stop = run.dataset, StopFlag()
        if not run.mark.well:
            found = pooled(
                self._work(dataset, stop),
                run.left(recorded_objects(self.catalog, dataset)),
                workers=readers_for(self.catalog, dataset, self.workers),
                stop=stop,
            )
            with closing(found) as results:
                for number, name, outcome in results:
                    run.take(number, name, outcome)
                    self.progress.advance(1, 0 if isinstance(outcome, Exception) else outcome[1])
        run.end()

    def _work(
        self, dataset: Dataset, stop: StopFlag
    ) -> Callable[[Numbered], tuple[int, str, Outcome]]:
        told = damage_told(partial(check_object, dataset=dataset, store=self.store, stop=stop))
        return lambda item: (item[0], name_of(item[1]), told(item[1]))

    def _total(self, dataset: Dataset, sample: Sample | None) -> int:
        """Return how many objects there are to choose from; what was announced may be more or less."""
        if sample is None:
            return dataset.nbr_objects
        return self.catalog.upkeep.count_promised(dataset.serial)


@dataclass
class _Run:
    """One run over a dataset: what is left of it, what was found, how far all before is done."""

    dataset: Dataset
    store: str
    journal: VerifyJournal | None
    mark: Mark
    sample: Sample | None
    started: float
    total: int = 0
    read: int = 0
    failures: Failures = field(default_factory=Failures)
    _waiting: dict[int, tuple[str, bool, int]] = field(default_factory=dict)
    _written: float = field(default_factory=time.monotonic)

    def left(self, items: Iterator[Recorded]) -> Iterator[Numbered]:
        """Yield the objects to read with their numbers: those not read yet, and those that had failed.

        Raises
        ------
        UsageError
            The journal speaks of other objects than the catalog has now.
        """
        sample, done, failed = self.sample, self.mark.done, frozenset(self.mark.failed)
        if sample is not None:
            items = sample.chosen(items, total=self.total, name=self.dataset.serial)
        for number, item in enumerate(items):
            name = name_of(item)
            if number == done - 1 and name != self.mark.last:
                where = self.journal.path if self.journal is not None else "the journal"
                raise UsageError(
                    f"{where} speaks of other rows of {self.dataset.serial} than the catalog has",
                    hint="begin a new journal",
                )
            if number >= done or name in failed:
                yield number, item

    def take(self, number: int, name: str, outcome: Outcome) -> None:
        """Take what came of one object."""
        self.read += 1
        well = not isinstance(outcome, ImagingDBError)
        if isinstance(outcome, ImagingDBError):
            self.failures.append(outcome)
            self._waiting[number] = (name, False, 0)
        else:
            self._waiting[number] = (name, not outcome[0], outcome[1])
        if self.journal is not None:
            self.journal.found(self.dataset, self.store, name, well=well)
        self._move_on(number)
        if time.monotonic() - self._written > _CHECKPOINT_SECONDS:
            self.write_down()

    def _move_on(self, number: int) -> None:
        """Move the mark over all objects from its own on that are read; others may be behind a slow one."""
        mark = self.mark
        if number < mark.done:  # one that had failed
            mark.nbr_bytes += self._waiting.pop(number)[2]
        while mark.done in self._waiting:
            mark.last, unrecorded, nbr_bytes = self._waiting.pop(mark.done)
            mark.done += 1
            mark.unrecorded += unrecorded
            mark.nbr_bytes += nbr_bytes

    def write_down(self) -> None:
        """Write into the journal how far it is."""
        if self.journal is not None:
            self.journal.reached(self.dataset, self.store)
        self._written = time.monotonic()

    def end(self) -> None:
        """The last object was read."""
        self.mark.finished = True
        if self.read:
            self.write_down()
        if self.sample is None and self.mark.done != self.dataset.nbr_objects:
            self.failures.append(wrong_count(self.dataset, self.mark.done))

    @property
    def how_to_go_on(self) -> str:
        """Return what the user can do after an interruption."""
        if self.journal is not None:
            return "rerun with the same --journal to go on"
        return "imaging-db verify --journal FILE could go on from here"

    def report(self) -> VerifyReport:
        """Return what came of it."""
        return VerifyReport(
            self.dataset.serial,
            noun_of(self.dataset),
            self.mark.done,
            self.mark.unrecorded,
            self.mark.nbr_bytes,
            time.monotonic() - self.started,
            tuple(sorted(self.failures.told, key=str)),
            total=self.total,
            earlier=max(0, self.mark.done - self.read),
            sample=None if self.sample is None else self.sample.text,
            seed=None if self.sample is None else self.sample.seed,
            wrong=len(self.failures),
        )


def check_object(
    item: Recorded, *, dataset: Dataset, store: Store, stop: StopFlag
) -> tuple[bool, int]:
    """Return whether a hash was recorded of an object, and its bytes, once it was found as recorded.

    Raises
    ------
    IntegrityError
        It is missing or damaged.
    """
    directory = dataset.storage_dir
    if isinstance(item, StoredFile):
        size = fetch_file(item, None, store=store, directory=directory, stop=stop)
        return item.sha256 is not None, size
    data = fetch_frame(item, store=store, directory=directory)
    decode_checked(data, item, key=object_key(directory, item.file_name))
    return item.sha256 is not None, len(data)


def recorded_objects(catalog: Catalog, dataset: Dataset) -> Iterator[Recorded]:
    """Yield the rows of a ready dataset, frames without their metadata, in their order."""
    if dataset.upload_type is UploadType.FILE:
        yield from catalog.files(dataset.serial)
    else:
        yield from catalog.frames(dataset.serial, FrameSelection(), with_metadata=False)


def readers_for(catalog: Catalog, dataset: Dataset, asked: int | None) -> int:
    """Return how many threads read a dataset back."""
    remote = REMOTE_GETS if dataset.storage == "s3" else 0
    size = 0
    if dataset.upload_type is UploadType.FRAMES:
        size = frame_bytes(catalog.acquisition(dataset.serial))
    return worker_count(asked, frame_bytes=size, remote=remote)


def name_of(item: Recorded) -> str:
    """Return the name of an object inside its dataset."""
    return item.file_name if isinstance(item, StoredFrame) else item.name


def require_unchanged(catalog: Catalog, dataset: Dataset) -> None:
    """Let pass a dataset that is still the one that was read.

    Raises
    ------
    DatasetNotFound, CatalogUnavailable
        It was deleted, or replaced.
    """
    if catalog.dataset(dataset.serial).published_at != dataset.published_at:
        raise CatalogUnavailable(f"{dataset.serial} was replaced while it was read", hint="rerun")


@contextmanager
def unchanged(catalog: Catalog, dataset: Dataset) -> Iterator[None]:
    """Tell what went because its dataset did, meanwhile, from what is damaged; as `require_unchanged`."""
    try:
        yield
    except (DatasetNotFound, IntegrityError, Conflict):
        require_unchanged(catalog, dataset)
        raise
