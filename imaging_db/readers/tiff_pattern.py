"""Lists of tags that repeat: what alike pages have in common, and the numbers in which they differ.

Most pages of a file repeat the tags of the page before; only places in the file, lengths of texts and
values that do not matter here are others. A pattern is made from a page that was checked in full. One
comparison of bytes tells whether another page is like it; the numbers that are left are checked for many
pages at once. A pattern only ever says yes: a page that it does not vouch for is checked in full.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.tiff_directory import Directory, TiffStructure
from imaging_db.readers.tiff_layout import JPEG, Layout, Segments, runs_of

# Every tag that changes what the bytes of a page mean; pages that share their values share a layout.
STRUCTURAL = (
    254, 255, 256, 257, 258, 259, 262, 266, 277, 278, 284, 317, 320, 322, 323, 338, 339, 530,
    32997, 32998, 34412, 65007, 65008, 65009,
)  # fmt: skip
# Where things lie in the file, tables for decoders and displays, and blocks of other programs.
LEFT_OUT = frozenset(
    {273, 279, 288, 289, 320, 324, 325, 330, 347, 513, 514, 519, 520, 521, 700, 33723, 34377, 34675,
     ifd.IMAGEJ_BYTE_COUNTS, ifd.IMAGEJ_METADATA}
)  # fmt: skip
PALETTE = 320  # its colours do not change the layout
# Pages with these are checked one by one: levels of a pyramid, JPEG, MetaMorph's hidden planes.
_UNUSUAL = {ifd.SUB_IFDS, ifd.JPEG_TABLES, ifd.UIC2, 513, 514}
_LETTERS = {3: "H", 4: "I", 16: "Q"}
_LARGEST = np.uint64(2**48)  # no file is larger; products and sums of what is below do not overflow


class Outside(NamedTuple):
    """A tag whose value lies elsewhere: which numbers of a page tell where (``at``) and how many.

    ``counted`` is -1 where each page has ``number`` values of ``item`` bytes. A tag that repeats another
    of its kind is not ``first``: it must lie in the file and counts for nothing else.
    """

    code: int
    kind: int
    item: int
    counted: int
    number: int
    at: int
    first: bool


class Inline(NamedTuple):
    """A tag whose value of ``size`` bytes lies in the list of tags, ``start`` bytes from its beginning."""

    code: int
    kind: int
    number: int
    start: int
    size: int


class Listed(NamedTuple):
    """Strips or tiles that follow each other, and that every page lists alike but for the first offset.

    ``at`` and ``sizes_at`` (-1: in the list of tags) are the numbers that tell where the lists lie,
    ``dtype`` is that of the offsets and ``steps`` the offsets less the first; ``sizes`` are bytes.
    """

    at: int
    dtype: str
    steps: npt.NDArray[np.uint64]
    sizes_at: int
    sizes: bytes


@dataclass(frozen=True, slots=True)
class PagePattern:
    """The tags of one page as others repeat them; made by `pattern_of`.

    ``size`` is that of the list of tags in bytes. ``numbers`` unpacks what differs from page to page,
    last of it where the next page begins; for ``listed`` pages the offset of the first strip comes behind.
    ``tags`` are those that a frame's metadata keep, in their order, ``keys`` code and type of each;
    ``inline_values`` unpacks the bytes of those whose value lies in the list of tags. ``same`` are values
    elsewhere in the file that must be equal: which number tells where, and the bytes.
    """

    size: int
    layout: Layout
    constants: tuple[bytes, ...]
    fixed: struct.Struct
    numbers: struct.Struct
    width: int
    room: int
    tags: tuple[Inline | Outside, ...]
    keys: tuple[tuple[int, int], ...]
    inline_values: struct.Struct
    outside: tuple[Outside, ...]
    same: tuple[tuple[int, bytes], ...]
    listed: Listed | None
    strip_at: int
    strip_size_at: int
    tag: Outside | None
    has_tag: bool

    def matches(self, buffer: bytes, start: int) -> bool:
        """Return True where the bytes from ``start`` on have all that stays from page to page."""
        if len(buffer) - start < self.size:
            return False
        return self.fixed.unpack_from(buffer, start) == self.constants

    def sizes_of(self, place: Outside, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the bytes of a value on each page."""
        if place.counted < 0:
            return np.full(len(numbers), place.item * place.number, np.uint64)
        return numbers[:, place.counted] * np.uint64(place.item)

    def strips(
        self, numbers: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Return where the pixels of each page begin, how many bytes are stored, and how many are used."""
        offsets, needed = numbers[:, self.strip_at], self.layout.raw_segment_sizes()
        total = np.full(len(numbers), needed.sum(), np.uint64)
        if self.listed is not None or self.strip_size_at < 0:
            return offsets, total, total
        stored = numbers[:, self.strip_size_at]
        return offsets, stored, total if len(needed) else stored

    def vouches(self, numbers: npt.NDArray[np.uint64], file_size: int) -> bool:
        """Return True where pages with these numbers, one a row, pass every check of a single page."""
        end = np.uint64(file_size)
        if (numbers > _LARGEST).any():
            return False
        for place in self.outside:
            sizes = self.sizes_of(place, numbers)
            inside = numbers[:, place.at] + sizes <= end
            if not (np.all(sizes > self.room) and np.all(sizes < _LARGEST) and np.all(inside)):
                return False
        offsets, stored, used = self.strips(numbers)
        whole = (offsets > 0) & (stored > 0) & (stored >= used) & (offsets + used <= end)
        contradicts = (stored > used) & (offsets + stored <= end)  # or padding: see `tiff_segments`
        expansion = np.uint64(self.layout.largest_expansion() or 0)
        holds = (expansion == 0) | (stored * expansion >= np.uint64(self.layout.nbytes))
        return bool(np.all(whole & ~contradicts & holds))


def pattern_of(
    structure: TiffStructure, directory: Directory, layout: Layout, segments: Segments
) -> PagePattern | None:
    """Return the pattern of a page that was checked, None where its like are to be checked one by one."""
    fields = directory.fields
    where = ifd.TILE_OFFSETS if layout.is_tiled else ifd.STRIP_OFFSETS
    counts = ifd.TILE_BYTE_COUNTS if layout.is_tiled else ifd.STRIP_BYTE_COUNTS
    if _UNUSUAL & fields.keys() or layout.compression_code in JPEG or where not in fields:
        return None
    single = layout.segment_count == fields[where].number == 1
    parts = _Parts(structure, (where, counts) if single else ())
    parts.take(structure.entries(directory))
    if single:
        if not _is_single(directory, parts, where, counts, layout):
            return None
        listed = None
    else:
        listed = _listed(structure, directory, parts, (where, counts), layout, segments)
        if listed is None:
            return None
    return PagePattern(
        size=directory.size,
        layout=layout,
        constants=parts.fixed().unpack(parts.table),
        fixed=parts.fixed(),
        numbers=parts.moving(),
        width=parts.count + (listed is not None),
        room=structure.room,
        tags=tuple(parts.firsts),
        keys=tuple((tag.code, tag.kind) for tag in parts.firsts),
        inline_values=parts.inline_values(),
        outside=tuple(parts.outside),
        same=tuple(parts.same),
        listed=listed,
        strip_at=parts.at[where] if single else parts.count,
        strip_size_at=parts.at.get(counts, -1),
        tag=next((p for p in parts.outside if _is_own_tag(p)), None),
        has_tag=ifd.MICRO_MANAGER in fields,
    )


def _is_own_tag(place: Outside) -> bool:
    return place.code == ifd.MICRO_MANAGER and place.kind == ifd.TEXT and place.first


def _is_single(
    directory: Directory, parts: _Parts, where: int, counts: int, layout: Layout
) -> bool:
    """Return True where offset and size of the only strip or tile were found among the numbers."""
    if where not in parts.at:
        return False
    if counts in directory.fields:
        return counts in parts.at
    swapped = {ifd.STRIP_BYTE_COUNTS, ifd.TILE_BYTE_COUNTS} & directory.fields.keys()
    return layout.direct and not swapped


def _listed(
    structure: TiffStructure,
    directory: Directory,
    parts: _Parts,
    codes: tuple[int, int],
    layout: Layout,
    segments: Segments,
) -> Listed | None:
    offsets, sizes = (directory.fields.get(code) for code in codes)
    needed = layout.raw_segment_sizes()
    if offsets is None or sizes is None or layout.compression_code != 1 or not len(needed):
        return None
    if not offsets.number == sizes.number == layout.segment_count or offsets.inline is not None:
        return None
    if offsets.type not in _LETTERS or sizes.type not in _LETTERS:
        return None
    one_run = len(runs_of(segments.offsets, needed)) == 1
    if not one_run or int(segments.byte_counts.sum()) >= 2 * int(needed.sum()):
        return None
    at = {place.code: place.at for place in parts.outside if place.first}
    return Listed(
        at=at[codes[0]],
        dtype=structure.byteorder + _LETTERS[offsets.type],
        steps=segments.offsets - segments.offsets[0],
        sizes_at=at.get(codes[1], -1),
        sizes=structure.raw(sizes, page=0),
    )


class _Parts:
    """A list of tags taken apart: what stays, what moves, and what does not matter.

    ``numbered`` are the tags whose single value is one of the numbers.
    """

    def __init__(self, structure: TiffStructure, numbered: tuple[int, ...]) -> None:
        self._structure = structure
        self._numbered = numbered
        self._shape: list[tuple[str, int]] = []
        self._seen: set[int] = set()
        self.table = b""
        self.count = 0
        self.at: dict[int, int] = {}
        self.firsts: list[Inline | Outside] = []
        self.outside: list[Outside] = []
        self.same: list[tuple[int, bytes]] = []

    def take(self, table: bytes) -> None:
        """Take the tags of a whole list, from their number to the offset of the next page."""
        structure = self._structure
        head = structure.counter.size
        self.table = table
        self._shape.append(("s", head))
        place = head
        for code, kind, count, raw in structure.entry.iter_unpack(table[head : -structure.room]):
            place += structure.entry.size
            known = ifd.item_size(kind)
            first = code not in self._seen
            if known is None:  # skipped by readers: whatever its value is
                self._shape += [("s", 4), ("x", 2 * structure.room)]
            elif known * count <= structure.room:
                start = place - structure.room
                self._take_inline(Inline(code, kind, count, start, known * count), first=first)
            else:
                (offset,) = structure.pointer.unpack(raw)
                self._take_outside(code, kind, known, count, offset, first=first)
            if known is not None:
                self._seen.add(code)
        self._number(structure.room)

    def _take_inline(self, tag: Inline, *, first: bool) -> None:
        room = self._structure.room
        self._shape.append(("s", 4 + room))
        if first and tag.code in self._numbered and tag.number == 1 and tag.kind in _LETTERS:
            self.at[tag.code] = self._number(tag.size)
        else:
            fixed = first and tag.code in STRUCTURAL and tag.code != PALETTE
            listed = first and tag.code in (ifd.STRIP_BYTE_COUNTS, ifd.TILE_BYTE_COUNTS)
            self._shape.append(("s" if fixed or listed else "x", tag.size))
        self._shape.append(("s", room - tag.size))
        if first and tag.code not in LEFT_OUT:
            self.firsts.append(tag)

    def _take_outside(
        self, code: int, kind: int, item: int, count: int, offset: int, *, first: bool
    ) -> None:
        room = self._structure.room
        lists = (ifd.STRIP_OFFSETS, ifd.STRIP_BYTE_COUNTS, ifd.TILE_OFFSETS, ifd.TILE_BYTE_COUNTS)
        fixed = first and code in STRUCTURAL and code != PALETTE
        counted = -1
        if fixed or (first and code in lists):
            self._shape.append(("s", 4 + room))
        else:
            self._shape.append(("s", 4))
            counted = self._number(room)
        at = self._number(room)
        if fixed:
            place = ifd.Field(kind, count, None, offset)
            self.same.append((at, self._structure.raw(place, page=0)))
        self.outside.append(Outside(code, kind, item, counted, count, at, first))
        if first and code not in LEFT_OUT:
            self.firsts.append(self.outside[-1])

    def _number(self, size: int) -> int:
        """Let the next ``size`` bytes be a number; return which one."""
        self._shape.append(({2: "H", 4: "I", 8: "Q"}[size], size))
        self.count += 1
        return self.count - 1

    def fixed(self) -> struct.Struct:
        """Return what unpacks the bytes that stay."""
        return self._format("s")

    def moving(self) -> struct.Struct:
        """Return what unpacks the numbers."""
        return self._format("HIQ")

    def inline_values(self) -> struct.Struct:
        """Return what unpacks the values that lie in the list of tags, as bytes."""
        parts, place = [], 0
        for tag in self.firsts:
            if isinstance(tag, Inline):
                parts.append(f"{tag.start - place}x{tag.size}s")
                place = tag.start + tag.size
        return struct.Struct("<" + "".join(parts))

    def _format(self, wanted: str) -> struct.Struct:
        runs: list[tuple[str, int]] = []
        for letter, size in filter(itemgetter(1), self._shape):
            kept = letter if letter in wanted else "x"
            if runs and runs[-1][0] == kept and kept in "sx":
                runs[-1] = kept, runs[-1][1] + size
            else:
                runs.append((kept, size))
        parts = (letter if letter in "HIQ" else f"{size}{letter}" for letter, size in runs)
        return struct.Struct(self._structure.byteorder + "".join(parts))
