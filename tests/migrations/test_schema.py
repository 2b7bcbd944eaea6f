"""Our own revisions: from nothing to the tables of the models, up and down, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from imaging_db.catalog import Catalog, schema
from imaging_db.catalog.engine import WRITE
from imaging_db.catalog.schema import SchemaState
from imaging_db.catalog.tables import Base
from imaging_db.catalog.transactions import Transactions
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import ConfigError, Conflict, SchemaOutOfDate
from imaging_db.model import FrameQuality
from tests.support.catalog_rows import OTHER, SERIAL, draft, file, frame, grid, store, store_files
from tests.support.job_rows import completed, created
from tests.support.legacy import OF_2019, OriginalDatabase

TABLES = sorted(table.name for table in Base.metadata.sorted_tables)


@contextmanager
def _transactions(settings: DatabaseSettings) -> Iterator[Transactions]:
    transactions = Transactions(settings, create=True)
    try:
        yield transactions
    finally:
        transactions.close()


def _step(settings: DatabaseSettings, revision: str) -> None:
    """Go up or down to a revision."""
    from alembic import command

    with _transactions(settings) as transactions, transactions.engine.connect() as opened:
        driver: Any = opened.connection.driver_connection
        if settings.is_sqlite:
            driver.execute("PRAGMA foreign_keys = OFF")
        connection = opened.execution_options(**{WRITE: True})
        with connection.begin():
            config = schema.alembic_config(connection, [])
            down = revision == "base" or revision < _revision(connection)
            (command.downgrade if down else command.upgrade)(config, revision)


def _revision(connection: Connection) -> str:
    if "alembic_version" not in inspect(connection).get_table_names():
        return ""
    return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""


def _shape(settings: DatabaseSettings) -> dict[str, Any]:
    """Return columns and constraints of every table, by name."""

    def read(connection: Connection) -> dict[str, Any]:
        inspector = inspect(connection)
        return {
            table: {
                "columns": {
                    c["name"]: (str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)
                },
                "unique": sorted(str(c["name"]) for c in inspector.get_unique_constraints(table)),
                "checks": sorted(str(c["name"]) for c in inspector.get_check_constraints(table)),
                "foreign": {
                    c["name"]: c["options"].get("ondelete")
                    for c in inspector.get_foreign_keys(table)
                },
                "indexes": sorted(str(c["name"]) for c in inspector.get_indexes(table)),
                "key": inspector.get_pk_constraint(table)["name"],
            }
            for table in TABLES
            if inspector.has_table(table)
        }

    with _transactions(settings) as transactions:
        return transactions.read(read)


def test_the_migrated_schema_is_that_of_the_models(empty_database: DatabaseSettings) -> None:
    report = schema.upgrade(empty_database)
    assert report.found.state is SchemaState.EMPTY
    assert report.changes == ()
    assert schema.check(empty_database) == []
    assert schema.current(empty_database).state is SchemaState.CURRENT
    assert schema.upgrade(empty_database).found.state is SchemaState.CURRENT


def test_checks_and_names_are_those_of_the_models(database: DatabaseSettings) -> None:
    """Alembic compares no CHECK, and not the names of keys."""
    shape = _shape(database)
    for table in Base.metadata.sorted_tables:
        named = [(type(c).__name__, str(c.name)) for c in table.constraints]
        checks = sorted(name for kind, name in named if kind == "CheckConstraint")
        assert shape[table.name]["checks"] == checks
        foreign = {name for kind, name in named if kind == "ForeignKeyConstraint"}
        assert set(shape[table.name]["foreign"]) == foreign
        if not database.is_sqlite:
            assert shape[table.name]["key"] == str(table.primary_key.name)
    assert shape["frames"]["foreign"] == {"frames_frames_global_id_fkey": "CASCADE"}
    assert shape["data_set"]["foreign"] == {"data_set_parent_id_fkey": None}


@pytest.mark.parametrize(
    ("status", "allowed"), [("pending", True), ("deleting", True), ("ready", False)]
)
def test_only_what_is_not_ready_has_a_heartbeat(
    database: DatabaseSettings, status: str, allowed: bool
) -> None:
    with Catalog.open(database) as catalog:
        catalog.claim(draft(), token="me")
    with _transactions(database) as transactions:
        change = text("UPDATE data_set SET status = :status")
        if allowed:
            transactions.write(lambda c: c.execute(change, {"status": status}))
        else:
            with pytest.raises(Conflict, match="claim_status"):
                transactions.write(lambda c: c.execute(change, {"status": status}))


def test_a_difference_is_told(database: DatabaseSettings) -> None:
    with _transactions(database) as transactions:
        transactions.write(lambda c: c.execute(text("DROP INDEX ix_frames_name_order")))
    (difference,) = schema.check(database)
    assert "ix_frames_name_order" in difference


def test_tables_of_others_are_left_alone(empty_database: DatabaseSettings) -> None:
    with _transactions(empty_database) as transactions:
        transactions.write(lambda c: c.execute(text("CREATE TABLE samples (id integer)")))
    Catalog.open(empty_database, create=True).close()
    assert schema.check(empty_database) == []


def test_up_and_down_and_up_again(empty_database: DatabaseSettings) -> None:
    shapes = {}
    revisions = schema.revisions()
    for revision in revisions:
        _step(empty_database, revision)
        shapes[revision] = _shape(empty_database)
    for revision in reversed(revisions[:-1]):
        _step(empty_database, revision)
        assert _shape(empty_database) == shapes[revision]
    _step(empty_database, "base")
    assert schema.current(empty_database).state is SchemaState.EMPTY
    schema.upgrade(empty_database)
    assert _shape(empty_database) == shapes[revisions[-1]]


def test_rows_survive_down_and_up(database: DatabaseSettings) -> None:
    with Catalog.open(database) as catalog:
        stored = grid(2, 3, 2, 1)
        store(catalog, stored, description="kept")
        store_files(catalog, [file("a.czi")], "ML-2019-01-01-23-59-59-0001", parent_serial=SERIAL)
    _step(database, "0001")
    _step(database, schema.revisions()[-1])
    with Catalog.open(database) as catalog:
        dataset = catalog.dataset(SERIAL)
        assert (dataset.description, dataset.nbr_objects) == ("kept", 12)
        assert [one.sha256 for one in catalog.frames(SERIAL)] == [one.sha256 for one in stored]
        assert [one.metadata for one in catalog.frames(SERIAL)] == [one.metadata for one in stored]
        assert catalog.dataset("ML-2019-01-01-23-59-59-0001").parent_serial == SERIAL
        store(catalog, [frame()], "NEW-2019-01-01-23-59-59-0001")


def test_rows_without_quality_and_codec_stay_as_they_are(database: DatabaseSettings) -> None:
    """A database of 0003 that holds data, and an upload that has not finished, goes on in place."""
    quality = FrameQuality(1.0, 2.0, 1.5, 0.0, 3.0)
    with Catalog.open(database) as catalog:
        store(catalog, [frame(0, quality=quality), frame(1)], codec="png")
        begun = catalog.claim(draft(OTHER, 2), token="first")
        catalog.add_frames(begun, [frame(0)])
        catalog.release(begun)
    _step(database, "0003")
    assert schema.upgrade(database).found.revision == "0003"
    assert schema.check(database) == []
    with Catalog.open(database) as catalog:
        assert catalog.dataset(SERIAL).codec is None
        assert list(catalog.frames(SERIAL)) == [frame(0), frame(1)]
        claim = catalog.claim(draft(OTHER, 2, codec="png"), token="second")
        assert claim.resumed
        catalog.add_frames(claim, [frame(1, quality=quality)])
        assert catalog.publish(claim).codec == "png"
        assert [one.quality for one in catalog.frames(OTHER)] == [None, quality]


def test_going_down_gives_the_datasets_of_jobs_back(database: DatabaseSettings) -> None:
    """Without the tables of jobs nothing could finish or cancel one, and its dataset would never be free."""
    with Catalog.open(database) as catalog:
        created(catalog, 2)
        completed(catalog, created(catalog, 2, serial=OTHER))
    _step(database, "0005")
    _step(database, schema.revisions()[-1])
    with Catalog.open(database) as catalog:
        assert list(catalog.jobs.list()) == []
        assert catalog.count_frames(OTHER) == 4
        assert catalog.claim(draft(), token="anybody").token == "anybody"


def test_an_autogenerated_migration_needs_no_package_code(database: DatabaseSettings) -> None:
    """Our column types must be written into migrations as the plain types that they are made of."""
    from alembic import command
    from alembic.operations import ops

    seen: list[str] = []

    def look(context: Any, revision: Any, directives: list[Any]) -> None:
        from alembic.autogenerate import render_python_code

        for directive in directives:
            container: ops.UpgradeOps = directive.upgrade_ops
            seen.append(
                render_python_code(container, render_as_batch=True, render_item=_env_hook(context))
            )
        directives[:] = []

    with _transactions(database) as transactions:
        transactions.write(lambda c: c.execute(text("DROP TABLE frames")))

        def generate(connection: Connection) -> None:
            command.revision(
                schema.alembic_config(connection, []),
                message="x",
                autogenerate=True,
                process_revision_directives=look,
            )

        transactions.write(generate)
    (code,) = seen
    assert "create_table('frames'" in code
    assert "imaging_db" not in code
    assert "sa.Integer()" in code and "sa.String()" in code


def _env_hook(context: Any) -> Any:
    return context.opts["render_item"]


def test_no_migration_imports_package_code() -> None:
    for path in schema.migrations_dir().rglob("*.py"):
        assert "imaging_db." not in path.read_text(encoding="utf-8").replace(
            "imaging_db.catalog.schema`", ""
        )


# --- who may open what


def test_an_empty_database_is_migrated_only_for_writing(empty_database: DatabaseSettings) -> None:
    with pytest.raises(ConfigError) as refused:
        Catalog.open(empty_database)
    expected = "there is no catalog at" if empty_database.is_sqlite else "imaging-db db upgrade"
    assert expected in str(refused.value)
    Catalog.open(empty_database, create=True).close()
    Catalog.open(empty_database).close()


def test_many_may_open_an_empty_database_at_once(empty_database: DatabaseSettings) -> None:
    def use(number: int) -> str:
        with Catalog.open(empty_database, create=True) as catalog:
            return store(catalog, [frame()], f"A-2018-06-08-15-45-00-{number:04d}").serial

    with ThreadPoolExecutor(6) as pool:
        serials = list(pool.map(use, range(6)))
    with Catalog.open(empty_database) as catalog:
        assert [one.serial for one in catalog.datasets()] == sorted(serials)


def test_many_processes_may_open_an_empty_database_at_once(
    empty_database: DatabaseSettings,
) -> None:
    program = textwrap.dedent(
        """
        import sys
        from imaging_db.catalog import Catalog
        from imaging_db.config.settings import DatabaseSettings
        from tests.support.catalog_rows import frame, store
        settings = DatabaseSettings(**eval(sys.argv[1]))
        for number in range(5):
            with Catalog.open(settings, create=True) as catalog:
                store(catalog, [frame()], f"P{sys.argv[2]}-2018-06-08-15-45-00-{number:04d}")
        """
    )
    names = ("drivername", "dbname", "username", "password", "host", "port")
    where = repr({name: getattr(empty_database, name) for name in names})
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, where, str(number)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for number in range(3)
    ]
    for process in running:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    with Catalog.open(empty_database) as catalog:
        assert catalog.count_datasets() == 15


def test_a_dry_run_on_nothing_leaves_nothing(sqlite_settings: DatabaseSettings) -> None:
    report = schema.upgrade(sqlite_settings, dry_run=True)
    assert report.dry_run and report.found.state is SchemaState.EMPTY
    assert not Path(sqlite_settings.dbname).exists()


def _set_revision(settings: DatabaseSettings, revision: str) -> None:
    with _transactions(settings) as transactions:
        statement = text("UPDATE alembic_version SET version_num = :to")
        transactions.write(lambda c: c.execute(statement, {"to": revision}))


@pytest.mark.fault("B10")
def test_a_newer_database_is_refused(database: DatabaseSettings) -> None:
    _set_revision(database, "9999")
    for attempt in (Catalog.open, schema.upgrade, schema.check):
        with pytest.raises(
            SchemaOutOfDate, match=r"9999.*does not know; install a newer imaging_db"
        ):
            attempt(database)
    assert schema.current(database).state is SchemaState.NEWER


@pytest.mark.parametrize("create", [False, True])
def test_an_older_database_is_refused_with_the_command(
    database: DatabaseSettings, create: bool
) -> None:
    _step(database, "0002")
    with pytest.raises(SchemaOutOfDate, match=r"needed 0006.*; run `imaging-db db upgrade`$"):
        Catalog.open(database, create=create)
    assert schema.upgrade(database).found.state is SchemaState.OLDER
    Catalog.open(database).close()


@pytest.mark.parametrize("create", [False, True])
def test_an_original_database_is_refused_with_the_commands(
    empty_database: DatabaseSettings, create: bool
) -> None:
    original = OriginalDatabase(empty_database, OF_2019)
    original.close()
    with pytest.raises(SchemaOutOfDate, match=r"made by the original imagingDB; run .*--dry-run"):
        Catalog.open(empty_database, create=create)


def test_tables_of_something_else_are_refused(empty_database: DatabaseSettings) -> None:
    with _transactions(empty_database) as transactions:
        transactions.write(lambda c: c.execute(text("CREATE TABLE data_set (name varchar)")))
    for attempt in (Catalog.open, schema.upgrade):
        with pytest.raises(
            SchemaOutOfDate, match="tables of something else; name another database"
        ):
            attempt(empty_database)


def test_the_migrations_folder_of_a_checkout_holds_the_head() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(schema.migrations_dir()))
    assert scripts.get_heads() == [schema.revisions()[-1]]
    walked = [script.revision for script in scripts.walk_revisions()]
    assert sorted(walked) == schema.revisions()
