"""napari: addresses become layers over lazy arrays, or one clear error; napari itself is not needed."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    DatasetNotFound,
    ImagingDBError,
    NothingSelected,
    UsageError,
)
from imaging_db.napari import get_reader, layers
from imaging_db.napari.address import Address
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.lab import Lab
from tests.support.ndtiff import write_ndtiff
from tests.support.readers import PYTHON, needs_readers
from tests.support.rot import keys_of, sql, with_files

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "imaging_db" / "napari" / "napari.yaml"
# A Python with napari and imaging_db[array]: too large to install for every run of the tests.
NAPARI = os.environ.get("IMAGING_DB_TEST_NAPARI")


def opened(lab: Lab, query: str = "") -> list[Any]:
    """The layers of dataset number 1, as napari asks for them."""
    lab.write_files()
    address = f"imaging-db://{lab.serial()}{query}"
    read = get_reader(address)
    assert read is not None
    return read(address)


@pytest.fixture
def in_lab(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab in the working folder, where login and config are looked for."""
    monkeypatch.chdir(small_lab.folder)
    return small_lab


# --- layers


def test_each_channel_is_a_layer_of_its_frames(in_lab: Lab) -> None:
    data = imagej_stack(in_lab.folder / "stack.tif", t=2, z=3, c=2)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    first, second = opened(in_lab)
    assert [first[2], second[2]] == ["image", "image"]
    assert np.array_equal(first[0].compute(), data[:, np.newaxis, :, 0])
    assert np.array_equal(second[0].compute(), data[:, np.newaxis, :, 1])
    assert [first[1]["name"], second[1]["name"]] == ["channel 0", "channel 1"]
    assert [first[1]["colormap"], second[1]["colormap"]] == ["green", "magenta"]
    assert first[1]["axis_labels"] == ("T", "P", "Z", "Y", "X")
    assert first[1]["blending"] == "additive"


def test_nothing_is_read_before_it_is_looked_at(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=1, z=3, c=1)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    with ImagingDB(in_lab.settings) as db:
        for key in keys_of(db, in_lab.serial()):
            if "_z001_" not in key:
                db.store.delete(key)
    ((array, _, _),) = opened(in_lab)
    assert array[0, 0, 1].compute().shape == (16, 19)


def test_contrast_limits_are_the_percentiles_that_were_measured(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=2, z=3, c=2)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    with ImagingDB(in_lab.settings) as db:
        measured = [frame.quality for frame in db.dataset(in_lab.serial()).frames(1)]
    limits = (min(one.p01 for one in measured if one), max(one.p99 for one in measured if one))
    assert opened(in_lab)[1][1]["contrast_limits"] == limits


def test_a_blank_channel_has_limits_that_napari_takes(in_lab: Lab) -> None:
    path = write_ndtiff(in_lab.folder / "set", [({"z": 0}, np.full((8, 8), 7, np.uint16))])
    in_lab.upload_one(path)
    assert opened(in_lab)[0][1]["contrast_limits"] == (7, 8)


def test_without_figures_napari_chooses_the_limits(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=1, z=1, c=1)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    sql(in_lab, "UPDATE frames SET intensity_min = NULL, intensity_p01 = NULL")
    sql(in_lab, "UPDATE frames SET intensity_max = NULL, intensity_p99 = NULL")
    sql(in_lab, "UPDATE frames SET intensity_mean = NULL")
    assert "contrast_limits" not in opened(in_lab)[0][1]


def test_known_sizes_are_scales_with_units_and_unknown_ones_steps(in_lab: Lab) -> None:
    in_lab.upload_one(ROOT / "tests" / "data" / "ndtiff_v3_12bit_mda")
    with ImagingDB(in_lab.settings) as db:
        told = db.dataset(in_lab.serial()).acquisition
    assert told.pixel_size_x_um
    about = opened(in_lab)[0][1]
    sizes = zip(about["scale"], about["units"], strict=True)
    by_axis = dict(zip(about["axis_labels"], sizes, strict=True))
    assert by_axis["X"] == (told.pixel_size_x_um, "um")
    assert by_axis["Y"] == (told.pixel_size_y_um, "um")
    assert by_axis["P"] == (1.0, "pixel")
    assert by_axis["Z"] == ((told.z_step_um, "um") if told.z_step_um else (1.0, "pixel"))


