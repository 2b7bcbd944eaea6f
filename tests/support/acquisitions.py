"""Synthetic acquisitions with known pixels, written by tifffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile


def pixels(*shape: int, dtype: str = "uint16", seed: int = 0) -> npt.NDArray[Any]:
    """Noise of any shape, different for every seed."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def imagej_stack(
    path: Path, *, t: int = 2, z: int = 2, c: int = 2, seed: int = 0, side: int = 16
) -> npt.NDArray[Any]:
    """An ImageJ hyperstack; returns its pixels as (T, Z, C, Y, X)."""
    data = pixels(t, z, c, side, side + 3, seed=seed)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TZCYX"})
    return data


def tif_folder(folder: Path, *, t: int = 2, z: int = 3, seed: int = 0) -> npt.NDArray[Any]:
    """A folder of single-page TIFFs named for parse_sms_name; returns (T, Z, Y, X)."""
    folder.mkdir(parents=True, exist_ok=True)
    data = pixels(t, z, 12, 10, seed=seed)
    for time in range(t):
        for slice_ in range(z):
            name = f"img_phase_t{time:03d}_p000_z{slice_:03d}.tif"
            tifffile.imwrite(folder / name, data[time, slice_])
    return data
