"""The text of a CSV that people made: decoded as spreadsheets save it, its line breaks as they are.

And cells that a spreadsheet may be given: what it would take for a formula, and run, has an apostrophe in front.
"""

from __future__ import annotations

import re
from pathlib import Path

from imaging_db.errors import ConfigError

MAX_BYTES = 64 * 2**20
_FORMULA = "=+-@\t\r＝＋－＠"  # noqa: RUF001 - spreadsheets take the wide ones, too
_GUARDED = re.compile(f"'+[{re.escape(_FORMULA)}]")
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?([eE][+-]?[0-9]+)?")


def read_csv_text(path: Path) -> str:
    """Return the text of a file: UTF-8 with or without byte-order mark, or UTF-16 with one.

    Raises
    ------
    ConfigError
        Missing, unreadable, larger than `MAX_BYTES`, of another encoding, or with NUL characters.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: is not a file" if path.exists() else f"{path}: not found")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES // 2**20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}:{line}: not {encoding.removesuffix('-sig').upper()}", hint="save it as UTF-8"
        ) from error
    if "\x00" in text:
        raise ConfigError(f"{path}: holds NUL characters, so it is not a CSV")
    return text


def guarded(cell: str) -> str:
    """Return a cell that no spreadsheet runs; one that looks guarded gets one more apostrophe."""
    runs = cell[:1] and cell[0] in _FORMULA and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if runs or _GUARDED.match(cell) else cell


def unguarded(cell: str) -> str:
    """Return the cell that `guarded` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell
