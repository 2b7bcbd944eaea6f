"""Many rows at once: COPY on PostgreSQL, executemany on SQLite.

Both take plain values, made by the bind processors of the column types, so that there is still one place
which says how a Python value is kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Connection, Dialect, Table, insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.types import TypeEngine

from imaging_db.catalog.tables import Base

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_UNIQUE_VIOLATION = "23505"


def insert_rows(
    connection: Connection, table: type[Base], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> bool:
    """Insert rows of values in the order of ``columns``, all or none of them.

    Returns False, with nothing inserted and the transaction still good, where one of them breaks a
    unique constraint.
    """
    try:
        with connection.begin_nested():
            if connection.dialect.name == "postgresql":
                _copy(connection, _table(table), columns, rows)
            else:
                _executemany(connection, _table(table), columns, rows)
    except DBAPIError as error:
        if _breaks_unique(error):
            return False
        raise
    return True


def _table(table: type[Base]) -> Table:
    found = table.__table__
    if not isinstance(found, Table):
        raise TypeError(f"{table.__name__} is not mapped to one table")
    return found


def _breaks_unique(error: DBAPIError) -> bool:
    if getattr(error.orig, "pgcode", None) == _UNIQUE_VIOLATION:
        return True
    return isinstance(error, IntegrityError) and "UNIQUE constraint" in str(error.orig)


def _executemany(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    compiled = insert(table).compile(dialect=connection.dialect, column_keys=list(columns))
    in_order = itemgetter(*map(list(columns).index, compiled.positiontup or ()))
    values = [in_order(row) for row in _plain(connection, table, columns, rows)]
    if values:
        connection.exec_driver_sql(str(compiled), values)


def _copy(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    lines = io.StringIO()
    for row in _plain(connection, table, columns, rows):
        lines.write("\t".join(map(_copy_text, row)))
        lines.write("\n")
    lines.seek(0)
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
    try:
        with driver.cursor() as cursor:
            cursor.copy_expert(statement, lines)
    except _driver_error(connection) as error:
        if driver.closed:
            connection.invalidate(error)
        raise DBAPIError(
            statement,
            None,
            error,
            hide_parameters=True,
            connection_invalidated=bool(driver.closed),
        ) from error


def _copy_text(value: Any) -> str:
    if value is None:
        return r"\N"
    return value.translate(_ESCAPES) if isinstance(value, str) else str(value)


def _driver_error(connection: Connection) -> type[Exception]:
    found: type[Exception] = connection.dialect.loaded_dbapi.Error
    return found


def _plain(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows as the driver takes them; made column by column, which is several times as fast."""
    values = zip(*rows, strict=True)
    kinds = [table.c[name].type for name in columns]
    return zip(
        *(
            _column(kind, connection.dialect, part)
            for kind, part in zip(kinds, values, strict=False)
        ),
        strict=True,
    )


def _column(kind: TypeEngine[Any], dialect: Dialect, values: Sequence[Any]) -> Sequence[Any]:
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    if process is None:
        return values
    if isinstance(kind, JSON):
        return list(map(process, values))
    known = {value: process(value) for value in set(values)}  # most columns repeat few values
    return list(map(known.__getitem__, values))
