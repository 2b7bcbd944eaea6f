"""A writer of Micro-Manager file stacks, after its documented format and the sample in this project."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

Coords = tuple[int, int, int, int]


@dataclass
class MMStack:
    """One file: images by (channel, slice, timepoint, position), and what is to be odd about it.

    ``tag_of`` gives the text of a page's tag, None leaves the tag out; ``blank`` pages are added at the
    end as Micro-Manager does for a stopped acquisition: without tag text and index entry.
    """

    images: Sequence[tuple[Coords, npt.NDArray[Any]]]
    summary: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    tag_of: Callable[[Coords], str | None] | None = None
    index_of: Callable[[Coords], Sequence[int]] | None = None
    blank: int = 0
    reserved: int = 4096
    closed: bool = True


def write_mm_stack(path: Path, stack: MMStack) -> Path:
    """Write the stack: header, summary, room for the index, then each page with its pixels and tag."""
    summary = json.dumps(stack.summary).encode()
    index_at = 40 + len(summary)
    body = bytearray(index_at + 8 + stack.reserved)
    entries: list[bytes] = []
    link = 4
    pages = [*stack.images, *([(None, np.zeros_like(stack.images[0][1]))] * stack.blank)]
    for number, (coords, pixels) in enumerate(pages):
        offset = len(body)
        struct.pack_into("<I", body, link, offset)
        tag = "NULL " if coords is None else (stack.tag_of or default_tag)(coords)
        page, link = _page(offset, pixels, tag, stack.description if number == 0 else "")
        body += page
        if coords is not None:
            indices = stack.index_of(coords) if stack.index_of else coords
            entries.append(struct.pack("<4iI", *indices, offset))
    if stack.closed:
        struct.pack_into("<I", body, link, 0)
    header = struct.pack("<II", 54773648, index_at) + struct.pack("<II", 483765892, 0)
    header += struct.pack("<II", 99384722, 0) + struct.pack("<II", 2355492, len(summary))
    body[:4] = b"II*\0"
    body[8:40] = header
    body[40:index_at] = summary
    index = struct.pack("<II", 3453623, len(entries)) + b"".join(entries)
    body[index_at : index_at + len(index)] = index
    path.write_bytes(body)
    return path


def default_tag(coords: Coords) -> str:
    """A page's tag as Micro-Manager 1.4 writes it."""
    c, z, t, p = coords
    return json.dumps(
        {
            "ChannelIndex": c, "Channel": f"Ch{c}", "Slice": z, "SliceIndex": z, "Frame": t,
            "FrameIndex": t, "PositionIndex": p, "PositionName": f"Pos{p}", "PixelSizeUm": 0.5,
        }
    )  # fmt: skip


def beta_tag(coords: Coords) -> str:
    """A page's tag as Micro-Manager 2 writes it: no channel name, no Slice, no Frame."""
    c, z, t, p = coords
    indices = {"FrameIndex": t, "PositionIndex": p, "SliceIndex": z, "ChannelIndex": c}
    return json.dumps({**indices, "PixelSizeUm": 0, "PositionName": f"Pos{p}"})


def summary_of(c: int, z: int, t: int, p: int, **more: Any) -> dict[str, Any]:
    """A summary that plans these sizes."""
    sizes = {"Channels": c, "Slices": z, "Frames": t, "Positions": p}
    names = [f"Ch{n}" for n in range(c)]
    return {"Prefix": "run", **sizes, "ChNames": names, "z-step_um": -2, "Interval_ms": 500, **more}


def images(
    c: int, z: int, t: int, p: int, *, positions: Sequence[int] | None = None
) -> list[tuple[Coords, npt.NDArray[Any]]]:
    """Different images for every index, positions innermost as Micro-Manager 2 may write them."""
    coords = [
        (channel, slice_, time, position)
        for time in range(t)
        for slice_ in range(z)
        for channel in range(c)
        for position in (positions if positions is not None else range(p))
    ]
    return [(place, image(place)) for place in coords]


def image(coords: Coords) -> npt.NDArray[Any]:
    """The image of these indices: a ramp that starts at a number of its own."""
    c, z, t, p = coords
    start = 500 * p + 50 * t + 7 * z + c
    return (np.arange(8 * 12) + start).astype(np.uint16).reshape(8, 12)


def binary_only(master: str) -> str:
    """The OME-XML of a file whose metadata are in another."""
    return (
        f'<?xml version="1.0"?><OME><BinaryOnly MetadataFile={quoteattr(master)} UUID="u"/></OME>'
    )


def _page(offset: int, pixels: npt.NDArray[Any], tag: str | None, text: str) -> tuple[bytes, int]:
    """Return the bytes of a page at ``offset`` and where in the file its link to the next one is."""
    values = [] if tag is None else [(51123, 2, tag.encode() + b"\0")]
    values += [(270, 2, text.encode() + b"\0")] if text else []
    height, width = pixels.shape
    bits = pixels.dtype.itemsize * 8
    fixed = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1)]
    fixed += [(277, 3, 1), (278, 3, height), (279, 4, pixels.nbytes), (296, 3, 3)]
    count = len(fixed) + len(values) + 3
    place = offset + 2 + count * 12 + 4
    entries = [(code, struct.pack("<HHII", code, kind, 1, value)) for code, kind, value in fixed]
    entries.append((273, struct.pack("<HHII", 273, 4, 1, place)))
    data = pixels.tobytes()
    for code, kind, value in [(282, 5, b"\1\0\0\0" * 2), (283, 5, b"\1\0\0\0" * 2), *values]:
        number = 1 if kind == 5 else len(value)
        entries.append((code, struct.pack("<HHII", code, kind, number, place + len(data))))
        data += value
    data += b"\0" * (len(data) % 2)
    table = struct.pack("<H", count) + b"".join(entry for _, entry in sorted(entries))
    after = place + len(data)
    return table + struct.pack("<I", after) + data, place - 4
