"""A page's tags as JSON, by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imaging_db.model import JSONObject, clean_object
from imaging_db.readers import tiff_directory as ifd

# Where things lie in the file, tables for decoders and displays, and blocks of other programs.
LEFT_OUT = frozenset(
    {273, 279, 288, 289, 320, 324, 325, 330, 347, 513, 514, 519, 520, 521, 700, 33723, 34377, 34675,
     ifd.IMAGEJ_BYTE_COUNTS, ifd.IMAGEJ_METADATA}
)  # fmt: skip
_MOST_NUMBERS = 64


def tags_as_json(values: Mapping[int, Any]) -> JSONObject:
    """Return tag values by name: text, numbers, rationals as pairs, Micro-Manager's JSON.

    Left out are binary blocks and lists of more than 64 numbers.
    """
    named: dict[str, Any] = {}
    for code, value in values.items():
        if isinstance(value, bytes) or (isinstance(value, tuple) and len(value) > _MOST_NUMBERS):
            continue
        named[_name_of(code)] = _json_of(value) if code == ifd.MICRO_MANAGER else value
    return clean_object(named)


def _name_of(code: int) -> str:
    import tifffile

    return str(tifffile.TIFF.TAGS.get(code, str(code)))


def _json_of(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
