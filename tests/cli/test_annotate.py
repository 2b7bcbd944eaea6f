"""imaging-db annotate and annotations from a user's chair."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.cli import main as imaging_db_command
from imaging_db.errors import ConfigError
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab

VALUES = {
    "commas": "a, b;c\td",
    "quotes": 'the "good" one',
    "lines": "one\ntwo\r\nthree\rfour\n",
    "unicode": "\U0001f52c µm é e\u0301 \u202e",
    "formula": "=HYPERLINK(1)",
    "guarded": "'=1+1",
    "twice": "''@x",
    "apostrophe": "'tis",
    "minus": "-5.2e3",
    "dash": "- no number",
    "blanks": "  around  ",
    "none": "None",
    "empty": "",
    "long": "x" * 10_000,
    "+key": "formula as a key",
}


@pytest.fixture
def desk(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with two datasets whose folder is the working folder, and Ada at the keyboard."""
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    monkeypatch.setenv("IMAGING_DB_USER", "ada")
    imagej_stack(small_lab.folder / "a.tif", seed=1)
    small_lab.upload("a.tif", "a.tif")
    return small_lab


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs imaging-db; returns exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = imaging_db_command.main(words)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


Ask = Callable[..., tuple[int, str, str]]


def test_tags_and_notes_are_given_shown_and_taken_back(desk: Lab, ask: Ask) -> None:
    one, two = desk.serial(1), desk.serial(2)
    assert ask("annotate", one, two, "--tag", "good", "--note", "stain=Hoechst=2") == (
        0,
        f"{one}: added good\n{one}: added stain=Hoechst=2\n"
        f"{two}: added good\n{two}: added stain=Hoechst=2\n4 added\n",
        "",
    )
    told = ask("annotate", one, "--note", "stain=DAPI", "--remove", "good", "--author", "bob")[1]
    assert told == (
        f"{one}: changed stain=DAPI (was Hoechst=2)\n{one}: removed good\n1 changed, 1 removed\n"
    )
    assert [line.split() for line in ask("show", one)[1].splitlines()][-1] == ["note", "stain=DAPI"]
    shown = json.loads(ask("show", two, "--json")[1])
    assert (shown["tags"], shown["notes"]) == (["good"], {"stain": "Hoechst=2"})
    lines = ask("annotations", one, "--history")[1].splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["good", "stain=Hoechst=2", "stain=DAPI"]
    assert " ada, until " in lines[0]
    assert "bob" in lines[0]
    (found,) = json.loads(ask("annotations", one, "--json")[1])
    assert (found["key"], found["author"], found["removed_at"]) == ("stain", "bob", None)


