"""ingest from a user's chair: what is told, exit codes, mistyped words, the flags of the Boss client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.cli import main as imaging_db_command
from imaging_db.model.job import UnitResult
from imaging_db.transfer.run_token import new_token
from tests.support.lab import Lab
from tests.support.tile_folder import PATTERN, SERIAL, TileFolder


@pytest.fixture
def desk(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose folder is the working folder, with a folder of tiles in it."""
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    TileFolder(small_lab.folder / "tiles")
    return small_lab


def ingest(*words: str) -> int:
    return imaging_db_command.main(["ingest", *words])


def create(*more: str) -> int:
    return ingest("create", "tiles", "--pattern", PATTERN, "--serial", SERIAL, *more)


def test_create_join_and_look(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert create("--unit_frames", "6") == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"job 1: {SERIAL}, 24 frames in 4 units, 6.1 kB; uploading",
        "join it, on as many computers as you like: imaging-db ingest join 1",
    ]
    assert ingest("status") == 0
    assert "units: 4 ready of 4" in capsys.readouterr().out

    assert ingest("join", "1", "-p", "2") == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.startswith("job 1 complete: 4 units, 24 frames, 6.1 kB in ")

    assert ingest("status", SERIAL) == 0
    assert "frames: 24 of 24" in capsys.readouterr().out
    assert ingest("list") == 0
    assert "no job is at work" in capsys.readouterr().out
    assert ingest("list", "--all") == 0
    assert SERIAL in capsys.readouterr().out


def test_a_dry_run_checks_and_writes_nothing(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in desk.folder.iterdir())

    assert create("--dry-run") == 0

    told = capsys.readouterr().out
    assert "would create a job" in told
    assert "5 frames were read to try" in told
    assert "nothing was written" in told
    assert sorted(path.name for path in desk.folder.iterdir()) == before


def test_status_as_data(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    create("--json")
    created = json.loads(capsys.readouterr().out)
    assert created["nbr_frames"] == 24
    assert ingest("status", created["uuid"], "--json") == 0

    (status,) = json.loads(capsys.readouterr().out)

    assert status["state"] == "uploading"
    assert status["units"]["ready"] == status["nbr_units"]
    assert status["runners"] == []


def test_status_tells_a_unit_that_waits_from_one_that_failed(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    create("--attempts", "1")
    with ImagingDB(desk.settings) as db:
        jobs = db.catalog.jobs
        runner = jobs.join(jobs.find("1"), token=new_token(), engine="serial", workers=1)
        for told, temporary in (("to be tried again", True), ("failed", False)):
            (lease,) = jobs.claim(runner, 1)
            jobs.commit(runner, [UnitResult(lease, kind="E", message="full", temporary=temporary)])
            capsys.readouterr()
            assert ingest("status", "1") == 0
            assert f"  {told}: unit 0 " in capsys.readouterr().out


def test_a_damaged_tile_is_named_before_anything_is_created(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk.folder / "tiles/0/0_0.png").write_bytes(b"")

    assert create() == 4

    assert "0_0.png" in capsys.readouterr().err
    assert ingest("list", "--all") == 0
    assert "no jobs" in capsys.readouterr().out


def test_a_unit_that_fails_is_told_with_file_and_what_to_do(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    create("--unit_frames", "6", "--attempts", "1")
    (desk.folder / "tiles/2/1_1.png").unlink()
    capsys.readouterr()

    assert ingest("join", "1") == 3

    told = capsys.readouterr().err
    assert f"error: job 1 {SERIAL}: unit 2 (frames 12 to 17, 1 attempt): " in told
    assert "1_1.png" in told
    assert "imaging-db ingest retry 1" in told
    assert ingest("complete", "1") == 7
    assert "3 of 4 units done, 1 failed" in capsys.readouterr().err


def test_cancel_asks_or_is_told_yes(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    create()
    capsys.readouterr()

    assert ingest("cancel", "1") == 2
    assert "say --yes" in capsys.readouterr().err
    assert ingest("cancel", "1", "--yes") == 0
    assert "job 1 cancelled: 0 objects swept" in capsys.readouterr().out
    assert ingest("cancel", "1", "--yes") == 0
    assert "nothing is left to do" in capsys.readouterr().out
    assert ingest("join", "1") == 7


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["join", "9"], "there is no job '9'"),
        (["joyn", "1"], "invalid choice: 'joyn'"),
        (["create", "tiles", "--serial", SERIAL], "tiles"),
        (["create", "nowhere", "--serial", SERIAL], "nowhere"),
        (["create", "tiles", "--pattern", "{q}.png", "--serial", SERIAL], "{q}"),
        (["create", "tiles", "--pattern", PATTERN], "--serial"),
        (["create", "tiles", "--pattern", PATTERN, "--serial", "tiles"], "is not of the form"),
        (["join", "1", "--engine_option", "queue"], "KEY=VALUE"),
        (["join", "1", "--lease", "9" * 20], "is more than"),
        (["create", "tiles", "--attempts", "9" * 20], "is more than"),
    ],
)
def test_mistakes_are_told_in_one_line(
    desk: Lab, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    create()
    capsys.readouterr()

    assert ingest(*words) in (2, 4)

    errors = capsys.readouterr().err
    assert told in errors
    assert "Traceback" not in errors


class TestBossFlags:
    """Whoever has the Boss client in the fingers finds its flags again."""

    def test_a_configuration_is_created_and_joined(
        self, desk: Lab, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = own_config(desk.folder)

        assert ingest(str(config), "-f", "-p", "2") == 0

        assert "job 1 complete" in capsys.readouterr().out

    def test_j_joins_and_c_cancels(self, desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        config = own_config(desk.folder)
        assert ingest("create", str(config)) == 0

        assert ingest(str(config), "-j", "1", "-c", "-f") == 0
        assert "job 1 cancelled" in capsys.readouterr().out
        assert ingest(str(config), "-j", "1", "-f") == 7

    def test_nothing_is_created_where_nobody_can_be_asked(
        self, desk: Lab, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ingest(str(own_config(desk.folder))) == 2
        assert "say -f" in capsys.readouterr().err
        assert ingest("status", "1") == 2

    def test_the_result_is_one_json_value(
        self, desk: Lab, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = own_config(desk.folder).rename("MOSAIC.JSON")

        assert ingest(str(config), "-f", "--json") == 0

        assert json.loads(capsys.readouterr().out)["state"] == "complete"

    def test_c_needs_a_job(self, desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        assert ingest("-c") == 2
        assert "-j JOB" in capsys.readouterr().err

    def test_a_token_is_a_login_here(self, desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        config = own_config(desk.folder)

        assert ingest(str(config), "-a", "0123456789abcdef", "-f") == 2

        told = capsys.readouterr().err
        assert "no API tokens here" in told
        assert "0123456789abcdef" not in told


def own_config(folder: Path) -> Path:
    """A configuration of our own form, which names the tiles of the folder."""
    path = folder / "ingest.json"
    settings = {
        "kind": "tile_files",
        "serial": SERIAL,
        "root": "tiles",
        "pattern": PATTERN,
        "grid": {"x": [0, 48], "y": [0, 32], "z": [0, 4], "tile": [16, 16]},
    }
    path.write_text(json.dumps(settings))
    return path
