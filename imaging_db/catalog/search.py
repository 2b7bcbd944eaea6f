"""Search: frames and datasets of the whole catalog that an expression finds; only ready ones, always."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, null, select, tuple_

from imaging_db.catalog.datasets import AnyRow, AnySelect, ready_row, select_datasets, to_dataset
from imaging_db.catalog.expressions import Compiler, dataset_condition
from imaging_db.catalog.frame_rows import ORDER, READ, to_frame
from imaging_db.catalog.frames import PAGE as FRAMES_PAGE
from imaging_db.catalog.frames import amount, frames_page
from imaging_db.catalog.functions import ByCodes
from imaging_db.catalog.selections import conditions
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FrameRow
from imaging_db.catalog.transactions import Transactions
from imaging_db.errors import DatasetNotFound
from imaging_db.model import (
    Dataset,
    DatasetStatus,
    Expression,
    FrameCoords,
    FrameSelection,
    StoredFrame,
)
from imaging_db.model.expression import Comparison, all_of, asks_edges, without_edges
from imaging_db.model.fields import field_named

PAGE = 5000
DATASET_PAGE = 1000
_TYPES = [column.type for column in ORDER]
_by_codes = ByCodes(DatasetRow.dataset_serial)  # one order, whatever the locale of the database
_SHARED = (
    AcquisitionRow.id,
    AcquisitionRow.im_width,
    AcquisitionRow.im_height,
    AcquisitionRow.im_colors,
    AcquisitionRow.dtype,
)


class Place(NamedTuple):
    """Where a frame stands in the order of all frames: the dataset, then the order of the names."""

    serial: str
    coords: FrameCoords


class Found(NamedTuple):
    """A frame and the serial of its dataset."""

    serial: str
    frame: StoredFrame

    @property
    def place(self) -> Place:
        """Return what a later search goes on after."""
        return Place(self.serial, self.frame.coords)


class Search:
    """Asks an open catalog across its datasets; each call is a transaction, or one a page.

    A dataset that is deleted meanwhile is left out from there on.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def frames(
        self,
        where: Expression,
        *,
        after: Place | None = None,
        limit: int | None = None,
        with_metadata: bool = True,
    ) -> Iterator[Found]:
        """Yield the frames that fit, ordered by serial, channel, slice, timepoint, position.

        ``after`` goes on behind a place, ``limit`` ends after so many. Without ``with_metadata`` their
        metadata is left empty and never leaves the database.
        """
        if asks_edges(where):
            found = self._frames_by_dataset(where, after, with_metadata=with_metadata)
            yield from islice(found, limit)
            return
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            ask = partial(_page, where=where, after=after, size=size, metadata=with_metadata)
            page = self._transactions.read(ask)
            yield from page
            if len(page) < size:
                return
            after = page[-1].place
            left = None if left is None else left - size

    def _frames_by_dataset(
        self, where: Expression, after: Place | None, *, with_metadata: bool
    ) -> Iterator[Found]:
        """Yield frames of dataset after dataset: what is first or last is asked of each of them alone."""
        chosen = _with_frames(where)
        for dataset in self.datasets(chosen, since=None if after is None else after.serial):
            begun = after is not None and after.serial == dataset.serial
            coords = after.coords if begun and after is not None else None
            while True:
                ask = partial(_page_of, serial=dataset.serial, where=where, after=coords)
                page = self._transactions.read(partial(ask, metadata=with_metadata))
                yield from (Found(dataset.serial, frame) for frame in page)
                if len(page) < FRAMES_PAGE:
                    break
                coords = page[-1].coords

    def datasets(self, where: Expression, *, since: str | None = None) -> Iterator[Dataset]:
        """Yield the datasets that have a frame which fits, by serial; those of files that fit themselves.

        ``since`` is the serial to begin with, or after where it does not fit.
        """
        last: str | None = None
        while True:
            ask = partial(_datasets_page, where=where, since=since, after=last)
            page = self._transactions.read(ask)
            yield from page
            if len(page) < DATASET_PAGE:
                return
            last = page[-1].serial

    def count_frames(self, where: Expression) -> int:
        """Return how many frames fit."""
        return self._transactions.read(partial(_count_frames, where=where))

    def count_datasets(self, where: Expression) -> int:
        """Return how many datasets `datasets` yields."""
        return self._transactions.read(partial(_count_datasets, where=where))

    def amount(self, serial: str, selection: FrameSelection) -> tuple[int, int]:
        """Return how many frames or files of a dataset are meant, and the bytes recorded of them.

        Raises
        ------
        DatasetNotFound
            It cannot be seen.
        """
        return self._transactions.read(partial(_amount, serial=serial, selection=selection))


