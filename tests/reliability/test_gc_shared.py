"""imaging-db gc in a store that is shared, in part out of reach, or not the one of the catalog."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from imaging_db.errors import StoreDenied
from imaging_db.stores.base import temporary_name
from imaging_db.stores.local import LocalStore
from imaging_db.testing.store_actions import keys, put
from imaging_db.transfer import collect, stored_frames, stream
from imaging_db.transfer.collect import Collector
from imaging_db.transfer.collected import Kind
from tests.reliability.keeping import UNKNOWN, collected, make_old, strays
from tests.support.commands import FORKS
from tests.support.rot import sql
from tests.torture.bench import Bench, check_told

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

BOTH_ENDS = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+moto"], indirect=True)


@pytest.mark.fault("K1", "C5")
@BOTH_ENDS
@pytest.mark.parametrize("stage", ["dataset.hidden", "object.deleted"])
def test_a_collection_that_stopped_in_the_folder_of_another_catalog_takes_nothing_of_it(
    bench: Bench, stage: str
) -> None:
    """For one leftover there it holds the serial: that says nothing of whose the objects are."""
    bench.truth("frames")
    theirs = [f"raw_frames/{UNKNOWN}/im_c{number:03d}.png" for number in range(3)]
    for key in theirs:
        put(bench.db.store, key, b"another catalog's")
    leave_something_behind(bench, f"raw_frames/{UNKNOWN}")
    line = bench.saying("gc", "--older_than", "0")
    assert bench.run(line, failpoint=f"{stage}:kill").code == -9
    assert bench.unfinished() == [UNKNOWN]
    found = collected(bench)  # no time of grace: nothing goes but the reservation
    assert (bench.unfinished(), found["datasets"]) == ([], 1)
    assert [key for key in keys(bench.db.store) if UNKNOWN in key] == theirs


def leave_something_behind(bench: Bench, folder: str) -> None:
    """As a killed upload does."""
    settings = bench.lab.settings.store
    if bench.is_local:
        Path(settings.access, folder, temporary_name()).write_bytes(b"half")
        return
    client = boto3.client("s3", endpoint_url=settings.endpoint_url)
    client.create_multipart_upload(Bucket=settings.access, Key=f"{folder}/big.bin")
    client.close()


@pytest.mark.fault("K1")
@BOTH_ENDS
def test_an_upload_that_stopped_over_objects_of_another_catalog_takes_nothing_of_it(
    bench: Bench,
) -> None:
    bench.truth("frames")
    serial = bench.new()
    theirs = [f"raw_frames/{serial}/theirs_{number}.png" for number in range(3)]
    for key in theirs:
        put(bench.db.store, key, b"another catalog's")
    assert bench.run(bench.uploading(serial), failpoint="claim.taken:kill").code == -9
    found = collected(bench, "--older_than", "0")
    assert (bench.unfinished(), found["datasets"], found["objects"]) == ([], 1, 0)
    assert [one["where"] for one in found["unconfirmed"]] == [f"raw_frames/{serial}/"]
    assert [key for key in keys(bench.db.store) if serial in key] == theirs


def test_more_than_a_killed_upload_leaves_has_to_be_confirmed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a catalog was restored to a time when the upload was not finished."""
    assert collect.UNRECORDED == stream._BATCH_ROWS + stored_frames._AHEAD
    monkeypatch.setattr(collect, "UNRECORDED", 2)
    bench.truth("frames")
    serial = bench.new()
    bench.run(bench.uploading(serial), failpoint="dataset.complete:kill")
    for number in range(3):
        put(bench.db.store, f"raw_frames/{serial}/later_{number}.png", b"x")
    before = keys(bench.db.store)
    report = bench.db.collect(older_than=timedelta())
    assert [one.kind for one in report.unconfirmed] == [Kind.EXTRA]
    assert (bench.unfinished(), keys(bench.db.store)) == ([serial], before)
    bench.db.collect(older_than=timedelta(), unknown=True)
    assert (bench.unfinished(), strays(bench, [])) == ([], strays(bench, [serial]))


def test_a_deletion_that_stopped_lately_is_left_alone(bench: Bench) -> None:
    """Its row may come from a backup, and its objects from an upload of today."""
    serial = bench.new()
    bench.do(bench.uploading(serial))
    bench.run(bench.saying("delete", serial, "--yes"), failpoint="object.deleted:kill")
    left = keys(bench.db.store)
    assert left
    assert (collected(bench)["datasets"], keys(bench.db.store)) == (0, left)
    assert collected(bench, "--older_than", "0")["datasets"] == 1
    assert (bench.unfinished(), keys(bench.db.store)) == ([], [])


