"""kill -9 at any moment: nothing partial is seen, and the same command once more finishes the work.

IMAGING_DB_TEST_KILLS sets how many moments there are, IMAGING_DB_TEST_SEED repeats them.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path, PurePosixPath

import pytest

from imaging_db import ImagingDB
from imaging_db.config import DatabaseSettings, StoreSettings
from imaging_db.model import UploadType, sha256_of_bytes
from imaging_db.stores.base import is_temporary
from tests.support.desk import WORKERS, Desk, write_stack
from tests.support.killed import ROUNDS, moments
from tests.support.lab import Lab, build_lab, make_lab

FRAMES, FILES = UploadType.FRAMES, UploadType.FILE


@pytest.mark.fault("K3")
@pytest.mark.parametrize(
    ("combination", "kind"),
    [("sqlite+local", FRAMES), ("postgres+local", FRAMES), ("sqlite+local", FILES)],
)
def test_a_killed_upload_is_finished_by_the_same_command(
    combination: str, kind: UploadType, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    desk = Desk(build_lab(combination, request.getfixturevalue, tmp_path), kind)
    desk.upload(0)
    undisturbed = desk.upload(1)
    assert undisturbed.code == 0, undisturbed.told
    cut_short = 0
    for number, moment in enumerate(moments(undisturbed.seconds), 2):
        killed = desk.upload(number, kill_after=moment)
        told = f"dataset {number}, killed after {moment:.4f} s: {killed.told}"
        seen = desk.seen(number)
        assert seen in (None, desk.truth), told
        cut_short += seen is None
        again = desk.upload(number)
        assert again.code == 0, told + again.told
        assert again.told.splitlines()[-1] == ("1 uploaded" if seen is None else "1 already there")
        assert desk.seen(number) == desk.truth, told
        assert desk.failures(number) == [], told
    everything = desk.keys(*range(ROUNDS + 2))
    assert set(desk.lab.keys()) == everything
    check_left_over(desk.files_in_store() - everything, cut_short)


@pytest.mark.fault("K3")
def test_a_killed_overwrite_is_finished_by_the_same_command(small_lab: Lab, tmp_path: Path) -> None:
    """At every moment there is the old dataset, the new one or none, and never a mixture."""
    desk = Desk(small_lab, FRAMES)
    old = tmp_path / "old.tif"
    old_truth = write_stack(old, seed=1, t=3)
    desk.uploading(0, source=old).start().wait()
    undisturbed = desk.upload(0, "--overwrite")
    assert undisturbed.code == 0, undisturbed.told
    for number, moment in enumerate(moments(undisturbed.seconds), 1):
        assert desk.uploading(number, source=old).start().wait().code == 0
        killed = desk.upload(number, "--overwrite", kill_after=moment)
        assert desk.seen(number) in (None, old_truth, desk.truth)
        again = desk.upload(number, "--overwrite")
        told = f"dataset {number}, killed after {moment:.4f} s: {killed.told} {again.told}"
        assert again.code == 0, told
        assert desk.seen(number) == desk.truth, told
        assert desk.failures(number) == [], told
    assert set(desk.lab.keys()) == desk.keys(*range(ROUNDS + 1))


def check_left_over(names: set[str], kills: int) -> None:
    """A killed process may leave what it was writing, under names that every listing passes over."""
    print(f"{len(names)} temporary files were left by {kills} kills")
    assert all(is_temporary(PurePosixPath(name).name) for name in names)
    assert len(names) <= kills * WORKERS


@pytest.mark.fault("K3", "K9")
def test_an_upload_that_was_killed_while_it_made_the_catalog_is_finished_too(
    tmp_path: Path,
) -> None:
    """The first upload of all also makes the database, and the folder of the store."""

    def new_desk(number: int) -> Desk:
        folder = tmp_path / str(number)
        store = StoreSettings("local", str(folder / "store"))
        database = DatabaseSettings("sqlite", str(folder / "catalog.sqlite"))
        return Desk(make_lab(database, store, folder), FRAMES)

    undisturbed = new_desk(0).upload(1)
    assert undisturbed.code == 0, undisturbed.told
    for number, moment in enumerate(moments(undisturbed.seconds), 1):
        desk = new_desk(number)
        killed = desk.upload(1, kill_after=moment)
        again = desk.upload(1)
        assert again.code == 0, f"killed after {moment:.4f} s: {killed.told} {again.told}"
        assert desk.seen(1) == desk.truth
        assert desk.failures(1) == []
        assert set(desk.lab.keys()) == desk.keys(1)
        check_left_over(desk.files_in_store() - desk.keys(1), 1)


@pytest.mark.fault("K3", "K6")
@pytest.mark.parametrize("kind", [FRAMES, FILES])
def test_a_killed_download_leaves_whole_files_and_is_finished_by_the_same_command(
    small_lab: Lab, kind: UploadType, tmp_path: Path
) -> None:
    desk = Desk(small_lab, kind)
    assert desk.upload(1).code == 0
    whole = objects_of(desk)
    desk.download(1, tmp_path / "first")
    undisturbed = desk.download(1, tmp_path / "second")
    assert undisturbed.code == 0, undisturbed.told
    for number, moment in enumerate(moments(undisturbed.seconds)):
        folder = tmp_path / str(number) / desk.lab.serial(1)
        killed = desk.download(1, folder.parent, kill_after=moment)
        check_final_names(folder, whole)
        again = desk.download(1, folder.parent)
        told = f"killed after {moment:.4f} s: {killed.told} {again.told}"
        assert again.code == 0, told
        metadata = {"frames_meta.csv", "global_metadata.json"} if kind is FRAMES else set()
        assert set(files_below(folder)) == set(whole) | metadata, told
        check_final_names(folder, whole)


def objects_of(desk: Desk) -> dict[str, str]:
    """The hashes of the bytes in the store, by name, after they were verified."""
    assert desk.failures(1) == []
    with ImagingDB(desk.lab.settings) as db:
        directory = db.dataset(desk.lab.serial(1)).dataset.storage_dir
        return {name: sha256_of_bytes(db.store.get(f"{directory}/{name}")) for name in desk.truth}


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def check_final_names(folder: Path, whole: dict[str, str]) -> None:
    """Whatever has its own name is whole; all else is told by its name."""
    for name, data in files_below(folder).items():
        if name in whole:
            assert sha256_of_bytes(data) == whole[name], name
        elif name == "frames_meta.csv":
            assert len(list(csv.DictReader(data.decode().splitlines()))) == len(whole)
        elif name == "global_metadata.json":
            assert json.loads(data)["nbr_frames"] == len(whole)
        else:
            unfinished = name.removesuffix(".part")
            assert name == ".imaging_db.lock" or (name.endswith(".part") and unfinished), name
