"""Many rows at once: COPY on PostgreSQL, executemany on SQLite.

Both take plain values, made by the bind processors of the column types, so that there is still one place
which says how a Python value is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert
from sqlalchemy.exc import DBAPIError

from imaging_db.catalog.columns import Column, copy_lines, plain
from imaging_db.catalog.tables import Base

_UNIQUE_VIOLATION = "23505"
_COPY_BYTES = 1 << 16


def insert_rows(connection: Connection, table: type[Base], columns: Mapping[str, Column]) -> bool:
    """Insert rows, given as columns of equal length by their names, all or none of them.

    Returns False, with nothing inserted and the transaction still good, where one of them breaks a
    unique constraint.
    """
    target = _table(table)
    if not all(columns.values()):
        return True  # no rows
    values = {
        name: plain(target.c[name].type, column, connection.dialect)
        for name, column in columns.items()
        if any(value is not None for value in column)  # what is left out becomes NULL
    }
    insert_plain = _copy if connection.dialect.name == "postgresql" else _executemany
    savepoint = connection.begin_nested()
    try:
        insert_plain(connection, target, values)
    except DBAPIError as error:
        if not _breaks_unique(error):
            raise  # the transaction ends; where the disk is full, SQLite has ended it already
        savepoint.rollback()
        return False
    savepoint.commit()
    return True


def _table(table: type[Base]) -> Table:
    found = table.__table__
    if not isinstance(found, Table):
        raise TypeError(f"{table.__name__} is not mapped to one table")
    return found


def _breaks_unique(error: DBAPIError) -> bool:
    if getattr(error.orig, "pgcode", None) == _UNIQUE_VIOLATION:
        return True
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_UNIQUE


def _executemany(connection: Connection, table: Table, values: Mapping[str, Column]) -> None:
    """Insert with one statement; the driver takes row by row, so that no list of them is made."""
    statement, order = _insert(table, tuple(values), connection.dialect)
    rows = zip(*(values[name] for name in order), strict=True)
    with _cursor(connection, statement) as cursor:
        cursor.executemany(statement, rows)


@lru_cache(maxsize=64)
def _insert(table: Table, names: tuple[str, ...], dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Return the INSERT of some columns, and the order in which it takes their values."""
    compiled: Any = insert(table).compile(dialect=dialect, column_keys=list(names))
    return str(compiled), tuple(compiled.positiontup or ())


def _copy(connection: Connection, table: Table, values: Mapping[str, Column]) -> None:
    statement = f"COPY {table.name} ({', '.join(values)}) FROM STDIN"
    with _cursor(connection, statement) as cursor:
        pieces = _Pieces(copy_lines(values))
        try:
            cursor.copy_expert(statement, pieces, _COPY_BYTES)
        except _driver_failure(connection):
            if pieces.broken is not None:
                raise pieces.broken from None
            raise


class _Pieces:
    """Text that is made while the server works on what it has; psycopg2 reads it like a file.

    What is raised meanwhile, such as Ctrl-C, psycopg2 turns into a statement that was cancelled: it is
    kept in ``broken``.
    """

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self.broken: BaseException | None = None

    def read(self, size: int = -1) -> str:
        """Return the next piece, whatever its size, and nothing at the end."""
        try:
            return next(self._pieces, "")
        except BaseException as error:
            self.broken = error
            raise


def _driver_failure(connection: Connection) -> type[Exception]:
    found: type[Exception] = connection.dialect.loaded_dbapi.Error
    return found


@contextmanager
def _cursor(connection: Connection, statement: str) -> Iterator[Any]:
    """Give a cursor of the driver; what it raises becomes what SQLAlchemy would raise for it."""
    driver: Any = connection.connection.driver_connection
    try:
        with closing(driver.cursor()) as cursor:
            yield cursor
    except _driver_failure(connection) as error:
        gone = bool(getattr(driver, "closed", False))
        if gone:
            connection.invalidate(error)
        raise DBAPIError(
            statement, None, error, hide_parameters=True, connection_invalidated=gone
        ) from error
