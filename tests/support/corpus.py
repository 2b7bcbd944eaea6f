"""The real files that travel with the tests, and what is known of their pages."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


def truth(folder: Path, table: str) -> dict[tuple[str, str], list[dict[str, str]]]:
    """The rows of a truth table by dataset and file, in the order of the pages."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with (folder / table).open(newline="") as stream:
        for row in csv.DictReader(stream):
            rows[row["dataset"], row["file"]].append(row)
    return rows
