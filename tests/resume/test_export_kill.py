"""kill -9 at any moment of an export: no name without its pixels, and the same command finishes it.

A quarter of IMAGING_DB_TEST_KILLS, and at least two, is how many moments there are; IMAGING_DB_TEST_SEED
repeats them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.desk import write_stack
from tests.support.killed import ROUNDS, Command, Run, moments
from tests.support.lab import Lab


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of an export."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.fault("K3")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_killed_export_is_finished_by_the_same_command(small_lab: Lab, version: str) -> None:
    write_stack(small_lab.folder / "a.tif", side=280)
    small_lab.upload_one(small_lab.folder / "a.tif")
    small_lab.write_files()
    target = small_lab.folder / "out" / f"{small_lab.serial()}.ome.zarr"

    def run(*, kill_after: float | None = None) -> Run:
        words = ["export", small_lab.serial(), "--to", "ome-zarr", "--dest", "out"]
        words += ["--ome-zarr-version", version]
        command = Command("imaging_db.cli.main", words, small_lab.folder)
        return command.start().wait(kill_after=kill_after)

    assert run().code == 0  # imports everything once
    truth = contents(target)
    shutil.rmtree(target)
    undisturbed = run()
    assert contents(target) == truth
    for moment in moments(undisturbed.seconds, rounds=max(2, ROUNDS // 4)):
        shutil.rmtree(target, ignore_errors=True)
        killed = run(kill_after=moment)
        told = f"killed after {moment:.4f} s: {killed.told}"
        assert not target.exists() or contents(target) == truth, told
        again = run()
        assert again.code == 0, told + again.told
        assert contents(target) == truth, told
        assert [path.name for path in target.parent.iterdir()] == [target.name], told
