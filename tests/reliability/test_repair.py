"""repair puts back what is missing or damaged, byte-exact, and is finished by the same command."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from imaging_db import ImagingDB, failpoints
from imaging_db.cli import main as imaging_db_command
from imaging_db.config import StoreSettings
from imaging_db.errors import (
    Interrupted,
    ReaderError,
    UsageError,
)
from imaging_db.model import Dataset, sha256_of_bytes
from imaging_db.stores.local import LocalStore
from imaging_db.transfer.repair import Repairer
from imaging_db.transfer.replacements import Found, SecondStore, Wanted
from tests.reliability.repairing import AtFirst, age, check_whole, repair
from tests.support.acquisitions import imagej_stack
from tests.support.commands import Commands
from tests.support.lab import Lab, build_lab
from tests.support.matrix import Injected
from tests.support.rot import (
    KINDS,
    everything,
    keys_of,
    rot,
    second_store,
    sql,
    with_files,
    with_stack,
)
from tests.torture.amount import thinned

# --- from where


@pytest.mark.fault("D8", "N13")
def test_from_a_second_store_and_from_the_source(lab: Lab, injected: Injected) -> None:
    source = with_stack(lab)
    before, copy = everything(lab), second_store(lab)
    for options in ({"second": copy}, {"source": source}):
        injected.add(len(rot(lab)))
        report = repair(lab, **options)
        assert (report.repaired, report.reencoded, report.failures) == (len(KINDS), 0, ())
        check_whole(lab, before)
    report = repair(lab, source=source)
    assert (report.checked, report.repaired, report.failures) == (8, 0, ())


@pytest.mark.fault("D8")
@pytest.mark.parametrize("combination", ["sqlite+local", "postgres+moto"])
def test_files_come_back_too(
    combination: str, request: pytest.FixtureRequest, tmp_path: Path, injected: Injected
) -> None:
    lab, folder = with_files(build_lab(combination, request.getfixturevalue, tmp_path))
    before, copy = everything(lab), second_store(lab)
    for options in ({"second": copy}, {"source": folder}):
        injected.add(len(rot(lab)))
        report = repair(lab, **options)
        assert (report.noun, report.repaired, report.failures) == ("file", len(KINDS), ())
        check_whole(lab, before)


@pytest.mark.fault("D8")
def test_large_files_come_back_without_holding_the_catalog(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.transfer.repair._HELD_BYTES", 100)
    lab, folder = with_files(small_lab)
    before, copy = everything(lab), second_store(lab)
    for options in ({"second": copy}, {"source": folder}):
        rot(lab)
        assert repair(lab, **options).repaired == len(KINDS)
        check_whole(lab, before)


def test_what_the_second_store_lacks_comes_from_the_source(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    before, copy = everything(small_lab), second_store(small_lab)
    keys = rot(small_lab)
    (Path(copy.access) / keys["flip"]).unlink()
    (Path(copy.access) / keys["zero"]).write_bytes(b"rotten, too")
    report = repair(small_lab, second=copy)
    assert (report.repaired, len(report.failures)) == (3, 2)
    assert "not repaired: " in str(report.failures[0])
    assert f"missing from {copy.access}" in str(report.failures[0])
    report = repair(small_lab, second=copy, source=source)
    assert (report.repaired, report.failures) == (2, ())
    check_whole(small_lab, before)


@pytest.mark.fault("D8")
def test_a_frame_whose_bytes_cannot_be_made_again_keeps_its_pixels(lab: Lab) -> None:
    source = with_stack(lab)
    age(lab)
    rot(lab)
    report = repair(lab, source=source)
    assert (report.repaired, report.reencoded, report.failures) == (len(KINDS), 1, ())
    with ImagingDB(lab.settings) as db:
        assert db.check(lab.serial(), read_data=True).wrong == 0
        (first, *_) = db.dataset(lab.serial()).frames()
        assert first.object_sha256 == sha256_of_bytes(db.store.get(keys_of(db, lab.serial())[0]))
    assert repair(lab, source=source).repaired == 0


def test_rows_of_imagingdb_are_compared_by_their_pixels(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    before, copy = everything(small_lab), second_store(small_lab)
    sql(small_lab, "UPDATE frames SET object_sha256 = NULL, object_size = NULL, codec = NULL")
    sql(small_lab, "UPDATE data_set SET fingerprint = NULL, published_at = NULL")
    for options in ({"second": copy}, {"source": source}):
        rot(small_lab)
        assert repair(small_lab, **options).repaired == len(KINDS)
        check_whole(small_lab, before)


def test_a_row_without_any_hash_is_not_guessed_at(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    copy = second_store(small_lab)
    sql(small_lab, "UPDATE frames SET sha256 = NULL, object_sha256 = NULL, object_size = NULL")
    rot(small_lab, ("delete",))
    for options in ({"second": copy}, {"source": source}):
        (failure,) = repair(small_lab, **options).failures
        assert "has no recorded hash" in str(failure)


class Counted:
    """A second store that notes for how many objects it is asked at a time."""

    def __init__(self, copy: StoreSettings) -> None:
        self.asked: list[int] = []
        self.store = SecondStore(LocalStore(Path(copy.access)), workers=1)

    @property
    def address(self) -> str:
        return self.store.address

    def replacements(self, dataset: Dataset, wanted: Wanted) -> Generator[Found, None, None]:
        self.asked.append(len(wanted))
        return self.store.replacements(dataset, wanted)


def test_the_source_is_looked_through_for_more_and_more_objects_at_a_time(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.transfer.repair._LOOKED_UP", 1)
    monkeypatch.setattr("imaging_db.transfer.repair._MOST_LOOKED_UP", 5)
    with_stack(small_lab, t=3)
    spare = Counted(second_store(small_lab))
    rot(small_lab, ("delete",) * 12)
    with ImagingDB(small_lab.settings) as db:
        dataset = db.catalog.dataset(small_lab.serial())
        assert Repairer(db.catalog, db.store, [spare], 1).repair(dataset).repaired == 12
    assert spare.asked == [1, 4, 5, 2]


# --- what it must not do


def test_another_source_is_not_taken(small_lab: Lab) -> None:
    with_stack(small_lab)
    rot(small_lab)
    before, other = everything(small_lab), small_lab.folder / "other.tif"
    imagej_stack(other, seed=9, t=1)
    report = repair(small_lab, source=other)
    assert (report.repaired, len(report.failures)) == (0, len(KINDS))
    told = " ".join(map(str, report.failures))
    assert "has other pixels than recorded" in told
    assert f"is not in {other}" in told
    assert everything(small_lab) == before


def test_a_source_that_cannot_be_read_is_refused_before_anything(small_lab: Lab) -> None:
    with_stack(small_lab)
    rot(small_lab)
    before, broken = everything(small_lab), small_lab.folder / "broken.tif"
    broken.write_bytes(b"II*\0nonsense")
    with pytest.raises(ReaderError):
        repair(small_lab, source=broken)
    with pytest.raises(UsageError, match="not found"):
        repair(small_lab, source="nowhere.tif")
    with pytest.raises(UsageError, match="is the store that shall be repaired"):
        repair(small_lab, second=small_lab.settings.store)
    assert everything(small_lab) == before


def test_a_dry_run_and_one_without_a_source_change_nothing(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    rot(small_lab)
    before = everything(small_lab)
    report = repair(small_lab, source=source, dry_run=True)
    assert (report.repaired, report.failures) == (len(KINDS), ())
    report = repair(small_lab)
    assert (report.repaired, len(report.failures)) == (0, len(KINDS))
    assert "--source PATH" in str(report.failures[0])
    assert everything(small_lab) == before


# --- interrupted


STAGES = (
    "object.deleted",
    "object.deleted:2",
    "object.written",
    "object.named",
    "object.repaired",
    "catalog.committing",
    "catalog.committed",
)


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest.mark.fault("K1")
@pytest.mark.parametrize(
    ("combination", "stages"),
    [
        ("sqlite+local", thinned(STAGES, 2, offset=0)),
        ("postgres+moto", thinned(STAGES[::3], 2, offset=1)),
    ],
)
def test_a_repair_that_is_killed_anywhere_is_finished_by_the_same_command(
    combination: str,
    stages: Sequence[str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    commands: Commands,
    injected: Injected,
) -> None:
    lab = build_lab(combination, request.getfixturevalue, tmp_path)
    source = with_stack(lab)
    login, config = lab.write_files()
    words = ["repair", lab.serial(), "--source", source, "--login", login, "--config", config]
    words += ["--nbr_workers", "2"]
    for stage in stages:
        age(lab)
        rot(lab, ("flip", "zero", "delete"))
        killed = commands.run("main", words, cwd=lab.folder, failpoint=f"{stage}:kill")
        assert killed.code < 0, f"{stage}: {killed.told}"
        injected.add()
        again = commands.run("main", words, cwd=lab.folder)
        assert again.code == 0, f"{stage}: {killed.told}{again.told}"
        with ImagingDB(lab.settings) as db:
            found = db.check(lab.serial(), read_data=True)
        assert (found.wrong, found.extra) == (0, 0), stage


def test_the_stages_of_a_repair_are_all_reached(small_lab: Lab, disarmed: None) -> None:
    """A failpoint that raises in the middle is told, and the next run finishes."""
    source = with_stack(small_lab)
    before = everything(small_lab)
    for stage in ("object.deleted", "object.repaired"):
        rot(small_lab)
        failpoints.arm(f"{stage}:raise")
        with pytest.raises(RuntimeError, match=stage):
            repair(small_lab, source=source)
        failpoints.arm("")
        assert repair(small_lab, source=source).failures == ()
        check_whole(small_lab, before)


@pytest.mark.fault("K4")
def test_ctrl_c_tells_how_to_go_on(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    rot(small_lab)

    def stop() -> None:
        raise KeyboardInterrupt

    with (
        ImagingDB(small_lab.settings) as db,
        pytest.raises(Interrupted, match=r"^interrupted: .* rerun to continue"),
    ):
        db.repair(small_lab.serial(), source=source, progress=AtFirst(stop))
    assert repair(small_lab, source=source).failures == ()


# --- the command


def command(lab: Lab, *words: str) -> int:
    login, config = lab.write_files()
    options = ["repair", "--login", str(login), "--config", str(config)]
    return imaging_db_command.main([*options, *words])


def test_exit_codes_and_lines_of_the_command(
    small_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(with_stack(small_lab))
    copy: StoreSettings = second_store(small_lab)
    serial = small_lab.serial()
    assert command(small_lab, serial) == 0
    assert capsys.readouterr().out == f"{serial}: 8 frames, nothing to repair\n"
    rot(small_lab, ("flip", "delete"))
    assert command(small_lab, serial) == 6
    out, err = capsys.readouterr()
    assert out == f"{serial}: 0 of 8 frames repaired, 2 could not be\n"
    assert err.count("error: ") == err.count("\n") == 2
    assert command(small_lab, serial, "--source", source, "--dry-run") == 6
    assert "2 of 8 frames could be repaired, nothing was changed" in capsys.readouterr().out
    from_store = ["--from_storage", copy.storage, "--from_storage_access", copy.access]
    assert command(small_lab, serial, *from_store) == 0
    assert capsys.readouterr().out == f"{serial}: 2 of 8 frames repaired\n"
    for words in (
        [serial, "--from_storage", "local"],
        [serial, "--from_storage_access", copy.access],
        [serial, "--from_storage", "locl", "--from_storage_access", copy.access],
        [serial, "--from_storage", "local", "--from_storage_access", copy.access + "x"],
        [serial, small_lab.serial(2), "--source", source],
        [small_lab.serial(2)],
    ):
        assert command(small_lab, *words) == 2, words
        out, err = capsys.readouterr()
        assert (out, err.count("error: ")) == ("", 1), words