@pytest.mark.parametrize("catalog_of", ["nothing", "another store"])
def test_a_catalog_without_datasets_here_can_take_nothing(bench: Bench, catalog_of: str) -> None:
    if catalog_of == "another store":
        bench.truth("frames")
        sql(bench.lab, "UPDATE data_set SET storage_access = '/another/disk'")
    put(bench.db.store, f"raw_frames/{UNKNOWN}/im.png", b"x")
    before = keys(bench.db.store)
    for words in (["--yes"], ["--dry-run"]):
        refused = bench.run(bench.saying("gc", "--older_than", "0", "--unknown", *words))
        check_told(refused, code=2)
        assert "the catalog has no dataset in" in refused.stderr
    assert keys(bench.db.store) == before


def test_what_lies_beside_a_ready_dataset_may_be_of_its_successor(bench: Bench) -> None:
    """In the eyes of a copy of the catalog, which does not know that the dataset was replaced."""
    kept = bench.new()
    bench.do(bench.uploading(kept))
    put(bench.db.store, f"raw_frames/{kept}/im_c000_z000_t777_p000.png", b"x")
    found = collected(bench, "--older_than", "0", "--yes")
    assert (found["objects"], found["found"]) == (0, [])
    assert [one["where"] for one in found["unconfirmed"]] == [f"raw_frames/{kept}/"]
    assert len(strays(bench, [])) == len(keys(bench.db.store))


def test_probes_have_an_hour(bench: Bench) -> None:
    """Each command that writes begins with one, whatever the time of grace of another."""
    root = Path(bench.lab.settings.store.access)
    bench.do(bench.uploading(bench.new()))
    (root / "imaging_db_selftest").mkdir()
    for folder in (root, root / "imaging_db_selftest"):
        (folder / temporary_name()).write_bytes(b"probe")
    assert collected(bench, "--older_than", "0")["objects"] == 0
    make_old(bench, ".imaging_db-", seconds=3700)
    assert collected(bench, "--older_than", "2h")["objects"] == 0
    assert collected(bench, "--older_than", "0")["objects"] == 2
    assert bench.temporaries() == []


class Stuck(LocalStore):
    """A folder in which some files cannot be removed."""

    def __init__(self, root: Path, part: str) -> None:
        super().__init__(root)
        self._part = part

    def delete(self, key: str) -> bool:
        if self._part in key:
            raise StoreDenied(f"{self.address}: {key}: permission denied")
        return super().delete(key)


def test_a_folder_that_the_store_does_not_let_go_stops_nothing_else(bench: Bench) -> None:
    stuck, given_up = bench.new(), bench.new()
    for serial in (stuck, given_up):
        bench.run(bench.uploading(serial), failpoint="dataset.complete:kill")
    store = Stuck(Path(bench.lab.settings.store.access), stuck)
    report = Collector(bench.db.catalog, store, bench.lab.settings.store, timedelta()).run()
    assert [(type(one), stuck in one.message) for one in report.failures] == [(StoreDenied, True)]
    assert bench.unfinished() == [stuck]
    assert strays(bench, [stuck]) == []
    assert collected(bench, "--older_than", "0")["datasets"] == 1


def test_a_dry_run_writes_nothing_into_the_store(bench: Bench) -> None:
    bench.do(bench.uploading(bench.new()))
    root = Path(bench.lab.settings.store.access)
    before = root.stat().st_mtime_ns
    collected(bench, "--dry-run")
    assert root.stat().st_mtime_ns == before
    collected(bench)
    assert root.stat().st_mtime_ns != before


@pytest.mark.parametrize(("answer", "goes"), [(b"n\n", False), (b"y\n", True)])
def test_at_a_terminal_what_another_catalog_may_know_is_asked_about(
    bench: Bench, answer: bytes, goes: bool
) -> None:
    bench.truth("frames")
    key = f"raw_frames/{UNKNOWN}/im.png"
    put(bench.db.store, key, b"x")
    _, argv = bench.saying("gc", "--older_than", "0", "--unknown")
    ours, theirs = os.openpty()
    os.write(ours, answer)
    with os.fdopen(ours, "rb", 0) as terminal, os.fdopen(theirs, "wb", 0) as screen:
        done = subprocess.run(
            [sys.executable, "-m", "imaging_db", *argv],
            stdin=screen,
            stderr=screen,
            stdout=subprocess.PIPE,
            cwd=bench.lab.folder,
        )
        asked = terminal.read(4096).decode()
    assert done.returncode == 0
    assert f"raw_frames/{UNKNOWN}/: 1 object, 1 B" in asked
    assert "remove them? Another catalog that uses this store may need them. [y/N]" in asked
    assert (key in keys(bench.db.store)) is not goes
    assert (b"removed 1 object" in done.stdout) is goes
