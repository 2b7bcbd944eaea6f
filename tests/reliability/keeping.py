"""What there is in a store beside the objects of datasets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.torture.bench import Bench

UNKNOWN = "GONE-2020-01-02-03-04-05-0001"
WEEK = 7 * 86400


def strays(bench: Bench, present: Sequence[str]) -> list[str]:
    """The keys of objects that belong to none of the datasets that are present."""
    listed = [found.key for found in bench.db.store.list("")]
    return [key for key in listed if key.split("/")[1] not in present]


def collected(bench: Bench, *options: str) -> dict[str, Any]:
    """What a collection says, as data."""
    found: dict[str, Any] = json.loads(bench.do(bench.saying("gc", "--json", *options)).stdout)
    return found


def make_old(bench: Bench, *parts: str, seconds: float = WEEK + 60) -> None:
    """Let files of the store be as old as that."""
    then = time.time() - seconds
    for path in Path(bench.lab.settings.store.access).rglob("*"):
        if path.is_file() and all(part in str(path) for part in parts):
            os.utime(path, (then, then))
