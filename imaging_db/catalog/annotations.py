"""What people say of ready datasets: who gave a tag or a note, who took it back, and when.

A change closes the old row and writes another. Whoever edits holds the rows of the datasets until the
transaction ends: so two runs never write the same key at once, and no dataset goes while it is annotated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from imaging_db.catalog import datasets
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import ByCodes, now
from imaging_db.catalog.tables import AnnotationRow, DatasetRow
from imaging_db.catalog.transactions import Transactions
from imaging_db.errors import DatasetNotFound, UsageError
from imaging_db.model import Annotation, AnnotationChange, AnnotationEdit, DatasetStatus

PAGE = 1000
_ASKED_AT_ONCE = 500
_READY = DatasetStatus.READY.value
_TABLE = AnnotationRow.__table__
_SELECTED = select(_TABLE).join(DatasetRow, DatasetRow.dataset_serial == _TABLE.c.dataset_serial)
_CLOSE = (
    update(AnnotationRow)
    .where(AnnotationRow.id == bindparam("closed"))
    .values(removed_by=bindparam("by"), removed_at=bindparam("at"))
)


class Annotations:
    """The side of an open catalog that knows what people say; each call is a transaction, or one a page."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def edit(
        self, edits: Sequence[AnnotationEdit], *, author: str, dry_run: bool = False
    ) -> list[AnnotationChange]:
        """Return what each edit came to; all are made, or none. What is so already stays whose it is.

        Raises
        ------
        DatasetNotFound
            A dataset cannot be seen; ``nearest`` holds similar serials.
        UsageError
            Two edits contradict each other: they are of the same key of one dataset.
        """
        _require_distinct(edits)
        if dry_run:
            return self._transactions.read(lambda c: _Edition(c, author, hold=False).of(edits)[0])

        def work(connection: Connection) -> list[AnnotationChange]:
            edition = _Edition(connection, author, hold=True)
            changes, written = edition.of(edits)
            edition.write(written)
            return changes

        return self._transactions.write(work)

    def unseen(self, serials: Iterable[str]) -> dict[str, DatasetNotFound]:
        """Return why, for each dataset that cannot be seen."""

        def look(connection: Connection) -> dict[str, DatasetNotFound]:
            found: dict[str, DatasetNotFound] = {}
            for some in _portions(serials):
                ready = _ready_ids(connection, some)
                found |= {s: _why_unseen(connection, s) for s in some if s not in ready}
            return found

        return self._transactions.read(look)

    def of(self, serial: str, *, history: bool = False) -> list[Annotation]:
        """Return what is said of a dataset, by key; with ``history`` also what was, in its order.

        Raises
        ------
        DatasetNotFound
            It cannot be seen.
        """

        def look(connection: Connection) -> list[Annotation]:
            datasets.ready_row(connection, serial)
            wanted = _wanted(history=history).where(_TABLE.c.dataset_serial == serial)
            return _listed(connection.execute(wanted))

        return self._transactions.read(look)

    def all(self, *, history: bool = False) -> list[Annotation]:
        """Return what is said of every dataset that can be seen, ordered by serial; otherwise as `of`."""
        return _listed(self._rows(history=history))

    def _rows(self, *, history: bool) -> Iterator[AnyRow]:
        wanted, last = _wanted(history=history).where(DatasetRow.status == _READY), 0
        while True:
            page = wanted.where(_TABLE.c.id > last).order_by(_TABLE.c.id).limit(PAGE)
            rows = self._transactions.read(partial(_fetched, page=page))
            yield from rows
            if len(rows) < PAGE:
                return
            last = rows[-1].id


def forget(connection: Connection, serial: str) -> None:
    """Remove everything that was ever said of a dataset, as part of its deletion."""
    connection.execute(delete(AnnotationRow).where(AnnotationRow.dataset_serial == serial))


@dataclass
class _Written:
    """The rows that edits close and write."""

    closed: list[dict[str, Any]] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)


