"""The chain of pages of one TIFF file, walked once: where each page lies, and that all of it can be read."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, Field, TiffStructure
from imaging_db.readers.tiff_errors import refusing
from imaging_db.readers.tiff_extent import Extents
from imaging_db.readers.tiff_layout import JPEG, Layout, describe_size, layout_of
from imaging_db.readers.tiff_oddities import oddity
from imaging_db.readers.tiff_pattern import PALETTE, STRUCTURAL, PagePattern, pattern_of
from imaging_db.readers.tiff_segments import check_segments, segments_of

if TYPE_CHECKING:
    import tifffile

_WHOLE_NUMBERS = (1, 3, 4, 6, 7, 8, 9, 13, 16, 17)  # 7: LSM keeps its own structure in one of them
_BATCH = 4096
_MOST_PATTERNS = 16
_WINDOW = 65_536
_NEAR = 8_192  # lists of tags that are closer than this are read together


class PageKind(NamedTuple):
    """What pages with the same tags share; ``one_run``: the bytes from the first strip on are the pixels."""

    layout: Layout
    one_run: bool
    pattern: PagePattern | None


@dataclass(slots=True)
class PageTable:
    """Where the pages of a file lie: a few numbers a page.

    ``offsets`` are those of the lists of tags, ``pixels`` of the first strip or tile, ``kind_ids`` count
    ``kinds``. ``tags`` and ``tag_sizes`` tell where Micro-Manager's tag lies as text, 0 where it does not.
    """

    offsets: array[int] = field(default_factory=lambda: array("Q"))
    pixels: array[int] = field(default_factory=lambda: array("Q"))
    kind_ids: array[int] = field(default_factory=lambda: array("I"))
    tags: array[int] = field(default_factory=lambda: array("Q"))
    tag_sizes: array[int] = field(default_factory=lambda: array("Q"))
    kinds: list[PageKind] = field(default_factory=list)
    has_tag: bool = False

    def kind(self, page: int) -> PageKind:
        """Return what kind of page one is."""
        return self.kinds[self.kind_ids[page]]

    def packed(self) -> PageTable:
        """Return the same table, in less memory if it is of one page: of such there may be thousands."""
        if len(self.offsets) > 1:
            return self
        columns = (self.offsets, self.pixels, self.kind_ids, self.tags, self.tag_sizes)
        return PageTable(*(tuple(column) for column in columns), self.kinds, self.has_tag)  # type: ignore[arg-type, call-arg]

    def cut(self, length: int) -> list[int]:
        """Forget the pages from ``length`` on and return their offsets."""
        offsets = self.offsets[length:].tolist()
        for column in (self.offsets, self.pixels, self.kind_ids, self.tags, self.tag_sizes):
            del column[length:]
        return offsets


class PageWalk:
    """Follows the chain of pages up to its proper end, and checks each page.

    A page like one before it is compared with that one's pattern, and its numbers are checked together
    with those of its neighbours; what a pattern does not vouch for is checked in full, in the order of
    the pages, so that the first page that is wrong is named, and why. ``first`` is the first page.
    With ``most_patterns=0`` every page is checked in full.
    """

    def __init__(
        self,
        source: FileBytes,
        structure: TiffStructure,
        limits: ReadLimits,
        *,
        layouts: dict[Any, Layout],
        most_patterns: int = _MOST_PATTERNS,
    ) -> None:
        self.pages = PageTable()
        self.first: Directory
        self._bytes = source
        self._structure = structure
        self._limits = limits
        self._shared = layouts
        self._most_patterns = most_patterns
        self._extents = Extents()
        self._ids: dict[tuple[Any, ...], int] = {}
        self._opened: list[tifffile.TiffFile] = []
        # the patterns by number of their kind, the one that matched last first, and rows not yet checked
        self._patterns: dict[int, PagePattern] = {}
        self._rows: dict[int, array[int]] = {}
        self._last = -1
        self._tried = 0
        self._settled = 0
        self._seen: set[int] = set()
        self._seen_pages = 0
        self._window, self._window_at = b"", 0

    def run(self) -> PageTable:
        """Return where the pages are.

        Raises
        ------
        CorruptSource
            The chain leaves the file or comes back to itself, a page is damaged, pixels overlap.
        UnsupportedFormat
            More pages than the limit, or a page of a kind that cannot be read exactly.
        """
        try:
            self._follow()
            self._settle()
        finally:
            for file in self._opened:
                file.close()
        self._extents.check(self._bytes.path)
        return self.pages.packed()

    def _follow(self) -> None:
        offset = self._structure.first_offset
        if offset == 0:
            raise CorruptSource(self._bytes.path, "holds no page: it was not closed properly")
        highest, most, offsets = 0, self._limits.max_frames, self.pages.offsets
        while offset:
            if offset <= highest or len(offsets) >= most:
                self._check_chain(offset)
            highest = max(highest, offset)
            alike = self._patterns and offset >= 8
            following = self._next_if_alike(offset) if alike else None
            if following is None:
                self._settle()
                following = self._add_in_full(offset)
            elif len(offsets) - self._settled >= _BATCH:
                self._settle()
            offset = following

    def _check_chain(self, offset: int) -> None:
        """Raise where the page at ``offset`` was there before, or is one too many."""
        offsets = self.pages.offsets
        self._seen.update(offsets[self._seen_pages :])
        self._seen_pages = len(offsets)
        if offset in self._seen:
            self._settle()
            cause = f"after page {len(offsets) - 1} its pages start over"
            raise CorruptSource(self._bytes.path, cause)
        if len(offsets) >= self._limits.max_frames:
            self._settle()
            cause = f"holds more than {self._limits.max_frames} pages"
            raise UnsupportedFormat(self._bytes.path, cause, hint="raise max_frames")

    def _next_if_alike(self, offset: int) -> int | None:
        """Return where the page after this one is, None unless a pattern fits this one."""
        start = offset - self._window_at
        if start < 0 or start + self._patterns[self._last].size > len(self._window):
            start = self._move_window(offset)
        window = self._window
        number = self._last
        pattern = self._patterns[number]
        if not pattern.matches(window, start):
            alike = (n for n, other in self._patterns.items() if other.matches(window, start))
            number = next(alike, -1)
            if number < 0:
                return None
            pattern = self._patterns[number]
        numbers = pattern.numbers.unpack_from(window, start)
        if pattern.same and not self._are_same(pattern, numbers):
            return None
        following: int = numbers[-1]
        if pattern.listed is not None:
            first = self._first_listed(pattern, numbers)
            if first is None:
                return None
            numbers = (*numbers, first)
        self._last = number
        self._rows[number].extend(numbers)
        self.pages.offsets.append(offset)
        self.pages.kind_ids.append(number)
        return following

    def _move_window(self, offset: int) -> int:
        before = self.pages.offsets[-1]
        near = before < offset < before + _NEAR
        largest = max(pattern.size for pattern in self._patterns.values())
        self._window = self._bytes.read_up_to(offset, _WINDOW if near else largest)
        self._window_at = offset
        return 0

    def _value(self, offset: int, size: int) -> bytes:
        """Return bytes that lie near the list of tags or elsewhere, fewer at the end of the file."""
        start = offset - self._window_at
        if start >= 0 and start + size <= len(self._window):
            return self._window[start : start + size]
        return self._bytes.read_up_to(offset, size)

    def _are_same(self, pattern: PagePattern, numbers: tuple[int, ...]) -> bool:
        return all(self._value(numbers[at], len(raw)) == raw for at, raw in pattern.same)

    def _first_listed(self, pattern: PagePattern, numbers: tuple[int, ...]) -> int | None:
        """Return where the first strip of a page is that lists its strips as the pattern does."""
        listed = pattern.listed
        if listed is None or (
            listed.sizes_at >= 0
            and self._value(numbers[listed.sizes_at], len(listed.sizes)) != listed.sizes
        ):
            return None
        size = len(listed.steps) * np.dtype(listed.dtype).itemsize
        raw = self._value(numbers[listed.at], size)
        if len(raw) < size:
            return None
        offsets = np.frombuffer(raw, listed.dtype).astype(np.uint64)
        return int(offsets[0]) if np.array_equal(offsets - offsets[0], listed.steps) else None

    def _settle(self) -> None:
        """Check the pages that patterns took since the last time; where one is odd, all of them in full."""
        start, count = self._settled, len(self.pages.offsets) - self._settled
        if count == 0:
            return
        taken = {
            number: np.array(rows, np.uint64).reshape(-1, self._patterns[number].width)
            for number, rows in self._rows.items()
            if rows
        }
        for rows in self._rows.values():
            del rows[:]
        size = self._bytes.size
        if all(self._patterns[number].vouches(rows, size) for number, rows in taken.items()):
            self._keep(taken, start, count)
            self._settled = len(self.pages.offsets)
        else:
            for offset in self.pages.cut(start):
                self._add_in_full(offset)

    def _keep(self, taken: dict[int, npt.NDArray[np.uint64]], start: int, count: int) -> None:
        offsets = np.array(self.pages.offsets[start:], np.uint64)
        ids = np.array(self.pages.kind_ids[start:])
        pixels, tags, tag_sizes = np.zeros((3, count), np.uint64)
        for number, rows in taken.items():
            pattern = self._patterns[number]
            pages = np.flatnonzero(ids == number)
            begin, _, used = pattern.strips(rows)
            pixels[pages] = begin
            self._extents.add_many_tags(
                offsets[pages], np.full(len(pages), pattern.size, np.uint64)
            )
            for place in pattern.outside:
                if place.first:
                    self._extents.add_many_tags(rows[:, place.at], pattern.sizes_of(place, rows))
            if pattern.layout.compression_code == 1:
                self._extents.add_runs(pages.astype(np.uint64) + np.uint64(start), begin, used)
            if pattern.tag is not None:
                tags[pages] = rows[:, pattern.tag.at]
                tag_sizes[pages] = rows[:, pattern.tag.counted]
            self.pages.has_tag |= pattern.has_tag
        self.pages.pixels.frombytes(pixels.tobytes())
        self.pages.tags.frombytes(tags.tobytes())
        self.pages.tag_sizes.frombytes(tag_sizes.tobytes())

    def _add_in_full(self, offset: int) -> int:
        """Check a page by itself and keep it; return where the next one is."""
        page = len(self.pages.offsets)
        directory = self._structure.directory(offset, page=page)
        if page == 0:
            self.first = directory
        odd = oddity(directory.fields)
        if odd is not None:
            raise CorruptSource(self._bytes.path, odd, page=page)
        layout = self._layout(directory, page)
        segments = segments_of(self._structure, directory, layout, page=page)
        path, size = self._bytes.path, self._bytes.size
        sizes = check_segments(path, size, segments, layout, page=page)
        self._claim(directory, layout, page, segments.offsets, sizes)
        self._check_levels(directory, page)
        pattern = None
        if directory.next_offset and self._tried < self._most_patterns:
            self._tried += 1
            pattern = pattern_of(self._structure, directory, layout, segments)
        kind = PageKind(layout, layout.is_one_run(segments.offsets), pattern)
        self.pages.offsets.append(offset)
        self.pages.pixels.append(int(segments.offsets[0]))
        self.pages.kind_ids.append(self._number_of(kind))
        tag = directory.fields.get(ifd.MICRO_MANAGER)
        kept = tag is not None and tag.inline is None and tag.type == ifd.TEXT
        self.pages.has_tag |= tag is not None
        self.pages.tags.append(tag.offset if tag is not None and kept else 0)
        self.pages.tag_sizes.append(tag.number if tag is not None and kept else 0)
        self._settled = page + 1
        return directory.next_offset

    def _number_of(self, kind: PageKind) -> int:
        """Return the number of a kind, which is new where a pattern was made for it."""
        number = len(self.pages.kinds)
        if kind.pattern is None:
            known = self._ids.setdefault((id(kind.layout), kind.one_run), number)
            if known < number:
                return known
        else:
            self._patterns[number] = kind.pattern
            self._rows[number] = array("Q")
            self._last = number
        self.pages.kinds.append(kind)
        return number

    def _claim(
        self,
        directory: Directory,
        layout: Layout,
        page: int,
        offsets: npt.NDArray[np.uint64],
        sizes: npt.NDArray[np.uint64],
    ) -> None:
        self._extents.add_tags(directory.offset, directory.size)
        for value in directory.fields.values():
            if value.inline is None:
                self._extents.add_tags(value.offset, value.size)
        if layout.compression_code == 1:
            self._extents.add_pixels(page, offsets, sizes)

    def _check_levels(self, directory: Directory, page: int) -> None:
        """Raise where the smaller levels of a pyramid begin beyond the end of the file."""
        levels = directory.fields.get(ifd.SUB_IFDS)
        if levels is not None and levels.type in _WHOLE_NUMBERS:
            last = max(self._structure.values(levels, page=page), default=0)
            size = self._bytes.size
            if last >= size:
                cause = f"a level of its pyramid begins at byte {last}, the file ends at {size}"
                raise CorruptSource(self._bytes.path, f"{cause}: it was cut off", page=page)

    def _layout(self, directory: Directory, page: int) -> Layout:
        key = (self._structure.byteorder, self._structural_key(directory, page))
        if key not in self._shared:
            self._shared[key] = self._new_layout(directory, page)
        return self._shared[key]

    def _structural_key(self, directory: Directory, page: int) -> tuple[Any, ...]:
        fields = directory.fields
        key = [
            (code, fields[code].type, self._key_of(code, fields[code], page))
            for code in STRUCTURAL
            if code in fields
        ]
        compression = self._structure.number(directory, ifd.COMPRESSION, 1, page=page)
        return (*key, compression in JPEG and self._is_jfif(directory, page))

    def _is_jfif(self, directory: Directory, page: int) -> bool:
        """Return True where JPEG data says itself how its colours are coded."""
        for code in (ifd.STRIP_OFFSETS, ifd.TILE_OFFSETS):
            offset = self._structure.number(directory, code, 0, page=page)
            if offset:
                return self._bytes.read_up_to(offset + 6, 4) == b"JFIF"
        return False

    def _key_of(self, code: int, value: Field, page: int) -> bytes:
        if value.type not in _WHOLE_NUMBERS:
            raise CorruptSource(self._bytes.path, f"tag {code} should be a whole number", page=page)
        return b"" if code == PALETTE else self._structure.raw(value, page=page)

    def _new_layout(self, directory: Directory, page: int) -> Layout:
        import tifffile

        path = self._bytes.path
        planes = directory.fields.get(ifd.UIC2)
        if planes is not None and planes.number > 1:
            cause = f"is a MetaMorph stack that hides {planes.number} planes behind one page"
            raise UnsupportedFormat(path, cause, page=page)
        with refusing(path, page=page):
            if not self._opened:
                self._opened.append(tifffile.TiffFile(path))
            self._opened[0].filehandle.seek(directory.offset)
            found = tifffile.TiffPage(self._opened[0], page)
            layout = layout_of(found, source=self._bytes, index=page)
        if layout.nbytes > self._limits.max_frame_bytes:
            limit = describe_size(self._limits.max_frame_bytes)
            cause = f"asks for {describe_size(layout.nbytes)}, the limit is {limit} a frame"
            hint = "raise max_frame_bytes if the frame is meant to be that large"
            raise UnsupportedFormat(path, cause, page=page, hint=hint)
        return layout
