"""The structure of a TIFF file: header, directories (IFDs), tags.

Source: TIFF 6.0 (Adobe, 1992) sections 2 and 8; BigTIFF as in libtiff's documentation.
"""

from __future__ import annotations

import struct
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.readers.signature import foreign_format
from imaging_db.readers.tiff_bytes import FileBytes

SUBFILE_TYPE, OLD_SUBFILE_TYPE = 254, 255
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
DESCRIPTION = 270
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTE_COUNTS = 273, 277, 278, 279
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS = 322, 323, 324, 325
SUB_IFDS, JPEG_TABLES, SAMPLE_FORMAT = 330, 347, 339
FILL_ORDER, PLANES, PREDICTOR, EXTRA_SAMPLES = 266, 284, 317, 338
UIC2, NIH_HEADER = 33629, 43314
IMAGEJ_BYTE_COUNTS, IMAGEJ_METADATA, MICRO_MANAGER = 50838, 50839, 51123

# What decides how pixels are read, and which page is which frame: never skipped.
NUMBERS = (
    SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES,
    ROWS_PER_STRIP, STRIP_BYTE_COUNTS, PLANES, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS,
    TILE_BYTE_COUNTS, SUB_IFDS, SAMPLE_FORMAT, IMAGEJ_BYTE_COUNTS,
)  # fmt: skip
VITAL = frozenset((*NUMBERS, DESCRIPTION, IMAGEJ_METADATA, MICRO_MANAGER))

# size in bytes and struct letter of each field type
_TYPES: dict[int, tuple[int, str]] = {
    1: (1, "B"), 2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 5: (8, "II"), 6: (1, "b"), 7: (1, "s"),
    8: (2, "h"), 9: (4, "i"), 10: (8, "ii"), 11: (4, "f"), 12: (8, "d"), 13: (4, "I"),
    16: (8, "Q"), 17: (8, "q"), 18: (8, "Q"),
}  # fmt: skip
TEXT, _BYTES = 2, (1, 7)
_MOST_TAGS = 4096
_FIRST_READ = 1024


class Field(NamedTuple):
    """One tag: its type, how many values, and the value itself or where it lies in the file."""

    type: int
    number: int
    inline: bytes | None
    offset: int

    @property
    def size(self) -> int:
        """The value's size in bytes."""
        return _TYPES[self.type][0] * self.number


@dataclass(frozen=True, slots=True)
class Directory:
    """One IFD: ``fields`` by tag number (the first of its kind), and where the next IFD lies.

    ``size`` is that of the list of tags. ``more_descriptions`` holds further ImageDescription tags,
    which Micro-Manager writes.
    """

    offset: int
    fields: dict[int, Field]
    more_descriptions: tuple[Field, ...]
    next_offset: int
    size: int


