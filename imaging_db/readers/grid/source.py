"""What a kind of source must give, so that its tiles become frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from imaging_db.model import PageRef
from imaging_db.readers.grid.boxes import Box

if TYPE_CHECKING:
    import numpy.typing as npt


class PixelSource(Protocol):
    """The pixels behind a grid. Many threads read from it at once.

    A source may also have ``notes``, a tuple of what a user should be told once.
    """

    @property
    def dtype(self) -> str:
        """Return NumPy's name of the pixels' type in native byte order, such as ``uint16``."""

    @property
    def colors(self) -> int:
        """Return how many samples a pixel has; 1 is grey."""

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the pixels of a box: ``(Y, X)``, with colours ``(Y, X, S)``, of `dtype` and native.

        The array may be a view of what the source keeps: who asks must not write to it.

        Raises
        ------
        ReaderError
            They are missing, damaged, or of another size or type; names file, tile and cause.
        StoreUnavailable
            The source does not answer now; it may later.
        """

    def origin(self, box: Box) -> PageRef:
        """Return the file, or the address, that the pixels of a box come from; nothing is opened."""

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
