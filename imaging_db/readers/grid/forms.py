"""What all images of one source have in common, and which part of an image a box is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imaging_db.config.keys import Keys
from imaging_db.errors import UnsupportedFormat
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.images import JPEG, Image

if TYPE_CHECKING:
    import numpy.typing as npt

# An image of the wrong size is told apart from one that nobody should decode.
_ROOM = 64 * 2**20
_LOSSY = "the source is JPEG, which is lossy: kept as it decodes"


@dataclass(frozen=True, slots=True)
class Form:
    """Type and colours of a source's pixels: every image must have them."""

    dtype: str
    colors: int

    @classmethod
    def of(cls, image: Image) -> Form:
        """Return the form of an image."""
        return cls(image.dtype, image.colors)

    @classmethod
    def told(cls, keys: Keys) -> Form | None:
        """Return the form that settings say, None where an image has to tell it."""
        import numpy as np

        dtype = keys.text("dtype")
        if dtype is None:
            return None
        return cls(np.dtype(dtype).newbyteorder("=").name, keys.whole("colors") or 1)

    def check(self, image: Image) -> None:
        """Let pass an image of this form.

        Raises
        ------
        UnsupportedFormat
            It has another type or other colours: nothing is converted.
        """
        found = Form.of(image)
        if found != self:
            raise UnsupportedFormat(image.name, f"holds {found}, not {self}")

    def __str__(self) -> str:
        return self.dtype if self.colors == 1 else f"{self.dtype} in {self.colors} colours"


def tile_of(image: Image, box: Box, grid: TileGrid, form: Form) -> npt.NDArray[Any]:
    """Return the pixels of a box from the image of its tile alone.

    At the edge of the extent the image may end with it, or be a whole tile of which the rest is left out.

    Raises
    ------
    UnsupportedFormat
        Its size, type or colours are others.
    CorruptSource
        It cannot be decoded.
    """
    form.check(image)
    height, width = image.shape[:2]
    if height not in (box.height, grid.tile_height) or width not in (box.width, grid.tile_width):
        ends = {f"{box.width} x {box.height}", f"{grid.tile_width} x {grid.tile_height}"}
        cause = f"is {width} x {height} pixels, {box} must be {' or '.join(sorted(ends))}"
        raise UnsupportedFormat(image.name, cause)
    return image.read()[: box.height, : box.width]


def check_covers(shape: tuple[int, ...], box: Box, name: str) -> None:
    """Let pass a plane that a box lies in.

    Raises
    ------
    UnsupportedFormat
        The plane ends before the box does.
    """
    height, width = shape[:2]
    if box.y1 > height or box.x1 > width:
        cause = f"is {width} x {height} pixels, {box} ends at {box.x1}, {box.y1}"
        raise UnsupportedFormat(name, cause, hint="choose an extent that lies inside it")


def tile_limits(grid: TileGrid) -> ReadLimits:
    """Return what an image of one tile may have; sixteen bytes a sample in four colours is the most there is."""
    return ReadLimits(max_frame_bytes=max(_ROOM, 64 * grid.tile_height * grid.tile_width))


def plane_limits(grid: TileGrid) -> ReadLimits:
    """Return what a plane may have: as readers allow, more where the extent asks for more."""
    usual = ReadLimits().max_frame_bytes
    return ReadLimits(max_frame_bytes=max(usual, 64 * grid.y[1] * grid.x[1]))


def lossy_note(image: Image) -> tuple[str, ...]:
    """Return what a user should be told of an image's format."""
    return (_LOSSY,) if image.form == JPEG else ()
