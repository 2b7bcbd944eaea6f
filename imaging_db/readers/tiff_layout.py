"""How the pixels of a page are laid out: shape, type, compression, and how to decode them.

tifffile says what shape and type a combination of tags means and decodes compressed segments; the
bytes are read here, by offset, because a `tifffile.TiffFile` that threads share returns wrong frames.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from imaging_db.errors import CorruptSource, UnsupportedFormat

if TYPE_CHECKING:
    import tifffile

    from imaging_db.readers.tiff_bytes import FileBytes

_NATIVE = "<" if sys.byteorder == "little" else ">"
# JPEG XR: its library ends the process (SIGFPE) on damaged data instead of reporting an error.
_CRASHING = (22610, 34934)
_FAX = (2, 3, 4)
JPEG = (6, 7, 34892, 33007)
# How many bytes one byte of these can become at most, with room to spare (deflate: 1032, RFC 1951).
_EXPANSION = {8: 1100, 32946: 1100, 50013: 1100, 5: 4096, 32773: 128}


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the strips or tiles of one page lie, in the order of their index."""

    offsets: npt.NDArray[np.uint64]
    byte_counts: npt.NDArray[np.uint64]
    jpeg_tables: bytes | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What all pages with the same structural tags share.

    ``shape`` is ``(Y, X)`` or ``(Y, X, S)``, ``dtype`` NumPy's native name (1-bit pages are ``bool``,
    packed 12-bit ones ``uint16``). ``stored`` is the shape in the file: samples, depth, length, width,
    samples. ``direct`` pages hold their pixels as plain bytes. ``bits`` of a stored sample are 0 where
    samples differ or are shared by pixels; ``tile`` is (length, width).
    """

    shape: tuple[int, ...]
    dtype: str
    stored: tuple[int, int, int, int, int]
    photometric: str
    compression: str
    compression_code: int
    is_reduced: bool
    is_mask: bool
    is_tiled: bool
    direct: bool
    segment_count: int
    strip_rows: int
    byteorder: Literal["<", ">"]
    bits: int
    tile: tuple[int, int]
    _decode_segment: Callable[..., Any] | None

    @property
    def nbytes(self) -> int:
        """Bytes of one decoded frame."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def largest_expansion(self) -> int | None:
        """Return how many bytes a compressed byte can become at most, None where unknown."""
        return _EXPANSION.get(self.compression_code)

    def raw_segment_sizes(self) -> npt.NDArray[np.uint64]:
        """Return the bytes that each segment of an uncompressed page needs; empty where unknown."""
        samples, _, length, width, contig = self.stored
        if self.compression_code != 1 or self.bits == 0:
            return np.zeros(0, np.uint64)
        if self.is_tiled:
            row = (self.tile[1] * contig * self.bits + 7) // 8
            return np.full(self.segment_count, self.tile[0] * row, np.uint64)
        row = (width * contig * self.bits + 7) // 8
        rows = np.full(self.segment_count, self.strip_rows, np.uint64)
        per_plane = self.segment_count // samples
        rows[per_plane - 1 :: per_plane] = length - self.strip_rows * (per_plane - 1)
        return rows * np.uint64(row)

    def read_into(self, source: FileBytes, segments: Segments, pixels: npt.NDArray[Any]) -> None:
        """Put the page's pixels into an array of ``shape`` and ``dtype``, contiguous and native."""
        planar = self.stored[0] > 1
        stored = np.empty(self.stored, self.dtype) if planar else pixels
        if self.direct:
            self._read_runs(source, runs_of(segments.offsets, self.raw_segment_sizes()), stored)
        else:
            self._decode(source, segments, stored.reshape(self.stored))
        if planar:  # planes of colours become the last axis
            np.copyto(pixels, np.moveaxis(stored[:, 0, ..., 0], 0, -1))

    def read_run_into(self, source: FileBytes, offset: int, pixels: npt.NDArray[Any]) -> None:
        """As `read_into`, of a page that `is_one_run` from ``offset``."""
        self._read_runs(source, [(offset, pixels.nbytes)], pixels)

    def is_one_run(self, offsets: npt.NDArray[np.uint64]) -> bool:
        """Return True where the bytes of a page with these strips are its pixels, one after the other."""
        if not self.direct or self.stored[0] > 1:
            return False
        return len(offsets) == 1 or len(runs_of(offsets, self.raw_segment_sizes())) == 1

    def _read_runs(
        self, source: FileBytes, runs: Iterable[tuple[int, int]], pixels: npt.NDArray[Any]
    ) -> None:
        target = pixels.reshape(-1).view(np.uint8).data
        start = 0
        for offset, size in runs:
            source.read_into(target[start : start + size], offset)
            start += size
        if self.byteorder != _NATIVE and pixels.itemsize > 1:
            pixels.byteswap(inplace=True)

    def _decode(self, source: FileBytes, segments: Segments, pixels: npt.NDArray[Any]) -> None:
        decode = self._decode_segment
        if decode is None:
            raise TypeError("a page of plain bytes has no decoder")
        options = {"jpegtables": segments.jpeg_tables} if self.compression_code in JPEG else {}
        needed = self.raw_segment_sizes()
        sizes = needed if len(needed) else segments.byte_counts
        pixels.fill(0)
        for index in range(self.segment_count):
            data = source.read(int(segments.offsets[index]), int(sizes[index]))
            if self.compression_code in JPEG:
                _check_jpeg_size(
                    data, self.tile if self.is_tiled else (self.strip_rows, self.stored[3])
                )
            decoded: Any
            decoded, (s, d, y, x, _), expected = decode(data, index, **options)
            _, _, length, width, _ = self.stored
            rows, columns = min(expected[1], length - y), min(expected[2], width - x)
            part = decoded[:1, :rows, :columns]
            if part.shape[:3] != (1, rows, columns):
                raise ValueError(f"segment {index} decodes to {decoded.shape}, not {expected}")
            pixels[s, d : d + 1, y : y + rows, x : x + columns] = part


