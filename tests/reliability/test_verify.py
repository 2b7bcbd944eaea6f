"""verify: every hash, or a sample; with a journal it goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.cli import main as imaging_db_command
from imaging_db.errors import CatalogUnavailable, DatasetNotFound, Interrupted, UsageError
from imaging_db.transfer import VerifyReport
from imaging_db.transfer.report import Silent
from imaging_db.transfer.sample import Sample
from imaging_db.transfer.verify_journal import VerifyJournal
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab
from tests.support.rot import overwrite, rot, sql, with_files, with_stack


class StopAfter(Silent):
    """The user presses Ctrl-C once so many objects are done."""

    def __init__(self, objects: int) -> None:
        self.left = objects

    def advance(self, objects: int, nbr_bytes: int) -> None:
        self.left -= objects
        if self.left <= 0:
            raise KeyboardInterrupt


class Counted(Silent):
    """How many objects were read."""

    def __init__(self) -> None:
        self.read = 0

    def advance(self, objects: int, nbr_bytes: int) -> None:
        self.read += bool(nbr_bytes) * objects


def journal_of(lab: Lab, path: Path, **options: object) -> VerifyJournal:
    return VerifyJournal.open(path, catalog=lab.settings.database.address, **options)  # type: ignore[arg-type]


def verify(lab: Lab, path: Path, *, progress: Silent | None = None) -> VerifyReport:
    with ImagingDB(lab.settings) as db, journal_of(lab, path) as journal:
        return db.verify(
            lab.serial(), journal=journal, workers=1, progress=progress, sample=journal.sample
        )


@pytest.mark.fault("K4")
@pytest.mark.parametrize("files", [False, True])
def test_an_interrupted_run_goes_on_where_it_was(
    small_lab: Lab, tmp_path: Path, files: bool
) -> None:
    lab = with_files(small_lab)[0] if files else small_lab
    if not files:
        with_stack(lab)
    total, path = (6 if files else 8), tmp_path / "verified.jsonl"
    with pytest.raises(Interrupted, match=rf"3 of {total} .* rerun with the same --journal"):
        verify(lab, path, progress=StopAfter(3))
    counted = Counted()
    report = verify(lab, path, progress=counted)
    assert (report.checked, report.earlier, report.failures) == (total, 3, ())
    assert counted.read == total - 3
    again = Counted()
    report = verify(lab, path, progress=again)
    assert (report.checked, report.earlier, again.read) == (total, total, 0)


def test_a_line_that_a_kill_cut_short_is_dropped(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    path = tmp_path / "verified.jsonl"
    verify(small_lab, path)
    whole = path.read_bytes()
    first, second, _ = whole.split(b"\n")
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with journal_of(small_lab, path):
            pass
        lines = path.read_bytes().splitlines(keepends=True)
        assert lines == [
            line + b"\n" for line in (first, second)[: max(1, whole[:cut].count(b"\n"))]
        ]
    path.write_bytes(whole[:-1])
    assert verify(small_lab, path).earlier == 0


@pytest.mark.fault("D8")
def test_what_was_damaged_is_read_again_and_nothing_else(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    path = tmp_path / "verified.jsonl"
    with ImagingDB(small_lab.settings) as db:
        store = db.store
        good = {found.key: store.get(found.key) for found in store.list("")}
    keys = rot(small_lab)
    assert len(verify(small_lab, path).failures) == len(keys)
    overwrite(store, keys["flip"], good[keys["flip"]])
    counted = Counted()
    assert len(verify(small_lab, path, progress=counted).failures) == len(keys) - 1
    assert counted.read == 1
    for key in keys.values():
        overwrite(store, key, good[key])
    assert verify(small_lab, path).failures == ()
    counted = Counted()
    report = verify(small_lab, path, progress=counted)
    assert (report.failures, counted.read) == ((), 0)
    assert report.nbr_bytes == sum(map(len, good.values()))


def test_what_was_replaced_since_is_verified_anew(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    path, other = tmp_path / "verified.jsonl", tmp_path / "other.tif"
    verify(small_lab, path)
    imagej_stack(other, seed=4)
    small_lab.upload_one(other, overwrite=True)
    report = verify(small_lab, path)
    assert (report.checked, report.earlier) == (8, 0)


def test_a_missing_row_is_told_by_every_run(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    sql(small_lab, "DELETE FROM frames WHERE time_idx = 1 AND slice_idx = 1 AND channel_idx = 1")
    for _ in range(2):
        (failure,) = verify(small_lab, tmp_path / "verified.jsonl").failures
        assert "7 of the 8 rows" in str(failure)


def test_rows_that_changed_below_a_journal_are_refused(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    with pytest.raises(Interrupted):
        verify(small_lab, tmp_path / "verified.jsonl", progress=StopAfter(4))
    sql(small_lab, "DELETE FROM frames WHERE channel_idx = 0 AND slice_idx = 0 AND time_idx = 0")
    with pytest.raises(UsageError, match="speaks of other rows"):
        verify(small_lab, tmp_path / "verified.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my notes\n", "1: is not a line of a journal"),
        ("my notes", "1: is not a line of a journal"),
        ('{"journal": "of another kind"}\n', "is not a journal of verify"),
        ('{"dataset": "a"}\n', "is not a journal of verify"),
        (
            '{"journal": "imaging_db verify 1", "catalog": "sqlite:/b"}\n',
            "another catalog, sqlite:/b",
        ),
        ("[1]\n", "1: is not a line"),
        ('{"journal": "imaging_db verify 1", "catalog": "a"}\n{"dataset": 3}\n', "whole journal"),
        ('{"journal": "imaging_db verify 1", "catalog": "a"}\n\n{}\n', "2: is not a line"),
    ],
)
def test_what_is_no_journal_of_this_catalog_is_refused_and_left_alone(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        VerifyJournal.open(path, catalog="a")
    assert path.read_text() == text


def test_two_runs_may_write_one_journal(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    path = tmp_path / "verified.jsonl"
    with (
        journal_of(small_lab, path) as one,
        journal_of(small_lab, path) as other,
        ImagingDB(small_lab.settings) as db,
    ):
        for journal in (one, other):
            assert db.verify(small_lab.serial(), journal=journal).earlier == 0
    assert len(path.read_bytes().splitlines()) == 3
    assert verify(small_lab, path).earlier == 8


def test_a_folder_or_a_device_is_no_journal(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        if path.exists():
            with pytest.raises(UsageError, match="is not a file"):
                VerifyJournal.open(path, catalog="a")
    with pytest.raises(UsageError, match="cannot be opened"):
        VerifyJournal.open(tmp_path / "no" / "such" / "folder", catalog="a")


def test_a_journal_keeps_its_sample(small_lab: Lab, tmp_path: Path) -> None:
    with_stack(small_lab)
    path = tmp_path / "verified.jsonl"
    with journal_of(small_lab, path, sample="3", seed=5):
        pass
    with journal_of(small_lab, path, sample="3") as journal:
        assert journal.sample == Sample("3", 3, None, 5)
    for other in ({"sample": None}, {"sample": "4"}, {"sample": "3", "seed": 6}):
        with pytest.raises(UsageError, match="the journal of a sample of 3, seed 5; repeat that"):
            journal_of(small_lab, path, **other)
    with ImagingDB(small_lab.settings) as db, journal_of(small_lab, path, sample="3") as journal:
        for earlier in (0, 3):
            report = db.verify(small_lab.serial(), journal=journal, sample=journal.sample)
            assert (report.checked, report.total, report.earlier) == (3, 8, earlier)


@pytest.mark.fault("D8")
def test_a_sample_finds_what_it_holds_and_tells_how_to_repeat_it(lab: Lab) -> None:
    with_stack(lab)
    rot(lab)
    with ImagingDB(lab.settings) as db:
        found = [
            len(db.verify(lab.serial(), sample=Sample.parse("4", seed=seed)).failures)
            for seed in (1, 1, 2, 3)
        ]
        whole = db.verify(lab.serial(), sample=Sample.parse("100%", seed=1))
    assert found[0] == found[1]
    assert all(1 <= number <= 4 for number in found)  # 4 of 8, of which 5 are damaged
    assert (whole.checked, len(whole.failures), whole.seed) == (8, 5, 1)


class AtFirst(Silent):
    """Does something once the first object was read."""

    def __init__(self, what: Callable[[], object]) -> None:
        self.what: Callable[[], object] | None = what

    def advance(self, objects: int, nbr_bytes: int) -> None:
        what, self.what = self.what, None if objects else self.what
        if what is not None and objects:
            what()


@pytest.mark.fault("C5")
def test_what_is_deleted_or_replaced_meanwhile_is_not_called_damaged(small_lab: Lab) -> None:
    with_stack(small_lab)
    other = small_lab.folder / "other.tif"
    imagej_stack(other, seed=4)

    def delete() -> None:
        with ImagingDB(small_lab.settings) as db:
            db.delete(small_lab.serial())

    def replace() -> None:
        small_lab.upload_one(other, overwrite=True)

    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(CatalogUnavailable, match="was replaced while it was read; rerun"):
            db.verify(small_lab.serial(), workers=1, progress=AtFirst(replace))
        assert db.verify(small_lab.serial()).wrong == 0
        with pytest.raises(DatasetNotFound):
            db.verify(small_lab.serial(), workers=1, progress=AtFirst(delete))


def command(lab: Lab, *words: str) -> int:
    login, config = lab.write_files()
    options = ["verify", "--login", str(login), "--config", str(config)]
    return imaging_db_command.main([*options, *words])


def test_exit_codes_and_lines_of_the_command(
    small_lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_stack(small_lab)
    serial, path = small_lab.serial(), str(tmp_path / "v.jsonl")
    assert command(small_lab, "--sample", "25%", "--seed", "7") == 0
    assert "2 of 8 frames, " in (line := capsys.readouterr().out)
    assert line.endswith("every hash agrees, a random sample (seed 7)\n")
    assert command(small_lab, "--journal", path) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert command(small_lab, serial, serial, "--journal", path) == 0
    assert "everything was verified already, as " in capsys.readouterr().out
    for words in (["--seed", "1"], ["--sample", "0"], ["--sample", "101%"], ["--sample", "some"]):
        assert command(small_lab, *words) == 2
        assert capsys.readouterr().err.count("error: ") == 1
    assert command(small_lab, "--sample", "1%", "--seed", "9" * 5000) == 2
    assert "'999999999999999999...' is not a whole number of up to 18 digits" in (
        line := capsys.readouterr().err.splitlines()[-1]
    )
    assert len(line) < 200
    assert command(small_lab, "--journal", str(tmp_path)) == 2
    assert command(small_lab, serial, "NOPE") == 2
    assert capsys.readouterr().out == ""  # nothing was begun
    keys = rot(small_lab, ("flip",))
    assert command(small_lab, "--json") == 6
    (report,) = json.loads(capsys.readouterr().out)
    assert keys["flip"] in report["failures"][0]["message"]
