"""A desk in a folder: the commands in this process, with what they print and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaging_db.cli import data_downloader, data_uploader, main, query_data
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab

COMMANDS = {
    "upload": data_uploader.main,
    "download": data_downloader.main,
    "query": query_data.main,
    "imaging-db": main.main,
}


class Counter:
    """Runs commands in the folder of a lab; keeps every line of stderr that they print."""

    def __init__(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        self.lab = lab
        self.folder = lab.folder
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def run(self, command: str, *words: object) -> int:
        """The exit code; ``out`` and ``err`` hold what was printed."""
        self._capsys.readouterr()
        code = COMMANDS[command](list(map(str, words)))
        self.out, self.err = self._capsys.readouterr()
        return code

    def upload(self, *sources: Path | str, words: tuple[str, ...] = ()) -> int:
        """Upload sources, numbered from 1."""
        return self.run("upload", "--csv", self.lab.csv(*sources), *words)

    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def counter(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Counter:
    """A newcomer's desk with one stack, ``a.tif``."""
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    imagej_stack(small_lab.folder / "a.tif", seed=1)
    return Counter(small_lab, capsys)
