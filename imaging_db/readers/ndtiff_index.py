"""``NDTiff.index`` and the header of an NDTiff stack: where each image lies, and on which axes.

Source: the NDTiffStorage specification, versions 2 and 3 (github.com/micro-manager/NDStorage, README).
An entry is: length and JSON text of the axes, length and text of the file name, then eight 32-bit
numbers: byte offset of the pixels, width, height, pixel type, compression, byte offset of the metadata,
its length, its compression. All little endian. Zeros behind the last entry are room that was never used.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import JSONObject, clean_object
from imaging_db.readers.json_text import parse_json

INDEX_NAME = "NDTiff.index"

Axes: TypeAlias = "dict[str, int | str]"

_NUMBERS = struct.Struct("<8I")
_LENGTH = struct.Struct("<I")
_MAGIC = 483729
_SUMMARY_MAGIC = 2355492
_HEADER_BYTES, _SHORT_HEADER_BYTES = 28, 24  # version 2 has no minor version
_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class PixelType:
    """What a pixel type of the index means: NumPy's name, and 3 samples for RGB."""

    dtype: str
    samples: int = 1


PIXEL_TYPES = {
    0: PixelType("uint8"),
    1: PixelType("uint16"),
    2: PixelType("uint8", 3),
    3: PixelType("uint16"),  # 10 bit
    4: PixelType("uint16"),  # 12 bit
    5: PixelType("uint16"),  # 14 bit
    6: PixelType("uint16"),  # 11 bit
}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image: its axes, its file, and where pixels and metadata lie in that file, in bytes."""

    axes: Axes
    file_name: str
    pixel_offset: int
    width: int
    height: int
    pixel_type: PixelType
    metadata_offset: int
    metadata_length: int


@dataclass(frozen=True, slots=True)
class StackHeader:
    """The header of one ``*_NDTiffStack.tif``: the version, and the summary metadata."""

    major_version: int
    minor_version: int | None
    summary: JSONObject

    @property
    def version(self) -> str:
        """Return the version as text, such as ``3.2``."""
        minor = "" if self.minor_version is None else f".{self.minor_version}"
        return f"{self.major_version}{minor}"


def is_stack(head: bytes) -> bool:
    """True where the first bytes of a file are those of an NDTiff stack of version 2 or later."""
    return len(head) >= 12 and head[:4] == b"II*\0" and _LENGTH.unpack_from(head, 8)[0] == _MAGIC


def read_header(head: bytes, path: Path) -> StackHeader:
    """Return what the header says; ``head`` must reach to the end of the summary metadata.

    Raises
    ------
    CorruptSource
        The summary is not there, or is not JSON.
    """
    if not is_stack(head) or len(head) < _SHORT_HEADER_BYTES:
        raise CorruptSource(path, "its NDTiff header is damaged")
    major, minor, mark = struct.unpack_from("<3I", head, 12)
    start = _SHORT_HEADER_BYTES if minor == _SUMMARY_MAGIC else _HEADER_BYTES
    if start == _HEADER_BYTES and (mark != _SUMMARY_MAGIC or len(head) < start):
        raise CorruptSource(path, "its NDTiff header is damaged")
    (length,) = _LENGTH.unpack_from(head, start - 4)
    text = head[start : start + length]
    try:
        summary = json.loads(text) if length else {}
        told = clean_object(summary) if isinstance(summary, dict) else None
    except (ValueError, RecursionError) as error:
        raise CorruptSource(path, "its summary metadata is not JSON") from error
    if len(text) < length or told is None:
        raise CorruptSource(path, "its summary metadata is damaged")
    return StackHeader(major, None if start == _SHORT_HEADER_BYTES else minor, told)


def header_size(head: bytes) -> int:
    """Return how many bytes the header of an NDTiff stack has, its summary metadata included."""
    if len(head) < _HEADER_BYTES:
        return _HEADER_BYTES
    is_short = _LENGTH.unpack_from(head, 16)[0] == _SUMMARY_MAGIC
    start = _SHORT_HEADER_BYTES if is_short else _HEADER_BYTES
    return start + int(_LENGTH.unpack_from(head, start - 4)[0])


def read_index(path: Path, *, max_entries: int) -> list[IndexEntry]:
    """Return the entries of an index in the order in which the images were saved.

    Raises
    ------
    CorruptSource
        The last entry was cut off, an entry makes no sense, or there are more than ``max_entries``.
    UnsupportedFormat
        A pixel type or a compression that the specification does not define.
    ReaderError
        The index cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReaderError(path, f"cannot be read: {error.strerror or error}") from error
    entries: list[IndexEntry] = []
    for entry in _entries(data, path):
        entries.append(entry)
        if len(entries) > max_entries:
            raise UnsupportedFormat(
                path, f"lists more than {max_entries} images", hint="raise max_frames"
            )
    if not entries:
        raise CorruptSource(path, "lists no image")
    return entries


