"""Micro-Manager image file stacks, streamed page by page, with 3 KB of JSON on every page.

Source of the format: the Micro-Manager wiki, "Micro-Manager File Formats", and the sample acquisition of
this project, whose device properties the pages here repeat.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Coords = tuple[int, int, int, int]  # channel, slice, timepoint, position

_INDEX_HEADER, _INDEX_START = 54773648, 3453623
_DISPLAY_HEADER, _COMMENTS_HEADER, _SUMMARY_HEADER = 483765892, 99384722, 2355492
_PAGE_TAG = 51123
_DEVICES = {
    "Camera": ("Binning", "BitDepth", "CCDTemperature", "CameraID", "CameraName", "Exposure", "Gain",
               "Offset", "OnCameraCCDXSize", "OnCameraCCDYSize", "PixelType", "ReadoutTime", "ScanMode",
               "TransposeCorrection", "TransposeMirrorX", "TransposeMirrorY", "TransposeXY",
               "TriggerDevice", "UseExposureSequences"),
    "Core": ("AutoFocus", "AutoShutter", "Camera", "ChannelGroup", "Focus", "Galvo", "ImageProcessor",
             "Initialize", "SLM", "Shutter", "TimeoutMs", "XYStage"),
    "Dichroic": ("ClosedPosition", "Description", "HubID", "Label", "Name", "State"),
    "Emission": ("ClosedPosition", "Description", "HubID", "Label", "Name", "State"),
    "Excitation": ("ClosedPosition", "Description", "HubID", "Label", "Name", "State"),
    "LightSource": ("Intensity", "Description", "HubID", "Label", "Name", "State", "Wavelength"),
    "Objective": ("Description", "HubID", "Label", "Name", "State", "Trigger"),
    "Shutter": ("Description", "HubID", "Name", "State"),
    "XY": ("Description", "HubID", "Name", "TransposeMirrorX", "TransposeMirrorY"),
    "Z": ("Description", "HubID", "Name", "Position", "UseSequences"),
}  # fmt: skip
PROPERTIES = json.dumps(
    {
        f"{device}-{name}": f"{device.lower()} {name.lower()}"
        for device, names in _DEVICES.items()
        for name in names
    },
    separators=(",", ":"),
)[1:]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many channels, slices, timepoints, positions, and the side of a square frame in pixels."""

    channels: int
    slices: int
    timepoints: int
    positions: int
    side: int

    def coords(self, position: int) -> list[Coords]:
        """Return the frames of a position in the order of acquisition."""
        return [
            (c, z, t, position)
            for t in range(self.timepoints)
            for z in range(self.slices)
            for c in range(self.channels)
        ]


def file_name(position: int) -> str:
    """Return the name of a position's file."""
    return f"run_MMStack_Pos{position}.ome.tif"


def write_position(
    path: Path, position: int, sizes: Sizes, frames: Iterable[npt.NDArray[np.uint16]]
) -> None:
    """Write a position's file: header, summary, each page with its pixels and its JSON, the index."""
    summary = json.dumps(_summary(sizes)).encode()
    coords = sizes.coords(position)
    index_at = 40 + len(summary)
    offsets: list[int] = []
    with path.open("wb") as out:
        out.write(b"II*\0" + bytes(index_at - 4) + bytes(8 + 20 * len(coords)))
        link = 4
        for number, (place, pixels) in enumerate(zip(coords, frames, strict=True)):
            offset = out.tell()
            _patch(out, link, struct.pack("<I", offset))
            text = ome_xml(sizes).encode() if number == 0 else b""
            link = _write_page(out, offset, pixels, (page_json(place, sizes).encode(), text))
            offsets.append(offset)
        _patch(out, link, struct.pack("<I", 0))
        header = struct.pack(
            "<6I", _INDEX_HEADER, index_at, _DISPLAY_HEADER, 0, _COMMENTS_HEADER, 0
        )
        _patch(out, 8, header + struct.pack("<II", _SUMMARY_HEADER, len(summary)) + summary)
        rows = (struct.pack("<4iI", *c, o) for c, o in zip(coords, offsets, strict=True))
        _patch(out, index_at, struct.pack("<II", _INDEX_START, len(coords)) + b"".join(rows))


def page_json(place: Coords, sizes: Sizes) -> str:
    """Return the JSON of a page: its indices, times and stage, then all device properties."""
    c, z, t, p = place
    own = {
        "ChannelIndex": c, "Channel": f"Ch{c}", "Slice": z, "SliceIndex": z, "Frame": t, "FrameIndex": t,
        "PositionIndex": p, "PositionName": f"Pos{p}", "ElapsedTime-ms": 1000.5 * t + 40 * z + 20 * c,
        "Time": f"2026-01-01 {t // 3600 % 24:02d}:{t // 60 % 60:02d}:{t % 60:02d} +0000",
        "UUID": str(uuid5(NAMESPACE_URL, f"imaging_db/{place}")), "PixelType": "GRAY16", "BitDepth": 16,
        "Width": sizes.side, "Height": sizes.side, "PixelSizeUm": 0.325, "Exposure-ms": 20,
        "XPositionUm": 1000 * p, "YPositionUm": 0, "ZPositionUm": 0.5 * z, "FileName": file_name(p),
    }  # fmt: skip
    return json.dumps(own, separators=(",", ":"))[:-1] + "," + PROPERTIES


