"""Micro-Manager's own marks in a TIFF file: a summary, an index map, and JSON on every page.

Source: the Micro-Manager wiki, "Micro-Manager File Formats" (image file stacks of 1.4 and 2.0), and the
files themselves. NDTiff shares the page tag, but its index fields are all 0: it is told apart here.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import Any

from imaging_db.model import FrameCoords
from imaging_db.readers.json_text import parse_json
from imaging_db.readers.tiff_directory import MICRO_MANAGER, text_of
from imaging_db.readers.tiff_source import TiffSource

_INDEX_MAP, _INDEX_MAP_START, _SUMMARY, _NDTIFF = 54773648, 3453623, 2355492, 483729
_HEADER = 40
_LARGEST_INDEX = 2**31 - 1
_KEYS = (
    ("ChannelIndex",),
    ("SliceIndex", "Slice"),
    ("FrameIndex", "Frame"),
    ("PositionIndex",),
)
_WHOLE = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class PageTag:
    """The JSON of one page: parsed, or as it is where it cannot be parsed.

    ``is_clean`` says that ``values`` are known to be such as every database keeps.
    """

    values: dict[str, Any]
    raw: str | None
    is_clean: bool = False

    def indices(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Return channel, slice, timepoint and position as far as the page names them."""
        get = self.values.get
        c, z, t, p = get("ChannelIndex"), get("SliceIndex"), get("FrameIndex"), get("PositionIndex")
        if isinstance(c, int) and isinstance(z, int) and isinstance(t, int) and isinstance(p, int):
            plain = bool not in (type(c), type(z), type(t), type(p))
            if plain and 0 <= min(c, z, t, p) <= max(c, z, t, p) <= _LARGEST_INDEX:
                return c, z, t, p
        c, z, t, p = (_first_index(self.values, names) for names in _KEYS)
        return c, z, t, p

    def text(self, *names: str) -> str | None:
        """Return the first of these fields that holds text."""
        first = self.values.get(names[0])
        if type(first) is str and first:
            return first
        values = (_plain(self.values.get(name)) for name in names)
        return next((v for v in values if isinstance(v, str) and v), None)


class MicroManagerFile:
    """What Micro-Manager wrote into one file.

    ``summary`` is what was planned, empty where it cannot be read; ``index_map`` tells the coordinates
    of a page by its offset in the file, empty where the file has none.
    """

    def __init__(self, source: TiffSource) -> None:
        self._source = source
        head = source.read_bytes(0, _HEADER)
        words = (
            struct.unpack(f"{source.byteorder}8I", head[8:40]) if len(head) == _HEADER else (0,) * 8
        )
        self.index_map = self._read_index_map(words[1]) if words[0] == _INDEX_MAP else {}
        summary = self._read_summary(words[7]) if words[6] == _SUMMARY else {}
        self.info = json_in(source.imagej_info() or "")
        self.summary: dict[str, Any] = summary or self.info

    def page(self, index: int) -> PageTag | None:
        """Return the JSON of a page, None where it has no such tag."""
        return page_tag(self._source, index)

    def _read_index_map(self, offset: int) -> dict[int, FrameCoords]:
        order = self._source.byteorder
        head = self._source.read_bytes(offset, 8) if offset else b""
        if len(head) < 8:
            return {}
        start, count = struct.unpack(f"{order}2I", head)
        if start != _INDEX_MAP_START:
            return {}
        if offset + 8 + count * 20 > self._source.size:
            return {}
        rows = struct.iter_unpack(f"{order}4iI", self._source.read_bytes(offset + 8, count * 20))
        # -1 is an axis that the acquisition did not have; unused entries are all 0
        return {
            row[4]: FrameCoords(*row[:4])
            if min(row) >= 0
            else FrameCoords(*(max(0, n) for n in row[:4]))
            for row in rows
            if row[4]
        }

    def _read_summary(self, size: int) -> dict[str, Any]:
        if size > self._source.limits.max_metadata_bytes:
            return {}
        return json_in(text_of(self._source.read_bytes(_HEADER, size)))


