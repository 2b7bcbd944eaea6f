"""What other people's readers see in an export: ome-zarr-py, bioio and tifffile, in a process of their own.

They live in an environment of their own, because they pin libraries that we need in other versions. It is
named by IMAGING_DB_READERS (a Python), else made by ``make readers`` as .venv-readers; without it tests that
need it are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Read now, because tests run in a clean environment.
PYTHON = Path(os.environ.get("IMAGING_DB_READERS") or ROOT / ".venv-readers" / "bin" / "python")

needs_readers = pytest.mark.skipif(
    not PYTHON.exists(), reason="no environment of other people's readers; `make readers` makes it"
)


@dataclass(frozen=True)
class Seen:
    """One image as a reader sees it.

    ``sizes`` and ``units`` are by axis (t, z, y, x), None where the reader has none. ``planes`` are the
    SHA-256 of the pixels of each plane, in the order t, c, z.
    """

    name: str | None
    axes: str
    shape: list[int]
    dtype: str
    channels: list[str]
    sizes: dict[str, float | None]
    units: dict[str, str | None]
    planes: list[str]


def look(wanted: Sequence[tuple[str, Path]]) -> list[list[Seen]]:
    """What each (reader, path) shows, an entry an image; readers are ome-zarr, bioio and tifffile.

    One process for all of them: it takes seconds to start.
    """
    asked = json.dumps([[reader, str(path)] for reader, path in wanted])
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", _SCRIPT], input=asked, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: list[list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return [[Seen(**image) for image in images] for images in found]


_SCRIPT = """
import hashlib, json, sys
from pathlib import Path
import numpy as np


def planes(data, axes):
    order = [a for a in "tcz" if a in axes] + [a for a in "yxs" if a in axes]
    data = np.transpose(np.asarray(data), [axes.index(a) for a in order])
    if "s" in axes and data.shape[-1] == 1:
        data = data[..., 0]
    last = 3 if "s" in axes and data.ndim == len(order) else 2
    for index in np.ndindex(*data.shape[: data.ndim - last]):
        plane = np.ascontiguousarray(data[index])
        little = plane.astype(plane.dtype.newbyteorder("<"), copy=False)
        yield hashlib.sha256(little.tobytes()).hexdigest()


def image(data, axes, channels, sizes, units, name):
    data = np.asarray(data)
    return dict(
        name=name, axes=axes, shape=list(data.shape), dtype=data.dtype.name, channels=channels,
        sizes=sizes, units=units, planes=list(planes(data, axes)),
    )


def by_ome_zarr(path):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr.utils import find_multiscales
    from ome_zarr_models import open_ome_zarr
    import zarr

    for where, name, _ in find_multiscales(Path(path)):
        open_ome_zarr(zarr.open_group(str(where), mode="r"))  # raises where it breaks the specification
        (node,) = list(Reader(parse_url(str(where)))())
        axes = "".join(axis["name"] for axis in node.metadata["axes"])
        scale = node.metadata["coordinateTransformations"][0][0]["scale"]
        sizes = {a: s for a, s in zip(axes, scale) if a != "c"}
        units = {a["name"]: a.get("unit") for a in node.metadata["axes"] if a["name"] != "c"}
        channels = node.metadata.get("channel_names", [])
        yield image(node.data[0], axes, channels, sizes, units, node.metadata.get("name") or name)


def zarr_images(path):
    for file in (path / "OME" / ".zattrs", path / "OME" / "zarr.json"):
        if file.exists():
            found = json.loads(file.read_text())
            found = found.get("attributes", {}).get("ome", found)
            return [path / name for name in found["series"]]
    return [path]


def by_bioio(path):
    from bioio import BioImage

    path = Path(path)
    for where in zarr_images(path) if path.is_dir() else [path]:
        if path.is_dir():
            from bioio_ome_zarr import Reader
        else:
            from bioio_ome_tiff import Reader
        opened = BioImage(where, reader=Reader)
        for scene in opened.scenes:
            opened.set_scene(scene)
            data, found = opened.reader.xarray_data, opened.physical_pixel_sizes
            axes = "".join(data.dims).lower()
            interval = opened.time_interval
            seconds = getattr(interval, "total_seconds", lambda: interval)()
            sizes = dict(t=seconds, z=found.Z, y=found.Y, x=found.X)
            about = opened.dimension_properties
            units = {a: getattr(about, a.upper()).unit for a in "tzyx"}
            units = {a: None if unit is None else str(unit) for a, unit in units.items()}
            names = [str(name) for name in opened.channel_names or []]
            yield image(data.data, axes, names, sizes, units, scene)


def by_tifffile(path):
    import tifffile
    from xml.etree import ElementTree

    with tifffile.TiffFile(path) as tif:
        about = ElementTree.fromstring(tif.ome_metadata)
        space = about.tag.partition("}")[0] + "}"
        for series, told in zip(tif.series, about.iter(space + "Image"), strict=True):
            pixels = told.find(space + "Pixels")
            names = [one.get("Name") or "" for one in pixels.iter(space + "Channel")]
            keys = dict(t="TimeIncrement", z="PhysicalSizeZ", y="PhysicalSizeY", x="PhysicalSizeX")
            sizes = {a: float(pixels.get(k)) if pixels.get(k) else None for a, k in keys.items()}
            units = {a: pixels.get(k + "Unit") for a, k in keys.items()}
            axes = series.get_axes(False).lower()
            yield image(series.asarray(squeeze=False), axes, names, sizes, units, told.get("Name"))


readers = {"ome-zarr": by_ome_zarr, "bioio": by_bioio, "tifffile": by_tifffile}
out = [list(readers[reader](path)) for reader, path in json.load(sys.stdin)]
print(json.dumps(out))
"""
