"""imaging-db delete: out of sight first, finished by the same command, and never what a live run holds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from imaging_db.testing.store_actions import put
from tests.reliability.keeping import strays
from tests.support.commands import FORKS
from tests.support.matrix import Injected
from tests.torture.bench import Bench, check_told

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

BOTH_ENDS = pytest.mark.parametrize("bench", ["sqlite+local", "postgres+moto"], indirect=True)
STAGES = ("dataset.hidden", "object.deleted:2", "objects.deleted", "catalog.committing:2")


@pytest.mark.fault("K1")
@BOTH_ENDS
def test_a_killed_deletion_is_finished_by_the_same_command(
    bench: Bench, injected: Injected
) -> None:
    for stage in STAGES if bench.is_local else STAGES[:2]:
        serial = bench.new()
        bench.do(bench.uploading(serial))
        killed = bench.run(bench.saying("delete", serial, "--yes"), failpoint=f"{stage}:kill")
        assert killed.code == -9, f"{stage}: {killed.told}"
        injected.add()
        assert bench.seen(serial) is None
        assert bench.unfinished() == [serial]
        (told,) = json.loads(bench.do(bench.saying("unfinished", "--json")).stdout)
        assert (told["id"], told["live"]) == (serial, False)
        assert told["next"] == f"imaging-db delete {serial}"
        bench.do(bench.saying("delete", serial, "--yes"))
        assert bench.unfinished() == []
        assert strays(bench, []) == []
        gone = bench.run(bench.saying("delete", serial, "--yes"))
        check_told(gone, code=2)
        assert f"{serial}: there is no dataset" in gone.stderr
    bench.do(bench.uploading(serial))
    assert bench.seen(serial) == bench.truth("frames")


def test_an_unfinished_upload_is_deleted_with_what_it_left(bench: Bench) -> None:
    serial = bench.new()
    killed = bench.run(bench.uploading(serial), failpoint="object.written:4:kill")
    assert killed.code == -9
    assert bench.temporaries()
    done = bench.do(bench.saying("delete", serial, "--yes"))
    assert done.stdout.startswith(f"deleted {serial}: ")
    assert (bench.unfinished(), strays(bench, []), bench.temporaries()) == ([], [], [])


def test_an_upload_that_only_began_takes_nothing_that_was_there_before(bench: Bench) -> None:
    """Another catalog has the same id in the same store; the claim alone makes its objects not ours."""
    if not bench.is_local:
        pytest.skip("only a folder lets a test set the times of objects")
    serial = bench.new()
    there = Path(
        bench.lab.settings.store.access, "raw_frames", serial, "im_c000_z000_t000_p000.png"
    )
    there.parent.mkdir(parents=True)
    there.write_bytes(b"another catalog's")
    os.utime(there, (1.6e9, 1.6e9))
    assert bench.run(bench.uploading(serial), failpoint="claim.taken:kill").code == -9
    shown = bench.do(bench.saying("delete", serial, "--dry-run"))
    assert "0 B" in shown.stdout
    bench.do(bench.saying("delete", serial, "--yes"))
    assert bench.unfinished() == []
    assert there.read_bytes() == b"another catalog's"


@pytest.mark.parametrize("name", ["im_c000_z000_t000_p000.png", "another.png"])
def test_overwriting_after_an_upload_that_only_began_takes_nothing_that_was_there_before(
    bench: Bench, name: str
) -> None:
    if not bench.is_local:
        pytest.skip("only a folder lets a test set the times of objects")
    serial = bench.new()
    there = Path(bench.lab.settings.store.access, "raw_frames", serial, name)
    there.parent.mkdir(parents=True)
    there.write_bytes(b"another catalog's")
    os.utime(there, (1.6e9, 1.6e9))
    assert bench.run(bench.uploading(serial), failpoint="claim.taken:kill").code == -9
    command, line = bench.uploading(serial, "other")
    refused = bench.run((command, [*line, "--overwrite"]))
    check_told(refused, code=7)
    assert there.read_bytes() == b"another catalog's"


def test_a_parent_is_deleted_with_its_children_or_after_them_but_not_before(bench: Bench) -> None:
    parent, child = bench.new(), bench.new()
    bench.do(bench.uploading(parent))
    line = bench.uploading(child)
    csv = Path(line[1][line[1].index("--csv") + 1])
    csv.write_text(
        f"dataset_id,file_name,parent_dataset_id\n{child},{bench.source('frames')},{parent}\n"
    )
    bench.do(line)
    for more in ((), ("--dry-run",)):
        refused = bench.run(bench.saying("delete", parent, "--yes", *more))
        check_told(refused, code=7)
        assert f"is the parent of {child}" in refused.stderr
    assert bench.seen(parent) is not None
    done = bench.do(bench.saying("delete", parent, child, "--yes"))
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        f"deleted {child}",
        f"deleted {parent}",
        "2 deleted",
    ]
    assert (bench.unfinished(), strays(bench, [])) == ([], [])


def test_what_is_not_there_does_not_keep_the_others(bench: Bench) -> None:
    serial = bench.new()
    bench.do(bench.uploading(serial))
    done = bench.run(bench.saying("delete", bench.new(), serial, serial, "--yes"))
    check_told(done, code=3)
    assert done.stdout.splitlines()[-1] == "1 deleted, 1 failed"
    assert bench.seen(serial) is None


@pytest.mark.fault("C5")
@BOTH_ENDS
def test_what_a_live_run_uploads_is_not_deleted(bench: Bench) -> None:
    serial = bench.new()
    line = bench.uploading(serial)
    upload = bench.commands.start(
        line[0], line[1], cwd=bench.lab.folder, failpoint="object.named:3:stall=2"
    )
    upload.await_stall()
    refused = bench.run(bench.saying("delete", serial, "--yes"))
    check_told(refused, code=8)
    assert f"is being uploaded by process {upload.pid}" in refused.stderr
    (told,) = json.loads(bench.do(bench.saying("unfinished", "--json")).stdout)
    assert (told["live"], told["next"]) == (True, "wait for it")
    assert upload.wait().code == 0
    assert bench.seen(serial) == bench.truth("frames")


@pytest.mark.fault("C5")
def test_of_two_deletions_at_once_one_deletes(bench: Bench) -> None:
    for _ in range(3):
        serial = bench.new()
        bench.do(bench.uploading(serial))
        command, argv = bench.saying("delete", serial, "--yes")
        started = [
            bench.commands.start(command, argv, cwd=bench.lab.folder, held=True) for _ in range(3)
        ]
        bench.commands.release(started)
        done = [one.wait() for one in started]
        codes = sorted(one.code for one in done)
        assert codes[0] == 0 and set(codes[1:]) <= {2, 8}, [one.told for one in done]
        assert (bench.unfinished(), strays(bench, [])) == ([], [])


@pytest.mark.fault("C5")
@BOTH_ENDS
def test_a_download_whose_dataset_is_deleted_fails_and_holds_no_half_file(
    bench: Bench, tmp_path: Path
) -> None:
    serial = bench.new()
    bench.do(bench.uploading(serial))
    truth = bench.truth("frames")["store"]
    command, argv = bench.downloading(serial, tmp_path / "dest")
    download = bench.commands.start(
        command, argv, cwd=bench.lab.folder, failpoint="object.fetched:2:stall=2"
    )
    download.await_stall()
    bench.do(bench.saying("delete", serial, "--yes"))
    done = download.wait()
    there = {path.name for path in (tmp_path / "dest" / serial).iterdir()}
    if done.code == 0:  # everything was fetched already
        assert there >= set(truth)
    else:
        assert done.code in (2, 6), done.told
        assert len(done.errors()) >= 1
        assert not there & {".part"} and there < {*truth, "frames_meta.csv", "global_metadata.json"}
    again = bench.run(bench.downloading(serial, tmp_path / "dest"))
    check_told(again, code=2)


def test_without_a_terminal_and_without_yes_nothing_is_deleted(bench: Bench) -> None:
    serial = bench.new()
    bench.do(bench.uploading(serial))
    refused = bench.run(bench.saying("delete", serial))
    check_told(refused, code=2)
    assert "--yes" in refused.stderr
    shown = bench.do(bench.saying("delete", serial, "--dry-run"))
    assert shown.stdout.startswith(f"would delete {serial}: 6 frames, ")
    assert bench.seen(serial) == bench.truth("frames")


def test_rows_are_not_deleted_where_the_objects_are_out_of_reach(bench: Bench) -> None:
    """The disk of the dataset is not mounted, and the config names another folder meanwhile."""
    serial = bench.new()
    bench.do(bench.uploading(serial))
    truth = bench.truth("frames")
    store = Path(bench.lab.settings.store.access)
    other = store.with_name("other")
    other.mkdir()
    away = store.rename(store.with_name("away"))
    config = bench.lab.folder / "config_other.json"
    config.write_text(json.dumps({"storage": "local", "storage_access": str(other)}))
    command, argv = bench.saying("delete", serial, "--yes")
    elsewhere = [*argv[: argv.index("--config")], "--config", str(config)]
    refused = bench.run((command, elsewhere))
    check_told(refused, code=2)
    assert "mount that folder" in refused.stderr
    away.rename(store)
    shutil.rmtree(other)
    assert bench.seen(serial) == truth


@pytest.mark.parametrize("words", [("delete", "--yes"), ("gc", "--older_than", "0", "--yes")])
def test_nothing_is_taken_from_a_catalog_whose_disk_is_not_mounted(
    words: tuple[str, ...], bench: Bench
) -> None:
    """Its mount point is an empty folder: the rows would go, and the objects stay on the disk."""
    ready, given_up = bench.new(), bench.new()
    bench.do(bench.uploading(ready))
    truth = bench.truth("frames")
    bench.run(bench.uploading(given_up), failpoint="dataset.complete:kill")
    store = Path(bench.lab.settings.store.access)
    away = store.rename(store.with_name("away"))
    store.mkdir()
    more = (ready, given_up) if words[0] == "delete" else ()
    refused = bench.run(bench.saying(*words, *more))
    assert (refused.code, list(store.iterdir())) == (2, []), refused.told
    assert "mount the disk" in refused.stderr
    store.rmdir()
    away.rename(store)
    assert bench.seen(ready) == truth
    assert bench.unfinished() == [given_up]


def test_objects_of_others_beside_a_dataset_stay(bench: Bench) -> None:
    serial = bench.new()
    bench.do(bench.uploading(serial))
    for key in (f"raw_frames/{serial}0/a", f"raw_frames/{serial}.a/b", f"raw_files/{serial}/c"):
        put(bench.db.store, key, b"not its own")
    bench.do(bench.saying("delete", serial, "--yes"))
    assert len(list(bench.db.store.list(""))) == 3
