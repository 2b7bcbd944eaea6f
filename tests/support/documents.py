"""Documents that are run: the fenced blocks of a Markdown file, and a desk at which they are tried.

``console`` blocks hold commands after ``$ `` and what they print. A line ``...`` stands for any number of
lines, ``$ echo $?`` for the exit code of the command before it; without it that must be 0. ``python``
blocks of one document share their names, and a ``text`` block right after one is what it prints. A block
``json file=a.json`` (or ``csv``, ``toml``, ``python``) is written to that file. All else is for people.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.commands import DOWNLOADER, IMAGING_DB, PATIENCE, UPLOADER, Commands

ROOT = Path(__file__).parents[2]
HOME = "/home/ada/demo"
"""The folder that documents name where a reader's own would stand."""

_FENCE = re.compile(r"^```(?P<info>.*)$")
_MODULES = {
    "data_uploader": UPLOADER,
    "data_downloader": DOWNLOADER,
    "query_data": "query_data",
    "imaging-db": IMAGING_DB,
}
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "<time>"),
    (re.compile(r"\b\d+\.\d s\b"), "<seconds>"),
    (re.compile(r"\b\d+(\.\d+)? (B|kB|MB|GB|TB)\b"), "<size>"),
    (re.compile(r"\b3\.\d+\.\d+ on \w+"), "<python>"),
    (re.compile(r"process \d+ on \S+?(?=[,;]|$)"), "<process>"),
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, what else its first line says, its lines, and where it starts."""

    language: str
    options: Mapping[str, str]
    lines: tuple[str, ...]
    line: int

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    held: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            held.append(line)
        elif opened is None:
            opened, held = (number, fence["info"]), []
        else:
            language, *options = opened[1].split() or [""]
            pairs = dict(option.split("=", 1) for option in options)
            found.append(Block(language, pairs, tuple(held), opened[0]))
            opened = None
    assert opened is None, f"{path}:{opened}: the block is not closed"
    return found


@dataclass(frozen=True)
class Step:
    """One command, what the document shows of its output, and the exit code that it names."""

    command: str
    shown: tuple[str, ...]
    code: int


def steps_of(block: Block) -> Iterator[Step]:
    """Yield the commands of a ``console`` block."""
    parts: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if line.startswith("$ "):
            parts.append((line[2:], []))
        elif parts and parts[-1][0].endswith("\\") and not parts[-1][1]:
            parts[-1] = (parts[-1][0][:-1] + line.strip(), [])
        else:
            assert parts, f"line {block.line}: output before the first command"
            parts[-1][1].append(line)
    for place, (command, shown) in enumerate(parts):
        if command == "echo $?":
            continue
        asked = parts[place + 1 : place + 2]
        code = int(asked[0][1][0]) if asked and asked[0][0] == "echo $?" else 0
        yield Step(command, tuple(shown), code)


@dataclass
class Desk:
    """A folder in which a document is tried.

    ``values`` replaces values in the JSON files that the document writes, by file and key, because no
    test can log in to the server that a document names. ``names`` replaces what is printed by what the
    document calls it. ``environment`` is added to that of its commands, which are then each a Python of
    its own, because some of it matters before the first import.
    """

    folder: Path
    commands: Commands
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    _printed: str | None = None
    _scope: dict[str, Any] = field(default_factory=lambda: {"__name__": "document"})

    def run(self, path: Path) -> int:
        """Try every block of a document; return how many of them were tried."""
        return sum(self._run_block(block, f"{path.name}:{block.line}") for block in blocks_of(path))

    def _run_block(self, block: Block, where: str) -> bool:
        printed, self._printed = self._printed, None
        if "file" in block.options:
            self._write(block)
        elif block.language == "console":
            for step in steps_of(block):
                self._run_step(step, where)
        elif block.language == "python":
            self._run_python(block, where)
        elif block.language == "text" and printed is not None:
            self._compare(block.lines, printed, where)
        else:
            return False
        return True

    def _write(self, block: Block) -> None:
        name = block.options["file"]
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = block.text
        if block.language == "json":
            text = json.dumps({**json.loads(text), **self.values.get(name, {})})
        target.write_text(text, encoding="utf-8")
        target.chmod(0o600)

    def _run_step(self, step: Step, where: str) -> None:
        name, *words = shlex.split(step.command)
        assert name in _MODULES, f"{where}: {name} is not one of our commands"
        code, printed = self._done(_MODULES[name], words)
        told = f"{where}: $ {step.command}\n{printed}"
        assert code == step.code, f"{told}exit code {code}, not {step.code}"
        self._compare(step.shown, printed, f"{where}: $ {step.command}")

    def _done(self, command: str, words: list[str]) -> tuple[int, str]:
        """Return the exit code of a command and what a terminal would show of it."""
        env = {"COLUMNS": "100", **self.environment}
        if not self.environment:
            options = {"env": env, "together": True, "kill_after": PATIENCE}
            done = self.commands.run(command, words, cwd=self.folder, **options)
            return done.code, done.stdout
        process = subprocess.run(
            [sys.executable, "-m", f"imaging_db.cli.{command}", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        return process.returncode, process.stdout

    def _run_python(self, block: Block, where: str) -> None:
        stream = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(stream):
            exec(compile(block.text, where, "exec"), self._scope)
        self._printed = stream.getvalue()

    def _compare(self, shown: tuple[str, ...], printed: str, where: str) -> None:
        for actual, documented in {**self.names, str(self.folder): HOME}.items():
            printed = printed.replace(actual, documented)
        expected = [_plain(line) for line in shown]
        found = [_plain(line) for line in printed.splitlines()]
        assert _fits(expected, found), (
            f"{where}\nthe document shows:\n{_indented(expected)}\nit prints:\n{_indented(found)}"
        )


def _plain(line: str) -> str:
    """Return a line without what differs from run to run: times, sizes, width of columns."""
    for pattern, name in _VARYING:
        line = pattern.sub(name, line)
    return " ".join(line.split())


def _fits(expected: list[str], found: list[str]) -> bool:
    """Return whether the lines are as expected; ``...`` stands for any number of lines."""
    if not expected:
        return not found
    if expected[0] == "...":
        return any(_fits(expected[1:], found[skip:]) for skip in range(len(found) + 1))
    return bool(found) and expected[0] == found[0] and _fits(expected[1:], found[1:])


def _indented(lines: list[str]) -> str:
    return "".join(f"  {line}\n" for line in lines)
