"""The catalog: what exists, who may write it, what is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from imaging_db import failpoints
from imaging_db.catalog import claims, datasets, frames, schema
from imaging_db.catalog.annotations import Annotations
from imaging_db.catalog.axes import Axes
from imaging_db.catalog.claims import STALE_AFTER, Unfinished
from imaging_db.catalog.datasets import DatasetOrder
from imaging_db.catalog.functions import now
from imaging_db.catalog.jobs import Jobs
from imaging_db.catalog.json_indexes import JSONIndexes
from imaging_db.catalog.removal import Removal
from imaging_db.catalog.search import Search
from imaging_db.catalog.stored_sizes import StoredSizes
from imaging_db.catalog.transactions import Transactions
from imaging_db.catalog.upkeep import Upkeep
from imaging_db.config.settings import DatabaseSettings
from imaging_db.model import (
    Acquisition,
    Claim,
    Dataset,
    DatasetDraft,
    DatasetQuery,
    FrameCoords,
    FrameSelection,
    JSONObject,
    StoredFile,
    StoredFrame,
)

_BATCH = 10_000
T = TypeVar("T")
Item = TypeVar("Item")
Given = TypeVar("Given", contravariant=True)


class _Batch(Protocol[Given]):
    """Writes one batch of items."""

    def __call__(self, connection: Connection, batch: Sequence[Given]) -> None: ...


class _Page(Protocol[Item]):
    """Reads one page: the items that come after one, or the first."""

    def __call__(self, connection: Connection, after: Item | None) -> list[Item]: ...


class Catalog(Removal):
    """An open catalog: a context manager, safe for threads. Only ready datasets can be seen.

    Every method is one transaction, or one for each page or batch, and may raise `CatalogUnavailable`
    (worth another try later) and `IntegrityError` (the database is damaged).
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @classmethod
    def open(
        cls, settings: DatabaseSettings, *, create: bool = False, patience: float | None = None
    ) -> Catalog:
        """Return an open catalog.

        ``create`` lets an empty database get its tables, and a SQLite file come into being; a database
        of imagingDB or of another version is never changed here. ``patience`` is how many seconds one
        transaction may take, or wait for another's.

        Raises
        ------
        ConfigError
            There is no such database, or it refuses the login.
        SchemaOutOfDate
            It has other tables than this program needs; tells the command that helps.
        CatalogUnavailable, IntegrityError
            It does not answer; it is damaged, or no database.
        """
        transactions = Transactions(settings, create=create, patience=patience)
        try:
            schema.require_current(transactions, create=create)
        except BaseException:
            transactions.close()
            raise
        return cls(transactions)

    @property
    def address(self) -> str:
        """Return where the catalog is, for people, without the password."""
        return self._transactions.settings.address

    @property
    def upkeep(self) -> Upkeep:
        """Return what checking and repairing ask of it."""
        return Upkeep(self._transactions)

    @property
    def search(self) -> Search:
        """Return what asks across datasets."""
        return Search(self._transactions)

    @property
    def json_indexes(self) -> JSONIndexes:
        """Return the indexes of metadata."""
        return JSONIndexes(self._transactions)

    @property
    def annotations(self) -> Annotations:
        """Return what people say of the datasets."""
        return Annotations(self._transactions)

    @property
    def jobs(self) -> Jobs:
        """Return the jobs that write datasets unit by unit."""
        return Jobs(self._transactions)

    @property
    def axes(self) -> Axes:
        """Return what arrays of frames ask of it."""
        return Axes(self._transactions)

    def close(self) -> None:
        """Close every connection; closing twice is allowed."""
        self._transactions.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- writing: claim, rows, publish

    def claim(
        self,
        draft: DatasetDraft,
        *,
        token: str,
        stale_after: float = STALE_AFTER,
        evict: str | None = None,
    ) -> Claim:
        """Return the right to write one dataset, held by ``token`` alone.

        A new dataset gets its pending row. A pending one is taken over where its claim was released, was
        not renewed for ``stale_after`` seconds by the database's clock, or is held by ``evict``, an owner
        that the caller knows to be dead. What an earlier run wrote of the same source stays.

        Raises
        ------
        DatasetBusy
            A live run holds it; ``owner`` is its token.
        DatasetExists
            It is ready, or being deleted: see the status of ``existing``.
        ConfigError
            Its parent does not exist, or is not complete.
        Conflict
            It is new, and its serial differs only by case from one that is there.
        """
        return self._write(
            lambda connection: claims.take(
                connection, draft, token=token, stale_after=stale_after, evict=evict
            )
        )

    def renew(self, claim: Claim) -> None:
        """Show that the owner of a claim is alive. Raises `DatasetBusy` where the claim is lost."""
        self._write(lambda connection: claims.renew(connection, claim))

    def release(self, claim: Claim) -> None:
        """Give a claim back; status and rows stay. Raises `DatasetBusy` where the claim is lost."""
        self._write(lambda connection: claims.release(connection, claim))

    def withdraw(self, claim: Claim) -> None:
        """Make a claim to upload one to delete the row alone. Raises `DatasetBusy` where the claim is lost."""
        self._write(lambda connection: claims.withdraw(connection, claim))

    def stored_coords(self, claim: Claim) -> Mapping[FrameCoords, int | None]:
        """Return the size in bytes of the object of every frame that has a row already."""
        found = StoredSizes()
        last: frames.SizedCoords | None = None
        while True:
            page = self._read(partial(frames.stored_page, dataset_id=claim.dataset_id, after=last))
            found.extend(page)
            if len(page) < frames.STORED_PAGE:
                return found
            last = page[-1]

    def stored_amount(self, claim: Claim) -> tuple[int, int]:
        """Return how many frames and files have a row already, and the bytes of their objects."""
        return self._read(lambda connection: frames.amount(connection, claim.dataset_id))

    def stored_names(self, claim: Claim) -> dict[str, int | None]:
        """Return the size in bytes of every file that has a row already, by its name."""
        return self._read(lambda connection: frames.stored_names(connection, claim.dataset_id))

    def add_frames(self, claim: Claim, stored: Sequence[StoredFrame]) -> None:
        """Write rows of frames whose bytes are durable. A frame with the same pixels may come again.

        Raises
        ------
        DatasetBusy
            The claim is lost.
        Conflict
            A frame is there already with other pixels.
        """

        def write(connection: Connection, batch: Sequence[StoredFrame]) -> None:
            claims.hold(connection, claim)
            frames.add_frames(connection, claim.dataset_id, batch)
            failpoints.reach("rows.inserted")

        self._write_batches(write, stored)

    def add_files(self, claim: Claim, stored: Sequence[StoredFile]) -> None:
        """Write rows of files whose bytes are durable; otherwise as `add_frames`."""

        def write(connection: Connection, batch: Sequence[StoredFile]) -> None:
            claims.hold(connection, claim)
            directory = datasets.by_id(connection, claim.dataset_id).storage_dir
            frames.add_files(connection, claim.dataset_id, batch, storage_dir=directory)
            failpoints.reach("rows.inserted")

        self._write_batches(write, stored)

    def publish(self, claim: Claim, *, nbr_objects: int = 0) -> Dataset:
        """Make a dataset visible, in one transaction that may take long for many objects, and return it.

        Of very many frames that repeat others it is told before, in as many transactions as that takes.
        Where the answer to the COMMIT is lost, the dataset is looked up before anything is decided.

        Raises
        ------
        IntegrityError
            Rows are missing, or too many.
        DatasetBusy
            The claim is lost.
        """
        work, longer = partial(claims.publish, claim=claim), claims.seconds_to_publish(nbr_objects)
        while True:
            if (dataset := self._transactions.write(work, longer=longer)) is not None:
                return dataset

    def describe(self, serial: str, *, description: str | None, microscope: str | None) -> bool:
        """Change what people say of a ready dataset; return True where that differed.

        Raises
        ------
        DatasetNotFound
            None can be seen.
        """
        return self._write(
            lambda connection: datasets.describe(
                connection, serial, description=description, microscope=microscope
            )
        )

    # --- reading

    def dataset(self, serial: str) -> Dataset:
        """Return the dataset of that serial.

        Raises
        ------
        DatasetNotFound
            None can be seen; ``nearest`` holds similar serials, and the message tells if it is pending.
        """
        return datasets.to_dataset(self._read(lambda c: datasets.ready_row(c, serial)))

    def datasets(
        self, query: DatasetQuery | None = None, *, order: DatasetOrder = "serial"
    ) -> Iterator[Dataset]:
        """Yield the datasets that a query finds, page by page; all of them without a query."""
        wanted = query or DatasetQuery()
        return self._pages(
            lambda connection, after: datasets.find_page(connection, wanted, order, after),
            datasets.PAGE,
        )

    def count_datasets(self, query: DatasetQuery | None = None) -> int:
        """Return how many datasets a query finds."""
        return self._read(lambda connection: datasets.count(connection, query or DatasetQuery()))

    def metadata(self, serial: str) -> JSONObject:
        """Return what was said of a dataset as a whole. Raises `DatasetNotFound`."""
        return self._read(lambda connection: datasets.metadata(connection, serial))

    def acquisition(self, serial: str) -> Acquisition:
        """Return what the microscope did, with the metadata of the whole acquisition.

        Raises
        ------
        DatasetNotFound, NothingSelected
            None can be seen; it holds files, not frames.
        """
        return self._read(lambda connection: datasets.acquisition(connection, serial))

    def frames(
        self, serial: str, selection: FrameSelection | None = None, *, with_metadata: bool = True
    ) -> Iterator[StoredFrame]:
        """Yield the frames that a selection means, ordered by channel, slice, timepoint, position.

        Without ``with_metadata`` their metadata is left empty and never leaves the database.

        Raises
        ------
        DatasetNotFound
            No ready dataset has that serial, or it was deleted while it was being read.
        UsageError
            The selection has too many ranges.
        """
        wanted = selection or FrameSelection()
        dataset = self._read(lambda connection: datasets.ready_row(connection, serial))
        return self._pages(
            lambda connection, after: frames.frames_page(
                connection,
                dataset,
                wanted,
                after=None if after is None else after.coords,
                with_metadata=with_metadata,
            ),
            frames.PAGE,
        )

    def count_frames(self, serial: str, selection: FrameSelection | None = None) -> int:
        """Return how many frames a selection means. Raises `DatasetNotFound`."""

        def count(connection: Connection) -> int:
            dataset = datasets.ready_row(connection, serial)
            return frames.count_frames(connection, dataset.id, selection or FrameSelection())

        return self._read(count)

    def channels(self, serial: str) -> list[tuple[int, str | None]]:
        """Return index and name of every channel, by index. Raises `DatasetNotFound`."""
        return self._read(
            lambda connection: frames.channels(
                connection, datasets.ready_row(connection, serial).id
            )
        )

    def positions(self, serial: str) -> list[tuple[int, str | None]]:
        """Return index and name of every position, by index. Raises `DatasetNotFound`."""
        return self._read(
            lambda connection: frames.positions(
                connection, datasets.ready_row(connection, serial).id
            )
        )

    def files(self, serial: str) -> Iterator[StoredFile]:
        """Yield the files of a dataset by name; none for one of frames. Raises as `frames` does."""
        dataset = self._read(lambda connection: datasets.ready_row(connection, serial))
        return self._pages(
            lambda connection, after: frames.files_page(connection, dataset, after), frames.PAGE
        )

    def pending(self) -> list[Unfinished]:
        """Return every dataset that cannot be seen: pending, or being deleted."""
        return self._read(claims.unfinished)

    def now(self) -> datetime:
        """Return the time by the database's clock, in UTC."""
        return self._read(now)

    # --- how

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._transactions.read(work)

    def _write(self, work: Callable[[Connection], T]) -> T:
        return self._transactions.write(work)

    def _write_batches(self, work: _Batch[Item], items: Sequence[Item]) -> None:
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            self._write(partial(work, batch=batch))

    def _pages(self, page_after: _Page[Item], full: int) -> Iterator[Item]:
        """Yield the items of page after page; each page is read in a transaction of its own."""
        last: Item | None = None
        while True:
            page = self._read(partial(page_after, after=last))
            yield from page
            if len(page) < full:
                return
            last = page[-1]
