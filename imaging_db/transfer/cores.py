"""How many cores this process may use: of the machine, of its affinity, of its container."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    The least of what it is bound to (taskset, SLURM, a cpuset) and of the CPU time that its control
    groups allow (``docker --cpus``, Kubernetes); a share of a core counts as a core.
    """
    quota = cpu_quota()
    bound = _bound_cores()
    return max(1, bound if quota is None else min(bound, math.ceil(quota)))


def _bound_cores() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also honours PYTHON_CPU_COUNT
        return int(os.process_cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(*, root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> float | None:
    """Return how many cores' time Linux control groups allow, None where they set no limit.

    Version 2 keeps ``cpu.max`` ("quota period" or "max period"), version 1 ``cpu.cfs_quota_us`` (-1: no
    limit) and ``cpu.cfs_period_us``; a group has no more than each group above it. Source:
    Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst of the Linux kernel.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None  # no Linux
    found: list[float] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            found += _quotas(root, path, _quota_2)
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                found += _quotas(mount, path, _quota_1)
    return min(found, default=None)


def _quotas(mount: Path, path: str, quota: Callable[[Path], float | None]) -> list[float]:
    """Return the quotas of a group and of those above it, as far as they can be seen from here."""
    group = PurePosixPath("/", path)
    folders = [mount / str(one).lstrip("/") for one in (group, *group.parents)]
    return [limit for folder in folders if (limit := quota(folder)) is not None]


def _quota_2(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")
    return _cores(words[0], words[1]) if len(words) == 2 else None


def _quota_1(folder: Path) -> float | None:
    words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    return _cores(words[0], words[1]) if len(words) == 2 else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _cores(quota: str, period: str) -> float | None:
    if not (quota.isdecimal() and period.isdecimal()) or not int(period):
        return None
    return int(quota) / int(period)
