"""A writer of small NDTiff datasets, after the specification of versions 2 and 3."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Images = Sequence[tuple[dict[str, Any], npt.NDArray[Any]]]

_PIXEL_TYPES = {("uint8", 2): 0, ("uint16", 2): 1, ("uint8", 3): 2}


def write_ndtiff(
    folder: Path,
    images: Images,
    *,
    name: str = "run",
    version: int = 3,
    summary: dict[str, Any] | None = None,
    tell_axes: bool = True,
    per_file: int = 1000,
    metadata: dict[str, Any] | None = None,
) -> Path:
    """Write images with their axes into stacks of ``per_file`` and an index; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    index = b""
    for number, start in enumerate(range(0, len(images), per_file)):
        file_name = f"{name}_NDTiffStack{f'_{number}' if number else ''}.tif"
        part = images[start : start + per_file]
        data, entries = _stack(part, file_name, version, summary or {}, tell_axes, metadata or {})
        (folder / file_name).write_bytes(data)
        index += entries
    (folder / "NDTiff.index").write_bytes(index)
    return folder


def _stack(
    images: Images,
    file_name: str,
    version: int,
    summary: dict[str, Any],
    tell_axes: bool,
    metadata: dict[str, Any],
) -> tuple[bytes, bytes]:
    said = json.dumps(summary).encode()
    words = [483729, version, *([2] if version == 3 else []), 2355492, len(said)]
    head = struct.pack(f"<{len(words)}I", *words) + said
    data = bytearray(b"II*\0" + struct.pack("<I", _even(8 + len(head))) + head)
    index = b""
    for number, (axes, pixels) in enumerate(images):
        data += b"\0" * (len(data) % 2)
        tag = {"ChannelIndex": 0, "SliceIndex": 0, "FrameIndex": 0, "PositionIndex": 0, **metadata}
        text = json.dumps({**tag, "Axes": axes} if tell_axes else tag).encode()
        index += _page(data, axes, pixels, text, file_name, last=number == len(images) - 1)
    return bytes(data), index


def _page(
    data: bytearray,
    axes: dict[str, Any],
    pixels: npt.NDArray[Any],
    text: bytes,
    file_name: str,
    *,
    last: bool,
) -> bytes:
    height, width = pixels.shape[:2]
    samples = 3 if pixels.ndim == 3 else 1
    start, tags = len(data), 11
    bits_at = start + 2 + 12 * tags + 4
    pixels_at = bits_at + (6 if samples == 3 else 0)
    raw = np.ascontiguousarray(pixels).tobytes()
    text_at = pixels_at + len(raw)
    bits = 8 * pixels.dtype.itemsize
    fields = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, samples, bits_at if samples == 3 else bits),
        (259, 3, 1, 1), (262, 3, 1, 2 if samples == 3 else 1), (273, 4, 1, pixels_at),
        (277, 3, 1, samples), (278, 3, 1, height), (279, 4, 1, len(raw)), (296, 3, 1, 3),
        (51123, 2, len(text), text_at),
    ]  # fmt: skip
    data += struct.pack("<H", tags) + b"".join(struct.pack("<HHII", *field) for field in fields)
    data += struct.pack("<I", 0 if last else _even(text_at + len(text)))
    data += struct.pack("<3H", bits, bits, bits) if samples == 3 else b""
    data += raw + text
    said, name = json.dumps(axes).encode(), file_name.encode()
    kind = _PIXEL_TYPES[pixels.dtype.name, pixels.ndim]
    numbers = (pixels_at, width, height, kind, 0, text_at, len(text), 0)
    lengths = struct.pack("<I", len(said)) + said + struct.pack("<I", len(name)) + name
    return lengths + struct.pack("<8I", *numbers)


def _even(offset: int) -> int:
    return offset + offset % 2
