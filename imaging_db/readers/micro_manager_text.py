"""Micro-Manager's ``metadata.txt``: the JSON beside images that were saved as separate files.

The layout is Micro-Manager's (micro-manager.org, "Files and Metadata"). Version 1.4 writes ``Summary`` and one
``FrameKey-<frame>-<channel>-<slice>`` an image; version 2.0 writes ``Summary`` and, an image,
``Coords-<file>`` and ``Metadata-<file>``, where the file may carry its folder's name. The closing
brace comes last, so the text of an acquisition that was killed ends after a comma, or inside an entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imaging_db.errors import ReaderError
from imaging_db.model import JSONObject, JSONValue, clean_json, clean_object

FILE_NAME = "metadata.txt"

_FRAME_KEY = re.compile(r"FrameKey-(\d+)-(\d+)-(\d+)")
_IMAGE_KEY = re.compile(r"(Coords|Metadata)-(.+)", re.DOTALL)
_INTENDED = ("channel", "z", "time", "position")
_PLANNED = ("Channels", "Slices", "Frames", "Positions")
_SPACE = re.compile(r"[\s,]*")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "channel": ("channel", "ChannelIndex"),
    "slice": ("z", "SliceIndex", "Slice"),
    "timepoint": ("time", "FrameIndex", "Frame"),
    "position": ("position", "PositionIndex"),
}


@dataclass(frozen=True, slots=True)
class FrameEntry:
    """What ``metadata.txt`` says of one image file.

    An index is None where the text does not tell; ``metadata`` is the whole entry.
    """

    channel: int | None = None
    slice: int | None = None
    timepoint: int | None = None
    position: int | None = None
    channel_name: str | None = None
    position_name: str | None = None
    metadata: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetadataText:
    """One ``metadata.txt``: the summary, the entries by file name, and all that belongs to no file.

    ``general`` holds what is not about one image, ``Summary`` among it. ``problem`` says what was wrong
    with the text, None where it was whole.
    """

    summary: JSONObject
    general: JSONObject
    entries: dict[str, FrameEntry]
    problem: str | None = None


def read_metadata_text(path: Path, *, max_bytes: int) -> MetadataText:
    """Return what a ``metadata.txt`` says; a text that was cut short gives its whole entries.

    At most ``max_bytes`` are read. What cannot be read as JSON stays as text under ``"unread"``, so
    that nothing is lost, and `MetadataText.problem` tells it.

    Raises
    ------
    ReaderError
        The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise ReaderError(path, f"cannot be read: {error.strerror or error}") from error
    text = data[:max_bytes].decode("utf-8-sig", "replace")
    values, rest = _values(text)
    problem = None if rest is None else _problem(values, rest, too_large=len(data) > max_bytes)
    if rest and rest.strip("}], \t\r\n\0"):
        values["unread"] = rest
    return _sort(values, problem)


def parse_count(value: JSONValue) -> int | None:
    """Return a count that Micro-Manager promises, None where it promises nothing (0, -1, absent)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if value > 0 else None


def planned_counts(summary: Mapping[str, JSONValue]) -> tuple[int, int, int, int] | None:
    """Return how many channels, slices, timepoints and positions a ``Summary`` plans.

    None where it does not tell all four, or plans axes that are none of these.
    """
    intended = summary.get("IntendedDimensions")
    if isinstance(intended, dict) and set(intended) & set(_INTENDED):
        if not set(intended) <= set(_INTENDED):
            return None
        counts = [parse_count(intended.get(axis, 1)) for axis in _INTENDED]
    else:
        counts = [parse_count(summary.get(key)) for key in _PLANNED]
    c, z, t, p = counts
    return None if c is None or z is None or t is None or p is None else (c, z, t, p)


def parse_size(value: JSONValue) -> float | None:
    """Return a size in micrometres, None where Micro-Manager does not know it (0, negative, absent)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e7 else None


