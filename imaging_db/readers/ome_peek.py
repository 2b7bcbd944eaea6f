"""What the first page of a TIFF file shows without walking the others: cheap, for sniffing."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from imaging_db.errors import ReaderError
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.ome_xml import looks_like_ome
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, TiffStructure

_NDTIFF = 483729
_HEAD = 16_384
_DIGITS = re.compile(r"([0-9]{1,18})")
_XML_SUFFIXES = (".ome", ".xml")
_TIFF_SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


@dataclass(frozen=True, slots=True)
class Peek:
    """The beginning of the description (at most 16 KiB) and the marks of Micro-Manager's formats."""

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
    return head if looks_like_ome(head) else None


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
    raw = b""
    if field is not None and field.type in (1, 2, 7):
        inline = field.inline
        size = min(field.size, _HEAD)
        raw = inline if inline is not None else source.read(field.offset, size)
    tag = directory.fields.get(ifd.MICRO_MANAGER)
    word = source.read_up_to(8, 4)
    marked = len(word) == 4 and struct.unpack(f"{structure.byteorder}I", word)[0] == _NDTIFF
    axes = tag is not None and b'"Axes"' in structure.raw(tag, page=0)
    return Peek(ifd.text_of(raw), tag is not None, marked or axes)
