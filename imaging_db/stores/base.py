"""What a store must do: keys to bytes, and nothing is ever overwritten."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol, runtime_checkable

from imaging_db.errors import UnsafePath

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
# Keys that need no further look, as nearly all are: up to four short parts that begin with no dot.
_PLAIN = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,199}/){0,3}[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_TEMPORARY = re.compile(r"\.imaging_db-[0-9a-f]{16}\.part")
_MAX_KEY_BYTES = 1024
_MAX_PART_BYTES = 255


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of one object: its key, its size in bytes, its hex SHA-256 if kept.

    ``modified`` is when it was put, by the store's clock, aware and in UTC, None where a store does not
    know. Two that differ only in it are equal.
    """

    key: str
    size: int
    sha256: str | None = None
    modified: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Leftover(ObjectInfo):
    """What a killed run left that is no object, such as a temporary file or an unfinished upload.

    ``key`` tells people and collectors where it lies; ``upload`` is the store's own name for it, if any.
    """

    upload: str = ""


@runtime_checkable
class Store(Protocol):
    """Keys to bytes. Safe to use from many threads at once.

    A key is a relative path with ``/`` between its parts, checked by `check_key`. An object becomes
    visible whole or not at all. Foreign exceptions are mapped to `StoreUnavailable` (worth another
    try), `StoreDenied` (settings to mend), `ObjectNotFound` and `ObjectConflict`; the message names the
    store and the key.
    """

    @property
    def address(self) -> str:
        """Return the store for people: ``/data/lab`` or ``s3://bucket``, without secrets."""

    def probe(self, *, write: bool = True) -> None:
        """Check, before any work, that the store is there and may be read; leave no trace.

        With ``write`` also that it may be written to: something small is put and deleted.
        """

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` under ``key`` if nothing is there; return False where the same bytes were.

        ``sha256`` is the hex digest of ``data``; a store that can check it on arrival does.

        Raises
        ------
        ObjectConflict
            Other bytes are there; they stay.
        """

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Put ``size`` bytes of a seekable ``stream``, from where it stands; otherwise as `put`.

        In bounded memory. ``sha256`` is given where the caller has it already.

        Raises
        ------
        StoreUnavailable
            The stream ended early; nothing is left behind.
        ChecksumMismatch
            The bytes read are not those of ``sha256``; nothing is left behind.
        """

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``, or raise `ObjectNotFound`."""

    def open(self, key: str) -> BinaryIO:
        """Return a stream over the bytes under ``key``, to be closed by the caller."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of ``key`` without reading it, None where nothing is there."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder ``prefix``, sorted by key in code point order.

        Whole parts: ``a/bc`` is not below ``a/b``. An empty prefix means the whole store. Temporary files
        and what is no valid key are left out. ``sha256`` may be None, `stat` knows more.
        """

    def delete(self, key: str) -> bool:
        """Delete ``key``; return False where nothing was there."""

    def now(self) -> datetime:
        """Return the store's own clock, the one of `ObjectInfo.modified`: aware, in UTC."""

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Yield what lies below the folder ``prefix`` and is no object: what killed runs left.

        What live runs are writing, too: whoever discards one makes sure that it is no such thing. An
        empty prefix means the folders that this program writes to, and the root itself.
        """

    def discard(self, leftover: Leftover) -> bool:
        """Remove a leftover; return False where it was gone. An object is never touched."""

    def flush(self) -> None:
        """Return once every object put before now survives a power cut."""

    def close(self) -> None:
        """Release connections; closing twice is allowed."""


def check_key(key: str) -> str:
    """Return ``key`` if it is a safe relative path.

    No empty part, no ``.`` or ``..``, no leading ``/``, no backslash, no control character, no drive
    letter, at most 255 bytes a part and 1024 in all (the limits of file systems and of S3), no name of
    a temporary file.

    Raises
    ------
    UnsafePath
        Which rule the key breaks.
    """
    if _PLAIN.fullmatch(key):
        return key
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts):
        raise UnsafePath(f"key {key!r} has an empty part, '.' or '..'")
    if _FORBIDDEN.search(key):
        raise UnsafePath(f"key {key!r} has a backslash or a control character")
    if len(parts[0]) > 1 and parts[0][1] == ":":
        raise UnsafePath(f"key {key!r} starts with a drive letter")
    if any(is_temporary(part) for part in parts):
        raise UnsafePath(f"key {key!r} is kept for temporary files")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise UnsafePath(f"key {key!r} is not valid Unicode") from None
    if max(sizes) > _MAX_PART_BYTES or sum(sizes) + len(parts) - 1 > _MAX_KEY_BYTES:
        raise UnsafePath(
            f"key {key[:40]!r}... is longer than {_MAX_PART_BYTES} bytes a part or 1024"
        )
    return key


def is_temporary(name: str) -> bool:
    """Return True where ``name`` is that of a file that a store was still writing, or a probe."""
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name() -> str:
    """Return a name that no object has: hidden, recognised by `is_temporary`, never the same twice."""
    return f".imaging_db-{secrets.token_hex(8)}.part"
