"""The CSV of an upload: forgiving about form, strict about meaning, everything wrong told at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.config import Manifest, read_manifest
from imaging_db.config.manifest import parse_positions
from imaging_db.errors import ConfigError

ID = "ISP-2018-06-08-15-45-00-000{}"
ONE, TWO, THREE = (ID.format(number) for number in (1, 2, 3))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two sources in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"II")
    (tmp_path / "b c.tif").write_bytes(b"II")
    return tmp_path


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "files.csv"
    path.write_bytes(text.encode(encoding))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_manifest(path)
    return [problem.replace(str(path), "files.csv") for problem in caught.value.problems]


def serials(manifest: Manifest) -> list[str]:
    return [str(row.serial) for row in manifest.rows]


def test_a_row_is_an_id_a_source_and_what_is_known(folder: Path) -> None:
    text = (
        "dataset_id,file_name,description,positions,parent_dataset_id\n"
        f'{ONE},a.tif,"two\nlines","[0, 2]",\n{TWO}, b c.tif ,,,{ONE}\n'
    )
    first, second = read_manifest(write(folder, text)).rows
    assert (first.source, first.description, first.positions) == (
        folder / "a.tif",
        "two\nlines",
        (0, 2),
    )
    assert first.parent_serial is None
    assert second.source == folder / "b c.tif"
    assert (second.description, second.positions, second.parent_serial) == (None, None, ONE)


@pytest.mark.fault("M3")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_spreadsheet_may_have_written_it(
    folder: Path, encoding: str, end: str, separator: str
) -> None:
    lines = [["dataset_id", " file_name ", ""], [ONE, " a.tif", ""], ["", "", ""]]
    text = end.join(separator.join(line) for line in lines) + end
    assert serials(read_manifest(write(folder, text, encoding))) == [ONE]


def test_a_source_is_found_beside_the_csv_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, f"dataset_id,file_name\n{ONE},a.tif\n")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert read_manifest(path).rows[0].source == folder / "a.tif"


@pytest.mark.fault("M1", "M2", "M9")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty; its first line must name the columns"),
        ("\n \n", r"is empty"),
        ("dataset_id,file_name\n", r"files.csv: has a header and no rows"),
        ("dataset_id\nx\n", r"files.csv: missing column 'file_name' \(found: dataset_id\)"),
        (
            "dataset_id,file_name,positon\n",
            r"unknown column 'positon' \(did you mean 'positions'\?\)",
        ),
        ("dataset_id,file_name,file_name\n", r"the column 'file_name' is there twice"),
        (
            f"dataset_id,file_name\n{ONE},nope.tif\n",
            r"files.csv:2: file_name: 'nope.tif' not found",
        ),
        (f"dataset_id,file_name\n{ONE},\n", r"files.csv:2: file_name: is empty"),
        (f"dataset_id,file_name\n{ONE},nan\n", r"files.csv:2: file_name: is empty"),
        ("dataset_id,file_name\n,a.tif\n", r"files.csv:2: dataset_id: '' is not of the form"),
        (f'dataset_id,file_name\n"{ONE},a.tif\n', r"files.csv:\d: unexpected end of data"),
        (f"dataset_id,file_name\n{ONE},a.tif,[0, 2]\n", r"files.csv:2: has 4 cells, the header 2"),
        (
            f"dataset_id,file_name,positions\n{ONE},a.tif,1e3\n",
            r"files.csv:2: positions: '1e3' is not",
        ),
        (f"dataset_id,file_name,parent_dataset_id\n{ONE},a.tif,{ONE}\n", r"is the dataset itself"),
        (
            f"dataset_id,file_name,parent_dataset_id\n{ONE},a.tif,x\n",
            r"parent_dataset_id: 'x' is not",
        ),
        (f"dataset_id,file_name\n{ONE},{'x' * 5000}\n", r"files.csv:2: file_name: 'x"),
        (f"dataset_id,file_name\n{ONE},a\0.tif\n", r"holds NUL characters"),
    ],
)
def test_a_mistake_is_named_by_line_and_column(folder: Path, text: str, message: str) -> None:
    found = problems(write(folder, text))
    assert any(re.search(message, problem.replace(str(folder), "")) for problem in found), found


@pytest.mark.fault("M4")
def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    text = f"dataset_id,file_name\nbad,a.tif\n{ONE},nope.tif\n{TWO},a.tif\n{TWO.lower()},a.tif\n"
    found = problems(write(folder, text))
    assert [problem.split(":")[1] for problem in found] == ["2", "3", "5"]
    assert found[2].endswith(f"{TWO.lower()} is on line 4 already (they differ only by case)")


@pytest.mark.fault("M3")
def test_wrong_encoding_is_told_with_its_line(folder: Path) -> None:
    path = write(folder, f"dataset_id,file_name,description\n{ONE},a.tif,Größe\n", "latin-1")
    assert problems(path) == ["files.csv:2: not UTF-8"]


def test_parents_come_before_their_children(folder: Path) -> None:
    text = (
        "dataset_id,file_name,parent_dataset_id\n"
        f"{THREE},a.tif,{TWO}\n{TWO},a.tif,{ONE}\n{ONE},a.tif,None\n"
    )
    assert serials(read_manifest(write(folder, text))) == [ONE, TWO, THREE]


def test_a_circle_of_parents_is_told(folder: Path) -> None:
    text = f"dataset_id,file_name,parent_dataset_id\n{ONE},a.tif,{TWO}\n{TWO},a.tif,{ONE}\n"
    assert "lines 2, 3 are in a circle" in problems(write(folder, text))[0]


@pytest.mark.fault("M9")
@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("", None),
        ("all", None),
        ("NaN", None),
        ("3", (3,)),
        ("0,2", (0, 2)),
        ("0;2", (0, 2)),
        ("[7]", (7,)),
    ],
)
def test_positions_are_a_list_a_number_or_all(text: str, positions: tuple[int, ...] | None) -> None:
    assert parse_positions(text) == positions


@pytest.mark.fault("M9")
@given(st.text())
def test_no_other_positions_are_accepted_and_nothing_is_evaluated(text: str) -> None:
    try:
        found = parse_positions(text)
    except ValueError:
        return
    assert found is None or all(type(number) is int and number >= 0 for number in found)


def test_a_thousand_rows_with_a_bad_last_one_are_checked_at_once(folder: Path) -> None:
    rows = [f"P{number}-2018-06-08-15-45-00-0001,a.tif" for number in range(1000)]
    found = problems(write(folder, "\n".join(["dataset_id,file_name", *rows, "bad,a.tif"])))
    assert len(found) == 1
    assert found[0].startswith("files.csv:1002: dataset_id")
