"""A database, or the way to it, that fails while commands run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imaging_db.catalog import Catalog
from imaging_db.catalog.transactions import Transactions
from imaging_db.config.settings import DatabaseSettings
from tests.reliability.network import MUCH, all_lines, check_failed
from tests.support.catalog_rows import draft
from tests.support.commands import FORKS, Commands
from tests.support.golden import Golden
from tests.support.lab import build_lab, make_lab
from tests.support.matrix import Injected
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.tcp_proxy import TcpProxy, proxied
from tests.torture.bench import Bench

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

FRAMES_IN_BULK = int(os.environ.get("IMAGING_DB_TEST_ROWS", "20000"))
MEASURED = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+local"], indirect=True)


@dataclass
class Remote:
    """A bench whose PostgreSQL is reached through a proxy."""

    bench: Bench
    proxy: TcpProxy

    def truth(self, name: str = "frames") -> Golden:
        """What an undisturbed upload makes of a source."""
        serial = self.bench.new()
        self.bench.do(self.bench.uploading(serial, name))
        found = self.bench.seen(serial)
        assert found is not None
        return found


@pytest.fixture(params=["local", "moto"])
def remote(
    request: pytest.FixtureRequest,
    postgres_server: PostgresServer,
    commands: Commands,
    tmp_path: Path,
) -> Iterator[Remote]:
    """Over each kind of store."""
    lab = build_lab(f"postgres+{request.param}", request.getfixturevalue, tmp_path)
    with proxied(postgres_server.port) as proxy:
        database = replace(lab.settings.database, port=proxy.port)
        made = Bench(make_lab(database, lab.settings.store, tmp_path), commands)
        yield Remote(made, proxy)
        made.close()


# --- PostgreSQL: the way to it


@pytest.mark.fault("B1", "B2")
@pytest.mark.parametrize("what", ["lose_request", "lose_answer"])
def test_a_commit_that_gets_lost_is_looked_up(
    remote: Remote, injected: Injected, what: str
) -> None:
    """The first, the second and every further COMMIT of an upload, until there are no more."""
    truth = remote.truth()
    every = 1 if MUCH or remote.bench.is_local else 3
    for number in range(0, 100, every):
        lost = remote.proxy.lost
        serial = remote.bench.new()
        remote.proxy.pass_first = number
        setattr(remote.proxy, what, b"COMMIT")
        remote.bench.do(remote.bench.uploading(serial))
        setattr(remote.proxy, what, None)
        assert remote.bench.seen(serial) == truth
        if remote.proxy.lost == lost:
            break
    assert remote.proxy.lost >= 3 // every
    assert remote.bench.unfinished() == []
    injected.add(remote.proxy.lost)


@pytest.mark.fault("B1")
@pytest.mark.parametrize("remote", ["local"], indirect=True)
@pytest.mark.parametrize("sent", [1, 300])
def test_rows_that_are_cut_off_in_the_middle_are_sent_again(remote: Remote, sent: int) -> None:
    truth = remote.truth()
    serial = remote.bench.new()
    remote.proxy.lose_after = sent
    remote.proxy.lose_request = b"im_c001_z001"
    remote.bench.do(remote.bench.uploading(serial))
    assert remote.proxy.lost == 1
    assert remote.bench.seen(serial) == truth


@pytest.mark.fault("B6")
@pytest.mark.parametrize("remote", ["local"], indirect=True)
def test_a_server_that_is_silent_for_a_while_is_waited_for(remote: Remote, tmp_path: Path) -> None:
    truth = remote.truth()
    serial = remote.bench.new()
    command, argv = remote.bench.uploading(serial)
    started = remote.bench.commands.start(
        command, argv, cwd=tmp_path, failpoint="catalog.committing:2:stall=0.1"
    )
    started.await_stall()
    remote.proxy.stall(2)
    done = started.wait()
    assert done.code == 0, done.told
    assert done.seconds > 1.5
    assert remote.bench.seen(serial) == truth


@pytest.mark.fault("B6")
@pytest.mark.skipif(not MUCH, reason="half a minute of waiting: IMAGING_DB_TEST_NETWORK")
@pytest.mark.parametrize("remote", ["local"], indirect=True)
def test_a_server_that_stays_silent_is_given_up_in_time(remote: Remote, tmp_path: Path) -> None:
    serial = remote.bench.new()
    command, argv = remote.bench.uploading(serial)
    started = remote.bench.commands.start(
        command, argv, cwd=tmp_path, failpoint="catalog.committing:2:stall=0.1"
    )
    began = started.await_stall()
    remote.proxy.stalled.set()
    done = started.wait()
    check_failed(done, 5, "catalog")
    assert done.ended - began < 60
    remote.proxy.stalled.clear()
    assert remote.bench.seen(serial) is None


# --- PostgreSQL: the server


@dataclass
class Restarted:
    """A bench on a PostgreSQL of its own, which can be killed and started again."""

    bench: Bench
    process: Any

    def kill(self, how: int) -> None:
        """Kill it: SIGQUIT as ``pg_ctl -m immediate`` does, SIGKILL as ``kill -9``."""
        self.process.terminate(how)

    def start(self) -> None:
        """Start it again; what a killed one left behind must end first."""
        for _ in range(100):
            with contextlib.suppress(RuntimeError):
                self.process.start()
                return
            self.process.child_process = None
            time.sleep(0.1)
        raise AssertionError(self.process.read_bootlog())


@pytest.fixture(scope="module")
def own_server() -> Iterator[tuple[Any, DatabaseSettings]]:
    """A server that only these tests use, and a migrated database on it that keeps what it commits."""
    from imaging_db.catalog import schema
    from tests.support.postgres_process import running

    with running() as process:
        server = PostgresServer(process)
        server.admin("ALTER ROLE lab SET synchronous_commit = on")
        settings = server.create()
        schema.upgrade(settings)
        yield process, settings


@pytest.fixture
def restarted(
    own_server: tuple[Any, DatabaseSettings],
    request: pytest.FixtureRequest,
    commands: Commands,
    tmp_path: Path,
) -> Iterator[Restarted]:
    process, database = own_server
    store = build_lab("sqlite+local", request.getfixturevalue, tmp_path).settings.store
    made = Bench(make_lab(database, store, tmp_path), commands)
    made._numbers = iter(range(time.monotonic_ns() % 9000, 10_000))
    yield Restarted(made, process)
    made.close()


@pytest.mark.fault("B7")
@pytest.mark.parametrize("how", ["SIGQUIT", "SIGKILL"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_server_that_is_killed_during_a_commit_and_comes_back(
    restarted: Restarted, tmp_path: Path, how: str, number: int
) -> None:
    """The upload waits for it some seconds, finds out what was committed, and goes on."""
    bench = restarted.bench
    serial = bench.new()
    command, argv = bench.uploading(serial)
    started = bench.commands.start(
        command, argv, cwd=tmp_path, failpoint=f"catalog.committing:{number}:stall=0.5"
    )
    started.await_stall()
    restarted.kill(getattr(signal, how))
    restarted.start()
    done = started.wait()
    assert done.code == 0, done.told
    found = bench.seen(serial)
    assert found is not None
    assert len(found["store"]) == 6
    assert "already there" in bench.do(bench.uploading(serial)).stdout


@pytest.mark.fault("B7", "B3")
@pytest.mark.skipif(not MUCH, reason="ten seconds of waiting: IMAGING_DB_TEST_NETWORK")
def test_a_server_that_stays_away_is_given_up(restarted: Restarted, tmp_path: Path) -> None:
    bench = restarted.bench
    serial = bench.new()
    command, argv = bench.uploading(serial)
    started = bench.commands.start(
        command, argv, cwd=tmp_path, failpoint="catalog.committing:2:stall=0.5"
    )
    started.await_stall()
    restarted.kill(signal.SIGKILL)
    done = started.wait()
    check_failed(done, 5, "cannot be reached")
    again = bench.run(bench.uploading(serial))
    check_failed(again, 5, "cannot be reached")
    assert again.seconds < 5
    restarted.start()
    assert bench.seen(serial) is None
    bench.do(bench.uploading(serial))
    assert bench.seen(serial) is not None


# --- before anything is done


WRONG_LOGINS: list[tuple[dict[str, Any], int, str]] = [
    ({"port": 1}, 5, "cannot be reached"),
    ({"password": f"{PASSWORD}-wrong/@:%41"}, 2, "wrong user name or password"),
    ({"dbname": "absent"}, 2, "there is no such database"),
    ({"username": "nobody_here"}, 2, "check the login file"),
]


@pytest.mark.fault("B3")
@pytest.mark.parametrize("bench", ["postgres+local"], indirect=True)
def test_a_login_that_does_not_work_is_told_before_anything_is_done(
    bench: Bench, tmp_path: Path, injected: Injected
) -> None:
    there = bench.new()
    bench.do(bench.uploading(there))
    keys = bench.lab.keys()
    login = tmp_path / "db_credentials.json"
    right = login.read_text()
    for change, code, words in WRONG_LOGINS:
        login.write_text(json.dumps(json.loads(right) | change))
        for line in all_lines(bench, there, tmp_path):
            done = bench.run(line)
            check_failed(done, code, words)
            assert change.get("password", PASSWORD) not in done.told
            injected.add()
    login.write_text(right)
    assert bench.lab.keys() == keys
    assert not (tmp_path / "dest").exists()
    assert bench.unfinished() == []


@pytest.mark.fault("B3", "B10")
@MEASURED
def test_a_schema_of_another_version_is_refused_by_every_command(
    bench: Bench, tmp_path: Path
) -> None:
    there = bench.new()
    bench.do(bench.uploading(there))
    keys = bench.lab.keys()
    with closing(Transactions(bench.lab.settings.database)) as transactions:
        change = "UPDATE alembic_version SET version_num = '9999'"
        transactions.write(lambda connection: connection.exec_driver_sql(change))
    for line in all_lines(bench, there, tmp_path):
        check_failed(bench.run(line), 2, "schema 9999", "install a newer imaging_db")
    assert bench.lab.keys() == keys
    assert not (tmp_path / "dest").exists()


# --- several at once


@pytest.mark.fault("B5")
def test_a_serialization_failure_is_repeated(postgres_catalog_settings: DatabaseSettings) -> None:
    """Another session changes a row between our look at it and our change."""
    from sqlalchemy import Connection, text

    with Catalog.open(postgres_catalog_settings) as catalog:
        catalog.claim(draft(), token="me")
    tries: list[str | None] = []
    update = text("UPDATE data_set SET microscope = :name")
    with (
        closing(Transactions(postgres_catalog_settings)) as ours,
        closing(Transactions(postgres_catalog_settings)) as theirs,
    ):

        def work(connection: Connection) -> None:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            tries.append(connection.scalar(text("SELECT microscope FROM data_set")))
            if len(tries) == 1:
                theirs.write(lambda other: other.execute(update, {"name": "theirs"}))
            connection.execute(update, {"name": "ours"})

        ours.write(work)
        assert len(tries) == 2
        assert tries[1] == "theirs"