def test_a_selection_lies_where_it_lies_in_the_whole(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=1, z=6, c=1)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    sql(in_lab, "UPDATE frames_global SET z_step_um = 0.5")
    z = 2
    even, uneven = (opened(in_lab, f"?slices={asked}")[0][1] for asked in ("1::2", "1,2,5"))
    assert (even["scale"][z], even["translate"][z], even["units"][z]) == (1.0, 0.5, "um")
    assert (uneven["scale"][z], uneven["translate"][z], uneven["units"][z]) == (1.0, 0.0, "pixel")
    single = opened(in_lab, "?slices=3")[0][1]
    assert (single["scale"][z], single["translate"][z]) == (0.5, 1.5)


def test_colour_is_a_layer_of_rgb(in_lab: Lab) -> None:
    in_lab.upload_one(ROOT / "tests" / "data" / "bigtiff_awaresystems" / "BigTIFF.tif")
    ((array, about, _),) = opened(in_lab)
    assert about["rgb"]
    assert array.shape == (1, 1, 1, 64, 64, 3)
    assert not {"contrast_limits", "colormap"} & about.keys()
    assert len(about["scale"]) == 5


def test_other_samples_than_rgb_are_layers_of_their_own(in_lab: Lab) -> None:
    grey_and_alpha = pixels(8, 9, 2)
    tifffile.imwrite(
        in_lab.folder / "two.tif", grey_and_alpha, photometric="minisblack", planarconfig="contig"
    )
    in_lab.upload_one(in_lab.folder / "two.tif")
    first, second = opened(in_lab)
    assert not first[1]["rgb"]
    assert np.array_equal(first[0][0, 0, 0].compute(), grey_and_alpha[..., 0])
    assert np.array_equal(second[0][0, 0, 0].compute(), grey_and_alpha[..., 1])


def test_several_addresses_at_once_give_the_layers_of_all(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=1, z=2, c=2)
    in_lab.upload(in_lab.folder / "stack.tif")
    in_lab.write_files()
    paths = [f"imaging-db://{in_lab.serial()}?channels={c}" for c in (1, 0)]
    read = get_reader(paths)
    assert read is not None
    assert [about["name"] for _, about, _ in read(paths)] == [in_lab.serial(), in_lab.serial()]


def test_layers_are_there_for_python_too(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=2, z=3, c=2)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    with ImagingDB(in_lab.settings) as db:
        ((array, _, _),) = layers(db, in_lab.serial(), 1, slices=slice(0, 2), where="t = last")
    assert array.shape == (1, 1, 2, 16, 19)
    assert array.compute().any()  # after the database was closed


# --- addresses


