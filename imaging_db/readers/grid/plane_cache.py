"""The planes that were decoded last, shared by threads and bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_BYTES = 256 * 2**20
"""Bytes of planes that are kept, or one plane if it is larger."""


class PlaneCache:
    """Decoded planes by key, the least recently used given up first.

    Threads that ask for one plane at the same time wait for the first of them to decode it. An error is
    not kept: who comes next tries again.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._planes: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()
        self._turns: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return the plane of a key, decoded unless it is there; nobody may write to it."""
        with self._lock:
            found = self._found(key)
            if found is not None:
                return found
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                found = self._found(key)
            if found is not None:
                return found
            try:
                plane = decode()
                plane.flags.writeable = False
                with self._lock:
                    self._keep(key, plane)
            finally:
                with self._lock:
                    self._turns.pop(key, None)
            return plane

    def clear(self) -> None:
        """Give up every plane."""
        with self._lock:
            self._planes.clear()
            self._size = 0

    def _found(self, key: Hashable) -> npt.NDArray[Any] | None:
        found = self._planes.get(key)
        if found is not None:
            self._planes.move_to_end(key)
        return found

    def _keep(self, key: Hashable, plane: npt.NDArray[Any]) -> None:
        old = self._planes.pop(key, None)
        self._size += plane.nbytes - (0 if old is None else old.nbytes)
        self._planes[key] = plane
        while self._size > self._most and len(self._planes) > 1:
            self._size -= self._planes.popitem(last=False)[1].nbytes
