"""A page's tags as JSON, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from imaging_db.model import JSONObject, JSONValue, clean_json
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.json_text import parse_json
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, Field, TiffStructure
from imaging_db.readers.tiff_pattern import LEFT_OUT, Inline, PagePattern

_MOST_NUMBERS = 64
_NEAR = 1024  # values are often written right behind the list of tags


def tags_as_json(values: Mapping[int, Any]) -> JSONObject:
    """Return tag values by name: text, numbers, rationals as pairs, Micro-Manager's JSON.

    Left out are binary blocks and lists of more than 64 numbers.
    """
    named: JSONObject = {}
    for code, value in values.items():
        if isinstance(value, bytes) or (isinstance(value, tuple) and len(value) > _MOST_NUMBERS):
            continue
        is_json = code == ifd.MICRO_MANAGER and isinstance(value, str)
        named[_name_of(code)] = _json_of(value) if is_json else clean_json(value, depth=1)
    return named


def _name_of(code: int) -> str:
    import tifffile

    return str(tifffile.TIFF.TAGS.get(code, str(code)))


def _json_of(text: str) -> JSONValue:
    try:
        value, is_clean = parse_json(text.encode("utf-8"))
    except (ValueError, RecursionError):
        value, is_clean = text, False
    found: JSONValue = value if is_clean else clean_json(value, depth=1)
    return found


class PageTags(NamedTuple):
    """The tags of a page, not decoded: code and type of each, its bytes, and the order of these."""

    keys: tuple[tuple[int, int], ...]
    raws: list[bytes]
    byteorder: str


class TagMemory:
    """The tags that were decoded last: what a page repeats is not decoded again. Safe in threads."""

    def __init__(self) -> None:
        self._last: tuple[PageTags, list[JSONObject], JSONObject] = PageTags((), [], ""), [], {}

    def as_json(self, tags: PageTags, structure: TiffStructure, *, page: int) -> JSONObject:
        """Return tags as `tags_as_json` does; lists in it may be shared by pages."""
        old, known, joined = self._last
        alike = tags.keys == old.keys and tags.byteorder == old.byteorder
        if alike and tags.raws == old.raws:
            return joined.copy()
        parts = [
            known[n] if alike and raw == old.raws[n] else _decoded(*key, raw, structure, page)
            for n, (key, raw) in enumerate(zip(tags.keys, tags.raws, strict=True))
        ]
        joined = {name: value for part in parts for name, value in part.items()}
        self._last = tags, parts, joined
        return joined.copy()


def listed_tags(
    source: FileBytes, structure: TiffStructure, pattern: PagePattern, offset: int, *, page: int
) -> PageTags:
    """Return the tags of the page whose list of tags is at ``offset`` and has this pattern."""
    near = source.read_up_to(offset, max(pattern.size, _NEAR))
    numbers = pattern.numbers.unpack_from(near)
    inline = iter(pattern.inline_values.unpack_from(near))
    raws: list[bytes] = []
    for tag in pattern.tags:
        if isinstance(tag, Inline):
            raws.append(next(inline))
            continue
        number = tag.number if tag.counted < 0 else numbers[tag.counted]
        place, size = numbers[tag.at], number * tag.item
        start = place - offset
        if 0 <= start <= len(near) - size:
            raws.append(near[start : start + size])
        else:
            raws.append(structure.raw(Field(tag.kind, number, None, place), page=page))
    return PageTags(pattern.keys, raws, structure.byteorder)


def tags_of(structure: TiffStructure, directory: Directory, *, page: int) -> PageTags:
    """Return the tags of a page that has no pattern."""
    kept = {code: field for code, field in directory.fields.items() if code not in LEFT_OUT}
    raws = [structure.raw(field, page=page) for field in kept.values()]
    return PageTags(
        tuple((code, field.type) for code, field in kept.items()), raws, structure.byteorder
    )


def _decoded(code: int, kind: int, raw: bytes, structure: TiffStructure, page: int) -> JSONObject:
    field = Field(kind, len(raw) // (ifd.item_size(kind) or 1), raw, 0)
    return tags_as_json({code: structure.value(field, page=page)})