def ome_xml(sizes: Sizes) -> str:
    """Return the OME-XML that every file of the acquisition carries on its first page."""
    images = "".join(_image(sizes, position) for position in range(sizes.positions))
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{head}<OME xmlns="{namespace}" UUID="{_uuid(0)}">{images}</OME>'


def _uuid(position: int) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, file_name(position))}"


def _image(sizes: Sizes, position: int) -> str:
    uuid = f'<UUID FileName="{file_name(position)}">{_uuid(position)}</UUID>'
    planes = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="{t}" IFD="{ifd}" PlaneCount="1">{uuid}</TiffData>'
        for ifd, (c, z, t, _) in enumerate(sizes.coords(position))
    )
    channels = "".join(
        f'<Channel ID="Channel:{position}:{c}" Name="Ch{c}" SamplesPerPixel="1"/>'
        for c in range(sizes.channels)
    )
    counts = f'SizeC="{sizes.channels}" SizeZ="{sizes.slices}" SizeT="{sizes.timepoints}"'
    side = f'SizeX="{sizes.side}" SizeY="{sizes.side}"'
    physical = 'PhysicalSizeX="0.325" PhysicalSizeY="0.325" PhysicalSizeZ="0.5"'
    pixels = f'<Pixels ID="Pixels:{position}" DimensionOrder="XYCZT" Type="uint16" {side} {counts} {physical}>'
    return f'<Image ID="Image:{position}" Name="Pos{position}">{pixels}{channels}{planes}</Pixels></Image>'


def _summary(sizes: Sizes) -> dict[str, object]:
    places = [
        {"Label": f"Pos{p}", "GridRowIndex": 0, "GridColumnIndex": p}
        for p in range(sizes.positions)
    ]
    return {
        "Prefix": "run", "Channels": sizes.channels, "Slices": sizes.slices, "Frames": sizes.timepoints,
        "Positions": sizes.positions, "ChNames": [f"Ch{c}" for c in range(sizes.channels)],
        "Width": sizes.side, "Height": sizes.side, "PixelType": "GRAY16", "BitDepth": 16, "z-step_um": 0.5,
        "PixelSize_um": 0.325, "Interval_ms": 1000, "InitialPositionList": places,
        "MicroManagerVersion": "1.4.23", "UUID": str(uuid5(NAMESPACE_URL, "imaging_db")),
    }  # fmt: skip


def _write_page(
    out: IO[bytes], offset: int, pixels: npt.NDArray[np.uint16], texts: Sequence[bytes]
) -> int:
    """Write a page at ``offset``; return where its link to the next one is to be put.

    ``texts`` are the page's JSON and its description, empty where it has none.
    """
    height, width = pixels.shape
    strings = [
        (code, text + b"\0") for code, text in zip((_PAGE_TAG, 270), texts, strict=True) if text
    ]
    fixed = {256: (4, width), 257: (4, height), 258: (3, 16), 259: (3, 1), 262: (3, 1), 277: (3, 1),
             278: (3, height), 279: (4, pixels.nbytes), 296: (3, 3)}  # fmt: skip
    count = len(fixed) + 3 + len(strings)
    start = offset + 2 + 12 * count + 4
    behind = start + pixels.nbytes
    entries = [(code, struct.pack("<HHII", code, *kv)) for code, kv in _with_count(fixed)]
    entries.append((273, struct.pack("<HHII", 273, 4, 1, start)))
    entries += [(code, struct.pack("<HHII", code, 5, 1, behind)) for code in (282, 283)]
    tail = struct.pack("<II", 30769, 1)  # pixels a centimetre
    for code, text in strings:
        entries.append((code, struct.pack("<HHII", code, 2, len(text), behind + len(tail))))
        tail += text
    tail += b"\0" * (len(tail) % 2)
    table = struct.pack("<H", count) + b"".join(entry for _, entry in sorted(entries)) + bytes(4)
    out.write(table)
    out.write(pixels.astype("<u2", copy=False).tobytes())
    out.write(tail)
    return start - 4


def _with_count(fixed: dict[int, tuple[int, int]]) -> list[tuple[int, tuple[int, int, int]]]:
    return [(code, (kind, 1, value)) for code, (kind, value) in fixed.items()]


def _patch(out: IO[bytes], place: int, data: bytes) -> None:
    end = out.tell()
    out.seek(place)
    out.write(data)
    out.seek(end)
