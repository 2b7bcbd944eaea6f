"""What ImageJ (and tifffile) write into the first page about a whole stack.

Sources: ImageJ's `TiffEncoder` and `FileInfo`: a description of ``key=value`` lines that starts with
``ImageJ=``; the tags 50838 and 50839; one page only for stacks above 4 GiB, with all planes behind it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging_db.errors import CorruptSource
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.tiff_directory import Directory, Field, TiffStructure
from imaging_db.readers.tiff_layout import Layout, Segments

_MAGIC = 0x494A494A  # "IJIJ"
_INFO, _LABELS, _RANGES = 0x696E666F, 0x6C61626C, 0x72616E67
_UTF_16 = {"<": "utf-16-le", ">": "utf-16-be"}


@dataclass(frozen=True, slots=True)
class ImageJTags:
    """ImageJ's description as its lines say, its ``Info`` text, slice labels and display ranges.

    ``ranges`` holds minimum and maximum of each channel in turn. ``shaped`` is the text of tifffile's
    own JSON description, empty where there is none.
    """

    description: dict[str, str]
    info: str | None
    labels: tuple[str, ...]
    shaped: str
    ranges: tuple[float, ...] = ()

    @classmethod
    def of(cls, structure: TiffStructure, directory: Directory) -> ImageJTags:
        """Return what the first page says; damaged metadata counts as absent."""
        description, shaped = _descriptions(structure, directory)
        said = _metadata(structure, directory)
        info = said.get(_INFO, [None])[0]
        ranges = said.get(_RANGES, [()])[0]
        return cls(description, info, tuple(said.get(_LABELS, ())), shaped, ranges)


def promised_images(tags: ImageJTags, shape: tuple[int, ...]) -> int | None:
    """Return how many images the description promises, None where it says nothing of it."""
    text = tags.description.get("images", "")
    if text.isdigit():
        return int(text) or None
    return _promised_by_shape(tags.shaped, shape) if tags.shaped else None


def plane_count(path: Path, promised: int, layout: Layout, segments: Segments, size: int) -> int:
    """Return ``promised`` if that many planes lie behind the only page of a file of ``size`` bytes.

    Raises
    ------
    CorruptSource
        The file has no room for them, or the page's own pixels are not one plain run of bytes.
    """
    start = int(segments.offsets[0])
    ends = segments.offsets + layout.raw_segment_sizes() if layout.direct else segments.offsets
    joined = layout.direct and (ends[:-1] == segments.offsets[1:]).all()
    room = (size - start) // layout.nbytes if joined else 1
    if room < promised:
        raise CorruptSource(path, f"promises {promised} images, has room for {room}")
    return promised


def _promised_by_shape(text: str, shape: tuple[int, ...]) -> int | None:
    """Return the images that tifffile's ``truncate=True`` left without a page each."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("truncated") is not True:
        return None
    sizes = said.get("shape")
    if not isinstance(sizes, list) or not all(isinstance(n, int) and n > 0 for n in sizes):
        return None
    return max(1, math.prod(sizes) // math.prod(shape))


def _descriptions(structure: TiffStructure, directory: Directory) -> tuple[dict[str, str], str]:
    described: dict[str, str] = {}
    shaped = ""
    first = directory.fields.get(ifd.DESCRIPTION)
    for field in () if first is None else (first, *directory.more_descriptions):
        text = ifd.text_of(structure.raw(field, page=0)) if field.type in (1, 2, 7) else ""
        if text.startswith(("ImageJ=", "SCIFIO=")) and not described:
            lines = (line.split("=", 1) for line in re.split(r"[\r\n]+", text) if "=" in line)
            described = {key.strip(): value.strip() for key, value in lines}
        elif text.startswith('{"shape":'):
            shaped = text
    return described, shaped


def _metadata(structure: TiffStructure, directory: Directory) -> dict[int, list[Any]]:
    data, counts = (directory.fields.get(c) for c in (ifd.IMAGEJ_METADATA, ifd.IMAGEJ_BYTE_COUNTS))
    if data is None or counts is None or counts.type not in (3, 4, 13, 16):
        return {}
    try:
        return _parse(structure, data, structure.values(counts, page=0))
    except (struct.error, UnicodeDecodeError, IndexError):
        return {}


def _parse(structure: TiffStructure, data: Field, counts: tuple[int, ...]) -> dict[int, list[Any]]:
    raw = structure.raw(data, page=0)
    order = ">" if raw[:4] == b"IJIJ" else "<"
    head = struct.unpack(f"{order}{counts[0] // 4}I", raw[: counts[0] // 4 * 4])
    if not head or head[0] != _MAGIC:
        return {}
    said: dict[int, list[Any]] = {}
    place, item = counts[0], 1
    for kind, number in zip(head[1::2], head[2::2], strict=False):
        for _ in range(number):
            part = raw[place : place + counts[item]]
            if kind in (_INFO, _LABELS):
                said.setdefault(kind, []).append(part.decode(_UTF_16[order]))
            elif kind == _RANGES:
                said.setdefault(kind, []).append(struct.unpack(f"{order}{len(part) // 8}d", part))
            place, item = place + counts[item], item + 1
    return said
