"""What came of an upload, a download or a verification; and how progress is told."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from imaging_db.errors import ImagingDBError
from imaging_db.model import Dataset, UploadType


class Outcome(str, Enum):
    """What became of one row or dataset."""

    UPLOADED = "uploaded"
    REPLACED = "replaced"
    ALREADY_THERE = "already there"
    PLANNED = "planned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class UploadReport:
    """One row of an upload. ``nbr_objects`` are frames or files (``noun``), ``reused`` of an earlier run.

    ``raw_bytes`` counts pixels or file bytes, ``stored_bytes`` what was put; ``removed`` the objects that
    ``--overwrite`` replaced. ``error`` is set where the outcome is failed.
    """

    serial: str
    where: str
    outcome: Outcome
    nbr_objects: int = 0
    noun: str = "frame"
    reused: int = 0
    removed: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: ImagingDBError | None = None


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """One download: where it lies, how many objects were written and how many were there already.

    ``nbr_bytes`` counts the bytes of the files that were written.
    """

    serial: str
    noun: str
    folder: Path
    written: int
    kept: int
    nbr_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


class Failures:
    """What is wrong with one dataset: all of it is counted, the first thousand are kept to be told."""

    MOST_TOLD = 1000

    def __init__(self) -> None:
        self._count = 0
        self._told: list[ImagingDBError] = []

    def __len__(self) -> int:
        return self._count

    def append(self, error: ImagingDBError) -> None:
        """Take one thing that is wrong."""
        self._count += 1
        if len(self._told) < self.MOST_TOLD:
            self._told.append(error)

    def extend(self, errors: Iterable[ImagingDBError], *, count: int) -> None:
        """Take ``count`` things that are wrong, of which ``errors`` tell the first."""
        before = self._count
        for error in errors:
            self.append(error)
        self._count = before + count

    @property
    def told(self) -> tuple[ImagingDBError, ...]:
        """Return those that are told, in the order in which they were met."""
        return tuple(self._told)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """One verification: how many objects were read, and how many of them are ``wrong``.

    ``failures`` holds an error for each that is not as recorded, up to a thousand.
    ``unrecorded`` counts objects for which the original imagingDB recorded no hash. Of the ``checked``
    objects ``earlier`` were read by an earlier run of the same journal. ``sample`` and ``seed`` tell what
    was chosen of ``total`` objects where not all of them were.
    """

    serial: str
    noun: str
    checked: int
    unrecorded: int
    nbr_bytes: int
    seconds: float
    failures: tuple[ImagingDBError, ...] = field(default=())
    total: int = 0
    earlier: int = 0
    sample: str | None = None
    seed: int | None = None
    wrong: int = 0


def noun_of(dataset: Dataset) -> str:
    """Return what a dataset's objects are: ``frame`` or ``file``."""
    return "frame" if dataset.upload_type is UploadType.FRAMES else "file"


class Progress(Protocol):
    """Whom the transfers tell how far they are. Called from one thread."""

    def start(self, title: str, total: int) -> None:
        """Begin one row or dataset of ``total`` objects."""

    def advance(self, objects: int, nbr_bytes: int) -> None:
        """So many more objects are done, which were so many raw bytes."""

    def finish(self) -> None:
        """The row or dataset is done, well or not."""


class Silent:
    """Progress that nobody looks at."""

    def start(self, title: str, total: int) -> None:
        """Say nothing."""

    def advance(self, objects: int, nbr_bytes: int) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


class Paced:
    """Progress that tells another one ten times a second at most: drawing costs more than a small frame."""

    _SECONDS = 0.1

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._objects = self._bytes = 0
        self._told_at = 0.0

    def start(self, title: str, total: int) -> None:
        """Begin at once."""
        self._progress.start(title, total)
        self._told_at = time.monotonic()

    def advance(self, objects: int, nbr_bytes: int) -> None:
        """Add to what will be told."""
        self._objects += objects
        self._bytes += nbr_bytes
        if time.monotonic() - self._told_at >= self._SECONDS:
            self._tell()

    def finish(self) -> None:
        """Tell what is left, and the end."""
        self._tell()
        self._progress.finish()

    def _tell(self) -> None:
        if self._objects or self._bytes:
            self._progress.advance(self._objects, self._bytes)
        self._objects = self._bytes = 0
        self._told_at = time.monotonic()