class _Edition:
    """Edits of one transaction: what they come to, and the rows that this takes."""

    def __init__(self, connection: Connection, author: str, *, hold: bool) -> None:
        self._connection = connection
        self._author = author
        self._hold = hold

    def of(self, edits: Sequence[AnnotationEdit]) -> tuple[list[AnnotationChange], _Written]:
        """Return what each edit comes to, and the rows to write."""
        standing, ever = self._known(sorted({edit.serial for edit in edits}))
        at, written = now(self._connection), _Written()
        changes = []
        for edit in edits:
            place = (edit.serial, edit.key)
            before = standing.get(place)
            changes.append(self._change(edit, before, written, at, new=place not in ever))
        return changes, written

    def write(self, written: _Written) -> None:
        """Close rows, then write rows."""
        if written.closed:
            self._connection.execute(_CLOSE, written.closed)
        if written.made:
            self._connection.execute(insert(AnnotationRow), written.made)

    def _known(
        self, serials: Sequence[str]
    ) -> tuple[dict[tuple[str, str], AnyRow], set[tuple[str, str]]]:
        """Return the rows that stand, by serial and key, and every key that there ever was."""
        standing: dict[tuple[str, str], AnyRow] = {}
        ever: set[tuple[str, str]] = set()
        for some in _portions(serials):
            ready = _ready_ids(self._connection, some, hold=self._hold)
            for serial in some:
                if serial not in ready:
                    raise _why_unseen(self._connection, serial)
            rows = select(_TABLE).where(_TABLE.c.dataset_serial.in_(some))
            for row in self._connection.execute(rows):
                ever.add((row.dataset_serial, row.key))
                if row.removed_at is None:
                    standing[row.dataset_serial, row.key] = row
        return standing, ever

    def _change(
        self,
        edit: AnnotationEdit,
        row: AnyRow | None,
        written: _Written,
        at: datetime,
        *,
        new: bool,
    ) -> AnnotationChange:
        before = None if row is None else _annotation(row)
        is_so = (
            before is None if edit.removes else before is not None and before.value == edit.value
        )
        if is_so:
            return AnnotationChange(edit.serial, edit.key, before, before)
        if row is not None:
            written.closed.append({"closed": row.id, "by": self._author, "at": at})
        if edit.removes:
            return AnnotationChange(edit.serial, edit.key, before, None)
        author = (edit.author if new else None) or self._author
        said = (edit.created_at if new else None) or at
        after = Annotation(edit.serial, edit.key, edit.value, author, said)
        written.made.append(
            {
                "dataset_serial": after.serial,
                "key": after.key,
                "value": after.value,
                "author": after.author,
                "created_at": after.created_at,
            }
        )
        return AnnotationChange(edit.serial, edit.key, before, after)


def _require_distinct(edits: Sequence[AnnotationEdit]) -> None:
    seen: set[tuple[str, str]] = set()
    for edit in edits:
        if (edit.serial, edit.key) in seen:
            raise UsageError(f"{edit.serial}: the key {edit.key!r} is given twice")
        seen.add((edit.serial, edit.key))


def _portions(serials: Iterable[str]) -> Iterator[list[str]]:
    every = list(dict.fromkeys(serials))
    for start in range(0, len(every), _ASKED_AT_ONCE):
        yield every[start : start + _ASKED_AT_ONCE]


def _ready_ids(connection: Connection, serials: Sequence[str], *, hold: bool = False) -> set[str]:
    """Return which of some datasets can be seen; ``hold`` keeps them so until the transaction ends."""
    wanted = select(DatasetRow.dataset_serial, DatasetRow.status).where(
        DatasetRow.dataset_serial.in_(serials)
    )
    if hold:  # in the order of the portions, so that two runs do not wait for each other
        wanted = wanted.order_by(ByCodes(DatasetRow.dataset_serial)).with_for_update()
    return {row.dataset_serial for row in connection.execute(wanted) if row.status == _READY}


def _why_unseen(connection: Connection, serial: str) -> DatasetNotFound:
    try:
        datasets.ready_row(connection, serial)
    except DatasetNotFound as error:
        return error
    return DatasetNotFound(f"{serial} comes and goes", hint="rerun later")


def _fetched(connection: Connection, page: datasets.AnySelect) -> list[AnyRow]:
    return list(connection.execute(page))


def _wanted(*, history: bool) -> datasets.AnySelect:
    """Return the statement for what is said, which an index answers; with ``history`` also what was."""
    return _SELECTED if history else _SELECTED.where(_TABLE.c.removed_at.is_(None))


def _listed(rows: Iterable[AnyRow]) -> list[Annotation]:
    """Return rows ordered by serial and key, as Python orders text; those of one key as they came."""
    ordered = sorted(rows, key=lambda row: (row.dataset_serial, row.key, row.id))
    return [_annotation(row) for row in ordered]


def _annotation(row: AnyRow) -> Annotation:
    return Annotation(
        row.dataset_serial,
        row.key,
        row.value,
        row.author,
        row.created_at,
        row.removed_by,
        row.removed_at,
    )
