"""What belongs to a source that is stored as it is, and whether it is still what it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imaging_db.errors import CorruptSource, SourceChanged, UnsupportedFormat
from imaging_db.transfer.sources import empty_folders_note, files_of, fingerprint


def test_a_file_is_its_base_name_and_a_folder_its_files(tmp_path: Path) -> None:
    (tmp_path / "raw" / "sub").mkdir(parents=True)
    (tmp_path / "raw" / "b").write_text("b")
    (tmp_path / "raw" / "sub" / "a").write_text("aa")
    assert [(f.name, f.size) for f in files_of(tmp_path / "raw")] == [("b", 1), ("sub/a", 2)]
    assert [f.name for f in files_of(tmp_path / "raw" / "b")] == ["b"]


def test_an_empty_folder_is_refused_and_empty_folders_inside_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="empty folder"):
        files_of(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").touch()
    (note,) = empty_folders_note(tmp_path)
    assert "such as sub" in note


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made there")
@pytest.mark.parametrize("name", ["back\\slash", "line\nbreak"])
def test_a_name_that_no_store_takes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CorruptSource, match="cannot be stored"):
        files_of(tmp_path)


def test_names_that_differ_only_by_accent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "\u00fc").touch()
    (tmp_path / "u\u0308").touch()
    if len(list(tmp_path.iterdir())) == 2:  # some file systems fold them already
        with pytest.raises(CorruptSource, match="differ only by case or accent"):
            files_of(tmp_path)


def test_a_fingerprint_changes_with_size_time_name_and_reading(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")

    def mark(*settings: object) -> str:
        return fingerprint([file], tmp_path, settings=settings)

    first = mark("x")
    assert mark("x") == first
    assert mark("y") != first
    os.utime(file, ns=(1, 1))
    assert mark("x") != first
    file.unlink()
    with pytest.raises(SourceChanged, match="went away"):
        mark("x")
