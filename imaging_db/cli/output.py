"""Printing: results to stdout, errors and notes to stderr, progress to a terminal only."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    Conflict,
    DatasetBusy,
    DatasetNotFound,
    FolderBusy,
    ImagingDBError,
    IntegrityError,
    InvalidDatasetId,
    NothingSelected,
    ObjectsDamaged,
    ReaderError,
    SchemaOutOfDate,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
    UnsupportedFormat,
    UsageError,
)

if TYPE_CHECKING:
    from imaging_db.transfer import Progress

_TELLS = re.compile(r"; |\(did you mean|rerun")
_NEXT_STEPS: dict[type[ImagingDBError], str] = {  # the first that fits
    SchemaOutOfDate: "update imaging_db, or run `imaging-db db upgrade`",
    StoreDenied: "mend login or config",
    ConfigError: "mend it and run the command again",
    DatasetNotFound: "query_data lists the datasets",
    NothingSelected: "imaging-db show tells what there is",
    InvalidDatasetId: "query_data lists the datasets",
    UsageError: "see --help",
    UnsupportedFormat: "take it out, or upload it as it is (upload_type file)",
    ReaderError: "copy it again from where it was made, or take it out",
    StoreUnavailable: "rerun later",
    CatalogUnavailable: "rerun later",
    UnsafePath: "restore the catalog from a backup",
    IntegrityError: "restore it from a backup, or upload the source again with --overwrite",
    Conflict: "give it another id",
    DatasetBusy: "rerun later",
    FolderBusy: "rerun later",
}


def result(text: str = "") -> None:
    """Print one line of a result to stdout."""
    _print(printable(text))


def _print(text: str) -> None:
    """Print to stdout; a reader who has gone, such as `head`, must not end the work."""
    try:
        print(text)
    except OSError as error:
        stdout_failed(error)


def finish() -> None:
    """Hand over what is still buffered, after the work is done."""
    try:
        sys.stdout.flush()
    except OSError as error:
        stdout_failed(error)


def stdout_failed(error: OSError) -> None:
    """Print nothing more to stdout; complain, unless its reader just went away."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        raise StoreUnavailable(
            f"stdout cannot be written: {error.strerror}", hint="rerun for what it would have told"
        ) from error


def result_text(text: str) -> None:
    """Print text of several lines to stdout as it is."""
    _print(text)


def result_json(value: Any) -> None:
    """Print a result as JSON to stdout: dataclasses as objects, times as ISO 8601."""
    _print(json.dumps(plain(value), indent=2, ensure_ascii=True))


def note(text: str) -> None:
    """Print a remark to stderr."""
    _complain(f"note: {printable(text)}")


def _complain(line: str) -> None:
    """Print to stderr; where that cannot be written there is nobody left to tell, but the exit code."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def error_lines(error: Exception) -> list[str]:
    """Return the lines that tell an error, one for each thing that is wrong."""
    if isinstance(error, ConfigError):
        hint = f"; {error.hint}" if error.hint else ""
        return [_with_next_step(problem + hint, error) for problem in error.problems]
    if isinstance(error, ObjectsDamaged):
        lines = [line for failure in error.failures for line in error_lines(failure)]
        return [*lines, _with_next_step(str(error), error)]
    return [_with_next_step(str(error), error)]


def _with_next_step(line: str, error: Exception) -> str:
    """Return a line that says what to do next: its own hint, else what helps against such errors."""
    steps = (step for kind, step in _NEXT_STEPS.items() if isinstance(error, kind))
    step = next(steps, None)
    return line if step is None or _TELLS.search(line) else f"{line}; {step}"


def errors(error: Exception, *, where: str = "") -> None:
    """Print an error to stderr, a line each; ``where`` names the row of a CSV."""
    subject = where.rpartition(" ")[2]
    for line in error_lines(error):
        told = line.removeprefix(f"{subject} ") if subject else line
        prefix = f"{where}: " if where else ""
        _complain(f"error: {printable(prefix + told)}")


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control characters are escaped, line breaks too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table(rows: Iterable[tuple[object, ...]]) -> None:
    """Print rows in columns, left aligned."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        result("  ".join(cells).rstrip())


def plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, ImagingDBError):
        return {"message": str(value), "exit_code": value.exit_code, "kind": type(value).__name__}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def count(number: int, noun: str) -> str:
    """Return ``1 frame``, ``2 frames``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(nbr_bytes: float) -> str:
    """Return bytes for people, in powers of ten: ``3.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbr_bytes < 1000:
            return f"{nbr_bytes:.0f} {unit}" if unit == "B" else f"{nbr_bytes:.1f} {unit}"
        nbr_bytes /= 1000
    return f"{nbr_bytes:.1f} TB"


def progress(*, quiet: bool = False) -> Progress:
    """Return a progress bar on stderr where that is a terminal, otherwise silence."""
    if quiet or not sys.stderr.isatty():
        from imaging_db.transfer import Silent

        return Silent()
    from imaging_db.cli.progress_bar import ProgressBar
    from imaging_db.transfer import Paced

    return Paced(ProgressBar())
