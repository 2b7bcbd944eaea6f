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
        self._starts.extend(offsets.tolist())
        self._ends.extend(ends.tolist())
        self._pages.extend([page] * len(offsets))

    def add_tags(self, start: int, size: int) -> None:
        """Note the bytes of a list of tags, or of a tag's value."""
        if len(self._tag_starts) < _MOST_STRUCTURE:
            self._tag_starts.append(start)
            self._tag_ends.append(start + size)

    def check(self, path: Path) -> None:
        """Raise `CorruptSource` where pixels overlap other pixels in part, or tags."""
        if not self._starts:
            return
        runs = np.stack([np.asarray(self._starts), np.asarray(self._ends)])
        runs, first = np.unique(runs, axis=1, return_index=True)
        starts, ends = runs
        pages = np.asarray(self._pages)[first]
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
