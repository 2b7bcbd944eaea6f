"""Configurations of the Boss ingest client, as they are written and as tests need them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imaging_db.config.boss import BossConfig, read_boss

FOLDER = Path(__file__).parents[1] / "data" / "boss"
EXAMPLES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
LEFT_OUT = object()
"""A value that takes its key away."""

Document = dict[str, Any]


def example(name: str, changes: Mapping[str, Any] | None = None) -> Document:
    """Return an example with some values replaced, by their JSON path."""
    document: Document = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for path, value in (changes or {}).items():
        *above, key = path.split(".")
        place = document
        for step in above:
            place = place.setdefault(step, {})
        if value is LEFT_OUT:
            del place[key]
        else:
            place[key] = value
    return document


def saved(folder: Path, document: object, name: str = "job.json") -> Path:
    """Return the file that a document was written to."""
    path = folder / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def config_of(folder: Path, name: str, changes: Mapping[str, Any] | None = None) -> BossConfig:
    """Return an example as it is read from a file in ``folder``."""
    return read_boss(saved(folder, example(name, changes)))


def extent_of(x: int, y: int, z: int, t: int = 1) -> dict[str, list[int]]:
    """Return an extent from 0."""
    return {"x": [0, x], "y": [0, y], "z": [0, z], "t": [0, t]}
