"""Which bytes of a TIFF file are whose: pixels that overlap something else are a sign of damage."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging_db.errors import CorruptSource

_MOST_STRUCTURE = 1_000_000


class Extents:
    """The bytes that pages claim for uncompressed pixels, and those of their tags.

    A damaged offset of an otherwise whole file points at bytes that belong to something else. Two pages
    may share the very same bytes, as some writers do for equal pages; no page may share a part.
    """

    def __init__(self) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        self._pages = array("Q")
        self._tag_starts = array("Q")
        self._tag_ends = array("Q")

    def add_pixels(
        self, page: int, offsets: npt.NDArray[np.uint64], sizes: npt.NDArray[np.uint64]
    ) -> None:
        """Note the strips or tiles of a page; those that follow each other become one run."""
        ends = offsets + sizes
        if len(offsets) > 1:
            breaks = np.flatnonzero(ends[:-1] != offsets[1:])
            offsets = offsets[np.concatenate(([0], breaks + 1))]
            ends = ends[np.concatenate((breaks, [len(ends) - 1]))]
        self.add_runs(np.full(len(offsets), page, np.uint64), offsets, ends - offsets)

    def add_runs(
        self,
        pages: npt.NDArray[np.uint64],
        offsets: npt.NDArray[np.uint64],
        sizes: npt.NDArray[np.uint64],
    ) -> None:
        """Note one run of bytes for each of these pages."""
        self._pages.frombytes(pages.tobytes())
        self._starts.frombytes(offsets.tobytes())
        self._ends.frombytes((offsets + sizes).tobytes())

    def add_tags(self, start: int, size: int) -> None:
        """Note the bytes of a list of tags, or of a tag's value."""
        if len(self._tag_starts) < _MOST_STRUCTURE:
            self._tag_starts.append(start)
            self._tag_ends.append(start + size)

    def add_many_tags(self, offsets: npt.NDArray[np.uint64], sizes: npt.NDArray[np.uint64]) -> None:
        """Note lists of tags, or tags' values."""
        if len(self._tag_starts) < _MOST_STRUCTURE:
            self._tag_starts.frombytes(offsets.tobytes())
            self._tag_ends.frombytes((offsets + sizes).tobytes())

    def check(self, path: Path) -> None:
        """Raise `CorruptSource` where pixels overlap other pixels in part, or tags."""
        if not self._starts:
            return
        if len(self._starts) == 1 and not self._hits_tags(self._starts[0], self._ends[0]):
            return
        starts, ends, pages = (np.asarray(x) for x in (self._starts, self._ends, self._pages))
        if (starts[1:] < ends[:-1]).any():  # not in order, or not apart
            order = np.lexsort((ends, starts))
            starts, ends, pages = starts[order], ends[order], pages[order]
            new = np.ones(len(starts), bool)
            new[1:] = (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1])
            starts, ends, pages = starts[new], ends[new], pages[new]
        overlaps = np.flatnonzero(starts[1:] < ends[:-1])
        if len(overlaps):
            pair = sorted(int(pages[overlaps[0] + n]) for n in (0, 1))
            cause = f"its pixels overlap those of page {pair[0]}: an offset is damaged"
            raise CorruptSource(path, cause, page=pair[1])
        tag_starts, tag_ends = np.asarray(self._tag_starts), np.asarray(self._tag_ends)
        before = np.searchsorted(starts, tag_ends, side="left") - 1
        hit = (before >= 0) & (ends[before] > tag_starts)
        if hit.any():
            page = int(pages[before[np.argmax(hit)]])
            raise CorruptSource(path, "its pixels overlap tags: an offset is damaged", page=page)

    def _hits_tags(self, start: int, end: int) -> bool:
        tags = zip(self._tag_starts, self._tag_ends, strict=True)
        return any(first < end and last > start for first, last in tags)