def _page(
    connection: Connection,
    *,
    where: Expression,
    after: Place | None,
    size: int,
    metadata: bool,
) -> list[Found]:
    """Return the rest of the dataset that was begun, then the datasets behind it.

    The two are asked apart, because only so does the database take both along its indexes.
    """
    columns: list[Any] = [FrameRow.metadata_json if metadata else null(), *READ]
    wanted = select(DatasetRow.dataset_serial, AcquisitionRow.id, *ORDER, *columns)
    wanted = wanted.where(*_fitting(connection, where))
    if after is None:
        rows = _in_order(connection, wanted, size)
    else:
        own = DatasetRow.dataset_serial == after.serial
        behind = tuple_(*ORDER) > tuple_(*after.coords, types=_TYPES)
        begun = wanted.where(own, behind).order_by(*ORDER).limit(size)
        rows = connection.execute(begun).all()
        if len(rows) < size:
            rest = size - len(rows)
            rows = [*rows, *_in_order(connection, wanted, rest, behind=after.serial)]
    shared = _shared(connection, {row[1] for row in rows})
    return [Found(row[0], to_frame(shared[row[1]], *row[2:])) for row in rows]


def _page_of(
    connection: Connection,
    *,
    serial: str,
    where: Expression,
    after: FrameCoords | None,
    metadata: bool,
) -> list[StoredFrame]:
    """Return frames of one dataset that come after one; none where it is gone, or holds files."""
    try:
        dataset = ready_row(connection, serial)
    except DatasetNotFound:
        return []
    selection = FrameSelection(where=where)
    return frames_page(connection, dataset, selection, after=after, with_metadata=metadata)


def _with_frames(where: Expression) -> Expression:
    """Return what datasets of frames fit that may have some to find: edges are asked of each alone."""
    kind, rest = field_named("type"), without_edges(where)
    if kind is None:
        raise LookupError("type")
    frames = Comparison(kind, "=", ("frames",))
    return frames if rest is None else all_of([frames, rest])


def _in_order(
    connection: Connection, wanted: AnySelect, size: int, *, behind: str | None = None
) -> Sequence[AnyRow]:
    """Return rows by dataset and name.

    PostgreSQL's index of the serials has the order of its locale. So the datasets, which are few, are
    sorted first, in a subquery that OFFSET keeps whole: else it would sort all frames.
    """
    place: ColumnElement[Any] = _by_codes
    if connection.dialect.name == "postgresql":
        chosen = select(DatasetRow.id, _by_codes.label("place")).order_by(_by_codes).offset(0)
        if behind is not None:
            chosen = chosen.where(_by_codes > behind)
        first = chosen.subquery()
        wanted, place = wanted.where(first.c.id == DatasetRow.id), first.c.place
    elif behind is not None:
        wanted = wanted.where(_by_codes > behind)
    return connection.execute(wanted.order_by(place, *ORDER).limit(size)).all()


def _fitting(connection: Connection, where: Expression) -> list[ColumnElement[bool]]:
    """Return the conditions that frames of ready datasets fit, and that join the three tables."""
    return [
        DatasetRow.status == DatasetStatus.READY.value,
        AcquisitionRow.dataset_id == DatasetRow.id,
        FrameRow.frames_global_id == AcquisitionRow.id,
        Compiler(connection.dialect).condition(where),
    ]


def _shared(connection: Connection, acquisitions: set[int]) -> dict[int, AnyRow]:
    """Return what the frames of each acquisition share."""
    rows = connection.execute(select(*_SHARED).where(AcquisitionRow.id.in_(acquisitions)))
    return {row.id: row for row in rows}


def _datasets_page(
    connection: Connection, *, where: Expression, since: str | None, after: str | None
) -> list[Dataset]:
    wanted = select_datasets().where(*_ready_and(connection, where))
    if since is not None:
        wanted = wanted.where(_by_codes >= since)
    if after is not None:
        wanted = wanted.where(_by_codes > after)
    rows = connection.execute(wanted.order_by(_by_codes).limit(DATASET_PAGE))
    return [to_dataset(row) for row in rows]


def _count_datasets(connection: Connection, *, where: Expression) -> int:
    wanted = select(func.count()).select_from(DatasetRow).where(*_ready_and(connection, where))
    return int(connection.scalar(wanted) or 0)


def _ready_and(connection: Connection, where: Expression) -> list[ColumnElement[bool]]:
    ready = DatasetRow.status == DatasetStatus.READY.value
    return [ready, dataset_condition(connection, where)]


def _count_frames(connection: Connection, *, where: Expression) -> int:
    wanted = select(func.count()).where(*_fitting(connection, where))
    return int(connection.scalar(wanted) or 0)


def _amount(connection: Connection, *, serial: str, selection: FrameSelection) -> tuple[int, int]:
    dataset = ready_row(connection, serial)
    if not dataset.frames:
        return amount(connection, dataset.id)
    acquisition = select(AcquisitionRow.id).where(AcquisitionRow.dataset_id == dataset.id)
    own = connection.scalars(acquisition).one()
    size = func.sum(FrameRow.object_size)
    wanted = select(func.count(FrameRow.id), size)
    number, nbr_bytes = connection.execute(
        wanted.where(*conditions(connection, own, selection))
    ).one()
    return int(number), int(nbr_bytes or 0)
