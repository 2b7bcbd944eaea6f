"""How long the commands take to answer, from the shell's point of view."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.acquisitions import Synthetic
from benchmarks.children import Outcome, run_python
from benchmarks.lab import COMMANDS, Lab
from benchmarks.result import Result
from benchmarks.scratch import working_folder

_GROUP = "Start"
_DATASETS = 20
_RUNS = 3  # a repeat is the median of so many starts: they last a fraction of a second
_QUERY = ("query_data", f"SQLite, {_DATASETS} datasets")
_PYTHON = ("Python alone", "empty program")
_MOST = {("data_uploader", "--help"): 0.3, _QUERY: 0.5}

Key = tuple[str, str]  # a command, and what it is asked


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give the seconds until each command has answered; the interpreter alone stands beside them."""
    asked = [_PYTHON, *((name, "--help") for name in COMMANDS), _QUERY]
    outcomes: dict[Key, list[list[Outcome]]] = {key: [] for key in asked}
    with working_folder("start") as folder:
        lab = Lab.new(folder)
        lab.upload([Synthetic("micro_manager", frames=10, side=64).path()] * _DATASETS)
        for key in asked:
            _start(lab, key)  # fills the caches of files and bytecode
        for _ in range(repeats):
            for key in asked:
                outcomes[key].append([_start(lab, key) for _ in range(_RUNS)])
    for key, turns in outcomes.items():
        yield from _results(key, turns)


def _start(lab: Lab, key: Key) -> Outcome:
    if key == _PYTHON:
        return run_python("-c", "pass")
    return lab.call(key[0], *(["--help"] if key[1] == "--help" else []))


def _results(key: Key, turns: list[list[Outcome]]) -> Iterator[Result]:
    """Give seconds of wall clock and of CPU; the latter are steadier on a shared machine."""
    name, case = key
    most = _MOST.get(key)
    wall = tuple(statistics.median(one.wall for one in runs) for runs in turns)
    cpu = tuple(statistics.median(one.cpu for one in runs) for runs in turns)
    memory = tuple(max(one.peak_rss for one in runs) / 1e6 for runs in turns)
    ours = name in COMMANDS
    target = f"7. {name} ({case}): at most {most} s" if most else ""
    met = statistics.median(wall) <= most if most else None
    yield Result(_GROUP, case, name, "s", wall, target, met, peak_rss=memory, ours=ours)
    yield Result(_GROUP, case, name, "CPU s", cpu, ours=ours)