def test_an_address_spells_a_selection() -> None:
    address = Address.parse(
        "imaging-db://ISP-2018-06-08-15-45-00-0001?channels=a%2Cb,GFP&slices=0:10:2,15"
        "&where=meta.Exposure-ms%20> 50&fill=0"
    )
    assert address.serial == "ISP-2018-06-08-15-45-00-0001"
    assert address.selection == {
        "channels": ["a,b", "GFP"],
        "slices": ["0:10:2", "15"],
        "where": "meta.Exposure-ms > 50",
        "fill": 0.0,
    }


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("imaging-db://", "is not the address of a dataset; write imaging-db://ISP-"),
        ("imaging-db://A-1?chanel=0", "'chanel=0' is unknown, empty or said twice; known are chan"),
        ("imaging-db://A-1?slices=", "'slices=' is unknown, empty or said twice"),
        ("imaging-db://A-1?fill=0&fill=1", "'fill=1' is unknown, empty or said twice"),
        ("imaging-db://A-1?fill=black", "fill=black is not a number"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(address: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        Address.parse(address)
    assert told in str(raised.value)


@pytest.mark.parametrize("path", ["stack.tif", "/data/imaging-db/x.tif", "https://a.b/c", []])
def test_other_paths_are_left_to_others(path: Any) -> None:
    assert get_reader(path) is None


# --- what goes wrong


def wrong(lab: Lab, query: str = "") -> ImagingDBError:
    with pytest.raises(ImagingDBError) as raised:
        opened(lab, query)
    assert "\n" not in str(raised.value)
    return raised.value


def test_an_unknown_dataset_is_named_with_similar_ones(in_lab: Lab) -> None:
    imagej_stack(in_lab.folder / "stack.tif", t=1, z=1, c=1)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    in_lab.write_files()
    address = f"imaging-db://{in_lab.serial(2)}"
    with pytest.raises(DatasetNotFound, match=in_lab.serial(1)):
        (get_reader(address) or print)(address)


def test_a_dataset_of_files_is_no_image(in_lab: Lab) -> None:
    with_files(in_lab)
    assert isinstance(wrong(in_lab), NothingSelected)


def test_frames_of_two_sizes_are_refused(in_lab: Lab) -> None:
    images = [({"z": z}, np.zeros((8, 8 + z), np.uint16)) for z in range(2)]
    in_lab.upload_one(write_ndtiff(in_lab.folder / "set", images))
    assert "select frames of one kind" in str(wrong(in_lab))
    ((array, _, _),) = opened(in_lab, "?slices=1")
    assert array.shape[-2:] == (8, 9)


def test_absent_frames_ask_for_a_fill(in_lab: Lab) -> None:
    places = [(0, 0), (0, 1), (1, 0)]
    images = [({"z": z, "time": t}, np.ones((8, 8), np.uint16)) for z, t in places]
    in_lab.upload_one(write_ndtiff(in_lab.folder / "set", images))
    assert "fill=0" in str(wrong(in_lab))
    ((array, _, _),) = opened(in_lab, "?fill=0")
    assert not array[1, 0, 1].compute().any()


def test_without_a_catalog_nothing_is_made(in_lab: Lab) -> None:
    (in_lab.folder / "catalog.sqlite").unlink()
    assert isinstance(wrong(in_lab), (CatalogUnavailable, ConfigError))
    assert not (in_lab.folder / "catalog.sqlite").exists()


# --- the manifest


def test_the_package_announces_the_manifest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    announced = project["entry-points"]["napari.manifest"]
    package, _, name = announced[project["name"]].partition(":")
    assert Path(str(import_module(package).__file__)).with_name(name) == MANIFEST


@needs_readers
def test_the_manifest_is_valid_and_gives_addresses_to_the_reader() -> None:
    script = """
import json, sys
from npe2 import PluginManager, PluginManifest
manifest = PluginManifest.from_file(sys.argv[1])
plugins = PluginManager()
plugins.register(manifest)
paths = ["imaging-db://LAB-2020-01-02-03-04-05-0001?channels=DAPI", "stack.tif", "https://a.b/c.tif"]
found = [[one.command for one in plugins.iter_compatible_readers([path])] for path in paths]
python = [command.python_name for command in manifest.contributions.commands]
print(json.dumps([manifest.name, python, found]))
"""
    command = [PYTHON, "-W", "ignore", "-c", script, MANIFEST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    name, python, found = json.loads(done.stdout)
    assert name == "imaging_db"
    assert found == [["imaging_db.get_reader"], [], []]
    module, _, function = python[0].partition(":")
    assert getattr(import_module(module), function) is get_reader


@pytest.mark.skipif(not NAPARI, reason="IMAGING_DB_TEST_NAPARI names no Python with napari")
def test_napari_shows_the_layers(in_lab: Lab) -> None:
    data = imagej_stack(in_lab.folder / "stack.tif", t=2, z=3, c=2)
    in_lab.upload_one(in_lab.folder / "stack.tif")
    sql(in_lab, "UPDATE frames_global SET z_step_um = 0.5, pixel_size_x_um = 0.1")
    in_lab.write_files()
    script = """
import json, sys
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest
PluginManager.instance().register(PluginManifest.from_file(sys.argv[1]))
viewer = ViewerModel()
viewer.open(sys.argv[2], plugin="imaging_db")
viewer.dims.set_current_step(0, 1)
viewer.dims.set_current_step(2, 2)
shown = [int(layer._slice.image.raw.sum()) for layer in viewer.layers]
units = [f"{unit:~}" for unit in viewer.layers[0].units]
print(json.dumps([[layer.name for layer in viewer.layers], viewer.dims.nsteps, units, shown]))
"""
    address = f"imaging-db://{in_lab.serial()}"
    done = subprocess.run(
        [str(NAPARI), "-W", "ignore", "-c", script, MANIFEST, address],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    names, steps, units, shown = json.loads(done.stdout)
    assert names == ["channel 0", "channel 1"]
    assert steps == [2, 1, 3, 16, 19]
    assert units[2] == units[4] == "µm"
    assert shown == [int(data[1, 2, channel].sum()) for channel in range(2)]
