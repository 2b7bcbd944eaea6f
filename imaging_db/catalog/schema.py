"""The schema: which one a database has, and how it becomes ours.

Alembic is configured here, in code: there is no ini file, and no URL that could hold a password.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text

import imaging_db
from imaging_db.catalog import json_indexes, tables_jobs  # noqa: F401  the tables of jobs are ours, too
from imaging_db.catalog.engine import WRITE
from imaging_db.catalog.failures import mapped
from imaging_db.catalog.tables import Base
from imaging_db.catalog.transactions import Transactions
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import ImagingDBError, IntegrityError, SchemaOutOfDate

if TYPE_CHECKING:
    from alembic.config import Config

COMMAND = "imaging-db db upgrade"

_TABLES = frozenset(table.name for table in Base.metadata.sorted_tables)
_ORIGINAL_COLUMNS = frozenset({"id", "dataset_serial", "frames", "parent_id"})
_ORIGINAL_REVISIONS = frozenset({"818bfb535590", "7a7422f19234", "bae28d7da970", "8e0d2514fd1f"})
_LOCK = 0x696D6462  # "imdb": one migration of a PostgreSQL database at a time
_MIGRATION_TIMEOUT = "10min"  # for a migration by another process
_LOCK_TIMEOUT = "15s"  # for those who are using the tables
_alembic = threading.Lock()  # its environment is global to the process


class SchemaState(Enum):
    """What a database holds."""

    EMPTY = "empty"
    ORIGINAL = "made by the original imagingDB"
    OLDER = "of an older version"
    CURRENT = "current"
    NEWER = "of a newer version"
    FOREIGN = "not a catalog of ours"


@dataclass(frozen=True, slots=True)
class SchemaInfo:
    """The state of a database's schema; ``revision`` is None where it has none, ``head`` is ours."""

    state: SchemaState
    revision: str | None
    head: str


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """What an upgrade found and did; with ``dry_run``, what it would do.

    ``changes`` holds a line for everything that a person may want to know, such as a serial that two
    datasets shared.
    """

    found: SchemaInfo
    changes: tuple[str, ...]
    dry_run: bool


def current(settings: DatabaseSettings) -> SchemaInfo:
    """Return which schema a database has. Raises as `imaging_db.catalog.Catalog.open` does."""
    with closing(Transactions(settings)) as transactions:
        return transactions.read(_found)


def upgrade(settings: DatabaseSettings, *, dry_run: bool = False) -> SchemaReport:
    """Bring an empty, an original or an older database to our schema, in one transaction.

    ``dry_run`` does it all and rolls it back.

    Raises
    ------
    SchemaOutOfDate
        It is newer than this program, or no catalog.
    ConfigError, CatalogUnavailable
        The login may not change tables; the database does not answer, or others hold its tables.
    """
    absent = settings.is_sqlite and not Path(settings.dbname).exists()
    if dry_run and absent:
        settings = DatabaseSettings("sqlite", ":memory:")
    with closing(Transactions(settings, create=True)) as transactions:
        return _upgrade(transactions, dry_run=dry_run)


def check(settings: DatabaseSettings) -> list[str]:
    """Return how a database's tables differ from what this program expects; nothing in a good one.

    Raises
    ------
    SchemaOutOfDate
        It needs an upgrade first.
    """
    with closing(Transactions(settings)) as transactions:
        require_current(transactions)
        return transactions.read(_differences)


def require_current(transactions: Transactions, *, create: bool = False) -> None:
    """Let pass a database with our schema; with ``create``, give an empty one our tables first.

    Raises
    ------
    SchemaOutOfDate
        It has another one; tells the command that helps.
    """
    found = transactions.read(_found)
    if found.state is SchemaState.EMPTY and create:
        _upgrade(transactions, dry_run=False)
    elif found.state is not SchemaState.CURRENT:
        raise _refusal(found, transactions.settings)


def migrations_dir() -> Path:
    """Return the folder of the migrations: inside an installed package, beside one in a checkout."""
    package = Path(imaging_db.__file__).parent
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise ImagingDBError("the migrations are missing", hint="install imaging_db again")


def revisions() -> list[str]:
    """Return every revision that this program knows, oldest first: the first digits of its files."""
    versions = migrations_dir() / "versions"
    return sorted(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))


