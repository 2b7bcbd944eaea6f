"""Databases of the original imagingDB, upgraded in place: both generations, and what went wrong in them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imaging_db.catalog import Catalog, schema
from imaging_db.catalog.schema import SchemaState
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import CatalogUnavailable, Conflict, SchemaOutOfDate
from imaging_db.model import FrameSelection, IndexRange, UploadType
from tests.support.catalog_rows import frame, store
from tests.support.legacy import (
    CHILD_SERIAL,
    FILE_SERIAL,
    FRAMES_SERIAL,
    OF_2018,
    OF_2019,
    REVISIONS,
    Generation,
    OriginalDatabase,
)
from tests.torture.amount import daily, few_or

STEP = few_or(14, 7)
"""From one statement at which an upgrade fails to the next; shorter in `make torture`."""

generations = pytest.mark.parametrize("generation", [OF_2018, OF_2019], ids=["2018", "2019"])


@pytest.fixture
def original(empty_database: DatabaseSettings) -> Iterator[OriginalDatabase]:
    """A database of 2019 without rows."""
    with_tables = OriginalDatabase(empty_database, OF_2019)
    yield with_tables
    with_tables.close()


def _pixels(acquisition: int, c: int, z: int, t: int, p: int) -> str:
    return hashlib.sha256(f"{acquisition} {c} {z} {t} {p}".encode()).hexdigest()


@generations
@pytest.mark.parametrize("revision", daily([None, "", *REVISIONS], 2))
def test_a_database_of_the_original_is_upgraded(
    empty_database: DatabaseSettings, generation: Generation, revision: str | None
) -> None:
    """Whatever its alembic_version says: the original made tables beside its migrations."""
    database = OriginalDatabase(empty_database, generation, revision)
    database.fill()
    database.close()

    report = schema.upgrade(empty_database)

    assert report.found.state is SchemaState.ORIGINAL
    assert schema.check(empty_database) == []
    assert schema.upgrade(empty_database).changes == ()
    with Catalog.open(empty_database) as catalog:
        _check_small_lab(catalog, generation)
        store(catalog, [frame()], "NEW-2020-01-01-00-00-00-0001", parent_serial=FRAMES_SERIAL)


def _check_small_lab(catalog: Catalog, generation: Generation) -> None:
    serials = sorted([FRAMES_SERIAL, FILE_SERIAL, CHILD_SERIAL])
    assert [one.serial for one in catalog.datasets()] == serials
    first = catalog.dataset(FRAMES_SERIAL)
    assert (first.description, first.microscope, first.parent_serial) == ("first", "Leica", None)
    assert first.acquired_at == datetime(2018, 6, 8, 15, 45, tzinfo=UTC)
    assert (first.upload_type, first.nbr_objects) == (UploadType.FRAMES, 12)
    assert first.storage_dir == f"raw_frames/{FRAMES_SERIAL}"
    assert (first.storage, first.fingerprint, first.published_at) == (None, None, None)
    assert catalog.dataset(CHILD_SERIAL).parent_serial == FRAMES_SERIAL

    acquisition = catalog.acquisition(FRAMES_SERIAL)
    assert (acquisition.width, acquisition.height, acquisition.dtype) == (2048, 1024, "uint16")
    assert (acquisition.nbr_frames, acquisition.nbr_expected) == (12, None)
    assert acquisition.channel_names == ("phase", "405")
    assert acquisition.metadata["Summary"] == {"PixelType": "GRAY16"}
    assert acquisition.pixel_size_x_um is None

    frames = list(catalog.frames(FRAMES_SERIAL, FrameSelection(channels=(IndexRange(1, 2),))))
    assert [one.coords for one in frames] == [(1, z, t, 0) for z in range(3) for t in range(2)]
    assert frames[0].file_name == "im_c001_z000_t000_p000.png"
    assert frames[0].metadata["MicroManagerMetadata"]["ChannelIndex"] == 1  # type: ignore[index, call-overload]
    assert (frames[0].width, frames[0].dtype, frames[0].codec) == (2048, "uint16", None)
    assert frames[0].sha256 == (_pixels(1, 1, 0, 0, 0) if generation.hashes else None)

    (file,) = catalog.files(FILE_SERIAL)
    assert file.name == "scan.czi"
    assert file.metadata == {"file_origin": "/Volumes/data/exports/scan.czi"}
    assert catalog.dataset(FILE_SERIAL).storage_dir == f"raw_files/{FILE_SERIAL}"


@generations
def test_a_dry_run_tells_all_and_changes_nothing(
    empty_database: DatabaseSettings, generation: Generation
) -> None:
    database = OriginalDatabase(empty_database, generation, REVISIONS[0])
    database.fill()
    database.add_dataset(4, FRAMES_SERIAL, frames=True)
    before = database.content()

    planned = schema.upgrade(empty_database, dry_run=True)

    assert database.content() == before
    database.close()
    assert planned.dry_run and any(
        "was the serial of 2 datasets" in line for line in planned.changes
    )
    done = schema.upgrade(empty_database)
    assert done.changes == planned.changes


# --- defects


def _upgrade(database: OriginalDatabase) -> str:
    return "\n".join(schema.upgrade(database.settings).changes)


def test_serials_that_datasets_shared(original: OriginalDatabase) -> None:
    original.fill()
    original.add_dataset(4, FRAMES_SERIAL, frames=True, description="second", parent_id=2)
    original.add_acquisition(4, 4, f"raw_frames/{FRAMES_SERIAL}")
    original.insert("frames", **original.frame(4, 0, 0, 0, 0))
    original.add_dataset(5, f"{FRAMES_SERIAL}~2", frames=False)
    original.add_dataset(6, FRAMES_SERIAL, frames=False, description="third")
    original.add_file(6, f"raw_files/{FRAMES_SERIAL}", "x.tif")

    told = _upgrade(original)

    assert f"{FRAMES_SERIAL} was the serial of 3 datasets; the others are" in told
    with Catalog.open(original.settings) as catalog:
        assert catalog.dataset(FRAMES_SERIAL).description == "first"
        second, third = catalog.dataset(f"{FRAMES_SERIAL}~3"), catalog.dataset(f"{FRAMES_SERIAL}~4")
        assert (second.description, second.parent_serial) == ("second", FILE_SERIAL)
        assert second.storage_dir == f"raw_frames/{FRAMES_SERIAL}"
        assert third.description == "third"
        assert catalog.dataset(CHILD_SERIAL).parent_serial == FRAMES_SERIAL
        with pytest.raises(Conflict, match="has the same objects"):
            catalog.begin_delete(f"{FRAMES_SERIAL}~3", token="me")


def test_serials_that_differ_only_by_case_stay(original: OriginalDatabase) -> None:
    original.fill()
    original.add_dataset(4, FRAMES_SERIAL.lower(), frames=False, description="second")
    original.add_file(4, f"raw_files/{FRAMES_SERIAL.lower()}", "x.tif")
    assert FRAMES_SERIAL.lower() not in _upgrade(original)
    with Catalog.open(original.settings) as catalog:
        assert catalog.dataset(FRAMES_SERIAL).description == "first"
        assert catalog.dataset(FRAMES_SERIAL.lower()).description == "second"


def test_folders_that_a_migration_emptied(original: OriginalDatabase) -> None:
    original.fill()
    original.execute("UPDATE frames_global SET storage_dir = NULL")
    original.execute("UPDATE file_global SET storage_dir = NULL")
    told = _upgrade(original)
    assert "2 rows of frames_global had no folder; it is raw_frames/<serial>" in told
    assert "1 rows of file_global had no folder; it is raw_files/<serial>" in told
    with Catalog.open(original.settings) as catalog:
        assert catalog.dataset(CHILD_SERIAL).storage_dir == f"raw_frames/{CHILD_SERIAL}"
        assert catalog.dataset(FILE_SERIAL).storage_dir == f"raw_files/{FILE_SERIAL}"


def test_a_folder_keeps_the_serial_that_was_shared(original: OriginalDatabase) -> None:
    for number in (1, 2):
        original.add_dataset(number, FRAMES_SERIAL, frames=True)
        original.add_acquisition(number, number, None)
        original.add_frames(number)
    _upgrade(original)
    with Catalog.open(original.settings) as catalog:
        assert catalog.dataset(f"{FRAMES_SERIAL}~2").storage_dir == f"raw_frames/{FRAMES_SERIAL}"


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"file_origin": "/Volumes/a b/scan 1.czi"}, "scan 1.czi"),
        ({"file_origin": r"D:\data\scan.nd2"}, "scan.nd2"),
        ({"file_origin": "scan.tif"}, "scan.tif"),
        ({"file_origin": "/Volumes/folder/"}, "folder"),
        ({"other": 1}, FILE_SERIAL),
        ({"file_origin": None}, FILE_SERIAL),
        (None, FILE_SERIAL),
        ([1, 2], FILE_SERIAL),
    ],
    ids=str,
)
def test_file_names_of_2018(empty_database: DatabaseSettings, metadata: Any, name: str) -> None:
    database = OriginalDatabase(empty_database, OF_2018)
    database.add_dataset(1, FILE_SERIAL, frames=False)
    database.add_file(1, f"raw_files/{FILE_SERIAL}", "x", metadata_json=metadata)
    told = _upgrade(database)
    database.close()
    assert ("nothing tells its file's name" in told) == (name == FILE_SERIAL)
    with Catalog.open(empty_database) as catalog:
        assert [one.name for one in catalog.files(FILE_SERIAL)] == [name]


def test_frames_at_the_same_place(original: OriginalDatabase) -> None:
    original.fill()
    twice = [original.frame(1, 0, 0, 0, 0, sha256="b" * 64), original.frame(1, 1, 2, 1, 0)]
    thrice = [original.frame(1, 0, 0, 0, 0, sha256="c" * 64)]
    original.insert_many("frames", [*twice, *thrice])
    hashes = sorted(map(str, original.rows("SELECT sha256 FROM frames")))

    told = _upgrade(original)

    assert f"{FRAMES_SERIAL}: 2 frames lie where another frame lies" in told
    assert f"{FRAMES_SERIAL}: 1 frames lie where another frame lies" in told
    assert sorted(map(str, original.rows("SELECT sha256 FROM frames"))) == hashes
    with Catalog.open(original.settings) as catalog:
        assert catalog.count_frames(FRAMES_SERIAL) == 12
        assert next(catalog.frames(FRAMES_SERIAL)).sha256 == _pixels(1, 0, 0, 0, 0)
        second, third = (list(catalog.frames(f"{FRAMES_SERIAL}~{n}")) for n in (2, 3))
        assert [one.coords for one in second] == [(0, 0, 0, 0), (1, 2, 1, 0)]
        assert second[0].sha256 == "b" * 64
        assert [one.sha256 for one in third] == ["c" * 64]
        assert catalog.acquisition(f"{FRAMES_SERIAL}~2").nbr_frames == 2
        assert catalog.acquisition(FRAMES_SERIAL).nbr_frames == 12
        assert catalog.dataset(f"{FRAMES_SERIAL}~2").storage_dir == f"raw_frames/{FRAMES_SERIAL}"


def test_rows_that_belong_to_nothing(original: OriginalDatabase) -> None:
    original.fill()
    original.add_frames(None, 1, 2, 1, 1)
    original.add_acquisition(7, None, "raw_frames/LOST-2018-06-08-15-45-00-0001")
    original.insert("frames", **original.frame(7, 0, 0, 0, 0))
    original.add_acquisition(8, None, None)
    original.add_file(None, "raw_files/LOST-2018-06-08-15-45-00-0002", "lost.tif")
    original.add_dataset(9, None, frames=None)

    told = _upgrade(original)

    assert "2 frames belonged to no dataset; they belong to unknown~frames now" in told
    assert "frames_global 7 belonged to no dataset" in told
    assert "1 datasets had no serial" in told
    with Catalog.open(original.settings) as catalog:
        assert catalog.count_frames("unknown~frames") == 2
        assert catalog.count_frames("LOST-2018-06-08-15-45-00-0001") == 1
        assert catalog.count_frames("unknown~frames_global8") == 0
        assert [one.name for one in catalog.files("LOST-2018-06-08-15-45-00-0002")] == ["lost.tif"]
        assert catalog.dataset("unknown~9").nbr_objects == 0
        assert catalog.count_frames(FRAMES_SERIAL) == 12


def test_an_acquisition_finds_the_dataset_of_its_folder(original: OriginalDatabase) -> None:
    original.add_dataset(1, FRAMES_SERIAL, frames=True, description="mine")
    original.add_acquisition(1, None, f"raw_frames/{FRAMES_SERIAL}")
    original.add_frames(1)
    _upgrade(original)
    with Catalog.open(original.settings) as catalog:
        assert catalog.dataset(FRAMES_SERIAL).description == "mine"
        assert catalog.count_frames(FRAMES_SERIAL) == 12
        assert catalog.count_datasets() == 1


def test_datasets_without_rows_and_with_too_many(original: OriginalDatabase) -> None:
    original.add_dataset(1, "BARE-2018-06-08-15-45-00-0001", frames=True)
    original.add_dataset(2, "BARE-2018-06-08-15-45-00-0002", frames=False)
    original.add_dataset(3, "TWO-2018-06-08-15-45-00-0003", frames=True)
    for number in (31, 32):
        original.add_acquisition(number, 3, "raw_frames/TWO-2018-06-08-15-45-00-0003")
        original.add_frames(number)
    original.add_dataset(4, "BOTH-2018-06-08-15-45-00-0004", frames=True)
    original.add_acquisition(41, 4, "raw_frames/BOTH-2018-06-08-15-45-00-0004")
    original.add_frames(41)
    original.add_file(4, "raw_files/BOTH-2018-06-08-15-45-00-0004", "a.tif")
    original.add_dataset(5, "WRONG-2018-06-08-15-45-00-0005", frames=True)
    original.add_file(5, "raw_files/WRONG-2018-06-08-15-45-00-0005", "b.tif")
    original.add_file(5, "raw_files/WRONG-2018-06-08-15-45-00-0005", "b.tif", sha256="d" * 64)

    told = _upgrade(original)

    assert "BARE-2018-06-08-15-45-00-0001 has neither frames nor files" in told
    assert "TWO-2018-06-08-15-45-00-0003 held two acquisitions" in told
    assert "BOTH-2018-06-08-15-45-00-0004 held frames and files" in told
    assert "WRONG-2018-06-08-15-45-00-0005 held b.tif twice" in told
    with Catalog.open(original.settings) as catalog:
        kinds = {one.serial[:3] + one.serial[-2:]: one for one in catalog.datasets()}
        assert kinds["TWO03"].nbr_objects == kinds["TWO~2"].nbr_objects == 12
        assert kinds["BOT04"].upload_type is UploadType.FRAMES
        assert kinds["BOT~2"].upload_type is UploadType.FILE
        assert kinds["WRO05"].upload_type is UploadType.FILE
        assert [one.sha256 for one in catalog.files(kinds["WRO~2"].serial)] == ["d" * 64]
        assert kinds["BAR02"].storage_dir == "raw_files/BARE-2018-06-08-15-45-00-0002"
        assert catalog.acquisition(kinds["BAR01"].serial).nbr_frames == 0


def test_a_count_that_is_not_that_of_the_rows_is_what_was_expected(
    original: OriginalDatabase,
) -> None:
    original.fill()
    original.execute("DELETE FROM frames WHERE frames_global_id = 1 AND slice_idx = 2")
    told = _upgrade(original)
    assert f"{FRAMES_SERIAL} should have 12 frames and has 8" in told
    with Catalog.open(original.settings) as catalog:
        found = catalog.acquisition(FRAMES_SERIAL)
        assert (found.nbr_frames, found.nbr_expected, found.nbr_slices) == (8, 12, 3)
        assert catalog.dataset(FRAMES_SERIAL).nbr_objects == 8


def test_values_that_are_missing_or_odd(original: OriginalDatabase) -> None:
    original.add_dataset(1, FRAMES_SERIAL, frames=None)
    unknown = dict.fromkeys(
        ("nbr_frames", "nbr_slices", "nbr_channels", "nbr_timepoints", "nbr_positions", "im_width")
    )
    original.add_acquisition(1, 1, f"raw_frames/{FRAMES_SERIAL}", bit_depth="12 bit", **unknown)
    odd = [
        original.frame(1, 0, 0, 0, 0, sha256=None, metadata_json=None),
        original.frame(1, 1, 1, 0, 0, sha256="A" * 64, channel_idx=None, slice_idx=None),
        original.frame(1, 2, 0, 0, 0, sha256="not a hash", file_name=None, channel_name=None),
        original.frame(1, 3, 0, 0, 0, sha256="", pos_idx=-1, file_name="odd.png"),
    ]
    original.insert_many("frames", odd)
    original.execute(
        "UPDATE frames SET metadata_json = 'null' WHERE channel_idx = 3"  # JSON's null, not SQL's
    )
    original.add_dataset(2, "no serial at all", frames=False)

    told = _upgrade(original)

    assert "2 frames had no index on some axis" in told
    assert "3 hashes in frames were none" in told
    with Catalog.open(original.settings) as catalog:
        assert catalog.dataset(FRAMES_SERIAL).acquired_at == datetime(
            2018, 6, 8, 15, 45, tzinfo=UTC
        )
        assert catalog.dataset("no serial at all").acquired_at is None
        found = catalog.acquisition(FRAMES_SERIAL)
        assert (found.nbr_frames, found.nbr_channels, found.nbr_slices) == (4, 4, 2)
        assert (found.width, found.dtype, found.nbr_expected) == (None, None, None)
        frames = list(catalog.frames(FRAMES_SERIAL))
        assert [one.coords for one in frames] == [
            (0, 0, 0, 0),
            (1, 1, 0, 0),
            (2, 0, 0, 0),
            (3, 0, 0, 0),
        ]
        assert [one.sha256 for one in frames] == [None, "a" * 64, None, None]
        assert frames[2].metadata["imagingDB_sha256"] == "not a hash"
        assert frames[2].file_name == "im_c002_z000_t000_p000.png"
        assert frames[0].metadata == frames[3].metadata == {}


def test_metadata_that_is_no_object(original: OriginalDatabase) -> None:
    original.add_dataset(1, FRAMES_SERIAL, frames=True)
    original.add_acquisition(1, 1, f"raw_frames/{FRAMES_SERIAL}", metadata_json=[1, "two"])
    original.insert("frames", **original.frame(1, 0, 0, 0, 0))
    _upgrade(original)
    with Catalog.open(original.settings) as catalog:
        assert catalog.acquisition(FRAMES_SERIAL).metadata == {"value": [1, "two"]}


def test_a_database_without_all_its_tables(empty_database: DatabaseSettings) -> None:
    database = OriginalDatabase(empty_database, OF_2018)
    database.execute("DROP TABLE file_global")
    database.add_dataset(1, FRAMES_SERIAL, frames=True)
    database.add_acquisition(1, 1, f"raw_frames/{FRAMES_SERIAL}")
    database.close()
    schema.upgrade(empty_database)
    assert schema.check(empty_database) == []


def test_the_originals_queries_still_find_their_columns(original: OriginalDatabase) -> None:
    """Notebooks select these names, as spelled in 2019."""
    original.fill()
    _upgrade(original)
    found = original.rows(
        "SELECT d.dataset_serial, g.storage_dir, g.bit_depth, f.file_name, f.sha256 "
        "FROM frames f JOIN frames_global g ON f.frames_global_id = g.id "
        "JOIN data_set d ON g.dataset_id = d.id WHERE f.channel_name = 'phase' ORDER BY f.id"
    )
    assert len(found) == 12
    assert found[0][:3] == (FRAMES_SERIAL, f"raw_frames/{FRAMES_SERIAL}", "uint16")


def test_down_to_the_originals_tables(original: OriginalDatabase) -> None:
    from tests.migrations.test_schema import _step

    original.fill()
    before = original.content()
    _upgrade(original)
    _step(original.settings, "0001")
    after = original.content()
    del after["alembic_version"]
    plain = {table: _sorted_columns(rows) for table, rows in after.items()}
    assert plain == {table: _sorted_columns(rows) for table, rows in before.items()}


def _sorted_columns(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    names = [name for name, _ in rows[0]]
    order = sorted(range(len(names)), key=names.__getitem__)
    head = tuple(names[i] for i in order)
    return [head, *(tuple(row[i] for i in order) for row in rows[1:])]


# --- interruptions


@generations
@pytest.mark.fault("B10")
def test_an_upgrade_that_fails_anywhere_leaves_the_old_state(
    empty_database: DatabaseSettings, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails at the first statement, then at one some steps on, until one run meets no failure."""
    from sqlalchemy import Engine, event

    database = OriginalDatabase(empty_database, generation, REVISIONS[-1])
    database.fill()
    database.add_dataset(4, FRAMES_SERIAL, frames=True)
    before = database.content()
    countdown = [0]

    class Stop(Exception):
        pass

    def fail(*args: Any) -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Stop

    failures = 0
    event.listen(Engine, "before_cursor_execute", fail)
    try:
        for number in range(1, 10_000, STEP):
            countdown[0] = number
            try:
                schema.upgrade(empty_database)
            except Stop:
                failures += 1
                countdown[0] = 0
                assert database.content() == before
            else:
                break
    finally:
        event.remove(Engine, "before_cursor_execute", fail)
    assert failures > 10
    database.close()
    assert schema.check(empty_database) == []


