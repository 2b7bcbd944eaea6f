"""imaging-db gc: it takes what killed runs left, and nothing that a live run or a dataset needs."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from imaging_db.cli.keep_commands import duration
from imaging_db.errors import DatasetBusy, UsageError
from imaging_db.stores.base import temporary_name
from imaging_db.testing.store_actions import keys, put
from tests.reliability.keeping import UNKNOWN, WEEK, collected, make_old, strays
from tests.support.commands import FORKS
from tests.support.matrix import Injected
from tests.support.rot import sql
from tests.torture.bench import Bench, check_told

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

BOTH_ENDS = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+moto"], indirect=True)


@pytest.mark.fault("C5")
@BOTH_ENDS
def test_a_live_upload_keeps_everything(bench: Bench, injected: Injected) -> None:
    """Two at once: one has a file half written, the other objects that have no row yet."""
    serials, uploads = [bench.new(), bench.new()], []
    for serial, stage in zip(serials, ("object.written:3", "objects.flushed"), strict=True):
        command, argv = bench.uploading(serial)
        uploads.append(
            bench.commands.start(command, argv, cwd=bench.lab.folder, failpoint=f"{stage}:stall=2")
        )
    for upload in uploads:
        upload.await_stall()
        injected.add()
    bench.truth("frames")
    before = keys(bench.db.store)
    found = collected(bench, "--older_than", "0", "--unknown", "--yes")
    assert (found["objects"], found["datasets"], found["found"]) == (0, 0, [])
    assert set(keys(bench.db.store)) >= set(before)
    assert [upload.wait().code for upload in uploads] == [0, 0]
    for serial in serials:
        assert bench.seen(serial) == bench.truth("frames")


@pytest.mark.fault("K1", "C5")
@BOTH_ENDS
def test_what_killed_uploads_left_is_collected_and_they_may_come_again(
    bench: Bench, injected: Injected
) -> None:
    kept = bench.new()
    bench.do(bench.uploading(kept))
    serials = []
    for stage in ("claim.taken", "object.written:2", "objects.flushed", "dataset.complete"):
        serials.append(bench.new())
        killed = bench.run(bench.uploading(serials[-1]), failpoint=f"{stage}:kill")
        assert killed.code == -9
        injected.add()
    assert collected(bench)["objects"] == 0  # all of it is too young
    assert bench.unfinished() == serials
    found = collected(bench, "--older_than", "0")
    assert found["datasets"] == len(serials)
    assert {one["kind"] for one in found["found"]} <= {"upload", "leftover"}
    left = {key.rpartition("/")[0] + "/" for key in strays(bench, [kept])}
    without_rows = {f"raw_frames/{serial}/" for serial in serials[:3]}
    assert left <= without_rows  # nothing tells whose these objects are
    assert {one["where"] for one in found["unconfirmed"]} == left != set()
    collected(bench, "--older_than", "0", "--unknown", "--yes")
    assert (bench.unfinished(), strays(bench, [kept]), bench.temporaries()) == ([], [], [])
    assert bench.seen(kept) == bench.truth("frames")
    for serial in serials[:2]:
        bench.do(bench.uploading(serial))
        assert bench.seen(serial) == bench.truth("frames")


@pytest.mark.fault("K1")
@pytest.mark.parametrize("stage", ["dataset.hidden", "object.deleted:3", "objects.deleted"])
def test_a_killed_collection_is_finished_by_the_same_command(bench: Bench, stage: str) -> None:
    kept, given_up = bench.new(), bench.new()
    bench.do(bench.uploading(kept))
    bench.run(bench.uploading(given_up), failpoint="dataset.complete:kill")
    for number in range(4):
        put(bench.db.store, f"raw_frames/{UNKNOWN}/im_c{number:03d}.png", b"x")
        put(bench.db.store, f"raw_frames/{kept}/extra_{number}.png", b"x")
    line = bench.saying("gc", "--older_than", "0", "--unknown", "--yes")
    assert bench.run(line, failpoint=f"{stage}:kill").code == -9
    bench.do(line)
    assert (bench.unfinished(), strays(bench, [kept])) == ([], [])
    assert bench.seen(kept) == bench.truth("frames")
    assert bench.do(line).stdout == "removed 0 objects, 0 B\n"


def test_a_collection_that_is_killed_at_each_deletion_is_finished_at_last(bench: Bench) -> None:
    """Among objects without a row, and in a folder that the catalog has reserved."""
    kept = bench.new()
    bench.do(bench.uploading(kept))
    for number in range(3):
        put(bench.db.store, f"raw_frames/{UNKNOWN}/im_c{number:03d}.png", b"x")
        put(bench.db.store, f"raw_frames/{kept}/extra_{number}.png", b"x")
    line = bench.saying("gc", "--older_than", "0", "--unknown", "--yes")
    runs = 0
    while (done := bench.run(line, failpoint="object.deleted:kill")).code == -9:
        runs += 1
    assert (done.code, runs) == (0, 6)
    assert (bench.unfinished(), strays(bench, [kept])) == ([], [])
    assert bench.seen(kept) == bench.truth("frames")


def test_only_what_is_old_goes(bench: Bench) -> None:
    kept = bench.new()
    bench.do(bench.uploading(kept))
    for name in ("old", "young"):
        put(bench.db.store, f"raw_frames/{kept}/{name}.png", b"x")
        put(bench.db.store, f"raw_frames/GONE-2020-01-02-03-04-05-0002/{name}.png", b"x")
        folder = Path(bench.lab.settings.store.access, "raw_frames", kept)
        (folder / temporary_name()).write_bytes(name.encode())
    put(bench.db.store, f"raw_frames/{UNKNOWN}/old.png", b"x")
    for path in folder.glob(".imaging_db-*.part"):
        if path.read_bytes() == b"old":
            make_old(bench, path.name)
    make_old(bench, "old.png")
    make_old(bench, "im_c")
    found = collected(bench, "--unknown", "--yes")
    assert sorted(one["kind"] for one in found["found"]) == ["extra", "leftover", "unknown"]
    assert {one["where"] for one in found["found"] if one["kind"] != "leftover"} == {
        f"raw_frames/{kept}/",
        f"raw_frames/{UNKNOWN}/",
    }
    left = [key.split("/")[-1] for key in keys(bench.db.store) if "im_c" not in key]
    assert sorted(left) == ["old.png", "young.png", "young.png"]  # a folder stays as a whole
    assert [path.read_bytes() for path in bench.temporaries()] == [b"young"]
    assert collected(bench, "--older_than", "6d")["objects"] == 0
    assert collected(bench, "--older_than", "0", "--unknown", "--yes")["objects"] == 4


def test_an_upload_that_somebody_worked_on_lately_is_not_given_up(bench: Bench) -> None:
    serial = bench.new()
    assert bench.run(bench.uploading(serial), failpoint="dataset.complete:raise").code == 1
    make_old(bench)
    assert collected(bench)["datasets"] == 0
    assert bench.unfinished() == [serial]
    age_of_row(bench, serial, WEEK + 60)
    put(bench.db.store, f"raw_frames/{serial}/young.png", b"x")
    assert collected(bench)["datasets"] == 0
    make_old(bench)
    assert collected(bench)["datasets"] == 1
    assert bench.unfinished() == []


def age_of_row(bench: Bench, serial: str, seconds: float) -> None:
    """Let the row of a dataset have been made so long ago."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(bench.lab.settings.database.dbname)) as database, database:
        changed = database.execute(
            "UPDATE data_set SET created_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', ?) "
            "WHERE dataset_serial = ?",
            (f"-{seconds:.0f} seconds", serial),
        )
        assert changed.rowcount == 1


