"""A queue between two kinds of threads that is bounded by bytes, because frames differ in size."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ByteQueue(Generic[Item]):
    """First in, first out; what is in it and what its takers still work on stays below ``limit`` bytes.

    One item may be larger than the limit: it passes once nothing else is in memory. ``makers`` threads
    put; once each of them has left, the takers come to an end.
    """

    def __init__(self, limit: int, *, makers: int) -> None:
        self._limit = limit
        self._makers = makers
        self._waiting: deque[tuple[Item, int]] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._freed = threading.Condition(self._lock)
        self._stopped = False

    def put(self, item: Item, size: int) -> None:
        """Append an item of ``size`` bytes once there is room for it; after `stop` it is dropped."""
        with self._lock:
            while self._held and self._held + size > self._limit and not self._stopped:
                self._freed.wait()
            if self._stopped:
                return
            self._held += size
            self._waiting.append((item, size))
            self._filled.notify()

    def leave(self) -> None:
        """Say that one of the makers will put nothing more."""
        with self._lock:
            self._makers -= 1
            if not self._makers:
                self._filled.notify_all()

    def stop(self) -> None:
        """Drop what is waiting and let everybody go."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            self._filled.notify_all()
            self._freed.notify_all()

    def take(self) -> tuple[Item, int] | None:
        """Return the next item with its size, None where there will be none.

        It counts until `free`: let go of it before.
        """
        with self._lock:
            while not self._waiting and self._makers and not self._stopped:
                self._filled.wait()
            return self._waiting.popleft() if self._waiting else None

    def free(self, size: int) -> None:
        """Make room for others: an item of ``size`` bytes that was taken is no longer in memory."""
        with self._lock:
            self._held -= size
            self._freed.notify()
