"""What a catalog does when the database, or the way to it, fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imaging_db.catalog import Catalog, rows, schema
from imaging_db.catalog.tables import DatasetRow
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    DatasetNotFound,
    ImagingDBError,
    IntegrityError,
    SchemaOutOfDate,
)
from imaging_db.model import DatasetStatus
from tests.support.catalog_rows import SERIAL, draft, frame, grid, store
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.tcp_proxy import TcpProxy, proxied


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[TcpProxy]:
    """A way to the server that can be broken."""
    with proxied(postgres_server.port) as opened:
        yield opened


@pytest.fixture
def remote(postgres_catalog_settings: DatabaseSettings, proxy: TcpProxy) -> DatabaseSettings:
    """A migrated PostgreSQL database behind the proxy."""
    return replace(postgres_catalog_settings, port=proxy.port)


def _refused(attempt: Callable[[], Any], kind: type[ImagingDBError], words: str) -> None:
    """Check that an attempt fails as told: in one line, and without the password anywhere."""
    with pytest.raises(kind, match=words) as refused:
        attempt()
    assert "\n" not in str(refused.value)
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))
    assert PASSWORD not in repr(refused.value)


# --- PostgreSQL: the way to it


@pytest.mark.parametrize("what", ["lose_request", "lose_answer"])
@pytest.mark.fault("B1", "B2")
def test_a_commit_whose_answer_is_lost_is_looked_up(
    remote: DatabaseSettings, proxy: TcpProxy, what: str
) -> None:
    """The client sees the same error whether the server had committed or not."""
    with Catalog.open(remote) as catalog:
        claim = catalog.claim(draft(), token="me")
        catalog.add_frames(claim, [frame()])
        setattr(proxy, what, b"COMMIT")
        published = catalog.publish(claim)
        assert proxy.lost == 1
        assert published.status is DatasetStatus.READY
        assert catalog.dataset(SERIAL) == published
        assert catalog.count_frames(SERIAL) == 1


@pytest.mark.parametrize("what", ["lose_request", "lose_answer"])
@pytest.mark.fault("B1", "B2")
def test_every_write_survives_a_lost_commit(
    remote: DatabaseSettings, proxy: TcpProxy, what: str
) -> None:
    with Catalog.open(remote) as catalog:
        setattr(proxy, what, b"COMMIT")
        claim = catalog.claim(draft(nbr_objects=8), token="me")
        setattr(proxy, what, b"COMMIT")
        catalog.add_frames(claim, grid(2, 2, 2, 1))
        setattr(proxy, what, b"COMMIT")
        catalog.renew(claim)
        catalog.publish(claim)
        setattr(proxy, what, b"COMMIT")
        catalog.describe(SERIAL, description="new", microscope=None)
        assert catalog.dataset(SERIAL).description == "new"
        setattr(proxy, what, b"COMMIT")
        _, deletion = catalog.begin_delete(SERIAL, token="me")
        setattr(proxy, what, b"COMMIT")
        catalog.renew(deletion)
        setattr(proxy, what, b"COMMIT")
        catalog.finish_delete(deletion)
        assert proxy.lost == 7
        assert catalog.pending() == []


@pytest.mark.fault("B1")
def test_rows_whose_copy_breaks_are_sent_again(remote: DatabaseSettings, proxy: TcpProxy) -> None:
    with Catalog.open(remote) as catalog:
        claim = catalog.claim(draft(nbr_objects=8), token="me")
        proxy.lose_request = b"im_c001_z001"
        catalog.add_frames(claim, grid(2, 2, 2, 1))
        assert proxy.lost == 1
        assert catalog.publish(claim).nbr_objects == 8


class PressesCtrlC(list[str]):
    """A column during whose last step, from values to text, somebody presses Ctrl-C."""

    def __getitem__(self, index: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return super().__getitem__(index)


def test_ctrl_c_during_a_copy_is_ctrl_c(postgres_catalog_settings: DatabaseSettings) -> None:
    """psycopg2 would call it a statement that was cancelled, and the next dataset would begin."""
    columns = {"dataset_serial": PressesCtrlC([SERIAL])}
    with Catalog.open(postgres_catalog_settings) as catalog:
        with pytest.raises(KeyboardInterrupt):
            catalog._transactions.write(lambda c: rows.insert_rows(c, DatasetRow, columns))
        assert catalog.pending() == []


@pytest.mark.fault("B6")
def test_a_way_that_swallows_everything_is_given_up(
    remote: DatabaseSettings, proxy: TcpProxy
) -> None:
    """The connection stays open and no answer comes: only a deadline of our own helps."""
    with Catalog.open(remote, patience=0.5) as catalog:
        catalog.claim(draft(), token="me")
        proxy.stalled.set()
        started = time.monotonic()
        _refused(catalog.pending, CatalogUnavailable, "cannot be reached")
        assert time.monotonic() - started < 15
        proxy.stalled.clear()
        assert len(catalog.pending()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process")
@pytest.mark.fault("B6")
def test_a_server_that_stands_still_is_given_up(
    postgres_catalog_settings: DatabaseSettings, postgres_server: PostgresServer
) -> None:
    with Catalog.open(postgres_catalog_settings, patience=0.5) as catalog:
        ((backend,),) = postgres_server.admin(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{postgres_catalog_settings.dbname}'"
        )
        os.kill(backend, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert catalog.pending() == []  # over a new connection, after the deadline of the old
            assert 0.3 < time.monotonic() - started < 10
        finally:
            os.kill(backend, signal.SIGCONT)


@pytest.mark.fault("B1")
def test_a_connection_that_the_server_ends_is_replaced(
    postgres_catalog_settings: DatabaseSettings, postgres_server: PostgresServer
) -> None:
    with Catalog.open(postgres_catalog_settings) as catalog:
        store(catalog, [frame()])
        name = postgres_catalog_settings.dbname
        postgres_server.admin(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        assert catalog.dataset(SERIAL).serial == SERIAL


@pytest.mark.fault("B5")
def test_a_deadlock_is_repeated(postgres_catalog_settings: DatabaseSettings) -> None:
    from sqlalchemy import Connection, text

    from imaging_db.catalog.transactions import Transactions

    with Catalog.open(postgres_catalog_settings) as catalog:
        claims = [catalog.claim(draft(f"D-2020-01-01-00-00-00-000{n}"), token="me") for n in (1, 2)]
    transactions = Transactions(postgres_catalog_settings)
    barrier = threading.Barrier(2)
    tries: list[int] = []

    def lock(first: int, second: int) -> None:
        waited = [False]

        def work(connection: Connection) -> None:
            tries.append(first)
            statement = text("UPDATE data_set SET microscope = 'x' WHERE id = :id")
            connection.execute(statement, {"id": first})
            if not waited[0]:
                waited[0] = True
                barrier.wait()
            connection.execute(statement, {"id": second})

        transactions.write(work)

    one, two = (claim.dataset_id for claim in claims)
    threads = [threading.Thread(target=lock, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    transactions.close()
    assert len(tries) == 3


def test_a_statement_that_takes_too_long_is_given_up(
    postgres_catalog_settings: DatabaseSettings,
) -> None:
    from imaging_db.catalog.transactions import Transactions

    with Catalog.open(postgres_catalog_settings) as catalog:
        catalog.claim(draft(), token="me")
    other = Transactions(postgres_catalog_settings)
    from sqlalchemy import text

    with other.engine.connect() as connection:
        connection.execute(text("SELECT * FROM data_set FOR UPDATE"))
        with Catalog.open(postgres_catalog_settings, patience=0.5) as catalog:
            _refused(
                lambda: catalog.begin_delete(SERIAL, token="me"),
                CatalogUnavailable,
                "did not answer in time",
            )
    other.close()


# --- PostgreSQL: login and database


def _change(**values: Any) -> Callable[[DatabaseSettings], DatabaseSettings]:
    return lambda settings: replace(settings, **values)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (_change(port=1), CatalogUnavailable, "cannot be reached .*refused.*; rerun later"),
        (
            _change(host="nowhere.invalid"),
            CatalogUnavailable,
            "cannot be reached .*nowhere.invalid",
        ),
        (_change(dbname="absent"), ConfigError, "there is no such database .*absent"),
        (_change(username="nobody_here"), ConfigError, "check the login file"),
        (
            _change(password=f"{PASSWORD}/wrong@x:%41"),
            ConfigError,
            "wrong user name or password .*; check the login file",
        ),
        (_change(password=None), ConfigError, "wrong user name or password .*no password"),
        (
            _change(username="postgres", dbname="template1"),
            SchemaOutOfDate,
            "is empty; run `imaging-db",
        ),
    ],
    ids=["port", "host", "database", "user", "password", "no-password", "empty"],
)
@pytest.mark.fault("B3")
def test_a_login_that_does_not_work(
    postgres_catalog_settings: DatabaseSettings,
    change: Callable[[DatabaseSettings], DatabaseSettings],
    kind: type[ImagingDBError],
    words: str,
) -> None:
    settings = change(postgres_catalog_settings)
    assert PASSWORD not in repr(settings) + settings.address
    _refused(lambda: Catalog.open(settings), kind, words)


def test_a_login_without_permission(
    postgres_catalog_settings: DatabaseSettings, postgres_server: PostgresServer
) -> None:
    name = postgres_catalog_settings.dbname
    postgres_server.admin("REVOKE INSERT ON data_set FROM lab", database=name)
    with Catalog.open(postgres_catalog_settings) as catalog:
        assert catalog.count_datasets() == 0
        _refused(lambda: catalog.claim(draft(), token="me"), ConfigError, "lacks a permission")


def test_a_server_that_takes_no_writes(
    postgres_catalog_settings: DatabaseSettings, postgres_server: PostgresServer
) -> None:
    name = postgres_catalog_settings.dbname
    postgres_server.admin(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with Catalog.open(postgres_catalog_settings) as catalog:
        attempt: Callable[[], Any] = lambda: catalog.claim(draft(), token="me")  # noqa: E731
        _refused(attempt, CatalogUnavailable, "takes no writes")


# --- SQLite


@pytest.mark.fault("B4")
def test_a_file_that_another_program_writes_to_is_waited_for(
    sqlite_catalog_settings: DatabaseSettings,
) -> None:
    with (
        closing(sqlite3.connect(sqlite_catalog_settings.dbname, isolation_level=None)) as other,
        Catalog.open(sqlite_catalog_settings) as catalog,
    ):
        other.execute("BEGIN IMMEDIATE")
        done: list[str] = []
        waiting = threading.Thread(
            target=lambda: done.append(catalog.claim(draft(), token="me").token)
        )
        waiting.start()
        time.sleep(0.3)
        assert done == []
        assert catalog.count_datasets() == 0  # readers do not wait
        other.execute("ROLLBACK")
        waiting.join(10)
        assert done == ["me"]


@pytest.mark.fault("B4")
def test_a_file_that_another_program_never_leaves(
    sqlite_catalog_settings: DatabaseSettings,
) -> None:
    with (
        closing(sqlite3.connect(sqlite_catalog_settings.dbname, isolation_level=None)) as other,
        Catalog.open(sqlite_catalog_settings, patience=0.3) as catalog,
    ):
        other.execute("BEGIN IMMEDIATE")
        attempt: Callable[[], Any] = lambda: catalog.claim(draft(), token="me")  # noqa: E731
        _refused(attempt, CatalogUnavailable, "another program is writing to it; rerun later")
        other.execute("ROLLBACK")


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00garbage"])
@pytest.mark.fault("B8")
def test_a_file_that_is_no_database(sqlite_settings: DatabaseSettings, content: bytes) -> None:
    path = Path(sqlite_settings.dbname)
    path.write_bytes(content)
    for create in (False, True):
        attempt: Callable[[], Any] = lambda: Catalog.open(sqlite_settings, create=create)  # noqa: B023, E731
        _refused(attempt, IntegrityError, "is not a SQLite database|is damaged")
    assert path.read_bytes() == content


@pytest.mark.fault("B8")
def test_a_file_that_was_damaged(sqlite_catalog_settings: DatabaseSettings) -> None:
    with Catalog.open(sqlite_catalog_settings) as catalog:
        store(catalog, grid(4, 10, 10, 2))
    path = Path(sqlite_catalog_settings.dbname)
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = os.urandom(len(data) - 4096 * 3)
    path.write_bytes(data)

    def use() -> None:
        with Catalog.open(sqlite_catalog_settings) as catalog:
            list(catalog.frames(SERIAL))

    _refused(use, IntegrityError, "is damaged")


def test_a_file_that_is_not_there_is_not_made_by_reading(sqlite_settings: DatabaseSettings) -> None:
    _refused(lambda: Catalog.open(sqlite_settings), ConfigError, "there is no catalog at")
    assert not Path(sqlite_settings.dbname).exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = DatabaseSettings("sqlite", str(tmp_path / "file" / "folder" / "catalog.sqlite"))
    _refused(lambda: Catalog.open(settings, create=True), ConfigError, "folder .* cannot be made")


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    settings = DatabaseSettings("sqlite", str(tmp_path))
    _refused(lambda: Catalog.open(settings, create=True), ConfigError, "cannot be opened")


@pytest.mark.parametrize(
    "name", ["a b#c?d%41&mode=memory.sqlite", "ünïcode 🔬.sqlite", "'\";--.sqlite"]
)
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    with Catalog.open(DatabaseSettings("sqlite", str(path)), create=True) as catalog:
        store(catalog, [frame()])
    assert path.is_file()
    assert schema.check(DatabaseSettings("sqlite", str(path))) == []


def test_a_catalog_in_memory() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Catalog.open(DatabaseSettings("sqlite", ":memory:"), create=True) as catalog:
        serials = [f"M-2020-01-01-00-00-00-{n:04d}" for n in range(20)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda serial: store(catalog, [frame()], serial), serials))
        assert [one.serial for one in catalog.datasets()] == serials


def test_what_is_committed_is_synchronised_and_foreign_keys_hold(
    sqlite_catalog_settings: DatabaseSettings,
) -> None:
    with Catalog.open(sqlite_catalog_settings) as catalog:

        def pragmas(connection: Any) -> list[Any]:
            names = ("foreign_keys", "synchronous", "journal_mode", "busy_timeout")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

        assert catalog._transactions.read(pragmas) == [1, 2, "wal", 30_000]


def test_two_processes_upload_into_one_file(sqlite_catalog_settings: DatabaseSettings) -> None:
    """Many short writes from both at once: each waits for the other, none fails."""
    program = textwrap.dedent(
        """
        import sys
        from imaging_db.catalog import Catalog
        from imaging_db.config.settings import DatabaseSettings
        from tests.support.catalog_rows import draft, frame
        path, name = sys.argv[1:]
        with Catalog.open(DatabaseSettings("sqlite", path)) as catalog:
            for number in range(10):
                serial = f"P{name}-2018-06-08-15-45-00-{number:04d}"
                claim = catalog.claim(draft(serial, 20), token=name)
                for z in range(20):
                    catalog.add_frames(claim, [frame(z=z)])
                catalog.publish(claim)
        """
    )
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, sqlite_catalog_settings.dbname, name],
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        for name in ("a", "b")
    ]
    for process in running:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
    with Catalog.open(sqlite_catalog_settings) as catalog:
        assert [catalog.count_frames(one.serial) for one in catalog.datasets()] == [20] * 20


@pytest.mark.fault("B7")
def test_a_process_that_is_killed_midway_leaves_all_or_nothing(database: DatabaseSettings) -> None:
    """Killed after its first, third, fifth ... statement: rerunning always ends in the same state."""
    program = textwrap.dedent(
        """
        import os, sys
        from sqlalchemy import Engine, event
        from imaging_db.catalog import Catalog
        from imaging_db.config.settings import DatabaseSettings
        from tests.support.catalog_rows import draft, frame
        left = [int(sys.argv[2])]
        def die(*args):
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
        event.listen(Engine, "after_cursor_execute", die)
        with Catalog.open(DatabaseSettings(**eval(sys.argv[1]))) as catalog:
            claim = catalog.claim(draft(nbr_objects=3), token="killed")
            for z in range(3):
                catalog.add_frames(claim, [frame(z=z)])
            catalog.publish(claim)
        """
    )
    names = ("drivername", "dbname", "username", "password", "host", "port")
    where = repr({name: getattr(database, name) for name in names})
    root = Path(__file__).parents[2]
    killed = 0
    for number in range(4, 200, 5):
        done = subprocess.run(
            [sys.executable, "-c", program, where, str(number)],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_output=True,
            timeout=60,
        )
        with Catalog.open(database) as catalog:
            if done.returncode == 0:
                break
            assert done.returncode == 9, done.stderr
            killed += 1
            with pytest.raises(DatasetNotFound):
                catalog.dataset(SERIAL)
            claim = catalog.claim(draft(nbr_objects=3), token="rerun", evict="killed")
            catalog.add_frames(claim, [frame(z=z) for z in range(3)])
            assert catalog.publish(claim).nbr_objects == 3
            catalog.finish_delete(catalog.begin_delete(SERIAL, token="rerun")[1])
    assert killed >= 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.fault("D2")
def test_a_full_disk(sqlite_catalog_settings: DatabaseSettings) -> None:
    """A limit on the size of files fails writes as a full disk does."""
    program = textwrap.dedent(
        """
        import os, resource, signal, sys
        from imaging_db.catalog import Catalog
        from imaging_db.config.settings import DatabaseSettings
        from imaging_db.errors import CatalogUnavailable
        from tests.support.catalog_rows import draft, grid
        with Catalog.open(DatabaseSettings("sqlite", sys.argv[1])) as catalog:
            claim = catalog.claim(draft(nbr_objects=8000), token="me")
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
            try:
                catalog.add_frames(claim, grid(4, 40, 10, 5))
            except CatalogUnavailable as error:
                print(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            assert catalog.stored_coords(claim) == {}
        """
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, sqlite_catalog_settings.dbname],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "its disk is full" in done.stdout or "cannot be read or written" in done.stdout
    with closing(sqlite3.connect(sqlite_catalog_settings.dbname)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
