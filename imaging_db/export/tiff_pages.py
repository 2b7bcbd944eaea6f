"""The pages of a TIFF file that is written from its beginning, and goes on where a killed run was.

A journal beside the file has a line for each page that is whole: where it ends, and its pixels' SHA-256.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from imaging_db.errors import CorruptSource, ReaderError
from imaging_db.export.in_order import in_order
from imaging_db.export.part import written_to
from imaging_db.model import is_sha256, sha256_of_pixels
from imaging_db.readers.tiff_errors import refusing

if TYPE_CHECKING:
    import numpy.typing as npt

_CLASSIC_BYTES = 2**32 - 2**25  # what a classic TIFF can address, and room for its directories
_STRIP_BYTES = 2**18
_PREDICTED = ("int8", "int16", "uint8", "uint16")
_PREDICTOR = 2  # differences along a row; ImageJ knows it for 8 and 16 bits
_MOST_RESOLUTION = 2**32 - 1  # pixels a centimetre, in the numerator of the tag
_LEVEL = 1  # of libdeflate: camera noise comes out as small as at 4, in less than half the time


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How every page is written: ``shape`` is ``(Y, X)`` or ``(Y, X, S)``.

    ``pixel_size_um`` is (x, y), None where unknown. ``big`` means BigTIFF.
    """

    shape: tuple[int, ...]
    dtype: str
    big: bool
    pixel_size_um: tuple[float, float] | None = None

    @property
    def stored_dtype(self) -> str:
        """Return the type in the file: that of the pixels, but for bool, whose pixels are 0 and 1."""
        return "uint8" if self.dtype == "bool" else self.dtype

    @property
    def predictor(self) -> int | None:
        """Return the TIFF predictor, None for none."""
        return _PREDICTOR if self.stored_dtype in _PREDICTED else None

    @property
    def rows_a_strip(self) -> int:
        """Return how many rows are compressed together."""
        import numpy as np

        width = self.shape[1] * (self.shape[2] if len(self.shape) == 3 else 1)
        row = width * int(np.dtype(self.stored_dtype).itemsize)
        return min(self.shape[0], max(1, _STRIP_BYTES // row))

    def encode(self, pixels: npt.NDArray[Any]) -> list[bytes]:
        """Return the compressed strips of a page."""
        import imagecodecs
        import numpy as np

        plain = np.ascontiguousarray(pixels).view(self.stored_dtype)
        if self.predictor:
            plain = np.concatenate([plain[:, :1], np.diff(plain, axis=1)], axis=1)
        little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        step = self.rows_a_strip
        return [
            bytes(
                imagecodecs.deflate_encode(
                    little[row : row + step].tobytes(), level=_LEVEL, raw=False
                )
            )
            for row in range(0, self.shape[0], step)
        ]

    def options(self) -> dict[str, Any]:
        """Return how tifffile is to describe a page."""
        samples = self.shape[2] if len(self.shape) == 3 else 1
        options: dict[str, Any] = {
            "shape": self.shape,
            "dtype": f"<{_code(self.stored_dtype)}",
            "photometric": "rgb" if samples in (3, 4) else "minisblack",
            "compression": "zlib",
            "predictor": self.predictor,
            "rowsperstrip": self.rows_a_strip,
            "metadata": None,
            "contiguous": False,
        }
        if samples > 1:
            options["planarconfig"] = "contig"
        if samples == 4:
            options["extrasamples"] = ["unspecified"]
        if self.pixel_size_um is not None:
            x, y = (1e4 / size for size in self.pixel_size_um)
            if max(x, y) < _MOST_RESOLUTION:
                options |= {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
        return options


def needs_big(nbr_pages: int, *, page_bytes: int, description: int) -> bool:
    """Return True where a classic TIFF might not hold so many pages, which deflate may even enlarge."""
    directory = 1024 + page_bytes // _STRIP_BYTES * 8
    return nbr_pages * (page_bytes + page_bytes // 100 + directory) + description > _CLASSIC_BYTES


class PageWriter:
    """Writes pages one after the other; a context manager. ``hashes`` are those that are whole already."""

    def __init__(
        self, path: Path, journal: Path, layout: PageLayout, *, description: bytes, software: str
    ) -> None:
        self.hashes: list[str] = []
        self._path = path
        self._journal_path = journal
        self._layout = layout
        self._description = description
        self._software = software

    def __enter__(self) -> Self:
        import tifffile

        with ExitStack() as opened, written_to(self._path):
            self.hashes = _resume(self._path, self._journal_path, big=self._layout.big)
            more: dict[str, Any] = {"append": "force"} if self.hashes else {"byteorder": "<"}
            self._writer = opened.enter_context(
                tifffile.TiffWriter(
                    self._path, bigtiff=self._layout.big, ome=False, shaped=False, **more
                )
            )
            self._journal = opened.enter_context(
                self._journal_path.open("a" if self.hashes else "w", encoding="ascii")
            )
            self._opened = opened.pop_all()
        return self

    def write(self, strips: Sequence[bytes], sha256: str) -> None:
        """Append a page, whose pixels have that hash."""
        first = not self.hashes
        with written_to(self._path):
            self._writer.write(
                iter(strips),
                description=self._description if first else None,
                software=self._software if first else False,
                **self._layout.options(),
            )
            self._journal.write(f"{self._writer.filehandle.tell()} {sha256}\n")
            self._journal.flush()
        self.hashes.append(sha256)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with written_to(self._path):
            self._opened.close()


def _resume(path: Path, journal: Path, *, big: bool) -> list[str]:
    """Return the hashes of the whole pages of a file, and cut off what comes after them."""
    if not path.is_file() or not journal.is_file():
        return []
    pages = _whole(journal.read_bytes(), path.stat().st_size)
    if not pages:
        return []
    with path.open("r+b") as stream:
        stream.truncate(pages[-1][0])
    try:
        _end_chain(path, len(pages), big=big)
    except ReaderError:  # a power cut took more than the end
        return []
    journal.write_text("".join(f"{end} {sha256}\n" for end, sha256 in pages), encoding="ascii")
    return [sha256 for _, sha256 in pages]


def _whole(journal: bytes, size: int) -> list[tuple[int, str]]:
    """Return where each whole page of a file of ``size`` bytes ends, and its hash, up to the first oddity."""
    pages: list[tuple[int, str]] = []
    for line in journal.split(b"\n")[:-1]:  # without its end a line is not whole
        end, _, sha256 = line.decode("ascii", "replace").partition(" ")
        if not end.isdecimal() or not is_sha256(sha256) or int(end) > size:
            break
        pages.append((int(end), sha256))
    return pages


def _end_chain(path: Path, count: int, *, big: bool) -> None:
    """Let page ``count`` be the last: the next one, which it may name already, was cut off.

    Raises
    ------
    ReaderError
        The file does not have so many pages.
    """
    import tifffile

    number, entry, pointer = ("<Q", 20, "<Q") if big else ("<H", 12, "<I")
    with refusing(path):
        with tifffile.TiffFile(path) as file:
            directory = file.pages[count - 1].offset
        with path.open("r+b") as stream:
            stream.seek(directory)
            width = struct.calcsize(number)
            (entries,) = struct.unpack(number, stream.read(width))
            stream.seek(directory + width + entries * entry)
            stream.write(struct.pack(pointer, 0))
        with tifffile.TiffFile(path) as file:
            if len(file.pages) != count:
                raise CorruptSource(path, f"has {len(file.pages)} pages instead of {count}")


def read_hashes(path: Path, *, dtype: str, workers: int) -> Generator[str, None, None]:
    """Yield the SHA-256 of the pixels of every page, as tifffile reads them back as ``dtype``.

    Raises
    ------
    ReaderError
        The file is damaged.
    """
    import tifffile

    with refusing(path), tifffile.TiffFile(path) as file:
        file.filehandle.set_lock(True)
        lock = file.filehandle.lock
        count = len(file.pages)

        def page(number: int) -> tifffile.TiffPage | tifffile.TiffFrame:
            with lock:  # which a thread holds while it reads
                return file.pages.get(number)

        def sha256(page: tifffile.TiffPage | tifffile.TiffFrame) -> str:
            return sha256_of_pixels(page.asarray().astype(dtype, copy=False))

        yield from in_order(sha256, map(page, range(count)), workers=workers)


def one_page(pixels: npt.NDArray[Any], layout: PageLayout) -> bytes:
    """Return a TIFF file of one page."""
    import tifffile

    target = io.BytesIO()
    with tifffile.TiffWriter(
        target, bigtiff=layout.big, byteorder="<", ome=False, shaped=False
    ) as writer:
        writer.write(iter(layout.encode(pixels)), software=False, **layout.options())
    return target.getvalue()


def read_description(path: Path) -> str:
    """Return the text of the first page, empty where the file is no TIFF."""
    import tifffile

    try:
        with refusing(path), tifffile.TiffFile(path) as file:
            return str(file.pages.first.description)
    except ReaderError:
        return ""


def _code(dtype: str) -> str:
    import numpy as np

    return np.dtype(dtype).str[1:]
