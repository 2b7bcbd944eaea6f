"""Metadata as JSON that every database keeps the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
JSONObject: TypeAlias = "dict[str, JSONValue]"

MAX_DEPTH = 100


def clean_json(value: Any, *, depth: int = 0) -> JSONValue:
    """Return ``value`` as JSON that PostgreSQL's JSONB and SQLite keep alike.

    NaN and the infinities become the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; NUL and lone
    surrogates become U+FFFD, because JSONB refuses them; NumPy scalars and arrays, tuples, sets, enums,
    dates, paths and bytes become their plain counterparts. Keys become strings.

    Raises
    ------
    ValueError
        Nested deeper than ``MAX_DEPTH``, or of a type that JSON has no word for.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return clean_json(value.name)
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _clean_float(float(value))
    if isinstance(value, Mapping):
        return {_clean_text(str(k)): clean_json(v, depth=depth + 1) for k, v in value.items()}
    return _clean_other(value, depth)


def clean_object(value: Mapping[str, Any]) -> JSONObject:
    """Return a mapping as a clean JSON object; see `clean_json`."""
    return {_clean_text(str(key)): clean_json(item, depth=1) for key, item in value.items()}


def _clean_other(value: Any, depth: int) -> JSONValue:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, PurePath):
        return _clean_text(str(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _clean_text(bytes(value).decode("latin-1"))
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, without importing NumPy
        return clean_json(value.tolist(), depth=depth)
    if isinstance(value, Iterable):
        return [clean_json(item, depth=depth + 1) for item in value]
    raise ValueError(f"{type(value).__name__} cannot be written as JSON")


def _clean_float(value: float) -> JSONValue:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _clean_text(text: str) -> str:
    if text.isascii():
        return text.replace("\x00", "\ufffd") if "\x00" in text else text
    return (
        text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
