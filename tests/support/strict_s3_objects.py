"""What the strict S3 keeps: objects in memory, or written through to a folder that outlives the server.

An object on the disk is one file with a line of JSON, its key and headers, before its bytes. It comes into
being by a rename after a sync, so a server that is killed leaves each object whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

BUCKET = "lab"


@dataclass
class Object:
    """Bytes with the headers that a HEAD gives back; ``modified`` is in seconds since 1970."""

    data: bytes
    headers: dict[str, str] = field(default_factory=dict)
    modified: float = field(default_factory=time.time)


class Shelf(dict[str, Object]):
    """Objects by key, kept in ``folder`` too: what was put is on the disk when the put returns."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.suffix == ".part":  # the server was killed before it answered
                path.unlink()
                continue
            line, _, data = path.read_bytes().partition(b"\n")
            told = json.loads(line)
            super().__setitem__(told["key"], Object(data, told["headers"], told["modified"]))

    def __setitem__(self, key: str, found: Object) -> None:
        told = {"key": key, "headers": found.headers, "modified": found.modified}
        path = self._path(key)
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            stream.write(json.dumps(told).encode() + b"\n" + found.data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        self._sync()
        super().__setitem__(key, found)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._path(key).unlink()
        self._sync()

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def _sync(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def shelves(
    folder: Path | None, bucket: str = BUCKET
) -> tuple[dict[str, dict[str, Object]], dict[str, Object]]:
    """Return the buckets by name, with an empty or a found one, and the parts of unfinished uploads.

    A part lies under ``<upload>/<number>``, what its object will be under ``<upload>``.
    """
    if folder is None:
        return {bucket: {}}, {}
    return {bucket: Shelf(folder / bucket)}, Shelf(folder / "uploads")
