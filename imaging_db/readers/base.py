"""What a format must answer: the contract between a reader and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from imaging_db.model import Acquisition, JSONObject, SourceFrame

if TYPE_CHECKING:
    import numpy.typing as npt


class Match(IntEnum):
    """How sure a reader is that a source is of its format; the surest reader takes it.

    ``NO``: not mine. ``MAYBE``: can be read, another may know better (any TIFF page). ``YES``: its marks
    are there. ``EXACT``: its marks are there, and it is the more special of two formats that share them.
    """

    NO = 0
    MAYBE = 1
    YES = 2
    EXACT = 3


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds that are checked from a file's header, before anything of that size is allocated."""

    max_frame_bytes: int = 2 * 2**30
    max_frames: int = 10_000_000
    max_metadata_bytes: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What the config and the CSV row say to a reader.

    ``positions`` picks positions of a multi-position folder by their number; ``filename_parser`` names
    how a file name tells its coordinates; ``settings`` describe a source that cannot be found by looking
    at it.
    """

    positions: tuple[int, ...] | None = None
    filename_parser: str | None = None
    limits: ReadLimits = field(default_factory=ReadLimits)
    settings: JSONObject | None = field(default=None, hash=False)


@runtime_checkable
class Reader(Protocol):
    """One open source. A context manager; leaving it closes every file.

    Opening checks everything that can be checked without decoding pixels: that the source is whole (no
    page beyond the end of the file, no fewer pages than promised), that the number of distinct
    coordinates equals the number of pages, that every frame is within the limits. What cannot be read
    exactly is refused with a `ReaderError` that names file and page.
    """

    @property
    def acquisition(self) -> Acquisition:
        """Return what the source says of the whole acquisition."""

    @property
    def sources(self) -> Sequence[Path]:
        """Return every file that belongs to the source, in a stable order."""

    def frames(self) -> Iterator[SourceFrame]:
        """Yield every frame once, in the order of the source, without reading pixels.

        May be called again, and while another iteration runs.
        """

    def read(self, frame: SourceFrame, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the pixels of one frame: C-contiguous, native byte order, ``frame.shape`` and dtype.

        Stored values as they are: no palette, no MINISWHITE inversion, no scaling. May be called from
        many threads at once.

        Without ``out`` the array is new and the caller's. With ``out`` (C-contiguous, writable, native,
        of exactly the frame's shape and dtype) the pixels are put there and ``out`` itself comes back:
        nothing of the frame's size need be allocated. The reader keeps no reference to it, so the caller
        may use it for the next frame once it is done with this one, and must not let two threads read
        into one array at a time; `FrameBuffer` holds such memory for one thread. After an error the
        content of ``out`` is undefined.

        Raises
        ------
        CorruptSource
            The page cannot be decoded, or not to the promised shape and dtype.
        ValueError
            ``out`` is not such an array.
        """

    def close(self) -> None:
        """Close every file; closing twice is allowed."""

    def __enter__(self) -> Reader: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class IndexedReader(Reader, Protocol):
    """A reader that gives any of its frames by number at once, so that no list of them is needed."""

    def frames_between(self, first: int, stop: int) -> Iterator[SourceFrame]:
        """Yield the frames from number ``first`` to before ``stop``, without reading pixels."""

    def portions(self, most_frames: int, most_bytes: int) -> Iterator[tuple[int, int]]:
        """Yield number and count of frames that are best read together; each frame is in one portion.

        A portion has no more frames and bytes of pixels than that, but for a frame that alone has more.
        """

    def sample(self, count: int) -> list[SourceFrame]:
        """Return the first frame, the last, and others evenly between them: ``count``, or all there are."""


@dataclass(frozen=True, slots=True)
class ReaderSpec:
    """A format as the registry knows it; light, so that the heavy imports wait for ``open``.

    ``sniff`` looks inside the source, never by suffix alone, and answers `Match.NO` for what it cannot
    open. ``open`` returns a `Reader` or raises a `ReaderError`. ``takes_positions`` says whether
    `ReaderOptions.positions` means something to it; elsewhere a CSV that names positions is refused.
    ``needs_settings`` tells that it opens only what `ReaderOptions.settings` describe.
    """

    name: str
    summary: str
    sniff: Callable[[Path], Match]
    open: Callable[[Path, ReaderOptions], Reader]
    aliases: tuple[str, ...] = ()
    takes_positions: bool = False
    needs_settings: bool = False
