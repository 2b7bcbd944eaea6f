"""Measuring frames that were uploaded before their quality was: filled in once; rerunning finishes it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from imaging_db.catalog import Catalog
from imaging_db.codecs.quality import measure
from imaging_db.errors import ImagingDBError, Interrupted
from imaging_db.model import Dataset, FrameCoords, FrameQuality, FrameSelection, StoredFrame
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.fetch import damage_told, decode_checked, fetch_frame
from imaging_db.transfer.pool import StopFlag, pooled
from imaging_db.transfer.report import Failures, Progress, Silent
from imaging_db.transfer.verify import readers_for, require_unchanged, unchanged

_FILLED_AT_ONCE = 500  # frames of a transaction
_FILLED_SECONDS = 5.0  # after which those that are measured are written down, however few

Measured: TypeAlias = "tuple[FrameCoords, FrameQuality | None, int]"
"""A frame, its figures, None where it has none, and the bytes that were read."""


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What came of measuring a dataset of before.

    ``measured`` frames got figures, ``unmeasurable`` have none, such as those of NaN alone. Of
    ``decided`` frames it is known now which of them repeat others. ``failures`` tells, up to a thousand
    times, which of the ``wrong`` objects are missing or damaged.
    """

    serial: str
    measured: int
    unmeasurable: int
    decided: int
    nbr_bytes: int
    seconds: float
    failures: tuple[ImagingDBError, ...] = ()
    wrong: int = 0


@dataclass(frozen=True)
class Backfiller:
    """Measures frames of one catalog that have no figures, or not all of them; changes no object."""

    catalog: Catalog
    store: Store
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)

    def backfill(
        self, dataset: Dataset, *, selection: FrameSelection | None = None
    ) -> BackfillReport:
        """Return what was measured, of a selection or all of a dataset; what is known already stays.

        Every frame is read and compared with its hashes, as a download does. What is missing or damaged
        is left without figures, and keeps the others not back.

        Raises
        ------
        Interrupted
            Ctrl-C or a termination signal; what was measured by then stays.
        DatasetNotFound, CatalogUnavailable
            The dataset was deleted, or replaced, meanwhile.
        """
        with unchanged(self.catalog, dataset):
            return self._backfill(dataset, selection or FrameSelection())

    def _backfill(self, dataset: Dataset, selection: FrameSelection) -> BackfillReport:
        run = _Run(self, dataset)
        run.decided = self.catalog.upkeep.decide_repeats(dataset)
        self.progress.start(
            dataset.serial, self.catalog.upkeep.count_unmeasured(dataset.serial, selection)
        )
        try:
            run.measure_all(selection)
        except KeyboardInterrupt as stop:
            run.write_down()
            raise Interrupted(
                f"interrupted: {run.measured} frames of {dataset.serial} measured; rerun to continue",
                signal_number=getattr(stop, "signal_number", 2),
            ) from stop
        finally:
            self.progress.finish()
        if run.failures:
            require_unchanged(self.catalog, dataset)  # what a deletion takes away is no damage
        return run.report()


@dataclass
class _Run:
    """One run over one dataset; ``_waiting`` is measured, and not written down yet."""

    backfiller: Backfiller
    dataset: Dataset
    decided: int = 0
    measured: int = 0
    unmeasurable: int = 0
    nbr_bytes: int = 0
    failures: Failures = field(default_factory=Failures)
    _waiting: list[tuple[FrameCoords, FrameQuality]] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _written: float = field(default_factory=time.monotonic)

    def measure_all(self, selection: FrameSelection) -> None:
        """Read and measure what has no figures; write them down every now and then."""
        catalog, dataset = self.backfiller.catalog, self.dataset
        frames = catalog.upkeep.unmeasured(dataset.serial, selection)
        with closing(frames), closing(self._results(frames)) as results:
            for outcome in results:
                self._take(outcome)
        self.write_down()

    def _results(
        self, frames: Iterable[StoredFrame]
    ) -> Generator[Measured | ImagingDBError, None, None]:
        backfiller = self.backfiller
        work = partial(measure_stored, store=backfiller.store, directory=self.dataset.storage_dir)
        workers = readers_for(backfiller.catalog, self.dataset, backfiller.workers)
        return pooled(damage_told(work), frames, workers=workers, stop=StopFlag())

    def _take(self, outcome: Measured | ImagingDBError) -> None:
        if isinstance(outcome, ImagingDBError):
            self.failures.append(outcome)
            self.backfiller.progress.advance(1, 0)
            return
        coords, quality, nbr_bytes = outcome
        self.nbr_bytes += nbr_bytes
        self.backfiller.progress.advance(1, nbr_bytes)
        if quality is None:
            self.unmeasurable += 1
            return
        self._waiting.append((coords, quality))
        late = time.monotonic() - self._written > _FILLED_SECONDS
        if len(self._waiting) >= _FILLED_AT_ONCE or late:
            self.write_down()

    def write_down(self) -> None:
        """Write the figures that wait, in one transaction, while the dataset stays what it is."""
        if self._waiting:
            self.backfiller.catalog.upkeep.fill_quality(self.dataset, self._waiting)
        self.measured += len(self._waiting)
        self._waiting.clear()
        self._written = time.monotonic()

    def report(self) -> BackfillReport:
        """Return what came of it."""
        return BackfillReport(
            serial=self.dataset.serial,
            measured=self.measured,
            unmeasurable=self.unmeasurable,
            decided=self.decided,
            nbr_bytes=self.nbr_bytes,
            seconds=time.monotonic() - self._started,
            failures=tuple(sorted(self.failures.told, key=str)),
            wrong=len(self.failures),
        )


def measure_stored(frame: StoredFrame, *, store: Store, directory: str) -> Measured:
    """Return the figures of a stored frame, once its bytes and pixels were found as recorded.

    Raises
    ------
    IntegrityError
        It is missing or damaged.
    """
    data = fetch_frame(frame, store=store, directory=directory)
    pixels = decode_checked(data, frame, key=object_key(directory, frame.file_name))
    return frame.coords, measure(pixels), len(data)
