"""Sources made for a test, for what no small real file shows: a folder of colours, a pyramid, labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tifffile

from imaging_db.model import FrameCoords, sha256_of_pixels
from tests.support.acquisitions import pixels
from tests.support.ndtiff import write_ndtiff

Truth = dict[FrameCoords, str]
READERS = "readers: ome_tiff, tif_folder, tif_id, ndtiff"


@dataclass(frozen=True)
class Made:
    """A source that ``make`` writes to a path; ``outcome`` is what a table says of it."""

    name: str
    make: Callable[[Path], Truth]
    outcome: str

    def __str__(self) -> str:
        return self.name


def colours_over_time(folder: Path) -> Truth:
    folder.mkdir()
    data = pixels(3, 20, 30, 3, dtype="uint8")
    for t, frame in enumerate(data):
        tifffile.imwrite(folder / f"Embryo_GFPHistone_{t:04d}.tif", frame, photometric="rgb")
    return {FrameCoords(0, 0, t, 0): sha256_of_pixels(frame) for t, frame in enumerate(data)}


def pyramid(path: Path) -> Truth:
    """A tiled BigTIFF with a smaller level of each channel, which is not a frame."""
    data = pixels(2, 128, 128)
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        writer.write(data, subifds=1, tile=(32, 32), compression="zlib", metadata={"axes": "CYX"})
        writer.write(data[:, ::2, ::2], subfiletype=1, tile=(32, 32), compression="zlib")
    return {FrameCoords(c, 0, 0, 0): sha256_of_pixels(plane) for c, plane in enumerate(data)}


def labelled_positions(folder: Path) -> Truth:
    """An NDTiff whose axes are names, with indices in its pages that lie."""
    data = pixels(3, 2, 8, 10)
    labels, channels = ("A1-Site_0", "A1-Site_1", "B2-Site_0"), ("DAPI", "FITC")
    images = [
        ({"position": labels[p], "channel": channels[c], "time": 0}, data[p, c])
        for p in range(3)
        for c in range(2)
    ]
    write_ndtiff(folder, images)
    return {
        FrameCoords(c, 0, 0, p): sha256_of_pixels(data[p, c]) for p in range(3) for c in range(2)
    }


def wide_and_signed(path: Path) -> Truth:
    """What PNG cannot hold: signed 16-bit pixels of an ImageJ stack."""
    data = pixels(4, 9, 11, dtype="int16")
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX"})
    return {FrameCoords(0, z, 0, 0): sha256_of_pixels(plane) for z, plane in enumerate(data)}


def mostly_empty(folder: Path) -> Truth:
    """A Micro-Manager folder of which all files but the first have no bytes."""
    folder.mkdir()
    names = [
        f"img_{t:09d}_{c}_{z:03d}.tif" for t in range(2) for c in ("Cy3", "FITC") for z in range(5)
    ]
    tifffile.imwrite(folder / names[0], pixels(8, 8))
    for name in names[1:]:
        (folder / name).touch()
    return {}


def zarr(folder: Path) -> Truth:
    folder.mkdir()
    (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    (folder / ".zattrs").write_text(json.dumps({"multiscales": []}))
    return {}


def starting_with(head: bytes) -> Callable[[Path], Truth]:
    def make(path: Path) -> Truth:
        path.write_bytes(head.ljust(4096, b"\0"))
        return {}

    return make


MADE = [
    Made("embryo", colours_over_time, "3 frames, c1 z1 t3 p1, uint8 as png"),
    Made("pyramid.ome.tif", pyramid, "2 frames, c2 z1 t1 p1, uint16 as png"),
    Made("sites", labelled_positions, "6 frames, c2 z1 t1 p3, uint16 as png"),
    Made("signed.tif", wide_and_signed, "4 frames, c1 z4 t1 p1, int16 as tiff"),
    Made(
        "mostly_empty",
        mostly_empty,
        "refused: mostly_empty/img_000000000_Cy3_001.tif: is empty (0 bytes), "
        "and 18 others of 20 files too",
    ),
    Made("plate", zarr, f"refused: plate: unsupported format Zarr; {READERS}"),
    Made(
        "cells.nd2",
        starting_with(b"\xda\xce\xbe\x0a"),
        f"refused: cells.nd2: unsupported format ND2 (Nikon); {READERS}",
    ),
    Made(
        "cells.czi",
        starting_with(b"ZISRAWFILE"),
        f"refused: cells.czi: unsupported format CZI (Zeiss); {READERS}",
    ),
]
