"""Which frames have a row already, and how large their objects are: packed, for there may be millions."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from imaging_db.model import FrameCoords

_UNKNOWN = -1


class StoredSizes(Mapping[FrameCoords, "int | None"]):
    """The size in bytes of the stored object of each frame, None where it was not recorded.

    A mapping in the order of the coordinates that takes 24 bytes a frame, a tenth of a dict.
    """

    def __init__(self) -> None:
        self._axes = tuple(array("i") for _ in FrameCoords._fields)
        self._sizes = array("q")

    def extend(self, rows: Sequence[tuple[int, int, int, int, int | None]]) -> None:
        """Append coordinates with sizes; they must come in the order of the coordinates."""
        if not rows:
            return
        *axes, sizes = zip(*rows, strict=True)
        for kept, added in zip(self._axes, axes, strict=True):
            kept.extend(added)
        self._sizes.extend(_UNKNOWN if size is None else size for size in sizes)

    def __getitem__(self, coords: FrameCoords) -> int | None:
        place = bisect_left(range(len(self)), coords, key=self._at)
        if place == len(self) or self._at(place) != coords:
            raise KeyError(coords)
        size = self._sizes[place]
        return None if size == _UNKNOWN else size

    def __iter__(self) -> Iterator[FrameCoords]:
        return map(self._at, range(len(self)))

    def __len__(self) -> int:
        return len(self._sizes)

    def _at(self, place: int) -> FrameCoords:
        return FrameCoords(*(axis[place] for axis in self._axes))