_KILLED = """
import os, sys
from sqlalchemy import Engine, event
from imaging_db.catalog import schema
from imaging_db.config.settings import DatabaseSettings
left = [int(sys.argv[2])]
def die(*args):
    left[0] -= 1
    if left[0] == 0:
        os._exit(9)  # as if killed: nothing is rolled back, no connection closed
event.listen(Engine, "after_cursor_execute", die)
schema.upgrade(DatabaseSettings(**eval(sys.argv[1])))
"""


@pytest.mark.fault("B10")
def test_an_upgrade_that_is_killed_leaves_the_old_state(original: OriginalDatabase) -> None:
    original.fill()
    before = original.content()
    names = ("drivername", "dbname", "username", "password", "host", "port")
    where = repr({name: getattr(original.settings, name) for name in names})
    root = str(Path(__file__).parents[2])
    for number in (20, 60, 95):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, where, str(number)],
            env=os.environ | {"PYTHONPATH": root},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 9, done.stderr
        assert original.content() == before
    _upgrade(original)
    assert schema.check(original.settings) == []


def test_tables_in_use_by_others_are_waited_for_but_not_for_ever(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imaging_db.catalog.transactions import Transactions

    database = OriginalDatabase(postgres_settings, OF_2019)
    database.fill()
    monkeypatch.setattr("imaging_db.catalog.schema._LOCK_TIMEOUT", "200ms")
    reader = Transactions(postgres_settings)
    from sqlalchemy import text

    with reader.engine.connect() as connection:
        connection.execute(text("SELECT * FROM frames"))
        with pytest.raises(CatalogUnavailable, match="another program holds a lock on its tables"):
            schema.upgrade(postgres_settings)
    reader.close()
    schema.upgrade(postgres_settings)
    database.close()


def test_a_login_that_may_not_change_tables(
    postgres_settings: DatabaseSettings, postgres_server: Any
) -> None:
    database = OriginalDatabase(postgres_settings, OF_2019)
    database.close()
    postgres_server.admin(
        "ALTER TABLE data_set OWNER TO postgres", database=postgres_settings.dbname
    )
    from imaging_db.errors import ConfigError

    with pytest.raises(ConfigError, match="the login lacks a permission"):
        schema.upgrade(postgres_settings)


def test_a_large_database_is_upgraded_in_statements_not_rows(
    postgres_settings: DatabaseSettings,
) -> None:
    """200 000 frames: what is done row by row here would take minutes in a real lab's database."""
    database = OriginalDatabase(postgres_settings, OF_2019)
    database.add_dataset(1, FRAMES_SERIAL, frames=True)
    database.add_acquisition(1, 1, None, nbr_frames=200_000, nbr_timepoints=2000, nbr_slices=100)
    database.execute(
        "INSERT INTO frames (channel_idx, slice_idx, time_idx, pos_idx, channel_name, file_name, "
        "sha256, metadata_json, frames_global_id) "
        "SELECT 0, n % 100, n / 100, 0, 'GFP', 'f' || n, repeat('a', 64), NULL, 1 "
        "FROM generate_series(0, 199999) AS n"
    )
    database.close()
    started = datetime.now(UTC)
    schema.upgrade(postgres_settings)
    assert (datetime.now(UTC) - started).total_seconds() < 60
    with Catalog.open(postgres_settings) as catalog:
        assert catalog.dataset(FRAMES_SERIAL).nbr_objects == 200_000


def test_what_the_report_says_is_one_line_each(original: OriginalDatabase) -> None:
    original.fill()
    for number in range(10, 60):
        original.add_dataset(number, FRAMES_SERIAL, frames=False)
    lines = schema.upgrade(original.settings).changes
    (line,) = [line for line in lines if "was the serial of" in line]
    assert re.search(r"of 51 datasets; the others are .*~2, .*~21 and 30 more now$", line)
    assert all("\n" not in line for line in lines)


def test_opening_never_upgrades_by_itself(original: OriginalDatabase) -> None:
    original.fill()
    before = original.content()
    for create in (False, True):
        with pytest.raises(SchemaOutOfDate):
            Catalog.open(original.settings, create=create)
    assert original.content() == before
