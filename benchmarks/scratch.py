"""Where benchmarks put what they make: a folder of the user's choice, or one that goes away."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "BENCH_DIR"
QUICK = "BENCH_QUICK"  # set to 1 by --quick: small sizes


def scratch() -> Path:
    """Return the folder for acquisitions, stores and peers, kept between runs.

    It is ``BENCH_DIR``, else a temporary folder that this process and its children share and that is
    removed when this process ends.
    """
    if not os.environ.get(VARIABLE):
        made = tempfile.mkdtemp(prefix="imaging_db_bench_")
        os.environ[VARIABLE] = made  # children see the same
        atexit.register(shutil.rmtree, made, ignore_errors=True)
    folder = Path(os.environ[VARIABLE]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_quick() -> bool:
    """Return True where figures only have to show that all works: a module then takes small sizes."""
    return os.environ.get(QUICK, "") not in ("", "0")


@contextmanager
def working_folder(name: str) -> Iterator[Path]:
    """Give a new, empty folder below `scratch`, removed at the end: for stores, databases, downloads."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}_", dir=scratch()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
