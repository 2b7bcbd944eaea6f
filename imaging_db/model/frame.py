"""Frames: where one lies in its acquisition, what a reader says of it, what the catalog keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from imaging_db.model.json_value import JSONObject
from imaging_db.model.quality import FrameQuality


class FrameCoords(NamedTuple):
    """Where a frame lies: four indices from 0, in the order of the frame's object name."""

    channel: int
    slice: int
    timepoint: int
    position: int

    def __str__(self) -> str:
        return f"c{self.channel} z{self.slice} t{self.timepoint} p{self.position}"


@dataclass(frozen=True, slots=True)
class PageRef:
    """Where a frame's pixels come from: a page (from 0) of a file."""

    path: Path
    page: int

    def __str__(self) -> str:
        return f"{self.path}: page {self.page}"


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """What a reader says of one frame before its pixels are read.

    ``shape`` is ``(Y, X)`` or ``(Y, X, S)``; ``dtype`` is NumPy's name in native byte order, such as
    ``"uint16"``. ``channel_name`` and ``position_name`` are None where the source names none.
    """

    index: int
    coords: FrameCoords
    shape: tuple[int, ...]
    dtype: str
    source: PageRef
    channel_name: str | None = None
    position_name: str | None = None
    metadata: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame as the catalog keeps it; ``quality`` is None where nothing was measured.

    ``sha256`` is of the pixels (C order, little endian, shape ``(Y, X)`` or ``(Y, X, S)``), as
    imagingDB computed it; ``object_sha256`` and ``object_size`` are of the stored bytes. The last two
    are None, and ``codec`` too, in rows that the original imagingDB wrote. ``is_repeat`` tells whether a
    frame before it, in the order of the names, has the same pixels: the catalog decides that once all
    are there, so it tells nothing of whether two rows are the same; None where it was not decided.
    """

    coords: FrameCoords
    file_name: str
    sha256: str | None
    object_sha256: str | None
    object_size: int | None
    codec: str | None
    width: int | None
    height: int | None
    colors: int | None
    dtype: str | None
    channel_name: str | None = None
    position_name: str | None = None
    metadata: JSONObject = field(default_factory=dict)
    quality: FrameQuality | None = None
    is_repeat: bool | None = field(default=None, compare=False)
