"""What a TIFF file should say of its frames and does not: signs that its description was damaged.

Without its description a file of frames reads as a stack of slices, or as one page: wrong without a
sign. OME-TIFF shows by its name, ImageJ by the tags 50838 and 50839, and a stack that lists one page by
the bytes of the others behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import ParseError

from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.imagej import parse_shaped
from imaging_db.readers.ome_peek import micro_manager_header
from imaging_db.readers.ome_xml import is_xml, looks_like_ome
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, TiffStructure
from imaging_db.readers.tiff_errors import refusing
from imaging_db.readers.torn_text import torn

_OME_NAMES = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf")
_NO_OME = "is named OME-TIFF but its OME-XML is missing or damaged"
_NO_XML = "its description starts as XML and is damaged: it may have been OME-XML"
_NO_IMAGEJ = "has ImageJ's tags, but its ImageJ description is missing or damaged"
_LIMITS = ReadLimits()
_TEXTS = (1, ifd.TEXT, 7)
_LONGEST_TEXT = 65_536
_PRIVATE = 32768  # tags from here on may point at structures that only their program knows


def lost_in(path: Path, limits: ReadLimits = _LIMITS) -> str | None:
    """Return what is wrong with the description of a TIFF file, None where nothing is.

    Raises
    ------
    ReaderError
        The file cannot be read.
    """
    data = FileBytes(path)
    try:
        with refusing(path):
            structure = TiffStructure(data, max_metadata_bytes=limits.max_metadata_bytes)
            first = structure.directory(structure.first_offset, page=0)
            return lost_description(data, structure, first)
    finally:
        data.close()


def lost_description(data: FileBytes, structure: TiffStructure, first: Directory) -> str | None:
    """Return what is wrong with the description of an open file; ``first`` is its first page."""
    field = first.fields.get(ifd.DESCRIPTION)
    fields = first.more_descriptions if field is None else (field, *first.more_descriptions)
    raws = [structure.raw(f, page=0) for f in fields if f.type in _TEXTS]
    texts = [ifd.text_of(raw) for raw in raws]
    if ifd.MICRO_MANAGER in first.fields:
        return None
    if any(map(_tells_frames, texts)):
        return _torn(raws)
    if micro_manager_header(data, structure.byteorder):
        return None
    if data.path.name.lower().endswith(_OME_NAMES):
        return _NO_OME
    if any(is_xml(text) and not _is_whole_xml(text) for text in texts):
        return _NO_XML
    damaged = _torn(raws) or _misplaced(structure, first)
    if damaged is not None:
        return damaged
    if {ifd.IMAGEJ_BYTE_COUNTS, ifd.IMAGEJ_METADATA} & first.fields.keys():
        return _NO_IMAGEJ
    hidden = _hidden_bytes(data, structure, first)
    return f"{hidden} bytes after its one page could be further frames" if hidden else None


def _torn(raws: Sequence[bytes]) -> str | None:
    """Return what is wrong with the first text that was damaged, None where all are whole."""
    found = (
        torn(ifd.text_of(raw), ended=raw.endswith(b"\0"))
        for raw in raws
        if not is_xml(ifd.text_of(raw))
    )
    return next((cause for cause in found if cause is not None), None)


def _misplaced(structure: TiffStructure, first: Directory) -> str | None:
    """Return which other tag holds what belongs into the description, None where none does."""
    for code, field in first.fields.items():
        if field.type != ifd.TEXT or field.inline is not None or field.size > _LONGEST_TEXT:
            continue
        if code != ifd.DESCRIPTION and _tells_frames(ifd.text_of(structure.raw(field, page=0))):
            return f"its tag {code} holds what tells the frames: the tag's number is damaged"
    return None


def _tells_frames(text: str) -> bool:
    if text.startswith(("ImageJ=", "SCIFIO=")) or looks_like_ome(text):
        return True
    return parse_shaped(text) is not None


def _is_whole_xml(text: str) -> bool:
    """Return True for XML of another kind, such as MetaMorph's: damage would leave a tag unclosed."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if "openmicroscopy.org" in text:
        return False
    try:
        fromstring(text.lstrip("\ufeff \t\r\n"))
    except (ParseError, ValueError, DefusedXmlException):
        return False
    return True


def _hidden_bytes(data: FileBytes, structure: TiffStructure, first: Directory) -> int:
    """Return how many bytes follow the pixels of the only page, 0 where less than a frame does.

    Only plain files are looked at: one page, no compression, one run of strips, no tag that may point
    elsewhere.
    """
    known = all(code < _PRIVATE for code in first.fields) and ifd.SUB_IFDS not in first.fields
    compression = structure.number(first, ifd.COMPRESSION, 1, page=0)
    where = first.fields.get(ifd.STRIP_OFFSETS)
    if (
        first.next_offset
        or not known
        or compression != 1
        or where is None
        or where.type not in (3, 4, 16)
    ):
        return 0
    bits = structure.number(first, ifd.BITS, 1, page=0)
    width, length, samples = (
        structure.number(first, code, 1, page=0) for code in (ifd.WIDTH, ifd.LENGTH, ifd.SAMPLES)
    )
    frame = (width * bits * samples + 7) // 8 * length
    offsets = structure.values(where, page=0)
    start = min(offsets, default=0) + frame
    if not frame or max(offsets, default=0) >= start:
        return 0
    claimed = [first.offset, *(f.offset for f in first.fields.values() if f.inline is None)]
    hidden = min((place for place in claimed if place >= start), default=data.size) - start
    return int(hidden) if hidden >= frame else 0
