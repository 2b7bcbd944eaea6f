"""File names as configurations of the Boss write them: ``<o:200>_section_<p:4>``.

``<>`` is an index, ``<o:200>`` the index + 200, ``<p:4>`` the index filled with zeros to four digits,
``<o:200p:4>`` both, in this order. Everything else in angle brackets stays as it is, but for ``<x>``, ``<y>``
and ``<z>``, which `plane_pattern` knows: tile column, tile row and slice without zeros.

Source: jhuapl-boss/ingest-client, plugins ``stack``, ``hdf5`` and ``multipage_tiff``.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"<(?:o:(\d+))?(?:p:(\d+))?>")
_PLACES = {"<x>": "{col}", "<y>": "{row}", "<z>": "{z}"}


def boss_name(base_filename: str, index: int) -> str:
    """Return the file name, without extension, that a ``base_filename`` means for an index."""

    def spelled(token: re.Match[str]) -> str:
        return str(index + int(token[1] or 0)).zfill(int(token[2] or 0))

    return _TOKEN.sub(spelled, base_filename)


def boss_pattern(base_filename: str, field: str) -> str:
    """Return the pattern of ours for a ``base_filename``; ``field`` is the number that its tokens tell."""

    def spelled(token: re.Match[str]) -> str:
        added = f"+{int(token[1])}" if token[1] and int(token[1]) else ""
        width = f":0{int(token[2])}" if token[2] and int(token[2]) else ""
        return f"{{{field}{added}{width}}}"

    escaped = base_filename.replace("{", "{{").replace("}", "}}")
    return _TOKEN.sub(spelled, escaped)


def plane_pattern(base_filename: str) -> str:
    """Return the pattern for a ``base_filename`` of a stack, whose names may tell ``<x>``, ``<y>``, ``<z>`` too."""
    pattern = boss_pattern(base_filename, "z")
    for token, field in _PLACES.items():
        pattern = pattern.replace(token, field)
    return pattern
