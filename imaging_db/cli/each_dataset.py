"""What the commands share that look at datasets one after the other: check, repair, verify."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    add_config,
    add_debug,
    add_json,
    add_login,
    add_storage,
    add_workers,
)
from imaging_db.errors import (
    CatalogUnavailable,
    DatasetNotFound,
    ImagingDBError,
    IntegrityError,
    Interrupted,
    StoreDenied,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.model import Dataset

Looked = TypeVar("Looked")

_SOME_FAILED = 3


class Report(Protocol):
    """What came of looking at one dataset: ``failures`` are told of what is ``wrong``."""

    @property
    def serial(self) -> str:
        """Return the dataset's."""

    @property
    def failures(self) -> tuple[ImagingDBError, ...]:
        """Return an error each."""

    @property
    def wrong(self) -> int:
        """Return how many there are."""


def add_ids(parser: argparse.ArgumentParser) -> None:
    """Add the datasets that a command looks at."""
    parser.add_argument(
        "id", nargs="*", metavar="DATASET", help="dataset ids; without one, every dataset"
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what these commands share."""
    add_storage(parser)
    add_workers(parser)
    add_login(parser)
    add_config(parser)
    add_json(parser)
    add_debug(parser)


@dataclass
class EachDataset:
    """Looks at the datasets that were asked for, or at all: what is out of reach keeps no other one back.

    What is wrong with a store is told once; its other datasets are passed over then. ``all_over`` tells
    whether an error ends the whole command.
    """

    db: ImagingDB
    asked: Sequence[str]
    all_over: Callable[[], bool] = lambda: False
    failed: int = 0
    away: dict[str, int] = field(default_factory=dict)
    _codes: set[int] = field(default_factory=set)
    _done: int = 0

    def reports(self, look: Callable[[str], Looked]) -> Iterator[Looked]:
        """Yield what ``look`` returns for each serial; tell what it raises.

        Raises
        ------
        DatasetNotFound
            One of those that were asked for does not exist; nothing was begun.
        CatalogUnavailable
            The database does not answer any more.
        """
        for dataset in self._datasets():
            try:
                report = self._look(look, dataset)
            except ImagingDBError as error:
                if isinstance(error, Interrupted) or self.all_over():
                    raise
                self._tell(error, dataset)
                continue
            if report is not None:
                self._done += 1
                yield report
        for store, others in self.away.items():
            if others:
                output.note(f"{output.count(others, 'more dataset')} of {store}: not looked at")

    def exit_code(self, *, damaged: bool) -> int:
        """Return 6 where something is damaged, else what kept datasets from being looked at; 3 for some."""
        if damaged or not self._codes:
            return IntegrityError.exit_code if damaged else OK
        return min(self._codes) if len(self._codes) == 1 and not self._done else _SOME_FAILED

    def _datasets(self) -> Iterator[Dataset]:
        if not self.asked:
            yield from self.db.datasets()
            return
        asked = [self.db.dataset(serial).dataset for serial in dict.fromkeys(self.asked)]
        yield from asked

    def _look(self, look: Callable[[str], Looked], dataset: Dataset) -> Looked | None:
        store = self.db.store_of(dataset).address
        if store in self.away:
            self.away[store] += 1
            self.failed += 1
            return None
        try:
            return look(dataset.serial)
        except (StoreDenied, StoreUnavailable):
            if self._is_away(dataset):
                self.away[store] = 0
            raise

    def _is_away(self, dataset: Dataset) -> bool:
        """Return True where nothing of a store can be had, not only what an error speaks of."""
        try:
            self.db.reach(dataset)
        except (StoreDenied, StoreUnavailable):
            return True
        return False

    def _tell(self, error: ImagingDBError, dataset: Dataset) -> None:
        """A dataset that goes while all are looked at is none of ours; one that was asked for is."""
        if isinstance(error, CatalogUnavailable):
            self.db.find(
                dataset.serial
            )  # it was replaced; or this raises, too: the catalog is away
        if isinstance(error, (DatasetNotFound, CatalogUnavailable)) and not self.asked:
            output.note(error.message)
            return
        self.failed += 1
        self._codes.add(error.exit_code)
        output.errors(error, where=dataset.serial)


def tell_failures(report: Report) -> None:
    """Print what is wrong with one dataset."""
    for failure in report.failures:
        output.errors(failure, where=report.serial)
    untold = report.wrong - len(report.failures)
    if untold:
        output.note(f"{report.serial}: {untold} more are not as recorded")
