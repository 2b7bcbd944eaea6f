"""The list of broken builds: the patches beside this file, each with a head that says what and who notices.

::

    # broken: rows are written without making their objects durable first
    # tests: tests/reliability/test_holes.py -k power_cut
    --- a/imaging_db/transfer/stream.py
    ...
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@dataclass(frozen=True, slots=True)
class Build:
    """One broken build; ``tests`` are words for pytest, of which at least one test has to fail."""

    name: str
    broken: str
    tests: tuple[str, ...]
    patch: Path

    def apply(self, tree: Path, *options: str) -> None:
        """Change the files of a tree as the patch says, or with ``-R`` back, or only try with ``--check``."""
        done = subprocess.run(
            ["git", "apply", "-C1", *options, str(self.patch)],
            cwd=tree,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ValueError(f"{self.patch.name} does not fit the tree: {done.stderr.strip()}")


def all_builds() -> list[Build]:
    """Every build, by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def _read(path: Path) -> Build:
    text = path.read_text(encoding="utf-8")
    broken = re.search(r"^# broken: (.+)$", text, re.MULTILINE)
    tests = re.search(r"^# tests: (.+)$", text, re.MULTILINE)
    if broken is None or tests is None:
        raise ValueError(f"{path.name} does not say what is broken, or which tests notice")
    return Build(path.stem, broken[1], tuple(shlex.split(tests[1])), path)
