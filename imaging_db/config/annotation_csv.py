"""Tags and notes as CSV: written so that a spreadsheet runs nothing, read back exactly.

A cell that a spreadsheet would take for a formula gets an apostrophe in front, and loses it again when it
is read. An empty value is a tag, unless the column ``kind`` calls it a note.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imaging_db.config.csv_text import guarded, read_csv_text, unguarded
from imaging_db.config.keys import did_you_mean
from imaging_db.errors import ConfigError, UsageError
from imaging_db.model import Annotation, AnnotationEdit

COLUMNS = ("serial", "key", "value", "kind", "author", "created_at")
_NEEDED = ("serial", "key")
_TAG, _NOTE = "tag", "note"
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class AnnotationLine:
    """One row: an edit. ``number`` counts lines of the file from 1."""

    number: int
    edit: AnnotationEdit


def annotations_csv(annotations: Iterable[Annotation], *, history: bool = False) -> bytes:
    """Return tags and notes as a CSV in UTF-8 that `read_annotations_csv` reads back.

    With ``history`` two columns more tell who removed what, and when; such a file is not read back.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, "removed_by", "removed_at") if history else COLUMNS)
    for one in annotations:
        kind = _TAG if one.value is None else _NOTE
        cells = (one.serial, one.key, one.value or "", kind, one.author, one.created_at.isoformat())
        removed = (one.removed_by or "", one.removed_at.isoformat() if one.removed_at else "")
        writer.writerow(map(guarded, (*cells, *removed) if history else cells))
    return text.getvalue().encode()


def read_annotations_csv(path: Path, *, now: datetime) -> list[AnnotationLine]:
    """Return the rows of a CSV with the columns `COLUMNS`, of which ``serial`` and ``key`` are needed.

    UTF-8 with or without byte-order mark, or UTF-16 with one; separated by comma, semicolon or tab. The
    cells are taken as they are, but for serial, kind and created_at, around which blanks do not count.

    Raises
    ------
    ConfigError
        All that is wrong, a line each: ``notes.csv:3: key: ...``.
    """
    header, records = _read_table(path)
    problems = _header_problems(path, header)
    if problems:
        raise ConfigError(problems)
    rows, lines = [], dict[tuple[str, str], int]()
    for line, cells in records:
        try:
            edit = _edit(_named(header, cells), now)
        except UsageError as error:
            problems.append(f"{path}:{line}: {error}")
            continue
        first = lines.setdefault((edit.serial, edit.key), line)
        if first != line:
            problems.append(f"{path}:{line}: key: line {first} has {edit.key!r} of it already")
        rows.append(AnnotationLine(line, edit))
    if not rows and not problems:
        problems.append(f"{path}: has a header and no rows")
    if problems:
        raise ConfigError(problems)
    return rows


def _edit(cells: dict[str, str], now: datetime) -> AnnotationEdit:
    """Return what a row wants; `UsageError` names the column that is wrong."""
    serial, kind = cells.get("serial", "").strip(), cells.get("kind", "").strip().lower()
    value: str | None = cells.get("value", "")
    if not serial:
        raise UsageError("serial: is empty")
    if kind not in ("", _TAG, _NOTE):
        raise UsageError(f"kind: {kind!r} is neither {_TAG} nor {_NOTE}")
    if kind == _TAG and value:
        raise UsageError("value: a tag has none; call it a note")
    if not value and kind != _NOTE:
        value = None
    return AnnotationEdit(
        serial,
        cells.get("key", ""),
        value,
        author=cells.get("author") or None,
        created_at=_time(cells.get("created_at", "").strip(), now),
    )


def _time(text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    try:
        told = datetime.fromisoformat(text)
        time = told.astimezone(UTC) if told.tzinfo else None
    except (ValueError, OverflowError):  # the first and the last hours of the calendar have no UTC
        time = None
    if time is None:
        raise UsageError(
            f"created_at: {text!r} is not a time with its zone, such as 2024-03-01T14:30:00+00:00"
        )
    if time > now + _CLOCKS_DIFFER:
        raise UsageError(f"created_at: {text} is still to come")
    return time


def _named(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if any(cells[len(header) :]):
        raise UsageError(
            f"has {len(cells)} cells, the header {len(header)}; put a cell that holds the separator "
            "in quotes"
        )
    return {name: unguarded(cell) for name, cell in zip(header, cells, strict=False) if name}


def _header_problems(path: Path, header: Sequence[str]) -> list[str]:
    named = [name for name in header if name]
    problems = [f"{path}: missing column '{name}'" for name in _NEEDED if name not in named]
    for name in dict.fromkeys(named):
        if name not in COLUMNS:
            problems.append(f"{path}: unknown column '{name}'{did_you_mean(name, COLUMNS)}")
        elif named.count(name) > 1:
            problems.append(f"{path}: the column '{name}' is there twice")
    return problems


def _read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and each record with the line that it begins on; cells as they are."""
    text = read_csv_text(path)
    first = "".join(text.lstrip("\r\n").splitlines()[:1])
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records, begin = [], 1
    try:
        for cells in reader:
            if any(cells):
                records.append((begin, cells))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{path}:{begin}: {error}") from error
    if not records:
        raise ConfigError(f"{path}: is empty; its first line must name the columns")
    return [name.strip() for name in records[0][1]], records[1:]
