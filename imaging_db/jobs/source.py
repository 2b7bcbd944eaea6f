"""Where the frames of a job come from: what any computer needs to open them again, as JSON."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from imaging_db.errors import SourceChanged
from imaging_db.model import JSONObject, SourceFrame
from imaging_db.model.job import MOST_BYTES, MOST_FRAMES, Unit
from imaging_db.readers import registry
from imaging_db.readers.base import IndexedReader, Reader, ReaderOptions, ReadLimits
from imaging_db.transfer.sources import fingerprint

GRID = "grid"
"""The reader of sources that are described by settings rather than found by looking at them."""

_ANY_NUMBER = 2**62


@dataclass(frozen=True, slots=True)
class JobSource:
    """A reader, what it opens, and how; ``mark`` tells whether the files are what they were when planned.

    ``path`` is absolute, and the same on every computer that joins. ``settings`` describe a source of tiles
    or a volume, whose files are too many to look at; such a source has no mark. A unit has ``unit_frames``
    at most, of a described source also no more than ``unit_bytes``.
    """

    reader: str
    path: Path
    options: ReaderOptions = field(default_factory=ReaderOptions)
    mark: str | None = None
    unit_frames: int = MOST_FRAMES
    unit_bytes: int = MOST_BYTES

    def open(self) -> Reader:
        """Return the open reader, after its files were found to be what they were.

        Raises
        ------
        ReaderError
            It cannot be opened.
        SourceChanged
            A file was written to, added or removed since the job was created.
        """
        reader = registry.get(self.reader).open(self.path, self.options)
        try:
            self.check(reader)
        except BaseException:
            reader.close()
            raise
        return reader

    def check(self, reader: Reader) -> None:
        """Raise `SourceChanged` where a file of an open reader is not what it was."""
        if self.mark is not None and mark_of(reader, self) != self.mark:
            raise SourceChanged(
                self.path, "changed since the job was created", hint="cancel it and create it anew"
            )

    def to_json(self) -> JSONObject:
        """Return what the catalog keeps."""
        options = self.options
        return {
            "reader": self.reader,
            "path": str(self.path),
            "positions": None if options.positions is None else list(options.positions),
            "filename_parser": options.filename_parser,
            "max_frame_bytes": options.limits.max_frame_bytes,
            "max_metadata_bytes": options.limits.max_metadata_bytes,
            "settings": options.settings,
            "mark": self.mark,
            "unit_frames": self.unit_frames,
            "unit_bytes": self.unit_bytes,
        }

    @classmethod
    def from_json(cls, kept: JSONObject) -> JobSource:
        """Return what `to_json` wrote."""
        found: Any = kept
        positions = found["positions"]
        options = ReaderOptions(
            None if positions is None else tuple(positions),
            found["filename_parser"],
            ReadLimits(found["max_frame_bytes"], _ANY_NUMBER, found["max_metadata_bytes"]),
            found["settings"],
        )
        limits = found["unit_frames"], found["unit_bytes"]
        return cls(found["reader"], Path(found["path"]), options, found["mark"], *limits)

    def units(self, reader: Reader, nbr_frames: int) -> Iterator[Unit]:
        """Yield the units of an open reader, always the same; together they hold each frame once."""
        if isinstance(reader, IndexedReader):
            portions = reader.portions(self.unit_frames, self.unit_bytes)
        else:
            portions = _equal(nbr_frames, self.unit_frames)
        for ordinal, (first, count) in enumerate(portions):
            yield Unit(ordinal, first, count)


def mark_of(reader: Reader, source: JobSource) -> str:
    """Return the fingerprint of the files of an open reader and of how they are read, as an upload makes it."""
    settings = (source.reader, source.options.positions, source.options.filename_parser)
    return fingerprint(reader.sources, source.path, settings=settings)


def frames_a_unit(frame_bytes: int, most_frames: int = MOST_FRAMES) -> int:
    """Return how many frames of one size make a unit: as many as are allowed, at least one."""
    return max(1, min(most_frames, MOST_BYTES // max(1, frame_bytes)))


def _equal(nbr_frames: int, size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, nbr_frames, size):
        yield first, min(size, nbr_frames - first)


class FramesByIndex:
    """The frames of an open reader by their index; units are asked for nearly in order, from several threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._rest: Iterator[SourceFrame] = iter(())
        self._next: int | None = None

    def between(self, first: int, stop: int) -> list[SourceFrame]:
        """Return the frames from index ``first`` up to, not with, ``stop``; fewer where the source ends."""
        if isinstance(self._reader, IndexedReader):
            return list(self._reader.frames_between(first, stop))
        with self._lock:
            if self._next is None or first < self._next:
                self._rest, self._next = self._reader.frames(), 0
            skipped = first - self._next
            found = list(islice(self._rest, skipped, skipped + stop - first))
            self._next = stop
            return found