def alembic_config(connection: Connection, report: list[str]) -> Config:
    """Return how alembic runs our migrations over an open connection; they append to ``report``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.attributes.update(
        connection=connection, target_metadata=Base.metadata, tables=_TABLES, report=report
    )
    return config


def _found(connection: Connection) -> SchemaInfo:
    names = set(inspect(connection).get_table_names())
    known = revisions()
    revision = None
    if "alembic_version" in names:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    state = _state(connection, names & _TABLES, revision, known)
    return SchemaInfo(state, revision, known[-1])


def _state(
    connection: Connection, ours: set[str], revision: str | None, known: list[str]
) -> SchemaState:
    if revision == known[-1]:
        return SchemaState.CURRENT
    if revision in known:
        return SchemaState.OLDER
    if revision is not None and revision not in _ORIGINAL_REVISIONS:
        return SchemaState.NEWER if "data_set" in ours else SchemaState.FOREIGN
    if not ours:
        return SchemaState.EMPTY
    if "data_set" not in ours:
        return SchemaState.FOREIGN
    columns = {column["name"] for column in inspect(connection).get_columns("data_set")}
    return SchemaState.ORIGINAL if columns >= _ORIGINAL_COLUMNS else SchemaState.FOREIGN


def _refusal(found: SchemaInfo, settings: DatabaseSettings) -> SchemaOutOfDate:
    where = f"catalog {settings.address}"
    if found.state is SchemaState.NEWER:
        return SchemaOutOfDate(
            f"{where} has schema {found.revision}, which imaging_db {imaging_db.__version__} "
            f"(schema {found.head}) does not know",
            hint="install a newer imaging_db",
        )
    if found.state is SchemaState.FOREIGN:
        return SchemaOutOfDate(
            f"{where} holds tables of something else", hint="name another database"
        )
    advice = f"run `{COMMAND}`"
    if found.state is SchemaState.ORIGINAL:
        advice = f"run `{COMMAND} --dry-run` to see what changes, then `{COMMAND}`"
    have = f" (schema {found.revision}, needed {found.head})" if found.revision else ""
    return SchemaOutOfDate(f"{where} is {found.state.value}{have}", hint=advice)


def _upgrade(transactions: Transactions, *, dry_run: bool) -> SchemaReport:
    with mapped(transactions.settings), _migrating(transactions, dry_run=dry_run) as connection:
        found = _found(connection)  # under the lock: another process may have been faster
        if found.state in (SchemaState.NEWER, SchemaState.FOREIGN):
            raise _refusal(found, transactions.settings)
        report: list[str] = []
        if found.state is not SchemaState.CURRENT:
            _migrate(connection, found, report)
        return SchemaReport(found, tuple(report), dry_run)


def _migrate(connection: Connection, found: SchemaInfo, report: list[str]) -> None:
    from alembic import command

    if found.revision in _ORIGINAL_REVISIONS:
        # its history is not ours, and not to be believed: the tables were made beside it
        connection.execute(text("DELETE FROM alembic_version"))
    with _alembic:
        command.upgrade(alembic_config(connection, report), "head")


@contextmanager
def _migrating(transactions: Transactions, *, dry_run: bool) -> Iterator[Connection]:
    """Open the one transaction of a migration: locked, without time-out, rolled back in a dry run."""
    sqlite = transactions.settings.is_sqlite
    with transactions.engine.connect() as opened:
        driver: Any = opened.connection.driver_connection
        if sqlite:  # tables are rebuilt, which must not count as deleting what refers to them
            driver.execute("PRAGMA foreign_keys = OFF")
        connection = opened.execution_options(**{WRITE: True})
        try:
            with connection.begin() as transaction:
                if not sqlite:
                    _lock(connection)
                yield connection
                if sqlite:
                    _check_foreign_keys(connection)
                if dry_run:
                    transaction.rollback()
        finally:
            if sqlite:
                driver.execute("PRAGMA foreign_keys = ON")


def _lock(connection: Connection) -> None:
    limit = text("SELECT set_config(:name, :limit, true)")
    connection.execute(limit, {"name": "statement_timeout", "limit": "0"})
    connection.execute(limit, {"name": "lock_timeout", "limit": _MIGRATION_TIMEOUT})
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    connection.execute(limit, {"name": "lock_timeout", "limit": _LOCK_TIMEOUT})


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
    if broken:
        raise IntegrityError(f"{len(broken)} rows refer to rows that are not there: {broken[0]}")


def _differences(connection: Connection) -> list[str]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(
        connection,
        opts={"include_name": only_ours, "compare_type": True, "compare_server_default": True},
    )
    with warnings.catch_warnings():
        # SQLAlchemy leaves out what it cannot tell of SQLite's indexes of metadata, and says so
        warnings.filterwarnings(
            "ignore", "Skipped unsupported reflection of expression-based index"
        )
        return [str(difference) for difference in compare_metadata(context, Base.metadata)]


def only_ours(name: str | None, kind: str, parents: Any) -> bool:
    """Return True for our tables and all that is in them: a database may hold others'.

    Indexes of metadata are a lab's own choice.
    """
    if kind == "index":
        return not (name or "").startswith(json_indexes.PREFIX)
    return kind != "table" or name in _TABLES
