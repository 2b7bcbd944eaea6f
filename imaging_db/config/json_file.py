"""Small JSON files that people write by hand: read strictly, with the line and column of a mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imaging_db.config.paths import is_file
from imaging_db.errors import ConfigError

MAX_BYTES = 4 * 2**20


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``; a byte-order mark is accepted.

    Raises
    ------
    ConfigError
        Missing, unreadable, larger than `MAX_BYTES`, not UTF-8, not JSON, a key given twice, NaN or
        Infinity, or not an object; the message starts with the file and, where known, line and column.
    """
    text = _read_text(path)
    try:
        value = json.loads(
            text, object_pairs_hook=lambda pairs: _unique(pairs, path), parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}:{error.lineno}:{error.colno}: {error.msg}", hint="mend the JSON"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except _NotJSON as error:
        raise ConfigError(f"{path}: {error} is not JSON", hint="mend the JSON") from error
    except ValueError as error:  # such as a number of thousands of digits
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds a {type(value).__name__}, an object {{...}} is needed")
    return value


def _read_text(path: Path) -> str:
    try:
        if not is_file(path, "file"):
            raise ConfigError(f"{path}: is not a file" if path.exists() else f"{path}: not found")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES // 2**20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error


class _NotJSON(ValueError):
    """A constant that Python's parser accepts and JSON does not."""


def _no_constant(name: str) -> Any:
    raise _NotJSON(name)


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigError(f"{path}: the key '{key}' is given twice")
        found[key] = value
    return found
