"""Engines and what the drivers raise: our errors, in one line, without a secret."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imaging_db.catalog.deadline import Deadlines
from imaging_db.catalog.engine import make_engine
from imaging_db.catalog.failures import is_away, is_disconnect, mapped, may_be_repeated, translate
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    Conflict,
    ImagingDBError,
    IntegrityError,
    SchemaOutOfDate,
)

SECRET = "S3cr3t-XYZ p@ss/word%41"
POSTGRES = DatabaseSettings("postgresql+psycopg2", "imaging", "ana", SECRET, "db.lab", 5433)
SQLITE = DatabaseSettings("sqlite", "/data/catalog.sqlite")


class ServerError(psycopg2.Error):
    """What psycopg2 raises, with a code of our choice."""

    def __init__(self, code: str | None, words: str) -> None:
        super().__init__(words)
        self.code = code

    @property
    def pgcode(self) -> str | None:  # type: ignore[override]
        return self.code


def _wrapped(origin: BaseException, *, lost: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", None, origin, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("code", "words", "kind", "exit_code"),
    [
        ("28P01", "bad password", ConfigError, 2),
        ("3D000", "no database", ConfigError, 2),
        ("42501", "permission denied for table frames", ConfigError, 2),
        ("42P01", 'relation "frames" does not exist', SchemaOutOfDate, 2),
        ("42703", 'column "status" does not exist', SchemaOutOfDate, 2),
        ("53100", "could not extend file", CatalogUnavailable, 5),
        ("53300", "sorry, too many clients already", CatalogUnavailable, 5),
        ("57014", "canceling statement due to statement timeout", CatalogUnavailable, 5),
        ("57P01", "terminating connection", CatalogUnavailable, 5),
        ("55P03", "canceling statement due to lock timeout", CatalogUnavailable, 5),
        ("25006", "cannot execute INSERT in a read-only transaction", CatalogUnavailable, 5),
        ("40P01", "deadlock detected", CatalogUnavailable, 5),
        ("08006", "connection failure", CatalogUnavailable, 5),
        ("XX001", "invalid page in block 7", IntegrityError, 6),
        ("23505", "duplicate key value", Conflict, 7),
        (None, "could not connect: Connection refused", CatalogUnavailable, 5),
        (None, "timeout expired", CatalogUnavailable, 5),
        (None, 'FATAL:  password authentication failed for user "ana"', ConfigError, 2),
        (None, "fe_sendauth: no password supplied", ConfigError, 2),
        (None, 'FATAL:  role "ana" does not exist', ConfigError, 2),
        (None, 'FATAL:  no pg_hba.conf entry for host "1.2.3.4"', ConfigError, 2),
        (None, 'FATAL:  database "imaging" does not exist', ConfigError, 2),
        (None, "FATAL:  the database system is starting up", CatalogUnavailable, 5),
        (None, "FATAL:  sorry, too many clients already", CatalogUnavailable, 5),
        (None, "FATAL:  sagt der Server auf Deutsch", CatalogUnavailable, 5),
    ],
)
def test_what_postgresql_says(
    code: str | None, words: str, kind: type[ImagingDBError], exit_code: int
) -> None:
    found = translate(_wrapped(ServerError(code, f"{words}\nDETAIL: more\n")), POSTGRES)
    assert type(found) is kind
    assert found.exit_code == exit_code
    assert str(found).startswith("catalog postgresql://ana@db.lab:5433/imaging")
    assert "\n" not in str(found) and "DETAIL" not in str(found)


@pytest.mark.parametrize(
    ("code", "kind", "exit_code", "words"),
    [
        (sqlite3.SQLITE_BUSY, CatalogUnavailable, 5, "another program is writing to it"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, CatalogUnavailable, 5, "another program is writing to it"),
        (sqlite3.SQLITE_FULL, CatalogUnavailable, 5, "its disk is full"),
        (sqlite3.SQLITE_IOERR_FSYNC, CatalogUnavailable, 5, "cannot be read or written"),
        (sqlite3.SQLITE_NOTADB, IntegrityError, 6, "is not a SQLite database"),
        (sqlite3.SQLITE_CORRUPT, IntegrityError, 6, "is damaged"),
        (sqlite3.SQLITE_CANTOPEN, ConfigError, 2, "cannot be opened"),
        (sqlite3.SQLITE_READONLY, ConfigError, 2, "is read-only"),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, Conflict, 7, "refuses the rows"),
    ],
)
@pytest.mark.parametrize("wrap", [True, False])
def test_what_sqlite_says(
    code: int, kind: type[ImagingDBError], exit_code: int, words: str, wrap: bool
) -> None:
    origin = sqlite3.OperationalError("words of SQLite")
    origin.sqlite_errorcode = code
    found = translate(_wrapped(origin) if wrap else origin, SQLITE)
    assert type(found) is kind
    assert found.exit_code == exit_code
    assert words in str(found) and "/data/catalog.sqlite" in str(found)


def test_a_bug_of_ours_is_not_made_an_error_of_the_users() -> None:
    syntax = OperationalError("SELEC 1", None, sqlite3.OperationalError("near SELEC: syntax error"))
    with pytest.raises(OperationalError), mapped(SQLITE):
        raise syntax
    assert translate(_wrapped(ServerError("42601", "syntax error")), POSTGRES) is None


def test_our_own_errors_pass() -> None:
    with pytest.raises(Conflict, match="mine"), mapped(SQLITE):
        raise Conflict("mine")


def test_connections_that_are_all_in_use() -> None:
    with pytest.raises(CatalogUnavailable, match="all connections are in use"), mapped(POSTGRES):
        raise PoolTimeout("QueuePool limit")


def test_a_driver_that_repeats_the_password_is_silenced() -> None:
    from urllib.parse import quote

    for spelled in (SECRET, quote(SECRET), quote(SECRET, safe="")):
        said = f'missing "=" after "postgresql://ana:{spelled}@db.lab"'
        found = translate(_wrapped(ServerError(None, said)), POSTGRES)
        assert found is not None
        assert spelled not in str(found)
        assert "***" in str(found)


def test_no_secret_in_whatever_an_engine_prints() -> None:
    engine = make_engine(POSTGRES)
    printed = f"{engine!r} {engine.url} {POSTGRES!r} {POSTGRES.address}"
    assert "S3cr3t" not in printed
    engine.dispose()


def test_no_secret_where_nothing_listens() -> None:
    settings = DatabaseSettings("postgresql+psycopg2", "x", "ana", SECRET, "127.0.0.1", 1)
    engine = make_engine(settings)
    with pytest.raises(CatalogUnavailable) as refused, mapped(settings):
        engine.connect()
    assert "S3cr3t" not in "".join(traceback.format_exception(refused.value))
    engine.dispose()


def test_parameters_stay_out_of_messages() -> None:
    engine = make_engine(DatabaseSettings("sqlite", ":memory:"))
    with engine.connect() as connection, pytest.raises(OperationalError) as failed:
        connection.exec_driver_sql("SELECT * FROM nowhere WHERE a = ?", ("private",))
    assert "private" not in str(failed.value)
    engine.dispose()


def test_the_driver_is_named_and_never_guessed() -> None:
    """SQLAlchemy 2.1 takes a bare ``postgresql`` for psycopg 3, which is not installed."""
    engine = make_engine(POSTGRES)
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg2")
    engine.dispose()


@pytest.mark.parametrize(
    ("error", "disconnect", "repeated"),
    [
        (_wrapped(ServerError("57P01", "shutdown"), lost=True), True, True),
        (_wrapped(ServerError("40001", "serialization")), False, True),
        (_wrapped(ServerError("40P01", "deadlock")), False, True),
        (_wrapped(ServerError("57014", "timeout")), False, False),
        (_wrapped(sqlite3.OperationalError("locked")), False, False),
        (ValueError("x"), False, False),
    ],
)
def test_what_may_be_repeated(error: BaseException, disconnect: bool, repeated: bool) -> None:
    assert is_disconnect(error) is disconnect
    assert may_be_repeated(error) is repeated


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (_wrapped(ServerError("57P01", "shutdown"), lost=True), True),
        (_wrapped(ServerError("57P03", "starting up")), True),
        (_wrapped(ServerError("53300", "too many clients")), False),
        (_wrapped(ServerError("28P01", "password authentication failed")), False),
        (_wrapped(sqlite3.OperationalError("locked")), False),
        (ValueError("x"), False),
    ],
)
def test_a_server_that_may_be_back_soon(error: BaseException, away: bool) -> None:
    assert is_away(error) is away


def test_wal_is_waited_for(tmp_path: Path) -> None:
    """SQLite's own time-out does not hold for the change of journal mode."""
    path = tmp_path / "catalog.sqlite"
    blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    blocker.execute("CREATE TABLE t (a)")
    blocker.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, lambda: blocker.execute("COMMIT"))
    release.start()
    engine = make_engine(DatabaseSettings("sqlite", str(path)), patience=10)
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    assert mode == "wal"
    release.join()
    blocker.close()
    engine.dispose()