@BOTH_ENDS
def test_what_another_catalog_may_know_goes_only_when_that_is_said(bench: Bench) -> None:
    kept = bench.new()
    bench.do(bench.uploading(kept))
    put(bench.db.store, f"raw_frames/{UNKNOWN}/im.png", b"of another catalog")
    done = bench.do(bench.saying("gc", "--older_than", "0"))
    assert f"kept raw_frames/{UNKNOWN}/: 1 object, 18 B" in done.stdout
    assert "they go only with --unknown" in done.stdout
    assert bench.do(bench.saying("gc", "--older_than", "0", "--yes")).stdout == done.stdout
    assert strays(bench, [kept]) == [f"raw_frames/{UNKNOWN}/im.png"]
    refused = bench.run(bench.saying("gc", "--older_than", "0", "--unknown"))
    check_told(refused, code=2)
    assert "there is no terminal to ask at" in refused.stderr
    done = bench.do(bench.saying("gc", "--older_than", "0", "--unknown", "--yes"))
    assert f"removed raw_frames/{UNKNOWN}/: 1 object, 18 B" in done.stdout
    assert (strays(bench, [kept]), bench.unfinished()) == ([], [])


def test_names_that_no_upload_of_ours_can_have_made_stay(bench: Bench) -> None:
    foreign = ["raw_frames/notes/a.txt", "raw_frames/readme.txt", "other/a", "b", "raw_files/x/y/z"]
    bench.do(bench.uploading(kept := bench.new()))
    for key in foreign:
        put(bench.db.store, key, b"x")
    notes = Path(bench.lab.settings.store.access, "notes", temporary_name())
    notes.parent.mkdir()
    notes.write_bytes(b"another program's")
    assert collected(bench, "--older_than", "0", "--unknown", "--yes")["objects"] == 0
    assert [key for key in keys(bench.db.store) if kept not in key] == sorted(foreign)
    assert notes.exists()


