"""The CSV of an upload: read, checked whole, every mistake told at once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging_db.config.csv_text import read_csv_text
from imaging_db.config.keys import did_you_mean
from imaging_db.config.paths import expanded
from imaging_db.errors import ConfigError, InvalidDatasetId
from imaging_db.model import DatasetId

COLUMNS = ("dataset_id", "file_name", "description", "positions", "parent_dataset_id")
_REQUIRED = ("dataset_id", "file_name")
_ABSENT = ("", "none", "nan", "null", "n/a")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row: a dataset to be. ``line`` counts lines of the file from 1; ``source`` is absolute."""

    line: int
    serial: DatasetId
    source: Path
    description: str | None = None
    positions: tuple[int, ...] | None = None
    parent_serial: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A CSV that is right as a whole; parents come before their children."""

    path: Path
    rows: tuple[ManifestRow, ...]

    def where(self, row: ManifestRow) -> str:
        """Return how messages name a row: ``files.csv:3 ISP-...``."""
        return f"{self.path.name}:{row.line} {row.serial}"


def read_manifest(path: Path | str) -> Manifest:
    """Return the rows of a CSV with the columns `COLUMNS`.

    UTF-8 with or without byte-order mark, or UTF-16 with one; any line ending; separated by comma,
    semicolon or tab; blanks around a cell do not count. Empty, ``None`` and ``NaN`` mean absent. A
    relative ``file_name`` is looked for in the working folder, then beside the CSV.

    Raises
    ------
    ConfigError
        All that is wrong, a line each: ``files.csv:3: dataset_id: ...``.
    """
    path = Path(path)
    header, records = _read_table(path)
    problems = _header_problems(path, header)
    if any(name not in header for name in _REQUIRED):
        raise ConfigError(problems)
    rows = [_row(path, header, record, problems) for record in records]
    if not rows and not problems:
        problems.append(f"{path}: has a header and no rows")
    good = [row for row in rows if row is not None]
    _check_duplicates(path, good, problems)
    ordered = _parents_first(path, good, problems)
    if problems:
        raise ConfigError(problems)
    return Manifest(path, tuple(ordered))


Record = tuple[int, list[str]]


def _read_table(path: Path) -> tuple[list[str], list[Record]]:
    """Return the header, and each record with the line that it begins on."""
    text = _read_text(path)
    if not text.strip():
        raise ConfigError(f"{path}: is empty; its first line must name the columns")
    first = text.lstrip("\n").split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: list[Record] = []
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((begin, [cell.strip() for cell in cells]))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(f"{path}:{begin}: {error}") from error
    return records[0][1], records[1:]


def _cells(
    path: Path, header: Sequence[str], record: Record, problems: list[str]
) -> dict[str, str]:
    line, cells = record
    if any(cells[len(header) :]):
        problems.append(
            f"{path}:{line}: has {len(cells)} cells, the header {len(header)}; "
            'put a cell that holds the separator in quotes, as in "[0, 2]"'
        )
    return {name: cell for name, cell in zip(header, cells, strict=False) if name}


def _read_text(path: Path) -> str:
    return read_csv_text(path).replace("\r\n", "\n").replace("\r", "\n")


def _header_problems(path: Path, header: Sequence[str]) -> list[str]:
    named = [name for name in header if name]
    problems = [
        f"{path}: missing column '{name}' (found: {', '.join(named)})"
        for name in _REQUIRED
        if name not in named
    ]
    problems += [
        f"{path}: unknown column '{name}'{did_you_mean(name, COLUMNS)}"
        for name in named
        if name not in COLUMNS
    ]
    problems += [
        f"{path}: the column '{name}' is there twice"
        for name in dict.fromkeys(named)
        if named.count(name) > 1
    ]
    return problems


def _row(
    path: Path, header: Sequence[str], record: Record, problems: list[str]
) -> ManifestRow | None:
    found, line = len(problems), record[0]
    cells = _cells(path, header, record, problems)

    def wrong(column: str, why: object) -> None:
        problems.append(f"{path}:{line}: {column}: {why}")

    serial = source = parent = positions = None
    try:
        serial = DatasetId.parse(cells.get("dataset_id", ""))
    except InvalidDatasetId as error:
        wrong("dataset_id", error)
    try:
        source = _source(path, cells.get("file_name", ""))
    except ValueError as error:
        wrong("file_name", error)
    try:
        positions = parse_positions(cells.get("positions", ""))
    except ValueError as error:
        wrong("positions", error)
    try:
        parent = _parent(cells.get("parent_dataset_id", ""), serial)
    except ValueError as error:
        wrong("parent_dataset_id", error)
    if len(problems) > found or serial is None or source is None:
        return None
    description = cells.get("description", "")
    text = None if description.lower() in _ABSENT else description
    return ManifestRow(line, serial, source, text, positions, parent)


def _source(csv_path: Path, text: str) -> Path:
    if text.lower() in _ABSENT:
        raise ValueError("is empty; name a file or a folder")
    named = expanded(text)
    for folder in (Path.cwd(), csv_path.absolute().parent):
        if _exists(folder / named):
            return (folder / named).absolute()
    raise ValueError(f"{text!r} not found, neither in the working folder nor beside the CSV")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name or path longer than the file system takes
        raise ValueError(f"{path.name[:40]!r}...: {error.strerror}") from error


def parse_positions(text: str) -> tuple[int, ...] | None:
    """Return positions from ``[0, 2]``, ``0,2``, ``0;2`` or ``3``; None for empty or ``all``.

    Raises
    ------
    ValueError
        Anything else, a negative number, or a number twice.
    """
    if text.lower() in (*_ABSENT, "all"):
        return None
    listed = text if text.startswith("[") else f"[{text.replace(';', ',')}]"
    try:
        values = json.loads(listed)
    except (json.JSONDecodeError, RecursionError):
        values = None
    whole = isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)
    if not whole or not values:
        raise ValueError(f"{text!r} is not a list of whole numbers from 0, such as [0, 2]")
    if len(set(values)) < len(values):
        raise ValueError(f"{text!r} names a position twice")
    return tuple(values)


def _parent(text: str, serial: DatasetId | None) -> str | None:
    if text.lower() in _ABSENT:
        return None
    parent = str(DatasetId.parse(text))
    if serial is not None and parent == str(serial):
        raise ValueError("is the dataset itself")
    return parent


def _check_duplicates(path: Path, rows: Sequence[ManifestRow], problems: list[str]) -> None:
    first: dict[str, ManifestRow] = {}
    for row in rows:
        earlier = first.setdefault(str(row.serial).lower(), row)
        if earlier is not row:
            case = "" if earlier.serial == row.serial else " (they differ only by case)"
            problems.append(
                f"{path}:{row.line}: dataset_id: {row.serial} is on line {earlier.line} already{case}"
            )


def _parents_first(
    path: Path, rows: Sequence[ManifestRow], problems: list[str]
) -> list[ManifestRow]:
    waiting = {str(row.serial): row for row in rows}
    ordered: list[ManifestRow] = []
    while waiting:
        free = [row for row in waiting.values() if row.parent_serial not in waiting]
        if not free:
            lines = ", ".join(str(row.line) for row in waiting.values())
            problems.append(f"{path}: parent_dataset_id: the rows on lines {lines} are in a circle")
            break
        ordered += free
        for row in free:
            del waiting[str(row.serial)]
    return ordered
