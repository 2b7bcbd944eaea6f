"""Volumes whose every pixel tells where it lies: written in many formats, and compared as frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging_db.model import JSONObject
from imaging_db.readers.grid.kinds import open_grid

Volume = npt.NDArray[Any]


def voxels(
    z: range, y: range, x: range, *, t: int = 0, c: int = 0, dtype: str = "uint16"
) -> Volume:
    """Pixels ``(Z, Y, X)``: each value is a function of its absolute place, so that a shift shows."""
    zz, yy, xx = np.ix_(np.array(z), np.array(y), np.array(x))
    value = 1 + xx * 7 + yy * 1_009 + zz * 60_013 + t * 1_300_021 + c * 33_000_001
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (value / 8).astype(kind)
    bits = 8 * kind.itemsize - (kind.kind == "i")
    mixed = value.astype(np.uint64) * np.uint64(2_654_435_761) % np.uint64(2 ** min(bits, 63))
    return mixed.astype(kind)


def whole(shape: tuple[int, int, int], *, dtype: str = "uint16", t: int = 0, c: int = 0) -> Volume:
    """The volume ``(Z, Y, X)`` of that shape that begins at 0."""
    z, y, x = shape
    return voxels(range(z), range(y), range(x), t=t, c=c, dtype=dtype)


def five_axes(shape: tuple[int, int, int, int, int], *, dtype: str = "uint16") -> Volume:
    """The array ``(T, C, Z, Y, X)`` of that shape that begins at 0."""
    t, c, *zyx = shape
    size: tuple[int, int, int] = (zyx[0], zyx[1], zyx[2])
    planes = [[whole(size, dtype=dtype, t=i, c=j) for j in range(c)] for i in range(t)]
    return np.array(planes)


def grid(
    x: tuple[int, int],
    y: tuple[int, int],
    z: tuple[int, int],
    *,
    t: tuple[int, int] = (0, 1),
    tile: int = 16,
    depth: int = 1,
) -> JSONObject:
    """A grid as settings hold it."""
    ends: JSONObject = {"x": list(x), "y": list(y), "z": list(z), "t": list(t)}
    return {**ends, "tile": [tile, tile], "depth": depth}


def check_frames(settings: JSONObject, *, c: int = 0, dtype: str = "uint16") -> int:
    """Compare every frame of a source with the voxels at its place; return how many frames there are."""
    with open_grid(settings) as reader:
        for frame in reader.frames():
            place = frame.metadata
            y0, x0 = int(str(place["y"])), int(str(place["x"]))
            y, x = range(y0, y0 + frame.shape[0]), range(x0, x0 + frame.shape[1])
            z = range(frame.coords.slice, frame.coords.slice + 1)
            expected = voxels(z, y, x, t=frame.coords.timepoint, c=c, dtype=dtype)[0]
            found = reader.read(frame)
            assert found.dtype == np.dtype(dtype).newbyteorder("=")
            np.testing.assert_array_equal(found, expected, err_msg=str(frame.coords))
        return reader.acquisition.nbr_frames


def write_hdf5(path: Path, options: JSONObject | None = None, **datasets: Volume) -> Path:
    """Write datasets into one file; ``options`` are those of h5py, such as chunks."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            made: dict[str, Any] = dict(options or {})
            file.create_dataset(name, data=data, **made)
    return path


def cut_off(path: Path, *, keep: float = 0.5) -> None:
    """Cut the end of a file off, as an interrupted copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