def test_the_same_command_again_changes_nothing(desk: Lab, ask: Ask) -> None:
    ask("annotate", desk.serial(), "--tag", "good")
    assert ask("annotate", desk.serial(), "--tag", "good", "--author", "bob") == (
        0,
        f"{desk.serial()}: has good already\n",
        "",
    )
    ask("annotate", desk.serial(), "--remove", "good")
    code, out, err = ask("annotate", desk.serial(), "--remove", "good")
    assert (code, out, err) == (0, "", f"note: {desk.serial()} has no tag and no note 'good'\n")
    assert ask("annotations")[1] == "nothing is said of any dataset\n"


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["ID"], "name datasets or --where, and --tag, --note or --remove; or --from_csv"),
        (["ID", "--where", "frames > 1", "--tag", "x"], "not both"),
        (["ID", "--where", "", "--tag", "x"], "not both"),
        (["--where", "", "--tag", "x"], "the query is empty"),
        (["--from_csv", ""], "is not a file"),
        (["--where", "serial = none", "--tag", "x"], "no dataset fits --where"),
        (["--tag", "x"], "name datasets"),
        (["ID", "--note", "x"], "--note 'x' has no value; write KEY=VALUE"),
        (["ID", "--tag", "a=b"], "holds '='"),
        (["ID", "--tag", "x", "--remove", "x"], "'x' is given twice"),
        (["ID", "--from_csv", "a.csv"], "--from_csv goes without dataset ids"),
        (["LAB-2020-01-02-03-04-05-0007", "--tag", "x"], "did you mean LAB-2020-01-02"),
        (["ID", "LAB-2020-01-02-03-04-05-0007", "--tag", "x"], "there is no dataset"),
        (["ID", "--tag", "x", "--author", "a\nb"], "author"),
        (["--from_csv", "absent.csv"], "absent.csv: not found"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_changes(
    desk: Lab, ask: Ask, words: list[str], cause: str
) -> None:
    code, out, err = ask("annotate", *(w.replace("ID", desk.serial()) for w in words))
    assert (code, out) == (2, "")
    assert cause in err
    assert ask("annotations", "--history")[1] == "nothing is said of any dataset\n"


def test_a_csv_comes_back_exactly(desk: Lab, ask: Ask) -> None:
    with ImagingDB(desk.settings) as db:
        view = db.dataset(desk.serial())
        view.annotate("good", "-tag", author="=eve()", **VALUES)
        before = db.annotations.all()
    assert (
        ask("annotations", "--csv", "notes.csv")[1] == f"{len(before)} rows written to notes.csv\n"
    )
    assert ask("annotate", "--from_csv", "notes.csv")[1] == f"{len(before)} unchanged\n"
    words = [v for key in (*VALUES, "good", "-tag") for v in ("--remove", key) if "=" not in key]
    ask("annotate", desk.serial(), *words)
    assert ask("annotate", "--from_csv", "notes.csv")[0] == 0
    with ImagingDB(desk.settings) as db:
        after = db.annotations.all()
        assert db.dataset(desk.serial()).notes == VALUES
    assert [(a.key, a.value) for a in after] == [(b.key, b.value) for b in before]


def test_who_and_when_move_to_another_catalog(desk: Lab, ask: Ask) -> None:
    ask("annotate", desk.serial(), "--tag", "good", "--author", "eve")
    ask("annotations", "--csv", "notes.csv")
    with ImagingDB(desk.settings) as db:
        before = db.annotations.all()
    ask("delete", desk.serial(), "--yes")
    desk.upload("a.tif")
    assert ask("annotations")[1] == "nothing is said of any dataset\n"
    ask("annotate", "--from_csv", "notes.csv", "--author", "bob")
    with ImagingDB(desk.settings) as db:
        assert db.annotations.all() == before


def test_no_cell_of_the_csv_is_run_by_a_spreadsheet(desk: Lab, ask: Ask) -> None:
    with ImagingDB(desk.settings) as db:
        db.dataset(desk.serial()).annotate(author="@x", **VALUES)
    ask("annotations", "--csv", "notes.csv")
    with Path("notes.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    cells = [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r")]
    assert [cell for cell in cells if cell] == ["-5.2e3"]


def test_a_csv_that_people_wrote_is_read(desk: Lab, ask: Ask) -> None:
    text = f"key;serial;value\ngood;{desk.serial(1)};\nstain;{desk.serial(2)};DAPI\n"
    Path("notes.csv").write_bytes(text.encode("utf-16"))
    assert ask("annotate", "--from_csv", "notes.csv", "--dry-run")[1] == (
        f"{desk.serial(1)}: would add good\n{desk.serial(2)}: would add stain=DAPI\n2 added\n"
    )
    assert ask("annotations")[1] == "nothing is said of any dataset\n"
    assert ask("annotate", "--from_csv", "notes.csv")[1].endswith("2 added\n")


def test_a_changed_row_is_the_one_who_reads_it(desk: Lab, ask: Ask) -> None:
    ask("annotate", desk.serial(), "--note", "stain=DAPI", "--tag", "good", "--author", "eve")
    ask("annotations", "--csv", "notes.csv")
    text = Path("notes.csv").read_text(encoding="utf-8")
    Path("notes.csv").write_text(text.replace("DAPI", "Hoechst"), encoding="utf-8")
    ask("annotate", "--from_csv", "notes.csv")
    with ImagingDB(desk.settings) as db:
        said = {one.key: (one.author, one.value) for one in db.annotations.of(desk.serial())}
    assert said == {"good": ("eve", None), "stain": ("ada", "Hoechst")}