def parse_names(value: JSONValue) -> tuple[str, ...]:
    """Return the names in a list such as ``ChNames``, which version 1.4 may write as JSON in a string."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = clean_json(json.loads(value))
        except ValueError:
            return ()
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value if isinstance(item, str))


def _values(text: str) -> tuple[dict[str, Any], str | None]:
    """Return the members of the outermost object up to the first fault, and the text from there.

    The text is None where there is no fault.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return _whole_members(text)
    return (whole, None) if isinstance(whole, dict) else ({}, text)


def _whole_members(text: str) -> tuple[dict[str, Any], str]:
    decoder = json.JSONDecoder()
    members: dict[str, Any] = {}
    start = text.find("{") + 1
    while start:
        begin = _end_of_space(text, start)
        try:
            key, after_key = decoder.raw_decode(text, begin)
            colon = _end_of_space(text, after_key)
            if not isinstance(key, str) or text[colon : colon + 1] != ":":
                return members, text[begin:]
            members[key], start = decoder.raw_decode(text, _end_of_space(text, colon + 1))
        except (ValueError, RecursionError):
            return members, text[begin:]
    return members, text


def _end_of_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _problem(values: Mapping[str, Any], rest: str, *, too_large: bool) -> str:
    last = f"after {list(values)[-1]!r}" if values else "from its start"
    if too_large:
        return f"{FILE_NAME} is too large; it cannot be read {last}"
    if not rest.strip("}], \t\r\n\0"):
        return f"{FILE_NAME} was not closed; its entries are whole"
    return f"{FILE_NAME} cannot be read {last}"


def _sort(values: Mapping[str, Any], problem: str | None) -> MetadataText:
    general: JSONObject = {}
    images: dict[str, JSONObject] = {}
    for key, value in values.items():
        name, entry = _image(key, value)
        if name is None:
            general.update(_clean({key: value}))
        else:
            images.setdefault(name, {}).update(_clean(entry))
    summary = general.get("Summary")
    return MetadataText(
        summary=summary if isinstance(summary, dict) else {},
        general=general,
        entries={name: _entry(image) for name, image in images.items()},
        problem=problem,
    )


def _image(key: str, value: Any) -> tuple[str | None, dict[str, Any]]:
    """Return the file that a member is about, None where it is about none, and what it says of it."""
    if not isinstance(value, dict):
        return None, {}
    image = _IMAGE_KEY.fullmatch(key)
    if image:
        return _base_name(image[2]), {"Coords": value} if image[1] == "Coords" else value
    frame = _FRAME_KEY.fullmatch(key)
    if not frame:
        return None, {}
    timepoint, channel, z = map(int, frame.groups())
    name = value.get("FileName")
    if not isinstance(name, str):  # version 1.3 names the file by its indices only
        name = f"img_{timepoint:09d}_{value.get('Channel') or ''}_{z:03d}.tif"
    indices = {"FrameIndex": timepoint, "ChannelIndex": channel, "SliceIndex": z}
    return _base_name(name), {**indices, **value}


def _base_name(name: str) -> str:
    return re.split(r"[\\/]", name)[-1]


def _clean(value: Mapping[str, Any]) -> JSONObject:
    try:
        return clean_object(value)
    except ValueError:  # nested without end: kept as text, for nothing is to be lost
        return {str(key): str(item) for key, item in value.items()}


def _entry(metadata: JSONObject) -> FrameEntry:
    coords = metadata.get("Coords")
    said: JSONObject = {**metadata, **coords} if isinstance(coords, dict) else metadata
    return FrameEntry(
        **{axis: _index(said, keys) for axis, keys in _KEYS.items()},
        channel_name=_name(said.get("Channel")),
        position_name=_name(said.get("PositionName")),
        metadata=metadata,
    )


def _index(said: JSONObject, keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = said.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _name(value: JSONValue) -> str | None:
    return value if isinstance(value, str) and value else None
