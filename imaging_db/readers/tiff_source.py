"""One TIFF file, walked once and checked: its pages, their tags, their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONObject
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.frame_buffer import check_out
from imaging_db.readers.imagej_stack import ImageJTags, plane_count, promised_images
from imaging_db.readers.ome_peek import micro_manager_header
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, Field, TiffStructure
from imaging_db.readers.tiff_errors import refusing
from imaging_db.readers.tiff_layout import Layout
from imaging_db.readers.tiff_segments import segments_of
from imaging_db.readers.tiff_tags import TagMemory, listed_tags, tags_of
from imaging_db.readers.tiff_walk import PageWalk

_LIMITS = ReadLimits()


@dataclass(frozen=True, slots=True)
class TiffPageInfo:
    """What a page's tags say of it.

    ``shape`` is ``(Y, X)`` or ``(Y, X, S)``, ``dtype`` NumPy's native name, ``nbytes`` the size of one
    decoded frame. ``is_reduced`` marks a thumbnail or pyramid level (NewSubfileType bit 0).
    ``photometric`` and ``compression`` are names such as ``MINISBLACK`` and ``LZW``.
    """

    index: int
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    photometric: str
    compression: str
    is_reduced: bool
    is_tiled: bool
    description: str


@dataclass(frozen=True, slots=True)
class AlikeFiles:
    """What the pages of several files have in common: layouts, and tags that were decoded last."""

    layouts: dict[Any, Layout] = field(default_factory=dict)
    tags: TagMemory = field(default_factory=TagMemory)


class TiffSource:
    """One open TIFF file. A context manager; closing twice is allowed.

    Opening walks the chain of pages and checks that every tag and every strip or tile lies inside the
    file, that the chain ends properly, and that each page can be decoded within the limits. An ImageJ
    stack that lists one page and stores N planes behind it counts as N pages. Pyramid levels in SubIFDs
    are not pages. With ``keep_open=False`` no handle is held between reads. Files that were opened with
    one `AlikeFiles` share what their pages have in common, which saves time and memory in folders.

    Raises
    ------
    CorruptSource
        Empty, truncated or damaged; names the page.
    UnsupportedFormat
        Not a TIFF file, not a regular file, or pages of a kind that cannot be read exactly.
    """

    def __init__(
        self,
        path: Path,
        limits: ReadLimits = _LIMITS,
        *,
        keep_open: bool = True,
        alike: AlikeFiles | None = None,
    ) -> None:
        self.path = path
        self.limits = limits
        self.notes: tuple[str, ...] = ()
        self._alike = alike or AlikeFiles()
        self._bytes = FileBytes(path)
        try:
            limit = limits.max_metadata_bytes
            self._structure = TiffStructure(self._bytes, max_metadata_bytes=limit)
            walk = PageWalk(self._bytes, self._structure, limits, layouts=self._alike.layouts)
            self._pages = walk.run()
            self._imagej = ImageJTags.of(self._structure, walk.first)
            self._planes = self._count_planes(walk.first)
            self._count = self._planes or len(self._pages.offsets)
        except BaseException:
            self._bytes.close()
            raise
        if not keep_open:
            self._bytes.park()

    @property
    def byteorder(self) -> str:
        """Return ``<`` or ``>``."""
        return self._structure.byteorder

    @property
    def is_bigtiff(self) -> bool:
        """True where offsets have 64 bits."""
        return self._structure.is_big

    @property
    def size(self) -> int:
        """Return the file's size in bytes."""
        return self._bytes.size

    @property
    def imagej(self) -> dict[str, str]:
        """Return ImageJ's description of the file as its lines say, empty where there is none."""
        return self._imagej.description

    @property
    def is_imagej(self) -> bool:
        """True where ImageJ, or a program that follows it, describes the file."""
        return bool(self._imagej.description)

    @property
    def is_micro_manager(self) -> bool:
        """True where the header or any page carries a mark of Micro-Manager."""
        return self._pages.has_tag or micro_manager_header(self._bytes, self.byteorder)

    def __len__(self) -> int:
        return self._count

    def page(self, index: int) -> TiffPageInfo:
        """Return what the tags of a page (from 0) say."""
        layout = self.layout(index)
        return TiffPageInfo(
            index=index,
            shape=layout.shape,
            dtype=layout.dtype,
            nbytes=layout.nbytes,
            photometric=layout.photometric,
            compression=layout.compression,
            is_reduced=layout.is_reduced,
            is_tiled=layout.is_tiled,
            description=self.description(index),
        )

    def pages(self) -> Iterator[TiffPageInfo]:
        """Yield what the tags of every page say, in the order of the file."""
        return (self.page(index) for index in range(len(self)))

    def layouts(self) -> list[Layout]:
        """Return the layouts that the pages have, each once or more; see `layout`."""
        return [kind.layout for kind in self._pages.kinds]

    def layout(self, index: int) -> Layout:
        """Return shape, type and compression of a page without touching the file."""
        return self._pages.kind(self._listed(index)).layout

    def offset(self, index: int) -> int:
        """Return where the page's list of tags begins in the file."""
        return self._pages.offsets[self._listed(index)]

    def pixel_offset(self, index: int) -> int:
        """Return where the pixels of a page that is listed by itself begin in the file."""
        return self._pages.pixels[self._listed(index)]

    def description(self, index: int) -> str:
        """Return the page's first ImageDescription, empty where there is none."""
        value = self.tag(index, ifd.DESCRIPTION)
        if isinstance(value, bytes):
            return ifd.text_of(value)
        return value if isinstance(value, str) else ""

    def tag(self, index: int, code: int) -> Any | None:
        """Return the value of one tag: a number, a tuple, `str` or `bytes`; None where absent."""
        if code == ifd.MICRO_MANAGER:
            raw = self.micro_manager_text(index)
            if raw is not None:
                return ifd.text_of(raw)
        found = self._directory(index).fields.get(code)
        return None if found is None else self._structure.value(found, page=index)

    def micro_manager_text(self, index: int) -> bytes | None:
        """Return the text of a page's Micro-Manager tag as it is in the file, None where it has none.

        None also where the tag holds no text, or so little that it lies in the list of tags; see `tag`.
        """
        listed, pages = self._listed(index), self._pages
        if not pages.tags[listed]:
            return None
        place = Field(ifd.TEXT, pages.tag_sizes[listed], None, pages.tags[listed])
        return self._structure.raw(place, page=index)

    def tags(self, index: int) -> JSONObject:
        """Return the page's tags by name as clean JSON, without offsets, tables and binary data."""
        listed = self._listed(index)
        pattern, offset = self._pages.kind(listed).pattern, self._pages.offsets[listed]
        with refusing(self.path, page=index), self._bytes.at_hand() as data:
            own = data is self._bytes
            structure = self._structure if own else self._structure.over(data)
            if pattern is None:
                tags = tags_of(structure, structure.directory(offset, page=index), page=index)
            else:
                tags = listed_tags(data, structure, pattern, offset, page=index)
            return self._alike.tags.as_json(tags, structure, page=index)

    def imagej_info(self) -> str | None:
        """Return the ``Info`` text of ImageJ's metadata tag on the first page, None where absent."""
        return self._imagej.info

    def imagej_labels(self) -> tuple[str, ...]:
        """Return the slice labels of ImageJ's metadata tag, empty where there are none."""
        return self._imagej.labels

    def imagej_ranges(self) -> tuple[float, ...]:
        """Return the display ranges of ImageJ's metadata tag: minimum, maximum of each channel."""
        return self._imagej.ranges

    def read(self, index: int, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return a page's pixels as they are stored; safe to call from many threads at once.

        The array is C-contiguous in native byte order, of the page's shape and dtype; it is ``out`` where
        that is given. Palettes are not applied, MINISWHITE is not inverted, planes of colours become the
        last axis. YCbCr in JPEG becomes RGB, as its decoder gives it.

        Raises
        ------
        CorruptSource
            The page cannot be decoded.
        UnsupportedFormat
            Its compression is not available here.
        ValueError
            ``out`` is not of the page's shape and dtype, contiguous and writable.
        """
        listed = self._listed(index)
        kind = self._pages.kind(listed)
        layout = kind.layout
        if out is not None:
            check_out(out, layout.shape, layout.dtype)
        with refusing(self.path, page=index):
            pixels = np.empty(layout.shape, layout.dtype) if out is None else out
            if kind.one_run:
                start = self._pages.pixels[listed] + (index - listed) * layout.nbytes
                layout.read_run_into(self._bytes, start, pixels)
            else:
                directory = self._directory(index)
                segments = segments_of(self._structure, directory, layout, page=index)
                layout.read_into(self._bytes, segments, pixels)
        return pixels

    def check_unchanged(self) -> None:
        """Raise `SourceChanged` where the file was written to since it was opened."""
        self._bytes.check_unchanged()

    def read_bytes(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``, fewer at the end of the file."""
        return self._bytes.read_up_to(offset, size)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._bytes.close()

    def __enter__(self) -> TiffSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _listed(self, index: int) -> int:
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path} has {len(self)} pages, not {index + 1}")
        return 0 if self._planes else index

    def _directory(self, index: int) -> Directory:
        return self._structure.directory(self.offset(index), page=index)

    def _count_planes(self, first: Directory) -> int:
        """Return how many planes lie behind the only page, 0 where pages are listed one by one."""
        listed, layout = len(self._pages.offsets), self._pages.kind(0).layout
        promised = promised_images(self._imagej, layout.shape)
        if promised is None or promised == listed:
            return 0
        if listed != 1:
            raise CorruptSource(self.path, f"promises {promised} images, lists {listed} pages")
        segments = segments_of(self._structure, first, layout, page=0)
        return plane_count(self.path, promised, layout, segments, self.size)
