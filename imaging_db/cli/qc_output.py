"""How the quality of a dataset is printed: tables for people, CSV, and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.cli import output
from imaging_db.config.csv_text import guarded

if TYPE_CHECKING:
    import pandas as pd

    from imaging_db.transfer.backfill import BackfillReport

_MOST_TOLD = 20
_CHANNEL_HEAD = {
    "channel": "channel",
    "frames": "frames",
    "intensity_min": "min",
    "intensity_p01": "p1",
    "intensity_mean": "mean",
    "intensity_p99": "p99",
    "intensity_max": "max",
    "saturated_share": "saturated",
    "focus": "focus",
    "focus_min": "least focus",
    "blank": "blank",
    "repeats": "repeats",
}
_FRAME_HEAD = {
    "frame": "frame",
    "file_name": "file",
    "intensity_min": "min",
    "intensity_p01": "p1",
    "intensity_mean": "mean",
    "intensity_p99": "p99",
    "intensity_max": "max",
    "saturated_share": "saturated",
    "focus": "focus",
    "flagged": "suspicious",
}
_TEXTS = ("channel", "frame", "file_name", "flagged")


@dataclass(frozen=True, slots=True)
class Looked:
    """What is told of one dataset."""

    serial: str
    frames: pd.DataFrame
    channels: pd.DataFrame
    backfill: BackfillReport | None
    written: tuple[Path, ...]


def print_csv(one: Looked, *, frames: bool, first: bool) -> None:
    """Print the frames, or the channels, as CSV; the head only before the ``first`` dataset."""
    table = one.frames if frames else one.channels
    table = table.assign(dataset_serial=one.serial)
    table = table[["dataset_serial", *table.columns[:-1]]]
    texts = table.select_dtypes(exclude=["number", "bool"]).columns
    table = table.assign(**{name: [_guarded(cell) for cell in table[name]] for name in texts})
    output.result_text(table.to_csv(index=False, header=first, lineterminator="\n").rstrip("\n"))
    _tell_written(one, output.note)


def print_table(one: Looked, *, frames: bool, first: bool) -> None:
    """Print a table of the channels, and of all ``frames`` or those that are suspicious."""
    if not first:
        output.result()
    _print_backfill(one.backfill)
    bad = one.frames[one.frames["flagged"] != ""]
    amount = output.count(len(one.frames), "frame")
    output.result(f"{one.serial}: {amount}, {len(bad) or 'none'} suspicious")
    _aligned(_CHANNEL_HEAD, (_channel_cells(row) for row in _rows(one.channels)))
    if frames:
        _aligned(_FRAME_HEAD, (_frame_cells(row) for row in _rows(one.frames)))
    else:
        _print_suspicious(bad)
    _print_rules(one, some=not bad.empty)
    _tell_written(one, output.result)


def _guarded(cell: Any) -> Any:
    return guarded(cell) if isinstance(cell, str) else cell


def _tell_written(one: Looked, tell: Callable[[str], None]) -> None:
    for path in one.written:
        tell(f"written: {path}")


def _print_backfill(report: BackfillReport | None) -> None:
    if report is None:
        return
    rest = f", {report.unmeasurable} cannot be" if report.unmeasurable else ""
    wrong = f", {report.wrong} are missing or damaged" if report.wrong else ""
    told = f", repeats told of {report.decided}" if report.decided else ""
    done = f"{output.count(report.measured, 'frame')} measured now"
    if not (report.measured or rest or wrong):
        done = "every frame was measured already"
    output.result(f"{report.serial}: {done}{told}{rest}{wrong}")


def _print_suspicious(bad: pd.DataFrame) -> None:
    told = [(_coords(row), row["file_name"], row["flagged"]) for row in _rows(bad[:_MOST_TOLD])]
    if told:
        output.table([(f"  {one[0]}", one[1], one[2].replace(" ", ", ")) for one in told])
    if len(bad) > _MOST_TOLD:
        output.result(f"  and {len(bad) - _MOST_TOLD} more; --frames lists every frame")


def _print_rules(one: Looked, *, some: bool) -> None:
    from imaging_db.api.quality import RULES

    output.result(
        "min and max are the extremes, saturated the largest share; p1, mean, p99 and focus are medians"
    )
    unmeasured = int(one.channels["unmeasured"].sum())
    if some:
        output.result("suspicious:")
        output.table([(f"  {word}", rule) for word, rule in RULES.items()])
    if unmeasured and one.backfill is None:  # else the line of the backfill told why
        output.note(
            f"{one.serial}: {output.count(unmeasured, 'frame')} not measured, or not in full; "
            "imaging-db qc --backfill can"
        )


def _rows(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    for row in table.to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _coords(row: dict[str, Any]) -> str:
    return f"c{row['channel_idx']} z{row['slice_idx']} t{row['time_idx']} p{row['pos_idx']}"


def _channel_cells(row: dict[str, Any]) -> list[str]:
    named = isinstance(row["channel_name"], str)
    label = f"{row['channel_idx']} {row['channel_name']}" if named else str(row["channel_idx"])
    return [label, *(_number(name, row[name]) for name in list(_CHANNEL_HEAD)[1:])]


def _frame_cells(row: dict[str, Any]) -> list[str]:
    figures = (_number(name, row[name]) for name in list(_FRAME_HEAD)[2:-1])
    return [_coords(row), row["file_name"], *figures, row["flagged"].replace(" ", ", ")]


def _number(name: str, value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "-"
    if name == "saturated_share":
        return f"{100 * value:.2f} %" if value else "0 %"
    return f"{value:.0f}" if abs(value) >= 1000 and math.isfinite(value) else f"{value:.4g}"


def _aligned(head: dict[str, str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table below its head: texts to the left, numbers to the right."""
    cells = [list(head.values()), *(list(map(output.printable, row)) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    texts = [name in _TEXTS for name in head]
    for row in cells:
        placed = (
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(row, widths, texts, strict=True)
        )
        output.result(("  " + "  ".join(placed)).rstrip())


def as_record(one: Looked, *, frames: bool) -> dict[str, Any]:
    """Return what JSON tells of a dataset; what is not known, or no finite number, is None."""
    from imaging_db.api.quality import RULES

    bad = one.frames[one.frames["flagged"] != ""]
    return {
        "serial": one.serial,
        "rules": RULES,
        "channels": _plain(one.channels),
        "suspicious": _plain(bad),
        "frames": _plain(one.frames) if frames else None,
        "backfill": one.backfill,
        "written": one.written,
    }


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows that JSON can hold: what is not known, or no number, is null."""
    import pandas as pd

    return [
        {name: None if pd.isna(value) else _finite(value) for name, value in row.items()}
        for row in _rows(table)
    ]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
