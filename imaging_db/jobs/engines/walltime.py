"""Workers that end by themselves before their batch job is killed, so that no unit is cut off."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST_MARGIN = 120
_SHARE = 12
_CLOCK = (3600, 60, 1)


def ending_before(system: str, walltime: object, given: Sequence[str]) -> list[str]:
    """Return a worker's arguments that let it end before the walltime of its job.

    They end at different moments, so that not all are gone at once. Nothing is returned where the user said
    how long workers live, or the walltime cannot be read.
    """
    seconds = seconds_of(system, walltime)
    margin = min(_LONGEST_MARGIN, (seconds or 0) // _SHARE)
    if seconds is None or not margin or any("--lifetime" in word for word in given):
        return []
    return ["--lifetime", f"{seconds - 2 * margin}s", "--lifetime-stagger", f"{margin}s"]


def seconds_of(system: str, walltime: object) -> int | None:
    """Return a walltime in seconds, None where it cannot be read.

    SLURM takes ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` and ``D-H:M:S`` (sbatch(1)), LSF ``M`` and
    ``H:M`` (bsub(1)), the others ``H:M:S`` and seconds.
    """
    days, dash, clock = str(walltime).rpartition("-")
    words = clock.split(":")
    if len(words) > len(_CLOCK) or not all(word.isdigit() for word in [days or "0", *words]):
        return None
    first = _first_unit(system, len(words), has_days=bool(dash))
    total = sum(int(word) * unit for word, unit in zip(words, _CLOCK[first:], strict=False))
    return int(days or 0) * 24 * 3600 + total


def _first_unit(system: str, count: int, *, has_days: bool) -> int:
    """Return what the first number of a clock counts: 0 hours, 1 minutes, 2 seconds."""
    if has_days or count == len(_CLOCK):
        return 0
    if system == "lsf":
        return 2 - count
    return 1 if system == "slurm" else len(_CLOCK) - count
