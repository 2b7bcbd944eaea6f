"""The page of a contact sheet: thumbnails in rows, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imaging_db.export.thumbnail import SIDE

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_MARGIN, _GAP, _LABELS = 24, 10, 128
_TITLE, _LINE = 62, 19
_LEAST_WIDTH, _LEAST_HEIGHT = 128, 48
_PAPER, _EMPTY, _INK, _QUIET, _RED = "#ffffff", "#eceff1", "#202124", "#5f6368", "#c5221f"
_SIZES = {"title": 20, "text": 13, "small": 11}


@dataclass(frozen=True, slots=True)
class Cell:
    """A thumbnail, None for a frame that is absent, with its label; ``flags`` tells what is wrong with it."""

    label: str
    thumbnail: npt.NDArray[Any] | None
    flags: str


@dataclass(frozen=True, slots=True)
class Row:
    """Thumbnails of one channel: its name, and the grey values from black to white."""

    label: str
    contrast: str
    cells: Sequence[Cell]


class Page:
    """A title of two lines above rows of cells."""

    def __init__(self, title: tuple[str, str], rows: Sequence[Row]) -> None:
        from PIL import ImageFont

        self._title = title
        self._rows = rows
        sizes = [_size_of(cell) for row in rows for cell in row.cells]
        self._width = max([_LEAST_WIDTH, *(width for width, _ in sizes)])
        self._height = max([_LEAST_HEIGHT, *(height for _, height in sizes)])
        self._fonts = {name: ImageFont.load_default(size) for name, size in _SIZES.items()}

    def drawn(self) -> Image:
        """Return the page as a Pillow image."""
        from PIL import Image, ImageDraw

        columns = max(len(row.cells) for row in self._rows)
        width = 2 * _MARGIN + _LABELS + columns * (self._width + _GAP) - _GAP
        width = max(width, 2 * _MARGIN + int(self._length(self._title[1], "text")) + 1)
        height = 2 * _MARGIN + _TITLE + len(self._rows) * self._row_height
        image = Image.new("RGB", (width, height), _PAPER)
        draw = ImageDraw.Draw(image)
        self._write(draw, (_MARGIN, _MARGIN), self._title[0], "title", _INK)
        self._write(draw, (_MARGIN, _MARGIN + 30), self._title[1], "text", _QUIET)
        for number, row in enumerate(self._rows):
            self._draw_row(image, draw, row, _MARGIN + _TITLE + number * self._row_height)
        return image

    @property
    def _row_height(self) -> int:
        return self._height + 2 * _LINE + _GAP

    def _draw_row(self, image: Image, draw: ImageDraw, row: Row, top: int) -> None:
        middle = top + _LINE + self._height // 2
        label = self._cut(row.label, "text", _LABELS - _GAP)
        self._write(draw, (_MARGIN, middle - 18), label, "text", _INK)
        self._write(draw, (_MARGIN, middle + 2), row.contrast, "small", _QUIET)
        for number, cell in enumerate(row.cells):
            left = _MARGIN + _LABELS + number * (self._width + _GAP)
            self._draw_cell(image, draw, cell, (left, top))

    def _draw_cell(
        self, image: Image, draw: ImageDraw, cell: Cell, corner: tuple[int, int]
    ) -> None:
        left, top = corner[0], corner[1] + _LINE
        self._write(draw, corner, self._cut(cell.label, "small", self._width), "small", _QUIET)
        box = (left, top, left + self._width - 1, top + self._height - 1)
        draw.rectangle(box, fill=_EMPTY)
        if cell.thumbnail is not None:
            picture = _fitted(cell.thumbnail)
            offset = ((self._width - picture.width) // 2, (self._height - picture.height) // 2)
            image.paste(picture, (left + offset[0], top + offset[1]))
        if cell.flags:
            color = _QUIET if cell.thumbnail is None else _RED
            if cell.thumbnail is not None:
                draw.rectangle((left - 3, top - 3, box[2] + 3, box[3] + 3), outline=color, width=3)
            said = self._cut(cell.flags.replace(" ", ", "), "small", self._width)
            self._write(draw, (left, top + self._height + 4), said, "small", color)

    def _write(
        self, draw: ImageDraw, corner: tuple[int, int], text: str, size: str, color: str
    ) -> None:
        draw.text(corner, text, fill=color, font=self._fonts[size])

    def _length(self, text: str, size: str) -> float:
        return self._fonts[size].getlength(text)

    def _cut(self, text: str, size: str, width: int) -> str:
        """Return a text that is not wider than that; what had to go is told by dots."""
        if self._length(text, size) <= width:
            return text
        while text and self._length(f"{text}...", size) > width:
            text = text[:-1]
        return f"{text}..."


def _size_of(cell: Cell) -> tuple[int, int]:
    return (0, 0) if cell.thumbnail is None else _fitted(cell.thumbnail).size


def _fitted(thumbnail: npt.NDArray[Any]) -> Image:
    """Return a thumbnail as an image; one of a small frame is enlarged, pixel by pixel."""
    from PIL import Image

    image = Image.fromarray(thumbnail)
    factor = max(1, SIDE // max(image.size))
    if factor == 1:
        return image
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.NEAREST)
