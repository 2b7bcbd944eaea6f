"""Reading a caller's stream: exactly so many bytes, in bounded memory, hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from imaging_db.errors import ChecksumMismatch, CorruptSource, StoreUnavailable

CHUNK_BYTES = 2**20


class SourceStream:
    """The ``size`` bytes of a stream from where it stands; may be read again from its start.

    An `OSError` of the source becomes `CorruptSource`, so that it is not taken for one of the store.
    """

    def __init__(self, stream: BinaryIO, *, size: int, key: str) -> None:
        self._stream = stream
        self._start = stream.tell()
        self._key = key
        self.size = size

    def chunks(
        self, *, sha256: str | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        """Yield the bytes from the start, ``chunk_bytes`` at a time, only the last chunk shorter.

        Raises
        ------
        StoreUnavailable
            The stream ended early.
        ChecksumMismatch
            After the last chunk, where the bytes are not those of ``sha256``.
        """
        digest = hashlib.sha256() if sha256 is not None else None
        left = self.size
        self._seek()
        while left:
            chunk = self._read(min(chunk_bytes, left))
            left -= len(chunk)
            if digest is not None:
                digest.update(chunk)
            yield chunk
        if digest is not None and digest.hexdigest() != sha256:
            raise ChecksumMismatch(self._key, expected=str(sha256), found=digest.hexdigest())

    def sha256(self) -> str:
        """Return the hex SHA-256 of all the bytes; reads them."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def _seek(self) -> None:
        try:
            self._stream.seek(self._start)
        except OSError as error:
            raise self._unreadable(error) from error

    def _read(self, count: int) -> bytes:
        pieces = []
        while count:
            try:
                piece = self._stream.read(count)
            except OSError as error:
                raise self._unreadable(error) from error
            if not piece:
                raise StoreUnavailable(
                    f"{self._key}: the source ended before {self.size} bytes",
                    hint="the file was cut while it was read; rerun",
                    transient=False,
                )
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _unreadable(self, error: OSError) -> CorruptSource:
        name = getattr(self._stream, "name", self._key)
        return CorruptSource(str(name), f"cannot be read: {error.strerror or error}")
