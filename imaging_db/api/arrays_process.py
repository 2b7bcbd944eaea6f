"""The database of an array in the process that computes it: opened once a process, never carried along."""

from __future__ import annotations

import atexit
import os
import threading
from functools import cache

from imaging_db.api.opened import Opened
from imaging_db.config import Settings

_opened: dict[tuple[int, Settings, bool], Opened] = {}
_opening = threading.Lock()
_LARGEST_BLOCK = 32 * 2**20 - 2**16


def opened_here(settings: Settings, *, store_named: bool) -> Opened:
    """Return this process's own open database; it stays open until `close_here`, or the end.

    What a parent process opened before it was forked is not used: a connection has one user.
    """
    key = (os.getpid(), settings, store_named)
    with _opening:
        if key not in _opened:
            _opened[key] = Opened.of(settings, store_named=store_named)
        return _opened[key]


def close_here() -> None:
    """Close what this process opened for arrays; an array that is computed later opens it again."""
    with _opening:
        for key in [key for key in _opened if key[0] == os.getpid()]:
            _opened.pop(key).close()


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what a frame gave back for the next one; once a process.

    Memory that is touched for the first time costs a page fault every 4 KiB: up to a fifth of what decoding
    a large frame costs. glibc gives memory back beyond twice the largest block that was freed so far, up
    to 32 MiB (M_MMAP_THRESHOLD in mallopt(3)), so one such block is taken and freed, untouched.
    """
    import numpy as np

    np.empty(_LARGEST_BLOCK, np.uint8)


def _new_lock() -> None:
    """Give a forked process a lock that none of its parent's threads holds."""
    global _opening
    _opening = threading.Lock()


atexit.register(close_here)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
