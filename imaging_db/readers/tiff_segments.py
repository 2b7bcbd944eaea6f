"""Where the strips or tiles of a page lie, and whether they can be there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging_db.errors import CorruptSource
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.tiff_directory import Directory, Field, TiffStructure
from imaging_db.readers.tiff_layout import Layout, Segments

_OLD_JPEG_OFFSET, _OLD_JPEG_LENGTH = 513, 514
_PADDING, _BLOCK = np.uint64(16), np.uint64(512)
_KINDS = {1: "u1", 3: "u2", 4: "u4", 9: "u4", 13: "u4", 16: "u8", 17: "u8", 18: "u8"}


def segments_of(
    structure: TiffStructure, directory: Directory, layout: Layout, *, page: int
) -> Segments:
    """Return the strips or tiles of a page, as many as its size needs.

    Raises
    ------
    CorruptSource
        The page lists fewer, or more.
    """
    fields = directory.fields
    where = ifd.TILE_OFFSETS if layout.is_tiled else ifd.STRIP_OFFSETS
    counts = ifd.TILE_BYTE_COUNTS if layout.is_tiled else ifd.STRIP_BYTE_COUNTS
    if where not in fields:  # some writers swap the two kinds
        where = next((c for c in (273, 324, _OLD_JPEG_OFFSET) if c in fields), 0)
    if counts not in fields:
        counts = next((c for c in (279, 325, _OLD_JPEG_LENGTH) if c in fields), 0)
    offsets = _numbers(structure, fields.get(where), page)
    sizes = _numbers(structure, fields.get(counts), page)
    if layout.direct and (len(sizes) == 0 or layout.segment_count == len(offsets) == 1):
        sizes = _trusted(sizes, layout)
    if min(len(offsets), len(sizes)) < layout.segment_count:
        cause = f"lists {len(offsets)} of its {layout.segment_count} strips or tiles"
        raise CorruptSource(structure.path, cause, page=page)
    if len(offsets) > layout.segment_count and where in (ifd.STRIP_OFFSETS, ifd.TILE_OFFSETS):
        cause = f"lists {len(offsets)} strips or tiles, its size needs {layout.segment_count}"
        raise CorruptSource(structure.path, cause, page=page)
    tables = fields.get(ifd.JPEG_TABLES)
    return Segments(
        offsets[: layout.segment_count],
        sizes[: layout.segment_count],
        None if tables is None else structure.raw(tables, page=page),
    )


def check_segments(
    path: Path, size: int, segments: Segments, layout: Layout, *, page: int
) -> npt.NDArray[np.uint64]:
    """Return the bytes that each strip or tile takes in a file of ``size`` bytes.

    Raises
    ------
    CorruptSource
        One of them is missing, too short or too long for its pixels, or leaves the file.
    """
    sizes = segments.byte_counts
    if not segments.offsets.all() or not sizes.all():
        raise CorruptSource(path, "has strips or tiles without data", page=page)
    needed = layout.raw_segment_sizes()
    if len(needed):
        _check_raw_sizes(path, sizes, needed, page)
    used = needed if len(needed) else sizes
    _check_contradiction(path, size, segments, used, page)
    end = max(map(sum, zip(segments.offsets.tolist(), used.tolist(), strict=True)))
    if end > size:
        cause = f"its pixels end at byte {end}, the file at {size}: it was cut off"
        raise CorruptSource(path, cause, page=page)
    expansion = layout.largest_expansion()
    if expansion and layout.nbytes > int(sizes.sum()) * expansion:
        cause = f"{int(sizes.sum())} compressed bytes cannot hold {layout.nbytes} of pixels"
        raise CorruptSource(path, cause, page=page)
    return used


def _check_raw_sizes(
    path: Path, sizes: npt.NDArray[np.uint64], needed: npt.NDArray[np.uint64], page: int
) -> None:
    if (sizes < needed).any():
        short = int(np.argmax(sizes < needed))
        cause = f"strip or tile {short} has {sizes[short]} of its {needed[short]} bytes"
        raise CorruptSource(path, cause, page=page)


def _check_contradiction(
    path: Path, size: int, segments: Segments, used: npt.NDArray[np.uint64], page: int
) -> None:
    """Raise where more bytes are stored than the pixels need, as if width, length or bits are damaged.

    A few bytes, or the rest of a disk's block, are padding; the last strip may be as long as the others.
    A count that does not fit into the file is itself what is wrong, and then not needed.
    """
    sizes = segments.byte_counts
    stored = int(sizes.sum())
    if int(segments.offsets[0]) + stored > size:
        return
    surplus = sizes - used
    padded = (surplus < _PADDING) | ((sizes % _BLOCK == 0) & (surplus < _BLOCK))
    padded[-1] |= len(sizes) > 1 and sizes[-1] == sizes[0]
    if not padded.all():
        cause = f"its tags contradict: {stored} bytes stored, {used.sum()} bytes of pixels"
        raise CorruptSource(path, cause, page=page)


def _trusted(sizes: npt.NDArray[np.uint64], layout: Layout) -> npt.NDArray[np.uint64]:
    """Return the size of a single strip: what its pixels need where the tag cannot say it.

    The count overflows beyond 4 GiB (ImageJ), or 64 KiB, and some writers leave it out or at 0.
    """
    needed = layout.raw_segment_sizes()
    if len(sizes) != 1 or sizes[0] == 0:
        return needed
    return needed if int(sizes[0]) in (int(needed[0]) % 2**bits for bits in (16, 32)) else sizes


def _numbers(structure: TiffStructure, field: Field | None, page: int) -> npt.NDArray[np.uint64]:
    if field is None or field.type not in _KINDS:
        return np.zeros(0, np.uint64)
    raw = structure.raw(field, page=page)
    return np.frombuffer(raw, structure.byteorder + _KINDS[field.type]).astype(np.uint64)
