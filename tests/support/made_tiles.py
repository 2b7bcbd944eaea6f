"""Made tiles and planes: every pixel is a function of where it lies, so that a shift by one is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from imaging_db.model import JSONObject
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import TileGrid, grid_of
from imaging_db.readers.grid.patterns import Pattern
from imaging_db.readers.grid.tile_names import FIELDS, TileNames

Pixels = npt.NDArray[Any]


def pixels_at(box: Box, dtype: str = "uint8", *, colors: int = 1) -> Pixels:
    """Return the pixels that lie in a box of the made world."""
    kind = np.dtype(dtype)
    y, x = np.ogrid[box.y0 : box.y1, box.x0 : box.x1]
    place = x + 131 * y + 17_389 * box.z + 1_299_709 * box.t
    if colors > 1:
        place = place[..., np.newaxis] + 53 * np.arange(colors)
    if kind.kind == "f":
        return (place / 7).astype(kind)
    spread = place.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # fills all bits of any type
    return (spread >> np.uint64(64 - 8 * kind.itemsize)).astype(kind)


def plane_at(
    width: int, height: int, *, z: int = 0, t: int = 0, dtype: str = "uint8", colors: int = 1
) -> Pixels:
    """Return a whole plane of the made world, from its pixel 0."""
    return pixels_at(Box(t, z, 0, 0, 0, height, 0, width), dtype, colors=colors)


def encoded(pixels: Pixels, suffix: str) -> bytes:
    """Return an image of the format that a file's suffix names."""
    if suffix == ".png":
        return bytes(imagecodecs.png_encode(pixels))
    if suffix in (".jpg", ".jpeg"):
        return bytes(imagecodecs.jpeg8_encode(pixels, level=90))
    raise ValueError(suffix)


def write_image(path: Path, pixels: Pixels) -> Path:
    """Write one image, its format by the suffix; TIFF with deflate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff"):
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(path, pixels, compression="zlib", photometric=photometric)
    else:
        path.write_bytes(encoded(pixels, path.suffix))
    return path


def tile_settings(
    root: Path, pattern: str = "{z}/{row}_{col}.png", **grid: list[int] | int
) -> JSONObject:
    """Return the settings of a folder of tiles: 3 rows and 4 columns of 2 slices unless ``grid`` says else."""
    usual: JSONObject = {"x": [0, 31], "y": [0, 20], "z": [0, 2], "tile": [8, 8]}
    return {"kind": "tile_files", "root": str(root), "pattern": pattern, "grid": {**usual, **grid}}  # type: ignore[dict-item]


def write_tiles(
    settings: JSONObject, *, dtype: str = "uint8", colors: int = 1, whole: bool = False
) -> TileGrid:
    """Write the tiles that settings describe; with ``whole`` those at the edge are not cut off."""
    grid = grid_of(settings)
    names = TileNames(Pattern.of(str(settings["pattern"]), FIELDS), grid)
    for box in grid.frames_between(0, grid.nbr_frames):
        tile = whole_tile(box, grid) if whole else box
        pixels = pixels_at(tile, dtype, colors=colors)
        write_image(Path(str(settings["root"])) / names.name(box), pixels)
    return grid


def whole_tile(box: Box, grid: TileGrid) -> Box:
    """Return the box of the whole tile that a box at the edge is part of."""
    y1, x1 = box.y0 + grid.tile_height, box.x0 + grid.tile_width
    return Box(box.t, box.z, box.row, box.column, box.y0, y1, box.x0, x1)
