"""What SQLAlchemy and the drivers raise -> our errors, in one place, without secrets."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    Conflict,
    ImagingDBError,
    IntegrityError,
    SchemaOutOfDate,
)

_RERUN = "rerun later"
_FREE_SPACE = "free space and rerun"
_AWAY = {"57P01", "57P02", "57P03"}
_RETRIED = {"40001", "40P01"}  # serialization failure, deadlock: the transaction can be done again

_UNAVAILABLE = {
    "25006": "the server takes no writes (a standby, or being switched over)",
    "53100": "the database's disk is full",
    "53200": "the server is out of memory",
    "53300": "the server has no free connections",
    "55P03": "another program holds a lock on its tables",
    "57014": "the database did not answer in time",
    "57P01": "the server was shut down",
    "57P02": "the server crashed",
    "57P03": "the server is starting or stopping",
    "58030": "the server met an input or output error",
}
_SETTINGS = {
    "28000": "the login is not allowed",
    "28P01": "wrong user name or password",
    "3D000": "there is no such database",
    "42501": "the login lacks a permission",
}
_DAMAGED = {"XX001", "XX002"}
_MISSING_TABLE = {"42P01", "42703"}

# While connecting, psycopg2 gives no code, only the server's words; others than these count as temporary.
_CONNECT_WORDS = (
    (r"password authentication failed|no password supplied|authentication failed", "28P01"),
    (r'role ".*" does not exist|no pg_hba.conf entry|is not permitted to log in', "28000"),
    (r'database ".*" does not exist', "3D000"),
    (r"permission denied for database", "42501"),
    (r"the database system is", "57P03"),
    (r"too many clients|remaining connection slots|too many connections", "53300"),
)

_SQLITE_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "another program is writing to it",
    sqlite3.SQLITE_LOCKED: "another program is writing to it",
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_IOERR: "it cannot be read or written (input or output error)",
    sqlite3.SQLITE_NOMEM: "out of memory",
}
_SQLITE_SETTINGS = {
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_PERM: "its permissions forbid it",
    sqlite3.SQLITE_AUTH: "its permissions forbid it",
}
_SQLITE_DAMAGED = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
}


@contextmanager
def mapped(settings: DatabaseSettings) -> Iterator[None]:
    """Turn what the database raises into our errors; what is a bug of ours passes unchanged."""
    try:
        yield
    except PoolTimeout as error:
        raise CatalogUnavailable(
            f"catalog {settings.address}: all connections are in use", hint=_RERUN
        ) from error
    except (DBAPIError, sqlite3.Error) as error:
        found = translate(error, settings)
        if found is None:
            raise
        raise found from error


def translate(error: BaseException, settings: DatabaseSettings) -> ImagingDBError | None:
    """Return our error for one of the database's, None where only a bug of ours can raise it."""
    origin: Any = error.orig if isinstance(error, DBAPIError) else error
    where = f"catalog {settings.address}"
    if isinstance(origin, sqlite3.Error):
        return _sqlite(origin, where)
    return _postgresql(origin, where, _said(origin, settings), lost=is_disconnect(error))


def is_disconnect(error: BaseException) -> bool:
    """Return True where the connection is gone, so that nobody knows whether a COMMIT had happened."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def may_be_repeated(error: BaseException) -> bool:
    """Return True where the same transaction, done again, can succeed at once."""
    code = getattr(getattr(error, "orig", None), "pgcode", None)
    return is_disconnect(error) or code in _RETRIED


def is_away(error: BaseException) -> bool:
    """Return True where the server does not answer, or is starting or stopping: it may be back soon."""
    origin: Any = getattr(error, "orig", None)
    if origin is None or isinstance(origin, sqlite3.Error):
        return False
    code = getattr(origin, "pgcode", None) or _code_from(str(origin))
    lost = isinstance(error, OperationalError) and code is None
    return lost or is_disconnect(error) or code in _AWAY


def _sqlite(error: sqlite3.Error, where: str) -> ImagingDBError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_UNAVAILABLE:
        hint = _FREE_SPACE if code == sqlite3.SQLITE_FULL else _RERUN
        return CatalogUnavailable(f"{where}: {_SQLITE_UNAVAILABLE[code]}", hint=hint)
    if code in _SQLITE_SETTINGS:
        return ConfigError(f"{where}: {_SQLITE_SETTINGS[code]}", hint="check path and permissions")
    if code in _SQLITE_DAMAGED:
        return IntegrityError(
            f"{where} {_SQLITE_DAMAGED[code]}", hint="restore a backup, or name another file"
        )
    if str(error).startswith(("no such table", "no such column")):
        return SchemaOutOfDate(f"{where}: {error}", hint="run `imaging-db db upgrade`")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"{where} refuses the rows: {error}")
    return None


def _postgresql(error: Any, where: str, said: str, *, lost: bool) -> ImagingDBError | None:
    code = getattr(error, "pgcode", None) or _code_from(said)
    if code in _SETTINGS:
        return ConfigError(f"{where}: {_SETTINGS[code]} ({said})", hint="check the login file")
    if code in _DAMAGED:
        return IntegrityError(f"{where} is damaged: {said}", hint="ask its administrator")
    if code in _MISSING_TABLE:
        return SchemaOutOfDate(f"{where}: {said}", hint="run `imaging-db db upgrade`")
    if code in _RETRIED or code in _UNAVAILABLE:
        cause = _UNAVAILABLE.get(str(code), "other programs kept changing the same rows")
        return CatalogUnavailable(f"{where}: {cause} ({said})", hint=_RERUN)
    if code is None or code.startswith("08") or lost:
        return CatalogUnavailable(f"{where} cannot be reached ({said})", hint=_RERUN)
    if code.startswith("23"):
        return Conflict(f"{where} refuses the rows: {said}")
    return None


def _code_from(said: str) -> str | None:
    return next((code for words, code in _CONNECT_WORDS if re.search(words, said)), None)


def _said(error: Any, settings: DatabaseSettings) -> str:
    """Return the first line of what a driver says, without the password in any spelling."""
    text = " ".join(str(error).strip().splitlines()[:1]) or type(error).__name__
    if settings.password:
        for secret in {
            settings.password,
            quote(settings.password),
            quote(settings.password, safe=""),
        }:
            text = text.replace(secret, "***")
    return text
