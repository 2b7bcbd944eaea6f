"""The block of slices that each thread read last: its slices are asked for one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_BYTES = 256 * 2**20
"""Bytes that the blocks of all threads have together."""


class _Held(NamedTuple):
    key: Hashable
    nbytes: int
    pixels: npt.NDArray[Any] | None


class LastBlocks:
    """One block a thread, bounded in bytes over all threads. Safe for threads.

    There is no room for a block while the others fill it: then the caller reads slice by slice, which
    costs time and not memory. A thread that forgets its block when it is through makes room for others.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._held: dict[int, _Held] = {}
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Return how many bytes are kept, or promised to a thread that reads now."""
        return sum(held.nbytes for held in self._held.values())

    def get(
        self, key: Hashable, *, nbytes: int, read: Callable[[], npt.NDArray[Any]]
    ) -> npt.NDArray[Any] | None:
        """Return this thread's block, read where it is another; None where there is no room for it."""
        me = threading.get_ident()
        with self._guard:
            held = self._held.get(me)
            if held is not None and held.key == key:
                return held.pixels
            self._held.pop(me, None)
            self._forget_ended()
            if self.nbytes + nbytes > self.most_bytes:
                return None
            self._held[me] = _Held(key, nbytes, None)
        pixels = None
        try:
            pixels = read()
        finally:
            with self._guard:
                if pixels is None:
                    self._held.pop(me, None)
                else:
                    self._held[me] = _Held(key, nbytes, pixels)
        return pixels

    def forget(self) -> None:
        """Forget this thread's block."""
        with self._guard:
            self._held.pop(threading.get_ident(), None)

    def clear(self) -> None:
        """Forget every block."""
        with self._guard:
            self._held.clear()

    def _forget_ended(self) -> None:
        alive = {thread.ident for thread in threading.enumerate()}
        for ident in [ident for ident in self._held if ident not in alive]:
            del self._held[ident]
