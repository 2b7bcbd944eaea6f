"""Which pieces of an export are written, and with what content: the memory of an interrupted run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from imaging_db.export.part import written_to


class Journal:
    """A file of one line a piece: its name and the SHA-256 of each of its parts, in order.

    Safe for threads: a line is written at once. One that a killed run left half written tells nothing.
    What the lines say is compared with what lies there before it is believed, so nothing is forced to
    disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[bytes] | None = None

    def read(self) -> dict[str, tuple[str, ...]]:
        """Return the hashes of every piece that an earlier run wrote."""
        return dict(self._lines()) if self._path.is_file() else {}

    def _lines(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        with written_to(self._path):
            data = self._path.read_bytes()
        for line in data.split(b"\n")[:-1]:  # without its end a line is not whole
            try:
                name, *hashes = json.loads(line)
            except ValueError:
                continue
            yield name, tuple(hashes)

    @contextmanager
    def opened(self) -> Iterator[Journal]:
        """Keep the file open for `add`."""
        with written_to(self._path):
            stream = self._path.open("ab", buffering=0)
        with stream:
            stream.write(b"\n")  # ends what a killed run left
            self._stream = stream
            try:
                yield self
            finally:
                self._stream = None

    def add(self, name: str, hashes: Sequence[str]) -> None:
        """Remember that a piece is written."""
        if self._stream is None:
            raise ValueError("the journal is not open")
        with written_to(self._path):
            self._stream.write(json.dumps([name, *hashes]).encode() + b"\n")