def test_wal_is_not_waited_for_without_end(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("CREATE TABLE t (a)")
    blocker.execute("BEGIN EXCLUSIVE")
    settings = DatabaseSettings("sqlite", str(path))
    engine = make_engine(settings, patience=0.2)
    started = time.monotonic()
    with pytest.raises(CatalogUnavailable, match="another program"), mapped(settings):
        engine.connect()
    assert time.monotonic() - started < 5
    blocker.close()
    engine.dispose()


def test_a_deadline_that_is_kept_cuts_nothing() -> None:
    class Connection:
        closed = False

        def fileno(self) -> int:
            raise AssertionError("it was given back in time")

    for _ in range(20):
        with Deadlines.within(0.02):
            Deadlines._uses(Connection())
    time.sleep(0.1)
    assert threading.active_count() < 20


def test_a_deadline_cuts_the_socket_below_a_connection() -> None:
    import socket

    ours, theirs = socket.socketpair()

    class Connection:
        closed = False

        def fileno(self) -> int:
            return ours.fileno()

    with Deadlines.within(0.05):
        Deadlines._uses(Connection())
        assert theirs.recv(1) == b""
    ours.close()
    theirs.close()


def test_no_sql_is_put_together_from_values() -> None:
    """Every f-string that looks like SQL is in a constraint or a statement of column names."""
    import imaging_db.catalog

    suspicious: list[Any] = []
    for path in Path(imaging_db.catalog.__file__).parent.glob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r'f".*\b(SELECT|INSERT|UPDATE|DELETE|COPY|WHERE)\b', line):
                suspicious.append((path.name, number, line.strip()))
    # expressions that SQLAlchemy compiled, values bound; an index, whose path is quoted because no
    # database binds it; COPY, whose columns are constants
    expected = [*["functions.py"] * 4, "json_indexes.py", "rows.py"]
    assert sorted(name for name, _, _ in suspicious) == expected
