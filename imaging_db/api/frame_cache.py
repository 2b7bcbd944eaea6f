"""Decoded frames that are kept in memory for a while: bounded in bytes, one cache a process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from imaging_db.config.sizes import size_in_bytes
from imaging_db.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt

VARIABLE = "IMAGING_DB_FRAME_CACHE"
DEFAULT_BYTES = 256 * 2**20


class FrameCache:
    """Arrays by key, those least lately asked for forgotten first. Safe for threads.

    What comes out is a copy, and what goes in is copied: nobody's changes reach another's frames.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._held: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Return how many bytes the arrays have that are kept now."""
        return self._bytes

    def get(self, key: Hashable) -> npt.NDArray[Any] | None:
        """Return a copy of the array under ``key``, None where it is not kept (any more)."""
        with self._guard:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
        return found.copy()

    def put(self, key: Hashable, pixels: npt.NDArray[Any]) -> None:
        """Keep a copy of an array, unless it alone is larger than the cache."""
        if pixels.nbytes > self.most_bytes:
            return
        held = pixels.copy()
        with self._guard:
            earlier = self._held.pop(key, None)
            self._bytes += held.nbytes - (0 if earlier is None else earlier.nbytes)
            self._held[key] = held
            while self._bytes > self.most_bytes:
                self._bytes -= self._held.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._guard:
            self._held.clear()
            self._bytes = 0


@lru_cache(maxsize=1)
def shared_cache() -> FrameCache:
    """Return the cache of this process; ``IMAGING_DB_FRAME_CACHE`` says how large it is, 0 for none.

    Raises
    ------
    ConfigError
        The variable holds no size.
    """
    return FrameCache(_most_bytes(os.environ.get(VARIABLE, "")))


def _most_bytes(text: str) -> int:
    if not text.strip():
        return DEFAULT_BYTES
    if text.strip() == "0":
        return 0
    try:
        return size_in_bytes(text)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}: {error}", hint="0 means no cache") from None
