"""A store in memory: for tests, for trying things out, and as the plainest reading of the contract."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from imaging_db.errors import ChecksumMismatch, ObjectConflict, ObjectNotFound
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import Leftover, ObjectInfo, check_key
from imaging_db.stores.stream import SourceStream


class MemoryStore:
    """Keys to bytes in this process; gone when it ends. ``name`` is only for messages."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._guard = threading.Lock()
        self._objects: dict[str, tuple[bytes, str, datetime]] = {}

    @property
    def address(self) -> str:
        """Return ``memory://<name>``."""
        return f"memory://{self._name}"

    def probe(self, *, write: bool = True) -> None:
        """Return at once: memory is always there."""

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` under ``key`` if nothing is there; return False where the same bytes were."""
        check_key(key)
        held = bytes(data)
        found = sha256_of_bytes(held)
        if found != sha256:
            raise ChecksumMismatch(key, expected=sha256, found=found)
        new = (held, sha256, self.now())
        with self._guard:
            present = self._objects.setdefault(key, new)
        if present is new:
            return True
        if present[0] != held:
            raise ObjectConflict(key, self.address)
        return False

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Put ``size`` bytes of ``stream``; otherwise as `put`."""
        source = SourceStream(stream, size=size, key=check_key(key))
        data = b"".join(source.chunks(sha256=sha256))
        return self.put(key, data, sha256=sha256 or sha256_of_bytes(data))

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``, or raise `ObjectNotFound`."""
        held = self._objects.get(check_key(key))
        if held is None:
            raise ObjectNotFound(key, self.address)
        return held[0]

    def open(self, key: str) -> BinaryIO:
        """Return a stream over the bytes under ``key``."""
        return io.BytesIO(self.get(key))

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and SHA-256 of ``key``, None where nothing is there."""
        held = self._objects.get(check_key(key))
        return None if held is None else ObjectInfo(key, len(held[0]), *held[1:])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below ``prefix`` as they were when the iteration began."""
        start = f"{check_key(prefix)}/" if prefix else ""
        with self._guard:
            found = sorted(item for item in self._objects.items() if item[0].startswith(start))
        for key, (data, sha256, modified) in found:
            yield ObjectInfo(key, len(data), sha256, modified)

    def delete(self, key: str) -> bool:
        """Delete ``key``; return False where nothing was there."""
        with self._guard:
            return self._objects.pop(check_key(key), None) is not None

    def now(self) -> datetime:
        """Return this computer's clock."""
        return datetime.now(UTC)

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Yield nothing: what a killed process held is gone with it."""
        return iter(())

    def discard(self, leftover: Leftover) -> bool:
        """Return False: there is none."""
        return False

    def flush(self) -> None:
        """Return at once: memory has nothing that survives a power cut."""

    def close(self) -> None:
        """Keep the objects: the store may be used again."""
