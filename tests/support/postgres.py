"""Real databases for tests: a private PostgreSQL server, and fresh SQLite files.

Nothing is skipped: where no server can be started, the tests fail and say why.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imaging_db.config.settings import DatabaseSettings

if TYPE_CHECKING:
    from imaging_db.catalog import Catalog

PASSWORD = "S3cr3t-XYZ"
"""Password of the role that every test logs in with; no output of any test may hold it."""

ROLE = "lab"
_PROGRAMS = os.environ.get("IMAGING_DB_TEST_PG_BIN")  # read now: tests run in a clean environment


class PostgresServer:
    """One running server: gives databases away, each for one test."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.port: int = process.dsn()["port"]
        self.pid: int = process.server_pid
        self._number = 0
        self.admin(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")

    def admin(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as superuser, each by itself; return the rows of the last."""
        import psycopg2

        with closing(
            psycopg2.connect(
                host="127.0.0.1",
                port=self.port,
                user="postgres",
                dbname=database,
                connect_timeout=10,
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template1") -> DatabaseSettings:
        """Return the settings of a new database, a copy of ``template``."""
        self._number += 1
        name = f"test_{self._number}"
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {ROLE}")
        return self.settings(name)

    def create_in_locale(self, locale: str) -> DatabaseSettings:
        """Return a new database that orders and folds texts as a language does; skip where none can."""
        import psycopg2

        self._number += 1
        name = f"test_{self._number}"
        like = f"TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '{locale}'"
        try:
            self.admin(f"CREATE DATABASE {name} {like} OWNER {ROLE}")
        except psycopg2.Error as error:  # older than PostgreSQL 15, or built without ICU
            pytest.skip(f"this PostgreSQL has no ICU locales: {error}")
        return self.settings(name)

    def drop(self, settings: DatabaseSettings) -> None:
        """Drop a database, whoever is connected to it."""
        self.admin(f"DROP DATABASE IF EXISTS {settings.dbname} WITH (FORCE)")

    def settings(self, name: str) -> DatabaseSettings:
        """Return the settings of the database of that name."""
        return DatabaseSettings(
            "postgresql+psycopg2", name, ROLE, PASSWORD, host="127.0.0.1", port=self.port
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A private PostgreSQL server."""
    from tests.support.postgres_process import running  # not every test run needs a server

    with running(_PROGRAMS) as process:
        yield PostgresServer(process)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """Name of a migrated database, to be copied."""
    from imaging_db.catalog import schema

    settings = postgres_server.create()
    schema.upgrade(settings)
    return settings.dbname


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    from imaging_db.catalog import schema

    path = tmp_path_factory.mktemp("template") / "catalog.sqlite"
    schema.upgrade(DatabaseSettings("sqlite", str(path)))
    return path


@pytest.fixture
def postgres_settings(postgres_server: PostgresServer) -> Iterator[DatabaseSettings]:
    """An empty PostgreSQL database."""
    settings = postgres_server.create()
    yield settings
    postgres_server.drop(settings)


@pytest.fixture
def postgres_catalog_settings(
    postgres_server: PostgresServer, postgres_template: str
) -> Iterator[DatabaseSettings]:
    """A migrated PostgreSQL database without rows."""
    settings = postgres_server.create(template=postgres_template)
    yield settings
    postgres_server.drop(settings)


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> DatabaseSettings:
    """A SQLite path at which there is nothing yet."""
    return DatabaseSettings("sqlite", str(tmp_path / "catalog.sqlite"))


@pytest.fixture
def sqlite_catalog_settings(
    sqlite_settings: DatabaseSettings, sqlite_template: Path
) -> DatabaseSettings:
    """A migrated SQLite file without rows."""
    shutil.copyfile(sqlite_template, sqlite_settings.dbname)
    return sqlite_settings


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest) -> DatabaseSettings:
    """A database without tables, once of each kind."""
    name = "sqlite_settings" if request.param == "sqlite" else "postgres_settings"
    found: DatabaseSettings = request.getfixturevalue(name)
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> DatabaseSettings:
    """A migrated database without rows, once of each kind."""
    name = "sqlite_catalog_settings" if request.param == "sqlite" else "postgres_catalog_settings"
    found: DatabaseSettings = request.getfixturevalue(name)
    return found


@pytest.fixture
def catalog(database: DatabaseSettings) -> Iterator[Catalog]:
    """An open catalog without datasets, once over each kind of database."""
    from imaging_db.catalog import Catalog

    with Catalog.open(database) as opened:
        yield opened
