"""What a unit costs, as it was measured: kept as JSON with the day and the machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent.parent / "docs" / "scale" / "costs.json"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a transaction takes: so much at all, for each unit in it, and for each row of a frame.

    ``own`` are CPU seconds of the driver, ``server`` those of PostgreSQL, ``log`` bytes of its write-ahead log.
    """

    own: tuple[float, float, float]
    server: tuple[float, float, float]
    log: tuple[float, float, float]

    def of(self, what: str, units: float, rows: float = 0.0) -> float:
        """Return ``own``, ``server`` or ``log`` of a transaction of so many units and rows."""
        base, unit, row = getattr(self, what)
        return float(base + unit * units + row * rows)


@dataclass(frozen=True, slots=True)
class Costs:
    """All that is measured; seconds and bytes, each for one unit, one frame or one row. ``quick``: small sizes.

    ``task_cpu`` is what a unit takes of a driver that is its own Dask scheduler; ``frame_cpu`` what a frame of
    ``raw_bytes`` takes of a worker that puts it into S3, as ``object_bytes``. ``publish_row`` is the time of making
    a dataset visible, ``known_row`` that of reading which frames have a row, ``status`` of telling how far it is.
    """

    day: str
    quick: bool
    machine: dict[str, str]
    claim: Cost
    commit: Cost
    renew: Cost
    create_unit: float
    known_row: float
    publish_row: float
    status: float
    unit_bytes: float
    unit_bytes_worked: float
    frame_bytes: float
    unit_bytes_sqlite: float
    frame_bytes_sqlite: float
    task_cpu: float
    frame_cpu: float
    raw_bytes: float
    object_bytes: float


def fitted(points: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Return base, cost a unit and cost a row of a transaction, none below 0.

    Each point is (units, rows a unit, cost): few units, many units with as many rows each, and where rows are
    to be told from units a third with more rows.
    """
    (few, rows, low), (many, _, high), *others = points
    both = max(0.0, (high - low) / (many - few))  # a unit and its rows
    base = max(0.0, low - both * few)
    if not others:
        return base, both, 0.0
    units, more_rows, cost = others[0]
    row = max(0.0, ((cost - base) / units - both) / (more_rows - rows))
    return base, max(0.0, both - rows * row), row


def load(path: Path = KEPT) -> Costs:
    """Return the costs that a file holds."""
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("claim", "commit", "renew"):
        told[name] = Cost(**{key: tuple(values) for key, values in told[name].items()})
    return Costs(**{item.name: told[item.name] for item in fields(Costs)})


def save(costs: Costs, path: Path = KEPT) -> None:
    """Write the costs, with four digits that count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(asdict(costs)), indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
