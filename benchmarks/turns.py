"""Contenders that run in turns, and what each of them took."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.result import Result, ratios
from benchmarks.scratch import working_folder
from benchmarks.timed import Took

Contender = Callable[[Path], Took]  # gets an empty folder of its own
Turns = dict[str, list[Took]]


def in_turns(contenders: Mapping[str, Contender], repeats: int) -> Turns:
    """Return what each contender took; all run once before any runs again."""
    found: Turns = {name: [] for name in contenders}
    with working_folder("turns") as folder:
        for turn in range(repeats):
            for number, (name, contender) in enumerate(contenders.items()):
                place = folder / f"{turn}-{number}"
                place.mkdir()
                found[name].append(contender(place))
                settle(place)
    return found


def settle(folder: Path) -> None:
    """Give the bytes of a turn back and let the disk rest, so that no turn pays for the one before.

    Files are cut, not deleted: ext4 without a journal gives no inode out again for a minute and searches
    long for another, which would make whoever comes next slower.
    """
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            os.truncate(file, 0)
    os.sync()


def rates(group: str, case: str, turns: Turns, nbr_bytes: int) -> dict[str, Result]:
    """Return MB/s of so many bytes for each contender, with CPU seconds a GB and peak RSS."""
    return {
        name: Result(
            group,
            case,
            name,
            "MB/s",
            tuple(one.rate(nbr_bytes) for one in runs),
            cpu_per_gb=tuple(one.cpu * 1e9 / nbr_bytes for one in runs),
            peak_rss=tuple(one.whole.peak_rss / 1e6 for one in runs),
        )
        for name, runs in turns.items()
    }


def compared(ours: Result, theirs: Result, least: float) -> Result:
    """Return ours by theirs, turn by turn, and whether the median reaches ``least``."""
    values = ratios(ours, theirs)
    met = statistics.median(values) >= least
    unit = f"times {theirs.name}"
    return Result(
        ours.group, ours.case, ours.name, unit, values, f"at least {least}", met, ours=True
    )


def at_most(ours: Result, theirs: Result, most: float, *, what: str) -> Result:
    """Return the CPU of ours by that of theirs, turn by turn, and whether the median is within ``most``."""
    values = tuple(a / b for a, b in zip(ours.cpu_per_gb, theirs.cpu_per_gb, strict=True))
    met = statistics.median(values) <= most
    return Result(ours.group, ours.case, ours.name, what, values, f"at most {most}", met, ours=True)
