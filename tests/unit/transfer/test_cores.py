"""The cores that may be used are not those of the machine: of affinity and of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imaging_db.transfer.cores import cpu_quota, usable_cores


def quota(folder: Path, membership: str, **files: str) -> float | None:
    """The quota that a tree of control groups sets; ``__`` in a name stands for a slash."""
    (folder / "cgroup").write_text(membership)
    for name, text in files.items():
        path = (
            folder
            / "fs"
            / name.replace("__", "/").replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return cpu_quota(root=folder / "fs", membership=folder / "cgroup")


def test_version_2_inside_a_container(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/\n", cpu_max="150000 100000") == 1.5


def test_version_2_without_a_limit(tmp_path: Path) -> None:
    assert quota(tmp_path, "0::/\n", cpu_max="max 100000") is None


def test_version_2_takes_the_least_of_all_groups_above(tmp_path: Path) -> None:
    found = quota(
        tmp_path, "0::/user/job\n", user__cpu_max="200000 100000", user__job__cpu_max="max 100000"
    )
    assert found == 2


def test_version_1_in_a_container_that_shows_the_path_of_its_host(tmp_path: Path) -> None:
    files = {"cpu__cpu_cfs_quota_us": "50000", "cpu__cpu_cfs_period_us": "100000"}
    assert quota(tmp_path, "4:memory:/docker/a1\n2:cpu,cpuacct:/docker/a1\n", **files) == 0.5


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    files = {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}
    assert quota(tmp_path, "1:cpu:/\n", **files) is None


@pytest.mark.parametrize("text", ["", "nonsense", "1 0", "a b c"])
def test_what_nobody_understands_limits_nothing(tmp_path: Path, text: str) -> None:
    assert quota(tmp_path, f"0::/\n{text}\n", cpu_max=text) is None


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(root=tmp_path, membership=tmp_path / "none") is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_a_process_bound_to_one_core_uses_one() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cores() <= len(before)
