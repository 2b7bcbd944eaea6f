"""Scratch memory that a thread keeps: pages that are touched for the first time are slow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WORD = 8
MOST_KEPT = 16 * 1024 * 1024  # one row of the widest pictures is longer

_thread = threading.local()


def scratch(name: str, size: int) -> npt.NDArray[np.uint8]:
    """Return ``size`` bytes, the same memory for the same thread and name; what is in them is old."""
    import numpy as np

    kept: npt.NDArray[np.uint8] | None = getattr(_thread, name, None)
    if kept is None or kept.size < size:
        kept = np.empty(-(-size // _WORD) * _WORD, np.uint8)
        if size <= MOST_KEPT:
            setattr(_thread, name, kept)
    return kept[:size]