class TiffStructure:
    """Header and directories of one file, checked against its size.

    Raises
    ------
    UnsupportedFormat
        The file does not start as a TIFF does.
    CorruptSource
        It does, and the rest is not there or makes no sense.
    """

    def __init__(self, source: FileBytes, *, max_metadata_bytes: int) -> None:
        self._bytes = source
        self.path = source.path
        self._max_metadata = max_metadata_bytes
        head = source.read_up_to(0, 16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 4 else 0
        if order is None or version not in (42, 43):
            foreign = foreign_format(source.path)
            cause = f"unsupported format {foreign}" if foreign else "is not a TIFF file"
            raise UnsupportedFormat(source.path, cause)
        self.byteorder: str = order
        self.is_big = version == 43
        if len(head) < (16 if self.is_big else 8):
            raise CorruptSource(source.path, f"is cut off after {len(head)} bytes")
        if self.is_big and struct.unpack(f"{order}HH", head[4:8]) != (8, 0):
            raise CorruptSource(source.path, "its BigTIFF header is damaged")
        self.pointer, self.counter, self.entry = _structs(order, big=self.is_big)
        self.first_offset: int = self.pointer.unpack(head[8:16] if self.is_big else head[4:8])[0]

    def over(self, source: FileBytes) -> TiffStructure:
        """Return the same structure, read through ``source``."""
        same = copy(self)
        same._bytes = source
        return same

    @property
    def room(self) -> int:
        """Return how many bytes of a value fit into the list of tags: 4, or 8 in BigTIFF."""
        return self.pointer.size

    def entries(self, directory: Directory) -> bytes:
        """Return a list of tags as the bytes of the file, from their number to the next page's offset."""
        return self._bytes.read(directory.offset, directory.size)

    def directory(self, offset: int, *, page: int) -> Directory:
        """Return the directory at ``offset``; ``page`` is named in errors."""
        path, size = self._bytes.path, self._bytes.size
        if offset < 8 or offset + self.counter.size > size:
            cause = f"should begin at byte {offset}, the file ends at {size}: it was cut off"
            raise CorruptSource(path, cause, page=page)
        buffer = self._bytes.read_up_to(offset, _FIRST_READ)
        (count,) = self.counter.unpack_from(buffer)
        if not 0 < count <= _MOST_TAGS:
            raise CorruptSource(path, f"its list of tags at byte {offset} is damaged", page=page)
        end = self.counter.size + count * self.entry.size
        if offset + end + self.pointer.size > size:
            cause = f"its list of tags leaves the file of {size} bytes: it was cut off"
            raise CorruptSource(path, cause, page=page)
        if len(buffer) < end + self.pointer.size:
            buffer = self._bytes.read(offset, end + self.pointer.size)
        fields, more = self._fields(buffer[self.counter.size : end], page)
        next_offset = self.pointer.unpack_from(buffer, end)[0]
        return Directory(offset, fields, more, next_offset, end + self.pointer.size)

    def _fields(self, entries: bytes, page: int) -> tuple[dict[int, Field], tuple[Field, ...]]:
        fields: dict[int, Field] = {}
        more: list[Field] = []
        room, unpack = self.pointer.size, self.pointer.unpack
        for code, kind, count, raw in self.entry.iter_unpack(entries):
            known = _TYPES.get(kind)
            if known is None:  # TIFF 6.0 tells readers to skip types they do not know
                self._check_skipped(code, kind, page)
                continue
            size = known[0] * count
            if size <= room:
                field = Field(kind, count, raw[:size], 0)
            else:
                field = Field(kind, count, None, unpack(raw)[0])
                self._check_inside(code, field.offset, size, page)
            if code not in fields:
                fields[code] = field
            elif code == DESCRIPTION:
                more.append(field)
            elif code in VITAL and field != fields[code]:
                cause = f"it holds tag {code} twice, with different values"
                raise CorruptSource(self._bytes.path, cause, page=page)
        return fields, tuple(more)

    def _check_skipped(self, code: int, kind: int, page: int) -> None:
        if code in VITAL:
            cause = f"its tag {code} has the type {kind}, which does not exist"
            raise CorruptSource(self._bytes.path, cause, page=page)

    def _check_inside(self, code: int, offset: int, size: int, page: int) -> None:
        if offset + size > self._bytes.size:
            end = self._bytes.size
            cause = f"tag {code} ends at byte {offset + size}, the file at {end}: it was cut off"
            raise CorruptSource(self._bytes.path, cause, page=page)

    def raw(self, field: Field, *, page: int) -> bytes:
        """Return a field's value as the bytes of the file."""
        if field.inline is not None:
            return field.inline
        if field.size > self._max_metadata:
            cause = f"a tag of {field.size} bytes is above the limit of {self._max_metadata}"
            raise CorruptSource(self._bytes.path, cause, page=page, hint="raise max_metadata_bytes")
        return self._bytes.read(field.offset, field.size)

    def values(self, field: Field, *, page: int) -> tuple[Any, ...]:
        """Return a field's numbers; a rational gives two, text and bytes are one number a byte."""
        letters = _TYPES[field.type][1]
        count = field.number * len(letters)
        letter = "B" if letters == "s" else letters[0]
        return struct.unpack(f"{self.byteorder}{count}{letter}", self.raw(field, page=page))

    def value(self, field: Field, *, page: int) -> Any:
        """Return text as `str`, bytes as `bytes`, one number as such, several as a tuple.

        Rationals are pairs ``(numerator, denominator)``. Text that is not UTF-8 is read as Latin-1.
        """
        if field.type == TEXT:
            return text_of(self.raw(field, page=page))
        if field.type in _BYTES and field.number > 1:
            return self.raw(field, page=page)
        numbers = self.values(field, page=page)
        return numbers[0] if len(numbers) == 1 else numbers

    def number(self, directory: Directory, code: int, default: int, *, page: int) -> int:
        """Return the first number of a tag, ``default`` where the tag is absent or holds text."""
        field = directory.fields.get(code)
        if field is None or field.number == 0 or field.type in (2, 5, 7, 10, 11, 12):
            return default
        return int(self.values(field, page=page)[0])


@cache
def _structs(order: str, *, big: bool) -> tuple[struct.Struct, struct.Struct, struct.Struct]:
    """Return what unpacks an offset, the number of tags, and a tag; one for all files."""
    letters = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    pointer, counter, entry = (struct.Struct(order + letter) for letter in letters)
    return pointer, counter, entry


def item_size(kind: int) -> int | None:
    """Return the bytes of one value of a field type, None for a type that is not known."""
    known = _TYPES.get(kind)
    return None if known is None else known[0]


def text_of(raw: bytes) -> str:
    """Return text without its trailing NULs; what is not UTF-8 is read as Latin-1."""
    raw = raw.rstrip(b"\x00")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
