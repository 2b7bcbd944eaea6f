"""Images in files and in answers of servers: PNG, JPEG and TIFF, told by their first bytes, decoded as stored.

Headers are compared before pixels are decoded, so that nothing of an unexpected size is allocated. What a
decoder would fill up or convert is refused: a PNG or JPEG that is cut off, PNG with a palette or less than
8 bits, JPEG of other than 8 bits or in four colours. JPEG is lossy where it was made; it is kept as it decodes.

Source: PNG specification (W3C, third edition), 11.2.1 "IHDR"; ITU-T T.81 (JPEG), B.2.2 "Frame header syntax".
"""

from __future__ import annotations

import math
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat, used_up
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.signature import foreign_format
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_errors import refusing

if TYPE_CHECKING:
    import numpy.typing as npt

    from imaging_db.readers.tiff_source import AlikeFiles

PNG, JPEG, TIFF = "PNG", "JPEG", "TIFF"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xae\x42\x60\x82"
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_TIFF_STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_PNG_COLORS = {0: 1, 2: 3, 4: 2, 6: 4}
_PALETTE = 3
_LONGEST_START = 8


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose header was read: what it says, and how its pixels are had.

    ``name`` is its file or address; ``shape`` is ``(Y, X)``, with colours ``(Y, X, S)``; ``dtype`` NumPy's name.
    """

    name: str
    form: str
    shape: tuple[int, ...]
    dtype: str
    _decode: Callable[[], npt.NDArray[Any]]

    @property
    def colors(self) -> int:
        """Return how many samples a pixel has."""
        return self.shape[2] if len(self.shape) == 3 else 1

    @property
    def nbytes(self) -> int:
        """Return how many bytes the decoded pixels will have."""
        import numpy as np

        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self) -> npt.NDArray[Any]:
        """Return the pixels as they are stored, native, of the header's shape and type.

        Raises
        ------
        CorruptSource
            They cannot be decoded, or not to what the header says.
        """
        pixels = self._decode()
        if pixels.shape != self.shape or pixels.dtype.name != self.dtype:
            cause = f"decodes to {pixels.shape} {pixels.dtype.name}, not {self.shape} {self.dtype}"
            raise CorruptSource(self.name, cause)
        return pixels


@contextmanager
def opened_image(
    path: Path, limits: ReadLimits, *, alike: AlikeFiles | None = None
) -> Iterator[Image]:
    """Yield the image in a file, its header read; its pixels can be read as long as the block runs.

    TIFF files that are opened with one ``alike``, in one thread, cost a third.

    Raises
    ------
    ReaderError
        Missing, empty, cut off, damaged, not an image, or of a kind that cannot be read exactly.
    """
    source = _bytes_of(path)
    try:
        start = source.read_up_to(0, _LONGEST_START)
        if start.startswith(_TIFF_STARTS):
            source.close()
            with _opened_tiff(path, limits, alike) as image:
                yield image
            return
        _check_start(start, str(path), foreign=lambda: foreign_format(path))
        _check_size(source.size, str(path), limits)
        data = source.read(0, source.size)
    finally:
        source.close()
    yield _packed(data, path, str(path))


@contextmanager
def image_in(data: bytes, name: str, limits: ReadLimits) -> Iterator[Image]:
    """Yield the image that bytes are; errors tell ``name``. Otherwise as `opened_image`."""
    try:
        if not data.startswith(_TIFF_STARTS):
            _check_start(data, name)
            _check_size(len(data), name, limits)
            yield _packed(data, Path(name), name)
            return
        with _as_file(data) as path, _opened_tiff(path, limits) as image:
            yield image
    except (CorruptSource, UnsupportedFormat) as error:
        raise type(error)(name, error.cause, page=error.page, hint=error.hint) from error


def _bytes_of(path: Path) -> FileBytes:
    try:
        return FileBytes(path)
    except ReaderError as error:
        short = used_up(error.__cause__) if error.__cause__ else None
        raise short or error from error.__cause__


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="imaging_db-") as folder:
        path = Path(folder) / "image.tif"
        path.write_bytes(data)
        yield path


@contextmanager
def _opened_tiff(
    path: Path, limits: ReadLimits, alike: AlikeFiles | None = None
) -> Iterator[Image]:
    from imaging_db.readers.tif_id import frame_pages
    from imaging_db.readers.tiff_source import TiffSource

    with TiffSource(path, limits, alike=alike) as source:
        pages, _ = frame_pages(source)
        if len(pages) != 1:
            cause = f"holds {len(pages)} pages, one image is needed"
            raise UnsupportedFormat(path, cause)
        layout = source.layout(pages[0])
        yield Image(str(path), TIFF, layout.shape, layout.dtype, lambda: source.read(pages[0]))


def _check_start(
    start: bytes, name: str, *, foreign: Callable[[], str | None] = lambda: None
) -> None:
    if not start:
        raise CorruptSource(name, "is empty (0 bytes)")
    if not start.startswith((_PNG_START, _JPEG_START)):
        found = foreign()
        cause = f"is {found}" if found else "is no image that is known here"
        raise UnsupportedFormat(name, cause, hint="tiles are PNG, TIFF or JPEG")


def _check_size(size: int, name: str, limits: ReadLimits) -> None:
    """No encoder makes an image much larger than its pixels; metadata may come on top."""
    if size > 2 * limits.max_frame_bytes + limits.max_metadata_bytes:
        cause = f"has {size} bytes, the limit is {limits.max_frame_bytes} bytes of pixels"
        raise UnsupportedFormat(name, cause)


def _packed(data: bytes, path: Path, name: str) -> Image:
    """Return a PNG or a JPEG whose bytes are all there."""
    with refusing(path):
        if data.startswith(_PNG_START):
            return _png(data, path, name)
        return _jpeg(data, path, name)


def _png(data: bytes, path: Path, name: str) -> Image:
    if len(data) < 33 or not data.endswith(_PNG_END):
        raise CorruptSource(name, "the PNG is cut off, or something lies behind its end")
    kind, width, height, bits, color_type = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR" or not width or not height:
        raise CorruptSource(name, "the PNG has no header, or no pixels")
    if color_type == _PALETTE or bits not in (8, 16):
        what = "has a palette" if color_type == _PALETTE else f"has {bits} bits a pixel"
        raise UnsupportedFormat(name, f"the PNG {what}", hint="store it in 8 or 16 bits")
    if color_type not in _PNG_COLORS:
        raise CorruptSource(name, f"the PNG has the colour type {color_type}, which does not exist")
    colors = _PNG_COLORS[color_type]
    shape = (height, width) if colors == 1 else (height, width, colors)

    def decode() -> npt.NDArray[Any]:
        import imagecodecs

        with refusing(path):
            pixels: npt.NDArray[Any] = imagecodecs.png_decode(data)
        return pixels

    return Image(name, PNG, shape, f"uint{bits}", decode)


def _jpeg(data: bytes, path: Path, name: str) -> Image:
    # Some writers fill up with zeros or end with a new line.
    if not data.rstrip(b"\0\r\n").endswith(_JPEG_END):
        raise CorruptSource(name, "the JPEG is cut off")
    bits, height, width, colors = _jpeg_header(data, name)
    if bits != 8 or colors not in (1, 3):
        cause = f"the JPEG has {bits} bits and {colors} colours"
        raise UnsupportedFormat(name, cause, hint="JPEG is read in 8 bits, grey or RGB")
    shape = (height, width) if colors == 1 else (height, width, colors)

    def decode() -> npt.NDArray[Any]:
        import imagecodecs

        with refusing(path):
            pixels: npt.NDArray[Any] = imagecodecs.jpeg8_decode(data)
        return pixels

    return Image(name, JPEG, shape, "uint8", decode)


def _jpeg_header(data: bytes, name: str) -> tuple[int, int, int, int]:
    """Return bits, height, width and colours, as the first frame header says."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, colors = struct.unpack_from(">BHHB", data, place + 4)
            if not height or not width:
                break
            return bits, height, width, colors
        place += 2 + int(struct.unpack_from(">H", data, place + 2)[0])
    raise CorruptSource(name, "the JPEG has no frame header, or no pixels")
