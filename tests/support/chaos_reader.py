"""A plugin that reads a folder of tiles slowly, tells of every unit that is begun, and dies of some tiles.

`tests.support.chaos` writes such a folder and installs this by a folder on ``PYTHONPATH``, as ``pip`` would.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy.typing as npt

from imaging_db.model import Acquisition, SourceFrame
from imaging_db.readers.base import Match, ReaderOptions, ReaderSpec
from imaging_db.readers.grid.kinds import open_grid

DESCRIPTION = "chaos.json"
BEGUN = "begun.log"
"""A line for each unit that is begun: its first frame, and the process."""
ARMED = "armed"
"""While there is such a file, tiles are slow, and deadly ones end the process that reads them."""
SIZES = (1, 2, 3)
"""Frames of a unit, in turn."""


class ChaosReader:
    """The tiles of a folder; satisfies `imaging_db.readers.base.IndexedReader`."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        self._folder = folder
        self._inner = open_grid(told["settings"])
        self._seconds: float = told["seconds"]
        self._deadly = frozenset(told["deadly"])
        self._log = os.open(folder / BEGUN, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @property
    def acquisition(self) -> Acquisition:
        return self._inner.acquisition

    @property
    def sources(self) -> Sequence[Path]:
        return [self._folder / DESCRIPTION]

    def frames(self) -> Iterator[SourceFrame]:
        return self._inner.frames()

    def frames_between(self, first: int, stop: int) -> Iterator[SourceFrame]:
        os.write(self._log, f"{first} {os.getpid()}\n".encode())
        return self._inner.frames_between(first, stop)

    def portions(self, most_frames: int, most_bytes: int) -> Iterator[tuple[int, int]]:
        first, turn = 0, 0
        while first < self._inner.grid.nbr_frames:
            count = min(SIZES[turn % len(SIZES)], self._inner.grid.nbr_frames - first)
            yield first, count
            first, turn = first + count, turn + 1

    def sample(self, count: int) -> list[SourceFrame]:
        return self._inner.sample(count)

    def read(self, frame: SourceFrame, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        if (self._folder / ARMED).exists():
            time.sleep(self._seconds)
            if frame.index in self._deadly:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                ctypes.string_at(0)  # a segmentation fault, as of a library that is broken
        return self._inner.read(frame, out)

    def close(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        self._inner.close()

    def __enter__(self) -> ChaosReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _sniff(path: Path) -> Match:
    return Match.EXACT if (path / DESCRIPTION).is_file() else Match.NO


def _open(path: Path, options: ReaderOptions) -> ChaosReader:
    return ChaosReader(path)


SPEC = ReaderSpec("chaos", "tiles that are slow, damaged or deadly: for tests", _sniff, _open)
