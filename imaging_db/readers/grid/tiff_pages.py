"""Pages of TIFF files by number, where a file has many and all of them are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from imaging_db.errors import CorruptSource
from imaging_db.model import PageRef
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.grid.images import TIFF, Image
from imaging_db.readers.tif_id import frame_pages
from imaging_db.readers.tiff_source import TiffSource

_MOST_KNOWN = 16


class _File(NamedTuple):
    source: TiffSource
    pages: list[int]


class TiffPages:
    """The pages of TIFF files. A file is walked once; its handle is held only while it is read.

    ``wrong`` may say what is wrong with a file of so many pages.
    """

    def __init__(
        self, limits: ReadLimits, *, wrong: Callable[[int], str | None] = lambda _: None
    ) -> None:
        self._limits, self._wrong = limits, wrong
        self._known: OrderedDict[Path, _File] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def opened(self, place: PageRef) -> Iterator[Image]:
        """Yield the image of one page.

        Raises
        ------
        ReaderError
            The file is missing or damaged, or has no such page.
        """
        file = self._file(place.path)
        if place.page >= len(file.pages):
            cause = f"holds {len(file.pages)} pages, page {place.page} is needed"
            raise CorruptSource(place.path, cause)
        page = file.pages[place.page]
        layout = file.source.layout(page)
        yield Image(str(place), TIFF, layout.shape, layout.dtype, lambda: file.source.read(page))

    def close(self) -> None:
        """Forget every file; closing twice is allowed."""
        with self._lock:
            self._known.clear()

    def _file(self, path: Path) -> _File:
        with self._lock:
            found = self._known.get(path)
            if found is None:
                found = self._known[path] = self._walked(path)
            self._known.move_to_end(path)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return found

    def _walked(self, path: Path) -> _File:
        source = TiffSource(path, self._limits, keep_open=False)
        pages, _ = frame_pages(source)
        cause = self._wrong(len(pages))
        if cause is not None:
            raise CorruptSource(path, cause)
        return _File(source, pages)