def _entries(data: bytes, path: Path) -> Iterator[IndexEntry]:
    place, count = 0, 0
    while place < len(data):
        if not data[place : place + 4].strip(b"\0") and not data[place:].strip(b"\0"):
            return
        axes_text, place = _text(data, place, path, count)
        file_name, place = _text(data, place, path, count)
        if place + _NUMBERS.size > len(data):
            raise CorruptSource(path, f"entry {count} is cut off: the index is truncated")
        numbers = _NUMBERS.unpack_from(data, place)
        place += _NUMBERS.size
        yield _entry(axes_text, file_name, numbers, path, count)
        count += 1


def _text(data: bytes, place: int, path: Path, entry: int) -> tuple[str, int]:
    if place + 4 > len(data):
        raise CorruptSource(path, f"entry {entry} is cut off: the index is truncated")
    (length,) = _LENGTH.unpack_from(data, place)
    end = place + 4 + length
    if not 0 < length <= _LONGEST_TEXT:
        raise CorruptSource(path, f"entry {entry} is damaged: a text of {length} bytes")
    if end > len(data):
        raise CorruptSource(path, f"entry {entry} is cut off: the index is truncated")
    try:
        return data[place + 4 : end].decode("utf-8"), end
    except UnicodeDecodeError as error:
        raise CorruptSource(path, f"entry {entry} is damaged: {error.reason}") from error


def _entry(
    axes_text: str, file_name: str, numbers: tuple[int, ...], path: Path, count: int
) -> IndexEntry:
    offset, width, height, pixel_type, compression, md_offset, md_length, md_compression = numbers
    if pixel_type not in PIXEL_TYPES or compression or md_compression:
        cause = f"entry {count} has pixel type {pixel_type}, compression {compression}, {md_compression}"
        raise UnsupportedFormat(path, cause)
    if not width or not height or not offset:
        raise CorruptSource(
            path, f"entry {count} is damaged: {width} x {height} pixels at {offset}"
        )
    return IndexEntry(
        parse_axes(axes_text, path, f"entry {count}"),
        _checked_name(file_name, path, count),
        offset,
        width,
        height,
        PIXEL_TYPES[pixel_type],
        md_offset,
        md_length,
    )


def parse_axes(text: str, path: Path, where: str) -> Axes:
    """Return the axes of one image from their JSON text: whole numbers or labels, by name.

    Raises
    ------
    CorruptSource
        Not an object of numbers and labels; ``where`` is named.
    """
    try:
        found = parse_json(text.encode("utf-8")).value
    except (ValueError, RecursionError) as error:
        raise CorruptSource(path, f"{where} is damaged: its axes are not JSON") from error
    return checked_axes(found, path, where)


def checked_axes(found: object, path: Path, where: str) -> Axes:
    """Return ``found`` if it is an object of whole numbers and labels; otherwise as `parse_axes`."""
    if not isinstance(found, dict) or not {int, str} >= set(map(type, found.values())):
        raise CorruptSource(path, f"{where} is damaged: its axes are {str(found)[:80]}")
    return dict(found)


def _checked_name(name: str, path: Path, count: int) -> str:
    if name in (".", "..") or any(char in name for char in "/\\\0") or name.startswith("~"):
        raise CorruptSource(path, f"entry {count} names a file outside the folder: {name!r}")
    return name
