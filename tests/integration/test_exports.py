"""Exports of real acquisitions show other people's readers the same pixels, axes, names and sizes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging_db import ImagingDB
from imaging_db.export import export
from imaging_db.model import Acquisition, FrameCoords, sha256_of_pixels
from tests.support.lab import Lab
from tests.support.readers import Seen, look, needs_readers

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
SMALL = ROOT / "tests" / "data"

ACQUISITIONS = (
    "ndtiff_v3_12bit_mda",
    "imagej_hyperstacks/zcyx.tiff",
    "ome_artificial/multi-channel.ome.tif",  # signed
    "leica_zstack_folder",
    "float32_tiffs/float32_10z_32y_40x.tiff",
    "bigtiff_awaresystems/BigTIFF.tif",  # colour
)


def acquisitions(folder: Path) -> list[Path]:
    """Real files of six instruments and programs, and a Micro-Manager acquisition of four positions."""
    unpacked = folder / "positions"
    unpacked.mkdir()
    for packed in (ROOT / "sample" / "acquisition").glob("*.gz"):
        (unpacked / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    whole = SHARED if SHARED.is_dir() else SMALL
    return [unpacked, *(whole / name for name in ACQUISITIONS)]


@dataclass(frozen=True)
class Known:
    """One position of a dataset as the catalog has it."""

    name: str | None
    acquisition: Acquisition
    channels: list[str | None]
    pixels: dict[FrameCoords, Any]

    @property
    def sizes(self) -> dict[str, float | None]:
        found = self.acquisition
        return {
            "t": found.time_interval_s,
            "z": found.z_step_um if found.nbr_slices > 1 else None,
            "y": found.pixel_size_y_um,
            "x": found.pixel_size_x_um,
        }


def known(lab: Lab, serial: str) -> Iterator[Known]:
    with ImagingDB(lab.settings) as db:
        view = db.dataset(serial)
        names = [name for _, name in view.channels]
        for position, name in view.positions:
            frames = view.frames(positions=position)
            pixels = {frame.coords: frames.read(frame) for frame in frames}
            yield Known(name, view.acquisition, names, pixels)


def as_ome_zarr(of: Known) -> Seen:
    """What every reader of OME-Zarr should see: samples are channels, an unknown size is 1 without unit."""
    first = next(iter(of.pixels.values()))
    samples = first.shape[2] if first.ndim == 3 else 1
    labels = [name or f"channel {index}" for index, name in enumerate(of.channels)]
    if samples == 3:
        labels = ["R", "G", "B"]
    found, planes = of.acquisition, {}
    for (c, z, t, _), frame in of.pixels.items():
        for sample in range(samples):
            plane = frame[..., sample] if samples > 1 else frame
            planes[t, c * samples + sample, z] = sha256_of_pixels(plane)
    units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    sizes = of.sizes
    if found.z_step_um is not None:
        sizes["z"] = found.z_step_um
    return Seen(
        name=of.name,
        axes="tczyx",
        shape=[found.nbr_timepoints, len(labels), found.nbr_slices, *first.shape[:2]],
        dtype=first.dtype.name,
        channels=labels,
        sizes={axis: 1.0 if size is None else size for axis, size in sizes.items()},
        units={axis: None if sizes[axis] is None else unit for axis, unit in units.items()},
        planes=[planes[place] for place in sorted(planes)],
    )


@needs_readers
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_real_acquisitions_open_as_ome_zarr_in_ome_zarr_py_and_bioio(
    small_lab: Lab, tmp_path: Path, version: str
) -> None:
    reports = small_lab.upload(*acquisitions(tmp_path))
    wanted: list[tuple[str, Path]] = []
    expected: list[list[Seen]] = []
    for report in reports:
        assert report.error is None
        with ImagingDB(small_lab.settings) as db:
            path = export(db, report.serial, tmp_path / "out", ome_zarr_version=version).path
        images = [as_ome_zarr(one) for one in known(small_lab, report.serial)]
        for reader in ("ome-zarr", "bioio"):
            wanted.append((reader, path))
            expected.append(images)
    for (reader, path), seen, images in zip(wanted, look(wanted), expected, strict=True):
        assert len(seen) == len(images), (reader, path)
        for one, of in zip(seen, images, strict=True):
            name = of.name or one.name  # a dataset without position names has its own
            told = Seen(**(vars(of) | {"name": name}))
            assert one == told, (reader, path)


def as_ome_tiff(of: Known, reader: str, place: int, serial: str) -> Seen:
    """What a reader of OME-TIFF should see: colour stays one plane, an unknown size is left out."""
    first = next(iter(of.pixels.values()))
    found, sizes = of.acquisition, of.sizes | {"z": of.acquisition.z_step_um}
    colour = first.ndim == 3
    shape = [found.nbr_timepoints, found.nbr_channels, found.nbr_slices, *first.shape[:2]]
    units = {axis: None if size is None else "µm" for axis, size in sizes.items()}
    units["t"] = None if sizes["t"] is None else "s"
    by_bioio = reader == "bioio"
    if by_bioio:  # which tells no times, no units, and invents names
        units, sizes = dict.fromkeys(units), sizes | {"t": None}
    invented = [f"Channel:{place}:{index}" if by_bioio else "" for index in range(len(of.channels))]
    places = sorted(of.pixels, key=lambda coords: (coords.timepoint, coords.channel, coords.slice))
    return Seen(
        name=f"Image:{place}" if by_bioio else of.name or serial,
        axes="tczyxs" if colour or not by_bioio else "tczyx",
        shape=[*shape, 3 if colour else 1] if colour or not by_bioio else shape,
        dtype=first.dtype.name,
        channels=[name or other for name, other in zip(of.channels, invented, strict=True)],
        sizes=sizes,
        units=units,
        planes=[sha256_of_pixels(of.pixels[coords]) for coords in places],
    )


@needs_readers
def test_real_acquisitions_open_as_ome_tiff_in_tifffile_and_bioio(
    small_lab: Lab, tmp_path: Path
) -> None:
    reports = small_lab.upload(*acquisitions(tmp_path))
    wanted: list[tuple[str, Path]] = []
    expected: list[list[Seen]] = []
    for report in reports:
        with ImagingDB(small_lab.settings) as db:
            path = export(db, report.serial, tmp_path / "out", to="ome-tiff").path
        images = list(known(small_lab, report.serial))
        for reader in ("tifffile", "bioio"):
            wanted.append((reader, path))
            expected.append(
                [as_ome_tiff(of, reader, n, report.serial) for n, of in enumerate(images)]
            )
    for (reader, path), seen, told in zip(wanted, look(wanted), expected, strict=True):
        assert seen == told, (reader, path)


def test_the_smaller_copies_are_means_of_two_by_two_pixels(small_lab: Lab, tmp_path: Path) -> None:
    import tifffile
    import zarr

    from tests.support.acquisitions import pixels

    plane = pixels(515, 770, seed=3)
    tifffile.imwrite(tmp_path / "a.tif", plane)
    small_lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db:
        group = zarr.open_group(export(db, small_lab.serial(), tmp_path / "out").path, mode="r")
    assert [group[str(level)].shape for level in range(3)] == [
        (1, 1, 1, 515, 770),
        (1, 1, 1, 258, 385),
        (1, 1, 1, 129, 193),
    ]
    whole = plane[:514].astype(float).reshape(257, 2, 385, 2).mean(axis=(1, 3))
    assert np.array_equal(group["1"][0, 0, 0, :257], np.floor(whole + 0.5))
    last = plane[514].astype(float).reshape(385, 2).mean(axis=1)  # of an odd side, what is left
    assert np.array_equal(group["1"][0, 0, 0, 257], np.floor(last + 0.5))
