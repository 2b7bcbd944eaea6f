"""The places of frames: whether two of many lie at the same, in 32 bytes a frame."""

from __future__ import annotations

from array import array

from imaging_db.model import FrameCoords


class FramePlaces:
    """Takes the coordinates of frames in their order."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def add(self, coords: FrameCoords) -> None:
        """Take the place of the next frame."""
        self._numbers.extend(coords)

    def first_repeated(self) -> tuple[int, int] | None:
        """Return the first frame that lies where an earlier one does, as (earlier, later), counted from 0.

        None where all places differ.
        """
        import numpy as np

        rows = np.array(self._numbers, np.int64).reshape(-1, 4)
        order = np.lexsort(rows.T)
        rows = rows[order]
        same = (rows[1:] == rows[:-1]).all(axis=1)
        if not same.any():
            return None
        first = np.argmin(order[1:][same])
        return int(order[:-1][same][first]), int(order[1:][same][first])
