"""Sources whose images are whole planes, out of which tiles are cut."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from imaging_db.model import PageRef
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.forms import Form, check_covers, lossy_note, plane_limits
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.images import Image, opened_image
from imaging_db.readers.grid.plane_cache import PlaneCache

if TYPE_CHECKING:
    import numpy.typing as npt


class PlaneImages(Protocol):
    """Opens the image of a plane. Safe for threads."""

    def opened(self, place: PageRef) -> AbstractContextManager[Image]:
        """Return the image of a page for a ``with`` block."""

    def close(self) -> None:
        """Close every file; closing twice is allowed."""


class ImageFiles:
    """Planes that are images in files of their own; none is open between reads."""

    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits

    def opened(self, place: PageRef) -> AbstractContextManager[Image]:
        """Return the image in a file; see `opened_image`."""
        return opened_image(Path(place.path), self._limits)

    def close(self) -> None:
        """Nothing is open."""


class PlaneSource:
    """Tiles cut out of planes; a plane is decoded once as long as there is room for it.

    ``place`` tells which page of which file a box lies in.
    """

    def __init__(
        self,
        grid: TileGrid,
        place: Callable[[Box], PageRef],
        *,
        images: PlaneImages | None = None,
        form: Form | None = None,
        planes: PlaneCache | None = None,
    ) -> None:
        self._place = place
        self._images = images or ImageFiles(plane_limits(grid))
        self._planes = planes or PlaneCache()
        self.notes: tuple[str, ...] = ()
        if form is None:
            with self._images.opened(place(grid.box(0))) as image:
                form, self.notes = Form.of(image), lossy_note(image)
        self._form = form

    @property
    def dtype(self) -> str:
        """Return the type of the pixels."""
        return self._form.dtype

    @property
    def colors(self) -> int:
        """Return how many samples a pixel has."""
        return self._form.colors

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the pixels of a tile, a view of its plane; see `PixelSource.read`.

        Raises
        ------
        ReaderError
            The plane is missing, damaged, of another type, or ends before the tile does.
        """
        place = self._place(box)
        plane = self._planes.get(place, lambda: self._decoded(place, box))
        check_covers(plane.shape, box, _name(place))
        return plane[box.y0 : box.y1, box.x0 : box.x1]

    def origin(self, box: Box) -> PageRef:
        """Return the page of the file that a tile lies in."""
        return self._place(box)

    def close(self) -> None:
        """Close every file and give up the planes; closing twice is allowed."""
        self._planes.clear()
        self._images.close()

    def _decoded(self, place: PageRef, box: Box) -> npt.NDArray[Any]:
        with self._images.opened(place) as image:
            self._form.check(image)
            check_covers(image.shape, box, image.name)
            return image.read()


def _name(place: PageRef) -> str:
    return str(place) if place.page else str(place.path)
