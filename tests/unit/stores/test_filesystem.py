"""Names and paths of Windows, and renames that replace nothing."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from imaging_db.stores.filesystem import extended_path, publish, windows_problem


@pytest.mark.parametrize(
    "name", ["im_c000_z000.png", "two words", ".hidden", "\u00b5m", "CONtrol", "com10"]
)
def test_names_that_windows_keeps(name: str) -> None:
    assert windows_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("what?", "has one of"),
        ("stream:hidden", "has one of"),
        ("a*b", "has one of"),
        ("dot.", "ends with"),
        ("space ", "ends with"),
        ("NUL", "is reserved"),
        ("con.png", "is reserved"),
        ("Com1", "is reserved"),
        ("aux .txt", "is reserved"),
    ],
)
def test_names_that_windows_cannot_keep(name: str, problem: str) -> None:
    assert problem in str(windows_problem(name))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("D:\\lab\\store", "\\\\?\\D:\\lab\\store"),
        ("\\\\server\\share\\lab", "\\\\?\\UNC\\server\\share\\lab"),
        ("\\\\?\\D:\\lab", "\\\\?\\D:\\lab"),
    ],
)
def test_long_paths_of_windows(path: str, expected: str) -> None:
    assert extended_path(path) == expected


@pytest.mark.parametrize("links", ["links", "no links"])
@pytest.mark.parametrize("platform", [sys.platform, "freebsd14"])
def test_publish_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: str, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    if links == "no links":
        monkeypatch.setattr(os, "link", _refuse)
    new, target = tmp_path / "new", tmp_path / "target"
    new.write_bytes(b"new")
    publish(new, target)
    assert (target.read_bytes(), new.exists()) == (b"new", False)
    new.write_bytes(b"newer")
    with pytest.raises(FileExistsError):
        publish(new, target)
    assert (target.read_bytes(), new.read_bytes()) == (b"new", b"newer")


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
