"""The fields that a query may name: one table, for the parser, the database and the documents."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What the values of a field are; it decides which values and operators fit."""

    TEXT = "text"
    NUMBER = "number"
    INDEX = "index"
    TIME = "date"
    FLAG = "true or false"
    TAG = "tag"
    NOTE = "note"
    JSON = "metadata"


class Level(Enum):
    """What a field is said of."""

    DATASET = "dataset"
    ACQUISITION = "acquisition"
    FRAME = "frame"
    QUALITY = "quality"

    @property
    def of_frames(self) -> bool:
        """Return True where each frame has its own value."""
        return self in (Level.FRAME, Level.QUALITY)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``path`` leads into metadata, or is the key of a note; ``choices`` are all it can be."""

    name: str
    kind: Kind
    level: Level
    what: str = field(default="", compare=False)
    aliases: tuple[str, ...] = field(default=(), compare=False)
    choices: tuple[str, ...] = field(default=(), compare=False)
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return self.name + "".join(map(_spelled, self.path))


FIELDS: tuple[Field, ...] = (
    Field("serial", Kind.TEXT, Level.DATASET, "the dataset id", ("id", "dataset")),
    Field("project", Kind.TEXT, Level.DATASET, "the leading ID of the dataset id"),
    Field("acquired", Kind.TIME, Level.DATASET, "when it was acquired, in UTC", ("date",)),
    Field("uploaded", Kind.TIME, Level.DATASET, "when its upload was complete, in UTC"),
    Field("microscope", Kind.TEXT, Level.DATASET, "the name of the microscope"),
    Field("description", Kind.TEXT, Level.DATASET, "the description"),
    Field("parent", Kind.TEXT, Level.DATASET, "the id of the dataset it was made from"),
    Field(
        "type",
        Kind.TEXT,
        Level.DATASET,
        "`frames`, or `file` where it was stored as it is",
        choices=("frames", "file"),
    ),
    Field("objects", Kind.NUMBER, Level.DATASET, "how many frames or files it has"),
    Field("tag", Kind.TAG, Level.DATASET, "its tags, and the keys of its notes", ("tags",)),
    Field("format", Kind.TEXT, Level.ACQUISITION, "the reader that read it, such as `ome_tiff`"),
    Field("channels", Kind.NUMBER, Level.ACQUISITION, "how many channels it has"),
    Field("slices", Kind.NUMBER, Level.ACQUISITION, "how many slices"),
    Field("timepoints", Kind.NUMBER, Level.ACQUISITION, "how many timepoints"),
    Field("positions", Kind.NUMBER, Level.ACQUISITION, "how many positions"),
    Field("pixel_size", Kind.NUMBER, Level.ACQUISITION, "width of a pixel in µm"),
    Field("pixel_size_y", Kind.NUMBER, Level.ACQUISITION, "height of a pixel in µm"),
    Field("z_step", Kind.NUMBER, Level.ACQUISITION, "distance of slices in µm"),
    Field("interval", Kind.NUMBER, Level.ACQUISITION, "time between timepoints in s"),
    Field("expected", Kind.NUMBER, Level.ACQUISITION, "how many frames its source had planned"),
    Field("lacking", Kind.NUMBER, Level.ACQUISITION, "how many of those are not there"),
    Field("channel", Kind.TEXT, Level.FRAME, "the name of its channel"),
    Field("position", Kind.TEXT, Level.FRAME, "the name of its position"),
    Field("c", Kind.INDEX, Level.FRAME, "the index of its channel, from 0"),
    Field("z", Kind.INDEX, Level.FRAME, "the index of its slice", ("slice",)),
    Field("t", Kind.INDEX, Level.FRAME, "the index of its timepoint", ("time", "timepoint")),
    Field("p", Kind.INDEX, Level.FRAME, "the index of its position"),
    Field("width", Kind.NUMBER, Level.FRAME, "pixels across"),
    Field("height", Kind.NUMBER, Level.FRAME, "pixels down"),
    Field("colors", Kind.NUMBER, Level.FRAME, "samples a pixel: 1 is grey, 3 is RGB"),
    Field("dtype", Kind.TEXT, Level.FRAME, "type of its pixels, such as `uint16`"),
    Field("name", Kind.TEXT, Level.FRAME, "the name of its object", ("file_name",)),
    Field("sha256", Kind.TEXT, Level.FRAME, "the SHA-256 of its pixels"),
    Field("bytes", Kind.NUMBER, Level.FRAME, "the size of its object", ("size",)),
    Field("codec", Kind.TEXT, Level.FRAME, "how it is kept: `png`, `jxl` or `tiff`"),
    Field("min", Kind.NUMBER, Level.QUALITY, "the smallest grey value"),
    Field("max", Kind.NUMBER, Level.QUALITY, "the largest"),
    Field("mean", Kind.NUMBER, Level.QUALITY, "their mean"),
    Field("p1", Kind.NUMBER, Level.QUALITY, "the 1st percentile"),
    Field("p99", Kind.NUMBER, Level.QUALITY, "the 99th percentile"),
    Field("saturated", Kind.NUMBER, Level.QUALITY, "share of samples at the top, 0 to 1"),
    Field("focus", Kind.NUMBER, Level.QUALITY, "the Brenner gradient; larger is sharper"),
    Field("blank", Kind.FLAG, Level.QUALITY, "all its samples are equal"),
    Field("repeat", Kind.FLAG, Level.QUALITY, "a frame before it has the same pixels"),
)

ROOTS: dict[str, Field] = {
    "meta": Field("meta", Kind.JSON, Level.FRAME, "metadata of the frame"),
    "global": Field("global", Kind.JSON, Level.ACQUISITION, "metadata of the acquisition"),
    "dataset": Field("dataset", Kind.JSON, Level.DATASET, "what the upload said of the dataset"),
    "note": Field("note", Kind.NOTE, Level.DATASET, "the note with that key"),
}
"""Fields that are followed by a dot and a path, or a key."""

_NAMED = {name: one for one in FIELDS for name in (one.name, *one.aliases)}
_PLAIN = re.compile(r"[\w\-/+%#@]+")


def field_named(name: str) -> Field | None:
    """Return the field of that name or alias, whatever its case; None where there is none."""
    return _NAMED.get(name.lower())


def nearest(name: str) -> list[str]:
    """Return the names of fields that look like ``name``, the likeliest first."""
    known = [*_NAMED, *(f"{root}." for root in ROOTS)]
    return difflib.get_close_matches(name.lower(), known, n=2)


def groups() -> Iterator[tuple[Level, list[Field]]]:
    """Yield the fields of each level, as the documents list them."""
    for level in Level:
        yield level, [one for one in FIELDS if one.level is level]


def _spelled(part: str | int) -> str:
    """Return one part of a path as it is written."""
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN.fullmatch(part):
        return f".{part}"
    escaped = re.sub(r'(["\\])', r"\\\1", part)
    return f'."{escaped}"'