def layout_of(page: tifffile.TiffPage, *, source: FileBytes, index: int) -> Layout:
    """Return the layout that a page's tags mean.

    Raises
    ------
    UnsupportedFormat
        A volume in one page, or samples of a kind that NumPy has no type for.
    CorruptSource
        No pixels, or a tile or strip without size.
    """
    if page.dtype is None:
        cause = (
            f"samples of {page.bitspersample} bits, format {int(page.sampleformat)}: unsupported"
        )
        raise UnsupportedFormat(source.path, cause, page=index)
    _check_page(page, source=source, index=index)
    samples, depth, length, width, contig = (int(n) for n in page.shaped)
    shape = (length, width) if samples * contig == 1 else (length, width, samples * contig)
    rows = page.rowsperstrip or length
    direct = _is_direct(page)
    return Layout(
        shape=shape,
        dtype=page.dtype.newbyteorder("=").name,
        stored=(samples, depth, length, width, contig),
        photometric=_name(page.photometric),
        compression=_name(page.compression),
        compression_code=_decodable(page, source=source, index=index),
        is_reduced=bool(int(page.subfiletype) & 1),
        is_mask=bool(int(page.subfiletype) & 4),
        is_tiled=page.is_tiled,
        direct=direct,
        segment_count=_segment_count(page, rows),
        strip_rows=int(rows),
        byteorder=page.parent.byteorder,
        bits=0 if page.is_subsampled else _bits(page),
        tile=(int(page.tilelength), int(page.tilewidth)) if page.is_tiled else (0, 0),
        # Made here: making it may read the file, and is not safe in threads.
        _decode_segment=None if direct else page.decode,
    )


def _check_page(page: tifffile.TiffPage, *, source: FileBytes, index: int) -> None:
    """Refuse pages whose pixels would not be read as they are."""
    if page.parent.byteorder == "<" and 16 < _bits(page) < 32 and int(page.sampleformat) != 3:
        cause = f"whole numbers of {page.bitspersample} bits in a little-endian file: unsupported"
        raise UnsupportedFormat(source.path, cause, page=index)
    if page.imagedepth != 1:
        cause = f"is a volume {page.imagedepth} deep in one page"
        raise UnsupportedFormat(source.path, cause, page=index)
    if (
        min(page.shaped) < 0
        or (page.rowsperstrip or 0) < 0
        or min(page.tilewidth, page.tilelength) < 0
    ):
        raise CorruptSource(source.path, "has a negative size", page=index)
    if 0 in page.shaped or (page.is_tiled and 0 in (page.tilewidth, page.tilelength)):
        raise CorruptSource(source.path, "has no size or no tile size", page=index)


def _decodable(page: tifffile.TiffPage, *, source: FileBytes, index: int) -> int:
    """Return the compression's number if it can be decoded here."""
    import tifffile

    code = int(page.compression)
    if code in _CRASHING:
        cause = f"compression {_name(page.compression)} is not read: damaged data end the program"
        raise UnsupportedFormat(source.path, cause, page=index)
    if code != 1:
        try:
            tifffile.TIFF.DECOMPRESSORS[code]
        except (KeyError, ImportError) as error:
            cause = f"compression {_name(page.compression)} cannot be decoded"
            raise UnsupportedFormat(source.path, cause, page=index) from error
    if code in _FAX and _bits(page) != 1:
        raise CorruptSource(source.path, "fax compression of more than 1 bit", page=index)
    return code


def _segment_count(page: tifffile.TiffPage, rows: int) -> int:
    samples, _, length, width, _ = page.shaped
    if page.is_tiled:
        across = math.ceil(width / page.tilewidth)
        return int(samples * across * math.ceil(length / page.tilelength))
    return int(samples * math.ceil(length / rows))


def _is_direct(page: tifffile.TiffPage) -> bool:
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    item = 0 if page.dtype is None else page.dtype.itemsize
    whole = _bits(page) == item * 8 and page.sampleformat != 5
    return bool(plain and whole and not page.is_tiled and not page.is_subsampled)


def _bits(page: tifffile.TiffPage) -> int:
    bits: Any = page.bitspersample  # a tuple where samples differ, as in RGB 565
    return 0 if isinstance(bits, tuple) else int(bits)


def _check_jpeg_size(data: bytes, expected: tuple[int, int]) -> None:
    """Raise where a JPEG's own header asks for far more pixels than its strip or tile holds."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            rows, columns = struct.unpack(">HH", data[place + 5 : place + 9])
            if rows * columns > 4 * expected[0] * expected[1] + 65_536:
                raise ValueError(f"JPEG data of {columns} x {rows} pixels, {expected} are expected")
            return
        place += 2 + size


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def runs_of(
    offsets: npt.NDArray[np.uint64], sizes: npt.NDArray[np.uint64]
) -> list[tuple[int, int]]:
    """Return (offset, size) of segments, neighbours in the file joined."""
    runs: list[tuple[int, int]] = []
    for offset, size in zip(offsets.tolist(), sizes.tolist(), strict=True):
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + size)
        else:
            runs.append((offset, size))
    return runs


def describe_size(nbytes: int) -> str:
    """Return a size for people, such as ``3.5 TiB``."""
    power = min(4, int(math.log(max(nbytes, 1), 1024)))
    return f"{nbytes / 1024**power:.1f} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
