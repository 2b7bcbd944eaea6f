"""What was measured, kept as JSON lines: one line for each module that ran."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.result import Result


@dataclass(frozen=True)
class ModuleRun:
    """The results of one benchmark module, the machine they come from, and why it stopped, if it did.

    ``seconds`` is how long it took, ``day`` when (ISO), ``error`` None where it came to its end.
    """

    module: str
    machine: dict[str, str]
    repeats: int
    quick: bool
    day: str
    seconds: float
    error: str | None = None
    results: tuple[Result, ...] = field(default=())


def load(path: Path) -> list[ModuleRun]:
    """Return the runs that a file holds, none where it is not there."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_run(json.loads(line)) for line in lines if line.strip()]


def save(path: Path, runs: Iterable[ModuleRun]) -> None:
    """Write the runs, a line each; the file is replaced at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(f"{json.dumps(asdict(run))}\n" for run in runs), encoding="utf-8")
    part.replace(path)


def merged(earlier: Sequence[ModuleRun], new: ModuleRun) -> list[ModuleRun]:
    """Return ``earlier`` with the run of the new one's module replaced, or the new one added."""
    others = {run.module: run for run in earlier}
    others[new.module] = new
    return list(others.values())


def result_line(result: Result) -> str:
    """Return a result as one line of JSON."""
    return json.dumps(asdict(result))


def result_of(told: dict[str, Any]) -> Result:
    """Return the result that `result_line` wrote; fields that are unknown here are left out."""
    known = {item.name for item in fields(Result)}
    values = {key: value for key, value in told.items() if key in known}
    for key in ("values", "cpu_per_gb", "peak_rss"):
        values[key] = tuple(float(number) for number in values.get(key, ()))
    return Result(**values)


def _run(told: dict[str, Any]) -> ModuleRun:
    results = tuple(result_of(item) for item in told.pop("results"))
    return ModuleRun(**told, results=results)