def is_ndtiff(source: TiffSource) -> bool:
    """Return True for NDTiff, whose page tags hold ``Axes`` and index fields that are all 0."""
    head = source.read_bytes(8, 4)
    if len(head) == 4 and struct.unpack(f"{source.byteorder}I", head)[0] == _NDTIFF:
        return True
    value = source.tag(0, MICRO_MANAGER)
    return isinstance(value, str) and "Axes" in parse_page_tag(value).values


def page_tag(source: TiffSource, index: int) -> PageTag | None:
    """Return the JSON of a page, None where it has no such tag."""
    raw = source.micro_manager_text(index)
    if raw is not None:
        return _parse_bytes(raw)
    value = source.tag(index, MICRO_MANAGER)
    if isinstance(value, bytes):
        value = text_of(value)
    return None if value is None else parse_page_tag(str(value))


def _parse_bytes(raw: bytes) -> PageTag:
    try:
        values, is_clean = parse_json(raw.rstrip(b"\x00"))
    except (ValueError, RecursionError):  # not UTF-8, or with what `parse_page_tag` overlooks
        return parse_page_tag(text_of(raw))
    return (
        PageTag(values, None, is_clean) if isinstance(values, dict) else PageTag({}, text_of(raw))
    )


def parse_page_tag(text: str) -> PageTag:
    """Return the tag's object; text that is no JSON object is kept as it is."""
    try:
        values = json.loads(text.replace("\x00", " ").strip())
    except (ValueError, RecursionError):
        return PageTag({}, text)
    return PageTag(values, None) if isinstance(values, dict) else PageTag({}, text)


def json_in(text: str) -> dict[str, Any]:
    """Return the JSON object in ``text``, which comments may precede; empty where there is none."""
    start = text.find("{")
    if start < 0:
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def channel_names(summary: dict[str, Any]) -> list[str]:
    """Return the channels that the summary names, by index."""
    names = _plain(summary.get("ChNames"))
    return [str(name) for name in names] if isinstance(names, list) else []


def position_labels(summary: dict[str, Any]) -> list[str]:
    """Return the labels of the planned positions, by index."""
    for key in ("InitialPositionList", "StagePositions"):
        places = _plain(summary.get(key))
        if isinstance(places, list) and places:
            labels = [_plain(p.get("Label")) if isinstance(p, dict) else None for p in places]
            return [label if isinstance(label, str) else "" for label in labels]
    return []


def planned(summary: dict[str, Any], key: str) -> int:
    """Return how many channels, slices, ... were planned; 1 where the summary does not say."""
    value = _index(_plain(summary.get(key)))
    return value or 1


def positive(values: dict[str, Any], *names: str) -> float | None:
    """Return the first of these fields that is a number above 0: 0 means unknown here."""
    for name in names:
        value = _plain(values.get(name))
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e12:
            return float(value)
    return None


def planned_z_step(summary: dict[str, Any]) -> float | None:
    """Return the distance of slices in micrometres; Micro-Manager writes it negative when going down."""
    value = _plain(summary.get("z-step_um"))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < abs(value) < 1e12:
        return float(abs(value))
    return None


def _first_index(values: dict[str, Any], names: tuple[str, ...]) -> int | None:
    found = (_index(_plain(values.get(name))) for name in names)
    return next((index for index in found if index is not None), None)


def _index(value: Any) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value <= _LARGEST_INDEX:
        return None
    return max(0, value)  # -1 is an axis that the acquisition did not have


def _plain(value: Any) -> Any:
    """Return a value of Micro-Manager 2's property maps, ``{"PropType": ..., "PropVal": ...}``."""
    if isinstance(value, dict) and "PropVal" in value:
        return value["PropVal"]
    return value
