"""Upkeep: what checking and repairing ask of a catalog."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial

from sqlalchemy import Connection

from imaging_db.catalog import claims, datasets, deletions, frames, inventory, quality, repairs
from imaging_db.catalog.inventory import Promised
from imaging_db.catalog.repairs import PutBack
from imaging_db.catalog.transactions import Transactions
from imaging_db.model import Dataset, FrameCoords, FrameQuality, FrameSelection, StoredFrame


class Upkeep:
    """The side of an open catalog that looks after what is stored; each call is a transaction, or one a page."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def promised(self, serial: str) -> Iterator[Promised]:
        """Yield name and size of every object of a ready dataset, in the order in which stores list them.

        Raises
        ------
        DatasetNotFound
            None can be seen, or it was deleted while it was being read.
        """
        dataset = self._transactions.read(partial(datasets.ready_row, serial=serial))
        last: Promised | None = None
        while True:
            page = self._transactions.read(
                partial(inventory.promised_page, dataset=dataset, after=last)
            )
            yield from page
            if len(page) < inventory.PAGE:
                return
            last = page[-1]

    def contradictions(self, serial: str) -> list[str]:
        """Return what the rows of a ready dataset say against each other. Raises `DatasetNotFound`."""
        return self._transactions.read(
            lambda connection: inventory.contradictions(
                connection, datasets.ready_row(connection, serial)
            )
        )

    def count_promised(self, serial: str) -> int:
        """Return how many frames, or files, of a ready dataset have a row. Raises `DatasetNotFound`."""
        return self._transactions.read(
            lambda connection: inventory.count_promised(
                connection, datasets.ready_row(connection, serial)
            )
        )

    def mend(self, dataset: Dataset, names: Sequence[str], put_back: PutBack) -> None:
        """Call ``put_back`` while a ready dataset can be neither deleted nor replaced.

        It gets the recorded SHA-256 of the stored bytes of the frames of these ``names`` and the time by
        `time.monotonic` after which it begins nothing, and returns the frames whose rows have to change.
        It may be called again, after its transaction was lost.

        Raises
        ------
        DatasetNotFound
            The dataset is not any more what it was.
        """

        def work(connection: Connection) -> None:
            repairs.mend(connection, dataset, names, put_back)

        self._transactions.write(work)

    def unmeasured(
        self, serial: str, selection: FrameSelection
    ) -> Generator[StoredFrame, None, None]:
        """Yield the frames of a ready dataset whose quality, or a part of it, is missing, by name.

        Raises
        ------
        DatasetNotFound
            None can be seen, or it was deleted while it was being read.
        """
        dataset = self._transactions.read(partial(datasets.ready_row, serial=serial))
        last: FrameCoords | None = None
        while True:
            page = self._transactions.read(
                partial(
                    frames.frames_page,
                    dataset=dataset,
                    selection=selection,
                    after=last,
                    with_metadata=False,
                    where=[quality.UNMEASURED],
                )
            )
            yield from page
            if len(page) < frames.PAGE:
                return
            last = page[-1].coords

    def count_unmeasured(self, serial: str, selection: FrameSelection) -> int:
        """Return how many frames `unmeasured` would yield. Raises `DatasetNotFound`."""
        return self._transactions.read(
            lambda connection: quality.count_unmeasured(
                connection, datasets.ready_row(connection, serial).id, selection
            )
        )

    def fill_quality(
        self, dataset: Dataset, measured: Sequence[tuple[FrameCoords, FrameQuality]]
    ) -> None:
        """Write figures of frames of a ready dataset, only where none are.

        Raises
        ------
        DatasetNotFound
            The dataset is not any more what it was; nothing was written.
        """

        def work(connection: Connection) -> None:
            deletions.while_ready(
                connection,
                dataset,
                lambda: quality.fill(
                    connection, claims.id_of(connection, dataset.serial), measured
                ),
            )

        self._transactions.write(work)

    def decide_repeats(self, dataset: Dataset) -> int:
        """Return of how many frames of a ready dataset it was told now which repeat others.

        Some thousands a transaction. Raises `DatasetNotFound` as `fill_quality` does.
        """
        decided = 0

        def work(connection: Connection) -> int:
            found: list[int] = []
            deletions.while_ready(
                connection,
                dataset,
                lambda: found.append(
                    quality.decide_repeats(connection, claims.id_of(connection, dataset.serial))
                ),
            )
            return found[-1]

        while some := self._transactions.write(work):
            decided += some
        return decided
