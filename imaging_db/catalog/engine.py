"""Engines: how SQLite and PostgreSQL are spoken to, and how long an answer is waited for."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.pool import QueuePool

from imaging_db.catalog.deadline import Deadlines
from imaging_db.catalog.functions import (
    CONTAINS,
    JSON_TYPE,
    JSON_VALUE,
    fold_contains,
    json_type,
    json_value,
)
from imaging_db.catalog.types import dump_json
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import ConfigError

PATIENCE_SQLITE = 30.0
PATIENCE_POSTGRESQL = 18.0
"""Seconds that one transaction may take, or wait for another, before it is given up.

PostgreSQL's and the connection time-out after it stay below half a minute together.
"""

WRITE = "imaging_db_write"
"""Execution option of a connection whose transaction is going to write."""

_CONNECT_TIMEOUT = 10
_MEMORY = ":memory:"


def patience_of(settings: DatabaseSettings) -> float:
    """Return how many seconds one transaction may take by default."""
    return PATIENCE_SQLITE if settings.is_sqlite else PATIENCE_POSTGRESQL


def make_engine(
    settings: DatabaseSettings, *, create: bool = False, patience: float | None = None
) -> Engine:
    """Return an engine for a catalog; nothing is connected yet.

    ``create`` allows a SQLite file, and its folder, to come into being. The password is part of the
    engine's URL only, which hides it whenever it is printed.

    Raises
    ------
    ConfigError
        There is no such SQLite file and ``create`` is False, or its folder cannot be made.
    """
    patience = patience_of(settings) if patience is None else patience
    if settings.is_sqlite:
        return _sqlite_engine(settings.dbname, create=create, patience=patience)
    return _postgresql_engine(settings, patience)


def _postgresql_engine(settings: DatabaseSettings, patience: float) -> Engine:
    url = URL.create(
        "postgresql+psycopg2",  # SQLAlchemy 2.1 reads a bare "postgresql" as psycopg 3
        username=settings.username,
        password=settings.password,
        host=settings.host,
        port=settings.port,
        database=settings.dbname,
    )
    milliseconds = int(patience * 1000)
    engine = create_engine(
        url,
        connect_args={
            "connect_timeout": min(_CONNECT_TIMEOUT, max(2, round(patience))),
            "application_name": "imaging_db",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": milliseconds,
            "client_encoding": "utf8",
            "options": f"-c statement_timeout={_for_server(patience)} -c timezone=UTC",
        },
        pool_timeout=patience,
        hide_parameters=True,
        json_serializer=dump_json,
        json_deserializer=json.loads,
    )
    Deadlines.watch(engine)
    return engine


def _for_server(patience: float) -> int:
    """Return milliseconds, a little less than our own deadline, so that the server says why."""
    return int(patience * 1000) * 4 // 5


def allow(connection: Connection, patience: float) -> None:
    """Let each statement of a PostgreSQL transaction take longer than those of others."""
    limit = text("SELECT set_config('statement_timeout', :limit, true)")
    connection.execute(limit, {"limit": str(_for_server(patience))})


def _sqlite_engine(dbname: str, *, create: bool, patience: float) -> Engine:
    engine = create_engine(
        _sqlite_url(dbname, create=create),
        # transactions are begun by _begin below, not by the driver
        connect_args={"timeout": patience, "isolation_level": None, "check_same_thread": False},
        poolclass=QueuePool,
        # a database in memory is one connection, which threads take in turn
        pool_size=1 if dbname == _MEMORY else 5,
        max_overflow=0 if dbname == _MEMORY else 50,
        pool_timeout=patience,
        hide_parameters=True,
        json_serializer=dump_json,
        json_deserializer=json.loads,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, record: object) -> None:
        _prepare_sqlite(connection, patience)

    event.listen(engine, "begin", _begin)
    return engine


def _sqlite_url(dbname: str, *, create: bool) -> URL:
    if dbname == _MEMORY:
        return URL.create("sqlite+pysqlite", database=_MEMORY)
    path = Path(dbname)
    if create:
        _make_folder(path.parent)
    elif not path.is_file():
        raise ConfigError(f"there is no catalog at {path}", hint="the first upload makes it")
    posix = path.absolute().as_posix()
    rooted = posix if posix.startswith("/") else f"/{posix}"  # Windows: C:/... needs one more
    mode = "rwc" if create else "rw"
    return URL.create(
        "sqlite+pysqlite",
        database=f"file://{quote(rooted, safe='/:')}",
        query={"mode": mode, "uri": "true"},
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the catalog's folder {folder} cannot be made: {error.strerror}"
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, patience: float) -> None:
    connection.create_function(CONTAINS, 2, fold_contains, deterministic=True)
    connection.create_function(JSON_VALUE, 2, json_value, deterministic=True)
    connection.create_function(JSON_TYPE, 2, json_type, deterministic=True)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what is committed survives a power cut
    _turn_on_wal(connection, time.monotonic() + patience)


def _turn_on_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Let readers and one writer work at once. SQLite does not wait by itself for this change."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_READONLY:
                return  # it can still be read
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _begin(connection: Connection) -> None:
    """Begin a transaction. One that will write takes the lock at once: it waits, and never fails midway."""
    writes = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
