"""Behaviour that any store can have: stores around a store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import BinaryIO, TypeVar

from imaging_db.errors import StoreDenied, StoreUnavailable
from imaging_db.stores.backoff import backoff_seconds
from imaging_db.stores.base import Leftover, ObjectInfo, Store

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RetryingStore:
    """A store that tries again what failed for a passing reason.

    Only `StoreUnavailable` that says so of itself (``transient``) is tried again, at most ``attempts``
    times and never beyond ``seconds`` in all; between two attempts lies a random pause that doubles,
    from half a second up to ten. A flush is never tried again: what a file system lost stays lost.
    """

    def __init__(self, store: Store, *, attempts: int = 5, seconds: float = 60.0) -> None:
        self._store = store
        self._attempts = attempts
        self._seconds = seconds

    @property
    def address(self) -> str:
        """Return the address of the store inside."""
        return self._store.address

    def probe(self, *, write: bool = True) -> None:
        """Check the store inside."""
        self._retry(lambda: self._store.probe(write=write))

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` under ``key``; False also where an earlier attempt had put it unnoticed."""
        return self._retry(lambda: self._store.put(key, data, sha256=sha256))

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Put ``size`` bytes of ``stream``, which is wound back for each attempt."""
        start = stream.tell()

        def attempt() -> bool:
            stream.seek(start)
            return self._store.put_stream(key, stream, size=size, sha256=sha256)

        return self._retry(attempt)

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``."""
        return self._retry(lambda: self._store.get(key))

    def open(self, key: str) -> BinaryIO:
        """Return a stream over ``key``; only opening it is tried again."""
        return self._retry(lambda: self._store.open(key))

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of ``key``."""
        return self._retry(lambda: self._store.stat(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below ``prefix``; a listing that breaks goes on after the last key."""
        last: str | None = None
        deadline = self._deadline()
        attempt = 0
        while True:
            try:
                for found in self._store.list(prefix):
                    if last is None or found.key > last:
                        last = found.key
                        yield found
            except StoreUnavailable as error:
                attempt += 1
                self._pause(error, attempt, deadline)
            else:
                return

    def delete(self, key: str) -> bool:
        """Delete ``key``; False also where an earlier attempt had deleted it unnoticed."""
        return self._retry(lambda: self._store.delete(key))

    def now(self) -> datetime:
        """Return the clock of the store inside."""
        return self._retry(self._store.now)

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Yield what killed runs left; they are few, so a listing that breaks begins anew."""
        return iter(self._retry(lambda: [*self._store.leftovers(prefix)]))

    def discard(self, leftover: Leftover) -> bool:
        """Remove a leftover; False also where an earlier attempt had removed it unnoticed."""
        return self._retry(lambda: self._store.discard(leftover))

    def flush(self) -> None:
        """Flush the store inside, once."""
        self._store.flush()

    def close(self) -> None:
        """Close the store inside."""
        self._store.close()

    def _retry(self, call: Callable[[], _T]) -> _T:
        deadline = self._deadline()
        attempt = 0
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                attempt += 1
                self._pause(error, attempt, deadline)

    def _deadline(self) -> float:
        return time.monotonic() + self._seconds

    def _pause(self, error: StoreUnavailable, attempt: int, deadline: float) -> None:
        """Wait before the next attempt, or raise ``error`` where there is none."""
        seconds = backoff_seconds(attempt)
        late = time.monotonic() + seconds > deadline
        if not error.transient or attempt >= self._attempts or late:
            raise error
        if attempt == 1:  # once an operation
            text = "waiting for %s: %s, next attempt in %.1f s"
            _log.warning(text, self.address, error.message, seconds)
        time.sleep(seconds)


class ReadOnlyStore:
    """A store that refuses to be changed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def address(self) -> str:
        """Return the address of the store inside."""
        return self._store.address

    def probe(self, *, write: bool = True) -> None:
        """Check the store inside for reading; raise `StoreDenied` where it shall be written to."""
        if write:
            raise self._refusal()
        self._store.probe(write=False)

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Raise `StoreDenied`."""
        raise self._refusal()

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Raise `StoreDenied`."""
        raise self._refusal()

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``."""
        return self._store.get(key)

    def open(self, key: str) -> BinaryIO:
        """Return a stream over ``key``."""
        return self._store.open(key)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of ``key``."""
        return self._store.stat(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below ``prefix``."""
        return self._store.list(prefix)

    def delete(self, key: str) -> bool:
        """Raise `StoreDenied`."""
        raise self._refusal()

    def now(self) -> datetime:
        """Return the clock of the store inside."""
        return self._store.now()

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Yield what killed runs left in the store inside."""
        return self._store.leftovers(prefix)

    def discard(self, leftover: Leftover) -> bool:
        """Raise `StoreDenied`."""
        raise self._refusal()

    def flush(self) -> None:
        """Return at once: nothing was put."""

    def close(self) -> None:
        """Close the store inside."""
        self._store.close()

    def _refusal(self) -> StoreDenied:
        return StoreDenied(f"{self.address} is open for reading only")
