"""Signs that the text which tells what the pages are was damaged: one character of it, its end, its place.

One character is enough to lose an axis: without ``channels=2`` ImageJ's stack reads as slices.
"""

from __future__ import annotations

import json
import math
import re

from imaging_db.readers.imagej import COUNTS, parse_shaped

_LINES = re.compile(r"[\r\n]+")
_WORDS = ("images", *COUNTS)
_COUNTED = re.compile(r"[\r\n](images|channels|slices|frames)=\d+[\r\n]", re.ASCII)
_KEYS = ("shape", "axes")
_SHAPED = '{"shape": '


def torn(text: str, *, ended: bool) -> str | None:
    """Return what is wrong with a description, None where nothing is.

    ``ended`` says whether its bytes ended with NUL, as those of a whole text do.
    """
    if text.startswith(("ImageJ=", "SCIFIO=")):
        return _torn_imagej(text, ended=ended)
    if _COUNTED.search(text):
        return "its description counts as ImageJ's does, and does not start so"
    return _torn_json(text)


def _torn_imagej(text: str, *, ended: bool) -> str | None:
    said: dict[str, str] = {}
    for line in _LINES.split(text):
        key, _, value = line.partition("=")
        said[key.strip()] = value.strip()
        for word in _WORDS:
            start = f"{word}="
            if start in line[1:] or _is_near(line[: len(start)], start):
                return f"its ImageJ description is damaged: {line[:40]!r}"
    counted = math.prod(int(said[word]) for word in COUNTS if said.get(word, "").isdecimal())
    if not ended and said.get("images") != str(counted):
        return "its ImageJ description was cut off"
    return None


def _torn_json(text: str) -> str | None:
    cause = "its description is damaged JSON, such as tifffile writes"
    if any(f'"{key}"' in text for key in _KEYS) and parse_shaped(text) is None:
        return cause
    if (text and _SHAPED.startswith(text)) or _is_near(text[: len(_SHAPED)], _SHAPED):
        return cause
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None  # somebody's words
    keys = told if isinstance(told, dict) else {}
    return cause if any(_is_near(key, known) for key in keys for known in _KEYS) else None


def _is_near(text: str, other: str) -> bool:
    """Return True where two texts of one length differ in one character."""
    return len(text) == len(other) and sum(a != b for a, b in zip(text, other, strict=True)) == 1