def test_every_mistake_of_a_csv_is_told_with_its_line(desk: Lab, ask: Ask) -> None:
    one = desk.serial()
    rows = [
        f'{one},a,"two\nlines",,,',
        f"{one},,x,,,",
        f"{one},a,y,,,",
        f"{one},b,x,tag,,",
        f"{one},c,x,nota,,",
        f"{one},d,x,,eve,yesterday",
        f"{one},e,x,,eve,2999-01-01T00:00:00Z",
        f"{one},f,x,,,,more",
        ",g,,,,",
        f"{one},h,x,,eve,0001-01-01T00:00:00+14:00",
    ]
    Path("notes.csv").write_text("\n".join(["serial,key,value,kind,author,created_at", *rows]))
    code, out, err = ask("annotate", "--from_csv", "notes.csv")
    assert (code, out) == (2, "")
    told = [line.removeprefix("error: notes.csv:").split(";")[0] for line in err.splitlines()]
    assert told == [
        "4: key is empty",
        "5: key: line 2 has 'a' of it already",
        "6: value: a tag has none",
        "7: kind: 'nota' is neither tag nor note",
        "8: created_at: 'yesterday' is not a time with its zone, such as 2024-03-01T14:30:00+00:00",
        "9: created_at: 2999-01-01T00:00:00Z is still to come",
        "10: has 7 cells, the header 6",
        "11: serial: is empty",
        "12: created_at: '0001-01-01T00:00:00+14:00' is not a time with its zone, such as "
        "2024-03-01T14:30:00+00:00",
    ]


def test_datasets_that_are_not_there_are_told_by_line(desk: Lab, ask: Ask) -> None:
    rows = [f"{desk.serial(n)},good" for n in (1, 8, 9)]
    Path("notes.csv").write_text("\n".join(["serial,key", *rows]))
    code, _, err = ask("annotate", "--from_csv", "notes.csv")
    assert code == 2
    assert [line.split(":")[2] for line in err.splitlines()] == ["3", "4"]
    assert ask("annotations")[1] == "nothing is said of any dataset\n"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b",,\n", "is empty"),
        (b"serial,key\n", "has a header and no rows"),
        (b"serial,kee\nx,y\n", "missing column 'key'"),
        (b"serial,key,key\nx,y,z\n", "is there twice"),
        (b"serial,key\nx,\xff\n", "not UTF-8"),
        (b"serial,key\nx,\x00\n", "NUL"),
        (b'serial,key\nx,"y\n', "unexpected end of data"),
    ],
)
def test_a_file_that_is_no_such_csv_is_refused(desk: Lab, content: bytes, cause: str) -> None:
    Path("notes.csv").write_bytes(content)
    with ImagingDB(desk.settings) as db, pytest.raises(ConfigError, match=cause):
        db.annotations.import_csv("notes.csv")


def test_a_list_goes_to_a_file_whole_or_not_at_all(desk: Lab, ask: Ask) -> None:
    code, _, err = ask("annotations", "--csv", "absent/notes.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert "absent/notes.csv cannot be written: No such file or directory" in err


def test_only_a_file_gives_way_to_a_list(desk: Lab, ask: Ask) -> None:
    Path("link.csv").symlink_to("elsewhere.csv")
    os.mkfifo("pipe.csv")
    Path("notes.csv").write_text("older")
    for place in ("link.csv", "pipe.csv", "notes.csv/x.csv", ".", "", "n" * 300):
        before = sorted(desk.folder.iterdir())
        code, out, err = ask("annotations", "--csv", place)
        assert (code, out, err.count("\n")) == (2, "", 1), place
        assert sorted(desk.folder.iterdir()) == before
    assert Path("link.csv").is_symlink()
    assert Path("pipe.csv").is_fifo()
    assert ask("annotations", "--csv", "notes.csv")[0] == 0
    assert Path("notes.csv").read_text() != "older"


def test_queries_find_datasets_by_what_is_said(desk: Lab, ask: Ask) -> None:
    ask("annotate", desk.serial(2), "--note", "stain=Hoechst")
    assert ask("query", "--text", "hoechst")[1].splitlines() == ["1 dataset", f"0 {desk.serial(2)}"]


def test_what_a_query_finds_is_annotated(desk: Lab, ask: Ask) -> None:
    where = f"serial = {desk.serial(2)}"
    assert (
        ask("annotate", "--where", where, "--tag", "good")[1] == f"{desk.serial(2)}: added good\n"
    )
    assert ask("query", "--where", "tag = good")[1].splitlines()[1:] == [f"0 {desk.serial(2)}"]


def test_who_has_no_name_is_told_to_say_one(
    desk: Lab, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise OSError("no user")

    monkeypatch.delenv("IMAGING_DB_USER")
    monkeypatch.setattr("getpass.getuser", nobody)
    code, _, err = ask("annotate", desk.serial(), "--tag", "good")
    assert code == 2
    assert err.startswith(
        "error: nobody is logged in to this computer by name; set IMAGING_DB_USER"
    )
