"""Memory that one thread reads its frames into, one after the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from imaging_db.model import SourceFrame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FrameBuffer:
    """Gives arrays over one piece of memory, which grows to the largest frame and stays.

    Fresh memory of some megabytes costs a page fault every 4 KiB, which is more than reading the pixels
    into it. Not for several threads: each keeps one, as an attribute of a `threading.local`.
    """

    def __init__(self) -> None:
        self._memory: npt.NDArray[np.uint8] | None = None

    def array(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """Return an array over the memory, C-contiguous, its content undefined.

        It shares its bytes with every array that came from here before: those are given up.
        """
        import numpy as np

        size = math.prod(shape) * np.dtype(dtype).itemsize
        if self._memory is None or self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].view(dtype).reshape(shape)

    def for_frame(self, frame: SourceFrame) -> npt.NDArray[Any]:
        """Return the array to hand to ``reader.read(frame, out=...)``."""
        return self.array(frame.shape, frame.dtype)


def check_out(out: npt.NDArray[Any], shape: tuple[int, ...], dtype: str) -> None:
    """Raise `ValueError` unless pixels of this shape and type can be put into ``out`` as they are."""
    import numpy as np

    flags = out.flags
    suits = out.shape == shape and out.dtype == np.dtype(dtype)
    if not (suits and flags.c_contiguous and flags.writeable):
        raise ValueError(
            f"out is {out.shape} {out.dtype}, must be {shape} {dtype}, contiguous and writable"
        )
