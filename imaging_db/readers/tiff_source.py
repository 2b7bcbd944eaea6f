"""One TIFF file, walked once and checked: its pages, their tags, their pixels."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.imagej_stack import ImageJTags, plane_count, promised_images
from imaging_db.readers.ome_peek import micro_manager_header
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import Directory, Field, TiffStructure
from imaging_db.readers.tiff_errors import refusing
from imaging_db.readers.tiff_extent import Extents
from imaging_db.readers.tiff_layout import JPEG, Layout, Segments, describe_size, layout_of
from imaging_db.readers.tiff_segments import check_segments, segments_of
from imaging_db.readers.tiff_tags import LEFT_OUT, tags_as_json

if TYPE_CHECKING:
    import tifffile

# Every tag that changes what the bytes of a page mean; pages that share their values share a layout.
_STRUCTURAL = (
    254, 255, 256, 257, 258, 259, 262, 266, 277, 278, 284, 317, 320, 322, 323, 338, 339, 530,
    32997, 32998, 34412, 65007, 65008, 65009,
)  # fmt: skip
_LIMITS = ReadLimits()
_PALETTE = 320
_WHOLE_NUMBERS = (1, 3, 4, 6, 7, 8, 9, 13, 16, 17)  # 7: LSM keeps its own structure in one of them


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


class TiffSource:
    """One open TIFF file. A context manager; closing twice is allowed.

    Opening walks the chain of pages and checks that every tag and every strip or tile lies inside the
    file, that the chain ends properly, and that each page can be decoded within the limits. An ImageJ
    stack that lists one page and stores N planes behind it counts as N pages. Pyramid levels in SubIFDs
    are not pages. With ``keep_open=False`` no handle is held between reads. Files that were opened with
    one ``layouts`` share the descriptions of pages that are alike, which saves time and memory in folders.

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
        layouts: dict[Any, Layout] | None = None,
    ) -> None:
        self.path = path
        self.limits = limits
        self._shared = {} if layouts is None else layouts
        self.notes: tuple[str, ...] = ()
        self._bytes = FileBytes(path)
        try:
            limit = limits.max_metadata_bytes
            self._structure = TiffStructure(self._bytes, max_metadata_bytes=limit)
            self._offsets = array("Q")
            self._pixel_offsets = array("Q")
            self._layout_ids = array("L")
            # of Micro-Manager's tag, the one that is asked of every page
            self._tag_offsets = array("Q")
            self._tag_sizes = array("Q")
            self._has_tag = False
            self._layouts: list[Layout] = []
            self._extents = Extents()
            self._walk()
            self._planes = self._count_planes()
            self._extents.check(path)
            del self._extents
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
        return self._has_tag or micro_manager_header(self._bytes, self.byteorder)

    def __len__(self) -> int:
        return self._planes or len(self._offsets)

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

    def layout(self, index: int) -> Layout:
        """Return shape, type and compression of a page without touching the file."""
        return self._layouts[self._layout_ids[self._listed(index)]]

    def offset(self, index: int) -> int:
        """Return where the page's list of tags begins in the file."""
        return self._offsets[self._listed(index)]

    def pixel_offset(self, index: int) -> int:
        """Return where the pixels of a page that is listed by itself begin in the file."""
        return self._pixel_offsets[self._listed(index)]

    def description(self, index: int) -> str:
        """Return the page's first ImageDescription, empty where there is none."""
        value = self.tag(index, ifd.DESCRIPTION)
        if isinstance(value, bytes):
            return ifd.text_of(value)
        return value if isinstance(value, str) else ""

    def tag(self, index: int, code: int) -> Any | None:
        """Return the value of one tag: a number, a tuple, `str` or `bytes`; None where absent."""
        listed = self._listed(index)
        if code == ifd.MICRO_MANAGER and self._tag_offsets[listed]:
            place = Field(ifd.TEXT, self._tag_sizes[listed], None, self._tag_offsets[listed])
            return self._structure.value(place, page=index)
        field = self._directory(index).fields.get(code)
        return None if field is None else self._structure.value(field, page=index)

    def tags(self, index: int) -> JSONObject:
        """Return the page's tags by name as clean JSON, without offsets, tables and binary data."""
        directory = self._directory(index)
        values = {
            code: self._structure.value(field, page=index)
            for code, field in directory.fields.items()
            if code not in LEFT_OUT
        }
        with refusing(self.path, page=index):
            return tags_as_json(values)

    def imagej_info(self) -> str | None:
        """Return the ``Info`` text of ImageJ's metadata tag on the first page, None where absent."""
        return self._imagej.info

    def imagej_labels(self) -> tuple[str, ...]:
        """Return the slice labels of ImageJ's metadata tag, empty where there are none."""
        return self._imagej.labels

    def imagej_ranges(self) -> tuple[float, ...]:
        """Return the display ranges of ImageJ's metadata tag: minimum, maximum of each channel."""
        return self._imagej.ranges

    def read(self, index: int) -> npt.NDArray[Any]:
        """Return a page's pixels as they are stored; safe to call from many threads at once.

        The array is C-contiguous in native byte order, of the page's shape and dtype. Palettes are not
        applied, MINISWHITE is not inverted, planes of colours become the last axis. YCbCr in JPEG
        becomes RGB, as its decoder gives it.

        Raises
        ------
        CorruptSource
            The page cannot be decoded.
        UnsupportedFormat
            Its compression is not available here.
        """
        layout = self.layout(index)
        segments = self._segments(self._directory(index), layout, index)
        if self._planes:
            shift = np.uint64(index * layout.nbytes)
            segments = Segments(segments.offsets + shift, segments.byte_counts)
        with refusing(self.path, page=index):
            return layout.read(self._bytes, segments)

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
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} pages, not {index + 1}")
        return 0 if self._planes else index

    def _directory(self, index: int) -> Directory:
        return self._structure.directory(self.offset(index), page=index)

    def _walk(self) -> None:
        ids: dict[tuple[Any, ...], int] = {}
        opened: list[tifffile.TiffFile] = []
        try:
            for index, directory in enumerate(self._structure.walk()):
                if index >= self.limits.max_frames:
                    cause = f"holds more than {self.limits.max_frames} pages"
                    raise UnsupportedFormat(self.path, cause, hint="see max_frames")
                self._add(directory, index, ids, opened)
        finally:
            for file in opened:
                file.close()

    def _add(
        self,
        directory: Directory,
        index: int,
        ids: dict[tuple[Any, ...], int],
        opened: list[tifffile.TiffFile],
    ) -> None:
        key = self._structural_key(directory, index)
        if key not in ids:
            ids[key] = len(self._layouts)
            if (self.byteorder, key) not in self._shared:
                self._shared[self.byteorder, key] = self._new_layout(directory, index, opened)
            self._layouts.append(self._shared[self.byteorder, key])
        layout = self._layouts[ids[key]]
        segments = self._segments(directory, layout, index)
        sizes = check_segments(self.path, self.size, segments, layout, page=index)
        self._claim(directory, layout, index, segments.offsets, sizes)
        self._check_levels(directory, index)
        self._pixel_offsets.append(int(segments.offsets[0]))
        self._offsets.append(directory.offset)
        self._layout_ids.append(ids[key])
        tag = directory.fields.get(ifd.MICRO_MANAGER)
        self._has_tag = self._has_tag or tag is not None
        kept = tag is not None and tag.inline is None and tag.type == ifd.TEXT
        self._tag_offsets.append(tag.offset if tag is not None and kept else 0)
        self._tag_sizes.append(tag.number if tag is not None and kept else 0)
        if index == 0:
            self._imagej = ImageJTags.of(self._structure, directory)

    def _claim(
        self,
        directory: Directory,
        layout: Layout,
        index: int,
        offsets: npt.NDArray[np.uint64],
        sizes: npt.NDArray[np.uint64],
    ) -> None:
        self._extents.add_tags(directory.offset, directory.size)
        for field in directory.fields.values():
            if field.inline is None:
                self._extents.add_tags(field.offset, field.size)
        if layout.compression_code == 1:
            self._extents.add_pixels(index, offsets, sizes)

    def _check_levels(self, directory: Directory, index: int) -> None:
        """Raise where the smaller levels of a pyramid begin beyond the end of the file."""
        levels = directory.fields.get(ifd.SUB_IFDS)
        if levels is not None and levels.type in _WHOLE_NUMBERS:
            last = max(self._structure.values(levels, page=index), default=0)
            if last >= self.size:
                cause = (
                    f"a level of its pyramid begins at byte {last}, the file ends at {self.size}"
                )
                raise CorruptSource(self.path, f"{cause}: it was cut off", page=index)

    def _structural_key(self, directory: Directory, index: int) -> tuple[Any, ...]:
        fields = directory.fields
        key = [
            (code, fields[code].type, self._key_of(code, fields[code], index))
            for code in _STRUCTURAL
            if code in fields
        ]
        compression = self._structure.number(directory, ifd.COMPRESSION, 1, page=index)
        return (*key, compression in JPEG and self._is_jfif(directory, index))

    def _is_jfif(self, directory: Directory, index: int) -> bool:
        """Return True where JPEG data says itself how its colours are coded."""
        for code in (ifd.STRIP_OFFSETS, ifd.TILE_OFFSETS):
            offset = self._structure.number(directory, code, 0, page=index)
            if offset:
                return self._bytes.read_up_to(offset + 6, 4) == b"JFIF"
        return False

    def _key_of(self, code: int, field: Field, index: int) -> bytes:
        if field.type not in _WHOLE_NUMBERS:
            raise CorruptSource(self.path, f"tag {code} should be a whole number", page=index)
        if code == _PALETTE:  # its colours do not change the layout
            return b""
        return self._structure.raw(field, page=index)

    def _new_layout(
        self, directory: Directory, index: int, opened: list[tifffile.TiffFile]
    ) -> Layout:
        import tifffile

        planes = directory.fields.get(ifd.UIC2)
        if planes is not None and planes.number > 1:
            cause = f"is a MetaMorph stack that hides {planes.number} planes behind one page"
            raise UnsupportedFormat(self.path, cause, page=index)
        with refusing(self.path, page=index):
            if not opened:
                opened.append(tifffile.TiffFile(self.path))
            opened[0].filehandle.seek(directory.offset)
            page = tifffile.TiffPage(opened[0], index)
            layout = layout_of(page, source=self._bytes, index=index)
        if layout.nbytes > self.limits.max_frame_bytes:
            limit = describe_size(self.limits.max_frame_bytes)
            cause = f"asks for {describe_size(layout.nbytes)}, the limit is {limit} a frame"
            hint = "raise max_frame_bytes if the frame is meant to be that large"
            raise UnsupportedFormat(self.path, cause, page=index, hint=hint)
        return layout

    def _segments(self, directory: Directory, layout: Layout, index: int) -> Segments:
        return segments_of(self._structure, directory, layout, page=index)

    def _count_planes(self) -> int:
        """Return how many planes lie behind the only page, 0 where pages are listed one by one."""
        listed, layout = len(self._offsets), self._layouts[0]
        promised = promised_images(self._imagej, layout.shape)
        if promised is None or promised == listed:
            return 0
        if listed != 1:
            raise CorruptSource(self.path, f"promises {promised} images, lists {listed} pages")
        segments = self._segments(self._directory_of_first(), layout, 0)
        return plane_count(self.path, promised, layout, segments, self.size)

    def _directory_of_first(self) -> Directory:
        return self._structure.directory(self._offsets[0], page=0)
