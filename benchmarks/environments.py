"""Environments of their own for peers whose requirements clash with ours or with each other's."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.children import ChildFailed, run
from benchmarks.scratch import scratch

_LONGEST = 900.0


class NotInstalled(RuntimeError):
    """A peer cannot be had here; the message is for the report."""


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return the folder of an environment that holds the packages, made by pip if it is not there yet.

    Raises
    ------
    NotInstalled
        pip cannot install them.
    """
    folder = scratch() / "peers" / name
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    try:
        run([sys.executable, "-m", "venv", folder], timeout=_LONGEST)
        pip: list[str | Path] = [
            program(folder, "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
        ]
        run([*pip, "install", *packages], timeout=_LONGEST)
    except ChildFailed as error:
        told = [line for line in str(error).splitlines() if "ERROR" in line]
        reason = told[-1] if told else str(error).splitlines()[0]
        raise NotInstalled(f"pip cannot install {', '.join(packages)}: {reason}") from error
    (folder / "complete").touch()
    return folder


def program(folder: Path, name: str) -> Path:
    """Return a program of an environment."""
    return folder / ("Scripts" if os.name == "nt" else "bin") / name


def versions(folder: Path, packages: Sequence[str]) -> str:
    """Return the packages with their versions, as text for the report."""
    ask = "import importlib.metadata as m, json, sys; "
    ask += "print(json.dumps([f'{n} {m.version(n)}' for n in sys.argv[1:]]))"
    outcome = run([program(folder, "python"), "-c", ask, *packages])
    return ", ".join(json.loads(outcome.output.splitlines()[-1]))
