"""A SQLite file that others use, that is damaged; and very many rows at once, in either database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from imaging_db.catalog import Catalog
from tests.reliability.network import MUCH, all_lines, check_failed
from tests.support.catalog_rows import SERIAL, draft, grid
from tests.support.commands import FORKS
from tests.support.matrix import Injected
from tests.torture.bench import Bench

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

FRAMES_IN_BULK = int(os.environ.get("IMAGING_DB_TEST_ROWS", "20000"))


MEASURED = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+local"], indirect=True)


@pytest.mark.fault("B4")
def test_a_file_that_another_process_writes_to_is_waited_for(bench: Bench, tmp_path: Path) -> None:
    with closing(
        sqlite3.connect(bench.lab.settings.database.dbname, isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        serial = bench.new()
        command, argv = bench.uploading(serial)
        started = bench.commands.start(command, argv, cwd=tmp_path)
        time.sleep(3 if MUCH else 1)
        other.execute("COMMIT")
    done = started.wait()
    assert done.code == 0, done.told
    assert done.seconds > 0.9
    assert bench.seen(serial) is not None


@pytest.mark.fault("B4")
@pytest.mark.skipif(not MUCH, reason="half a minute of waiting: IMAGING_DB_TEST_NETWORK")
def test_a_file_that_another_process_never_leaves_is_given_up(bench: Bench) -> None:
    with closing(
        sqlite3.connect(bench.lab.settings.database.dbname, isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        serial = bench.new()
        done = bench.run(bench.uploading(serial))
        check_failed(done, 5, "another program is writing to it")
        assert done.seconds < 60
    bench.do(bench.uploading(serial))


# --- SQLite files


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def _replace(path: Path) -> None:
    path.write_bytes(b"a letter to my aunt\n" * 500)


@pytest.mark.fault("B8")
@pytest.mark.parametrize("damage", [_cut, _scribble, _replace], ids=["cut", "scribble", "replace"])
def test_a_damaged_file_is_told_and_never_touched(
    bench: Bench, tmp_path: Path, injected: Injected, damage: Callable[[Path], None]
) -> None:
    there = bench.new()
    bench.do(bench.uploading(there))
    keys = bench.lab.keys()
    bench.close()
    path = Path(bench.lab.settings.database.dbname)
    whole = tmp_path / "backup"
    with closing(sqlite3.connect(path)) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(path, whole)
    damage(path)
    damaged = path.read_bytes()
    for line in all_lines(bench, there, tmp_path):
        check_failed(bench.run(line), 6, str(path))
        injected.add()
    assert path.read_bytes() == damaged
    assert not (tmp_path / "dest" / there).exists()
    shutil.copyfile(whole, path)
    assert bench.lab.keys() == keys
    bench.do(bench.downloading(there, tmp_path / "dest"))


# --- much at once


@pytest.mark.fault("B9", "B12")
@MEASURED
def test_many_rows_are_one_transaction_within_the_limits_of_statements(bench: Bench) -> None:
    """More values than either database takes in one statement."""
    many = FRAMES_IN_BULK // 1000
    with Catalog.open(bench.lab.settings.database) as catalog:
        claim = catalog.claim(draft(nbr_objects=many * 1000), token="me")
        started = time.monotonic()
        catalog.add_frames(claim, grid(4, 25, many, 10))
        assert time.monotonic() - started < 60 * many / 20
        catalog.publish(claim)
        assert catalog.count_frames(SERIAL) == many * 1000