def test_the_folder_of_a_dataset_in_another_spelling_stays(bench: Bench) -> None:
    """A file system without case shows the folder as it was first made."""
    serial = bench.new()
    bench.do(bench.uploading(serial))
    put(bench.db.store, f"raw_frames/{serial.lower()}/im.png", b"x")
    assert collected(bench, "--older_than", "0", "--unknown", "--yes")["objects"] == 0


def test_objects_of_a_known_serial_in_the_other_kind_of_folder(bench: Bench) -> None:
    serial = bench.new()
    bench.do(bench.uploading(serial))
    put(bench.db.store, f"raw_files/{serial}/a.bin", b"an upload of files that was given up")
    assert collected(bench, "--older_than", "0")["objects"] == 0
    assert collected(bench, "--older_than", "0", "--unknown", "--yes")["objects"] == 1
    assert bench.seen(serial) == bench.truth("frames")
    killed = bench.new()
    bench.run(bench.uploading(killed), failpoint="claim.taken:stall=0,rows.inserted:kill")
    put(bench.db.store, f"raw_files/{killed}/a.bin", b"x")
    found = collected(bench, "--older_than", "0")
    assert (found["datasets"], found["unconfirmed"][0]["objects"]) == (1, 1)


@BOTH_ENDS
def test_a_dry_run_tells_what_a_real_one_does_and_changes_nothing(bench: Bench) -> None:
    kept, given_up, half_gone = bench.new(), bench.new(), bench.new()
    for serial in (kept, half_gone):
        bench.do(bench.uploading(serial))
    bench.run(bench.uploading(given_up), failpoint="dataset.complete:kill")
    bench.run(bench.saying("delete", half_gone, "--yes"), failpoint="object.deleted:2:kill")
    put(bench.db.store, f"raw_frames/{kept}/extra.png", b"x")
    put(bench.db.store, f"raw_frames/{UNKNOWN}/im.png", b"x")
    before = (keys(bench.db.store), bench.unfinished(), bench.temporaries())
    planned = collected(bench, "--older_than", "0", "--dry-run")
    with_unknown = collected(bench, "--older_than", "0", "--unknown", "--dry-run")
    assert (keys(bench.db.store), bench.unfinished(), bench.temporaries()) == before
    assert planned["unconfirmed"] == with_unknown["unconfirmed"]
    assert with_unknown["found"] == [*planned["found"], *with_unknown.pop("unconfirmed")]
    done = collected(bench, "--older_than", "0", "--unknown", "--yes")
    assert with_unknown.pop("dry_run") and not done.pop("dry_run")
    assert with_unknown | {"unconfirmed": []} == done
    assert {one["kind"] for one in done["found"]} == {"upload", "deletion", "extra", "unknown"}
    assert sum(one["objects"] for one in done["found"]) == done["objects"]
    assert (bench.unfinished(), strays(bench, [kept])) == ([], [])


