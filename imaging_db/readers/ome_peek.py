"""What the first page of a TIFF file shows without walking the others: cheap, for sniffing."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from imaging_db.errors import ReaderError
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.ome_xml import is_xml, looks_like_ome
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, TiffStructure

_NDTIFF = 483729
_INDEX_MAP, _SUMMARY = 54773648, 2355492  # words at bytes 8 and 32 of Micro-Manager's stacks
_HEAD = 16_384
_DIGITS = re.compile(r"([0-9]{1,18})")
_XML_SUFFIXES = (".ome", ".xml")
_TIFF_SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


@dataclass(frozen=True, slots=True)
class Peek:
    """The beginning of the description and the marks of Micro-Manager's formats.

    ``head`` is at most 16 KiB, more only where XML starts with so much before its root. One mark is
    enough for ``is_micro_manager``: the header's words, or the tag on the first or the second page.
    """

    head: str
    is_micro_manager: bool
    is_ndtiff: bool

    @property
    def is_ome(self) -> bool:
        """True where the description is OME-XML."""
        return looks_like_ome(self.head)


def peek_tiff(path: Path) -> Peek | None:
    """Return what the first page of ``path`` shows, None where it is no TIFF file or damaged."""
    try:
        source = FileBytes(path)
    except ReaderError:
        return None
    try:
        limit = ReadLimits().max_metadata_bytes
        structure = TiffStructure(source, max_metadata_bytes=limit)
        return _peek(source, structure, structure.directory(structure.first_offset, page=0))
    except ReaderError:
        return None
    finally:
        source.close()


def peek_xml(path: Path) -> str | None:
    """Return the first 16 KiB of an OME-XML companion file, None for any other file."""
    if path.suffix.lower() not in _XML_SUFFIXES:
        return None
    try:
        source = FileBytes(path)
    except ReaderError:
        return None
    head = ifd.text_of(source.read_up_to(0, _HEAD))
    source.close()
    if looks_like_ome(head):
        return head
    return _whole_companion(path) if is_xml(head) else None


def _whole_companion(path: Path) -> str | None:
    """Return the text of a companion whose root comes late, None where it is not OME-XML."""
    try:
        source = FileBytes(path)
    except ReaderError:
        return None
    try:
        text = ifd.text_of(source.read_up_to(0, ReadLimits().max_metadata_bytes))
    finally:
        source.close()
    return text if looks_like_ome(text) else None


def micro_manager_header(source: FileBytes, byteorder: str) -> bool:
    """Return True where the header of a TIFF file holds a word that Micro-Manager's stacks have."""
    head = source.read_up_to(0, 36)
    if len(head) < 36 or 43 in (head[2], head[3]):  # its stacks are no BigTIFF
        return False
    words = struct.unpack(f"{byteorder}7I", head[8:])
    return bool(words[0] == _INDEX_MAP or (words[0] != _NDTIFF and words[6] == _SUMMARY))


def ome_files_in(folder: Path) -> list[Path]:
    """Return the ``*.ome.tif`` and ``*.ome.tiff`` files of a folder, in natural order."""
    named = (path for path in visible_files(folder) if path.suffix.lower() in _TIFF_SUFFIXES)
    return [path for path in named if Path(path.stem).suffix.lower() == ".ome"]


def xml_files_in(folder: Path) -> list[Path]:
    """Return the OME-XML companion files of a folder, in natural order."""
    return [path for path in visible_files(folder) if peek_xml(path) is not None]


def tiff_files_in(folder: Path) -> list[Path]:
    """Return every TIFF-named file of a folder, in natural order."""
    return [path for path in visible_files(folder) if path.suffix.lower() in _TIFF_SUFFIXES]


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder but the hidden ones (``._x.tif``), numbers in names as numbers."""
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in found if path.is_file()), key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Return a key that orders numbers in names by value: ``z2`` before ``z10``."""
    parts = _DIGITS.split(path.name)
    return [(int(p), "") if _DIGITS.fullmatch(p) else (-1, p) for p in parts], path.name


def _peek(source: FileBytes, structure: TiffStructure, directory: Directory) -> Peek:
    field = directory.fields.get(ifd.DESCRIPTION)
    text = ""
    if field is not None and field.type in (1, 2, 7):
        text = _head_of(source, field)
    tag = directory.fields.get(ifd.MICRO_MANAGER)
    word = source.read_up_to(8, 4)
    marked = len(word) == 4 and struct.unpack(f"{structure.byteorder}I", word)[0] == _NDTIFF
    axes = tag is not None and b'"Axes"' in structure.raw(tag, page=0)
    is_stack = tag is not None or micro_manager_header(source, structure.byteorder)
    return Peek(text, is_stack or _second_has_tag(structure, directory), marked or axes)


def _head_of(source: FileBytes, field: ifd.Field) -> str:
    if field.inline is not None:
        return ifd.text_of(field.inline)
    text = ifd.text_of(source.read(field.offset, min(field.size, _HEAD)))
    if field.size <= _HEAD or not is_xml(text) or looks_like_ome(text):
        return text
    size = min(field.size, ReadLimits().max_metadata_bytes)
    return ifd.text_of(source.read(field.offset, size))


def _second_has_tag(structure: TiffStructure, first: Directory) -> bool:
    if first.next_offset in (0, first.offset):
        return False
    try:
        return ifd.MICRO_MANAGER in structure.directory(first.next_offset, page=1).fields
    except ReaderError:  # for whoever opens the file to tell
        return False