def test_an_upload_cannot_begin_where_a_collection_is_at_work(bench: Bench) -> None:
    serial = bench.new()
    bench.truth("frames")
    for number in range(3):
        put(bench.db.store, f"raw_frames/{serial}/old_{number}.png", b"x")
    command, argv = bench.saying("gc", "--older_than", "0", "--unknown", "--yes")
    collection = bench.commands.start(
        command, argv, cwd=bench.lab.folder, failpoint="object.deleted:2:stall=2"
    )
    collection.await_stall()
    refused = bench.run(bench.uploading(serial))
    check_told(refused, code=DatasetBusy.exit_code)
    assert f"is being deleted by process {collection.pid}" in refused.stderr
    assert collection.wait().code == 0
    bench.do(bench.uploading(serial))
    assert bench.seen(serial) == bench.truth("frames")


@pytest.mark.fault("N11")
@pytest.mark.parametrize("bench", ["sqlite+moto"], indirect=True)
def test_uploads_in_parts_that_were_never_completed_are_aborted(bench: Bench) -> None:
    """Of a dataset that is ready, of one that is given up, of none, and never of a live one."""
    ready, given_up, live = bench.new(), bench.new(), bench.new()
    bench.do(bench.uploading(ready, "files"))
    bench.run(bench.uploading(given_up, "files"), failpoint="rows.inserted:kill")
    command, argv = bench.uploading(live, "files")
    upload = bench.commands.start(
        command, argv, cwd=bench.lab.folder, failpoint="object.written:2:stall=2"
    )
    upload.await_stall()
    store = bench.lab.settings.store
    client = boto3.client("s3", endpoint_url=store.endpoint_url)
    for serial in (ready, given_up, live, UNKNOWN):
        client.create_multipart_upload(Bucket=store.access, Key=f"raw_files/{serial}/big.bin")
    client.create_multipart_upload(Bucket=store.access, Key="backups/of_another_program.tar")
    found = collected(bench, "--older_than", "0", "--yes")
    assert {one["kind"] for one in found["found"]} == {"upload", "leftover"}
    assert [one.key for one in bench.db.store.leftovers()] == [f"raw_files/{live}/big.bin"]
    assert upload.wait().code == 0
    assert collected(bench, "--older_than", "0")["objects"] == 1
    assert len(client.list_multipart_uploads(Bucket=store.access)["Uploads"]) == 1
    client.close()
    assert bench.seen(live) == bench.truth("files")
    assert bench.unfinished() == []


def test_times_are_read_or_refused(bench: Bench) -> None:
    assert duration("7d") == timedelta(days=7)
    assert duration("12h") == duration(" 720 m") == timedelta(hours=12)
    assert duration("0") == duration("0d") == timedelta()
    for text in ("3x", "-1d", "7", "", "1e3d", "d", "1.5d", "99999999d"):
        with pytest.raises(ArgumentTypeError, match="is no time; write 7d, 12h, 30m or 0"):
            duration(text)
    with pytest.raises(ArgumentTypeError, match="is too long; 100 years are the most"):
        duration("999999w")
    with pytest.raises(UsageError, match="is no time of grace"):
        bench.db.collect(older_than=timedelta.max)
    refused = bench.run(bench.saying("gc", "--older_than", "3x"))
    assert refused.code == 2
    assert "is no time; write 7d, 12h, 30m or 0" in refused.stderr


@pytest.mark.parametrize("signal_number", [2, 15])
def test_an_interrupted_collection_says_how_far_it_came(bench: Bench, signal_number: int) -> None:
    kept = bench.new()
    bench.do(bench.uploading(kept))
    for number in range(4):
        put(bench.db.store, f"raw_frames/{kept}/extra_{number}.png", b"x")
    line = bench.saying("gc", "--older_than", "0", "--unknown", "--yes")
    stopped = bench.run(line, failpoint="object.deleted:3:stall=1", signal_at_stall=signal_number)
    check_told(stopped, code=128 + signal_number)
    assert "interrupted: 3 objects removed; rerun to continue" in stopped.stderr
    bench.do(line)
    assert bench.seen(kept) == bench.truth("frames")


@BOTH_ENDS
def test_the_objects_of_a_dataset_that_lost_rows_stay(bench: Bench) -> None:
    """They look like extras, and are all that is left of those frames."""
    kept = bench.new()
    bench.do(bench.uploading(kept))
    before = keys(bench.db.store)
    sql(bench.lab, "DELETE FROM frames WHERE slice_idx = 0 AND channel_idx = 0")
    assert collected(bench, "--older_than", "0", "--unknown", "--yes")["objects"] == 0
    assert keys(bench.db.store) == before
