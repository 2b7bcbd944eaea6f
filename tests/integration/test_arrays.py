"""Lazy arrays: the values of the frames, read only where they are needed, wherever they are computed."""

from __future__ import annotations

import csv
import gzip
import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from imaging_db import ImagingDB
from imaging_db.api.arrays_process import close_here
from imaging_db.api.frame_cache import FrameCache, shared_cache
from imaging_db.errors import (
    ChecksumMismatch,
    ConfigError,
    DatasetNotFound,
    IntegrityError,
    NothingSelected,
    ObjectNotFound,
    UsageError,
)
from imaging_db.model import sha256_of_pixels
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.lab import Lab, build_lab
from tests.support.ndtiff import write_ndtiff
from tests.support.rot import keys_of, rot, sql, with_files, with_stack

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh_process() -> Any:
    """Nothing kept of another test."""
    shared_cache().clear()
    yield
    close_here()


def stack_of(lab: Lab, **sizes: int) -> npt.NDArray[Any]:
    """Upload a stack as dataset number 1; return its pixels as T P C Z Y X."""
    data = imagej_stack(lab.folder / "stack.tif", **sizes)
    lab.upload_one(lab.folder / "stack.tif")
    return data.transpose(0, 2, 1, 3, 4)[:, np.newaxis]


def ndtiff_of(lab: Lab, images: list[tuple[dict[str, Any], npt.NDArray[Any]]]) -> None:
    """Upload images with their axes as dataset number 1."""
    lab.upload_one(write_ndtiff(lab.folder / "set", images))


def delete_all_but(lab: Lab, *kept: str) -> None:
    """Take every object away whose name does not begin as said: what is read after all, is missed."""
    with ImagingDB(lab.settings) as db:
        for key in keys_of(db, lab.serial()):
            if not key.rpartition("/")[2].startswith(kept):
                db.store.delete(key)


# --- values


def test_an_array_has_the_pixels_of_the_frames(lab: Lab) -> None:
    data = stack_of(lab, t=2, z=3, c=2)
    with ImagingDB(lab.settings) as db:
        array = db.open(lab.serial())
        frames = db.dataset(lab.serial()).frames()
        assert array.dims == ("T", "P", "C", "Z", "Y", "X")
        assert array.name == lab.serial()
        assert array.dtype == data.dtype
        assert array.data.chunksize == (1, 1, 1, 1, 16, 19)
        assert np.array_equal(array, data)
        assert np.array_equal(frames.to_numpy(), data)
        assert np.array_equal(frames.to_dask().compute(), data)


@pytest.fixture
def sample(small_lab: Lab) -> Lab:
    """A lab with the acquisition that comes along."""
    folder = small_lab.folder / "acquisition"
    folder.mkdir()
    for packed in (ROOT / "sample" / "acquisition").glob("*.gz"):
        with gzip.open(packed) as stream, (folder / packed.stem).open("wb") as out:
            shutil.copyfileobj(stream, out)
    small_lab.config(microscope="A scope").upload_one(folder)
    return small_lab


def test_every_frame_of_a_real_acquisition_lies_where_the_truth_says(sample: Lab) -> None:
    with (ROOT / "tests" / "data" / "TRUTH.csv").open(newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["dataset"] == "mm14_multipos_ometiff"]
    with ImagingDB(sample.settings) as db:
        array = db.open(sample.serial()).compute()
    assert array.sizes == {"T": 2, "P": 4, "C": 2, "Z": 2, "Y": 64, "X": 64}
    assert len(rows) == 32
    for row in rows:
        place = {axis: int(row[axis.lower()]) for axis in "TCZ"}
        frame = array.isel(place).sel(P=row["posname"])
        assert sha256_of_pixels(frame.values) == row["sha256_pixels_le"]
        assert frame.C.item() == row["cname"]


def test_coordinates_are_what_the_source_told(sample: Lab) -> None:
    with ImagingDB(sample.settings) as db:
        array = db.open(sample.serial())
        told = db.dataset(sample.serial()).acquisition
    assert list(array.C.values) == ["Cy5", "DAPI"]
    assert array.attrs["serial"] == sample.serial()
    assert array.attrs["microscope"] == "A scope"
    assert array.attrs["acquired"] == "2020-01-02T03:04:05+00:00"
    for dim, step in (
        ("T", told.time_interval_s),
        ("Z", told.z_step_um),
        ("Y", told.pixel_size_y_um),
        ("X", told.pixel_size_x_um),
    ):
        if step is None:
            assert dim not in array.coords
        else:
            assert np.allclose(array[dim], np.arange(array.sizes[dim]) * step)


def test_what_is_not_known_has_no_coordinate(small_lab: Lab) -> None:
    stack_of(small_lab)
    sql(small_lab, "UPDATE frames_global SET time_interval_s = 0")  # as fast as it went
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
    assert set(array.coords) == {"C", "P", "channel_idx", "pos_idx", "slice_idx", "time_idx"}
    assert list(array.C.values) == [0, 1]
    assert "pixel_size_x_um" not in array.attrs
    assert "description" not in array.attrs


def test_names_that_two_channels_share_are_no_coordinate(small_lab: Lab) -> None:
    stack_of(small_lab, c=2)
    sql(small_lab, "UPDATE frames SET channel_name = 'GFP'")
    with ImagingDB(small_lab.settings) as db:
        assert list(db.open(small_lab.serial()).C.values) == [0, 1]


def test_colour_is_the_last_dimension(small_lab: Lab) -> None:
    data = pixels(2, 20, 30, 3, dtype="uint8")
    ndtiff_of(small_lab, [({"z": z}, data[z]) for z in range(2)])
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
        assert array.dims == ("T", "P", "C", "Z", "Y", "X", "S")
        assert np.array_equal(array[0, 0, 0], data)
        assert np.array_equal(db.dataset(small_lab.serial()).frames().to_numpy()[0, 0, 0], data)


def test_floats_and_truth_values_keep_their_type(small_lab: Lab) -> None:
    data = pixels(2, 8, 9, dtype="float32")
    (small_lab.folder / "set").mkdir()
    import tifffile

    tifffile.imwrite(small_lab.folder / "f.tif", data)
    small_lab.upload_one(small_lab.folder / "f.tif")
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
        assert array.dtype == "float32"
        assert np.array_equal(array.values.squeeze(), data)


# --- only what is needed


def test_only_the_frames_of_a_selection_are_read(lab: Lab) -> None:
    data = stack_of(lab, t=2, z=3, c=2)
    with ImagingDB(lab.settings) as db:
        array = db.open(lab.serial())
        delete_all_but(lab, "im_c001_z002_t001")
        assert np.array_equal(array.isel(C=1, Z=2, T=1), data[1, :, 1, 2])
        with pytest.raises(ObjectNotFound):
            array.isel(C=1, T=1).compute()


def test_opening_reads_no_object(small_lab: Lab) -> None:
    stack_of(small_lab)
    delete_all_but(small_lab, "none")
    with ImagingDB(small_lab.settings) as db:
        assert db.open(small_lab.serial()).shape == (2, 1, 2, 2, 16, 19)


def test_selection_by_name(sample: Lab) -> None:
    with ImagingDB(sample.settings) as db:
        array = db.open(sample.serial())
        dapi = array.sel(C="DAPI")
        assert np.array_equal(dapi, array.isel(C=1))
        assert np.array_equal(db.open(sample.serial(), "DAPI").isel(C=0), dapi)


def test_a_selection_leaves_holes_that_the_indices_tell(small_lab: Lab) -> None:
    data = stack_of(small_lab, t=5, z=4, c=2)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial(), 1, slices=[0, 1, 3], timepoints=slice(1, 5, 2))
        assert list(array.slice_idx.values) == [0, 1, 3]
        assert list(array.time_idx.values) == [1, 3]
        assert list(array.channel_idx.values) == [1]
        assert np.array_equal(array, data[1:5:2, :, 1:, [0, 1, 3]])


def test_more_frames_than_rows_are_read_at_once(small_lab: Lab) -> None:
    data = stack_of(small_lab, t=7, z=5, c=4, side=4)
    with ImagingDB(small_lab.settings) as db:
        assert np.array_equal(db.open(small_lab.serial()), data)


# --- frames that are absent, of several kinds, damaged


def holes(lab: Lab) -> npt.NDArray[Any]:
    """Upload eight frames less two: Z 1 of T 0, and Z 0 of T 3."""
    data = pixels(4, 2, 6, 8)
    places = [(t, z) for t in range(4) for z in range(2) if (t, z) not in {(0, 1), (3, 0)}]
    ndtiff_of(lab, [({"time": t, "z": z}, data[t, z]) for t, z in places])
    return data


def test_absent_frames_are_told_when_an_array_is_opened(lab: Lab) -> None:
    holes(lab)
    with ImagingDB(lab.settings) as db:
        with pytest.raises(UsageError) as caught:
            db.open(lab.serial())
        assert "2 of the 8 frames of the block are absent: c0 z0 t3 p0, c0 z1 t0 p0;" in str(
            caught.value
        )
        with pytest.raises(UsageError, match="2 of the 8 frames"):
            db.dataset(lab.serial()).frames().to_numpy()
        assert db.open(lab.serial(), timepoints=[1, 2]).shape == (2, 1, 1, 2, 6, 8)


def test_absent_frames_are_filled_with_a_value_that_was_named(small_lab: Lab) -> None:
    data = holes(small_lab)
    data[0, 1] = data[3, 0] = 7
    with ImagingDB(small_lab.settings) as db:
        assert np.array_equal(db.open(small_lab.serial(), fill=7)[:, 0, 0], data)
        found = db.dataset(small_lab.serial()).frames().to_numpy(fill=7)
        assert np.array_equal(found[:, 0, 0], data)


def test_frames_that_a_query_left_out_are_filled_not_shown(small_lab: Lab) -> None:
    data = stack_of(small_lab, t=2, z=3, c=2)
    with ImagingDB(small_lab.settings) as db:
        db.open(small_lab.serial()).compute()  # they are in the cache now
        chosen = db.dataset(small_lab.serial()).frames(where="not (z = 0 and t = 0)")
        assert db.open(small_lab.serial(), where="z = first").sizes["Z"] == 1
        data[0, :, :, 0] = 7
        assert np.array_equal(chosen.to_numpy(fill=7), data)
        assert np.array_equal(chosen.to_dask(fill=7).compute(), data)
        assert np.array_equal(pickle.loads(pickle.dumps(chosen.to_dask(fill=7))).compute(), data)


@pytest.mark.parametrize("fill", [-1, 0.5, 65536, float("nan")])
def test_a_value_that_the_frames_cannot_hold_is_refused(small_lab: Lab, fill: float) -> None:
    holes(small_lab)
    with ImagingDB(small_lab.settings) as db, pytest.raises(UsageError, match="cannot fill"):
        db.open(small_lab.serial(), fill=fill)


def test_frames_of_several_sizes_are_no_array_but_those_of_one_are(small_lab: Lab) -> None:
    small, large = pixels(4, 8), pixels(6, 8)
    ndtiff_of(small_lab, [({"z": 0}, large), ({"z": 1}, small)])
    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(UsageError, match="one array: 4 x 8 uint16, 6 x 8 uint16"):
            db.open(small_lab.serial())
        assert np.array_equal(db.open(small_lab.serial(), slices=1).squeeze(), small)


def test_damage_is_an_error_where_the_array_is_computed(small_lab: Lab) -> None:
    with_stack(small_lab)
    rotten = rot(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
        for place, (kind, key) in enumerate(rotten.items()):
            c, rest = divmod(place, 4)
            z, t = divmod(rest, 2)
            with pytest.raises(IntegrityError) as caught:
                array.isel(C=c, Z=z, T=t).compute()
            assert key in str(caught.value), kind
            if kind == "swap":
                assert isinstance(caught.value, ChecksumMismatch)
        assert array.isel(C=1, Z=1).compute().shape == (2, 1, 16, 19)
        with pytest.raises(IntegrityError):
            db.dataset(small_lab.serial()).frames().to_numpy()


def test_a_frame_that_was_repaired_meanwhile_is_read(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial(), cache=False)
        before = array.compute()
        rot(small_lab)
        with pytest.raises(IntegrityError):
            array.compute()
        db.repair(small_lab.serial(), source=source)
        assert np.array_equal(array, before)


def test_an_array_of_a_dataset_that_was_replaced_is_not_of_the_new_one(small_lab: Lab) -> None:
    stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
        db.delete(small_lab.serial())
        imagej_stack(small_lab.folder / "stack.tif", seed=5)
        small_lab.upload_one(small_lab.folder / "stack.tif")
        with pytest.raises(DatasetNotFound, match="was replaced since the array was made"):
            array.compute()
        assert db.open(small_lab.serial()).compute().shape == array.shape


def test_what_is_no_array_is_told(small_lab: Lab, tmp_path: Path) -> None:
    stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(NothingSelected, match="no frame matches"):
            db.open(small_lab.serial(), "GFP")
        with pytest.raises(DatasetNotFound):
            db.open("NO-2018-06-08-15-45-00-0001")


def test_files_are_no_array(small_lab: Lab) -> None:
    lab, _ = with_files(small_lab)
    with ImagingDB(lab.settings) as db, pytest.raises(NothingSelected, match="files"):
        db.open(lab.serial())


# --- in other processes, and after the database was closed


def test_an_array_outlives_the_database_it_came_from(small_lab: Lab) -> None:
    data = stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
    assert np.array_equal(array, data)
    assert np.array_equal(pickle.loads(pickle.dumps(array)), data)


@pytest.mark.parametrize("combination", ["sqlite+local", "postgres+moto"])
def test_another_process_computes_a_pickled_array(
    combination: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    lab = build_lab(combination, request.getfixturevalue, tmp_path)
    data = stack_of(lab, t=1)
    with ImagingDB(lab.settings) as db:
        array = db.open(lab.serial())
        lost = db.open(lab.serial(), 1, cache=False)
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as pool:
        found = pool.submit(methodcaller("compute", scheduler="threads"), array).result()
        assert np.array_equal(found, data)
        delete_all_but(lab, "im_c000")
        with pytest.raises(ObjectNotFound, match="im_c001") as caught:
            pool.submit(methodcaller("compute"), lost).result()
        assert caught.value.key.endswith(".png")


def test_dask_computes_in_processes(small_lab: Lab) -> None:
    data = stack_of(small_lab, t=1, z=2, c=1)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial())
    assert np.array_equal(array.compute(scheduler="processes", num_workers=1), data)


def test_no_password_can_be_seen_in_an_array(lab: Lab) -> None:
    stack_of(lab)
    database = replace(lab.settings.database, password="secret-canary-51")
    with ImagingDB(lab.settings) as db:
        array = db.open(lab.serial())
        secret = ImagingDB(replace(lab.settings, database=database))
        secret._catalog = db.catalog  # the server would refuse it
        told = secret.open(lab.serial())
    graph = dict(told.data.__dask_graph__())
    for shown in (repr(told), told._repr_html_(), repr(told.data), str(graph), told.data.name):
        assert "secret-canary-51" not in shown
    assert told.data.name == array.data.name


def test_the_same_selection_has_the_same_name(small_lab: Lab) -> None:
    stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        first, again = db.open(small_lab.serial()), db.open(small_lab.serial())
        other = db.open(small_lab.serial(), slices=0)
    assert first.data.name == again.data.name != other.data.name


def test_an_array_of_many_frames_is_small_when_it_travels(small_lab: Lab) -> None:
    stack_of(small_lab, t=40, z=5, c=2, side=2)
    with ImagingDB(small_lab.settings) as db:
        block = db.dataset(small_lab.serial()).frames().to_dask()
    assert len(pickle.dumps(block)) < 20_000


# --- the cache


def test_a_frame_that_was_read_is_not_read_again(small_lab: Lab) -> None:
    data = stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array, uncached = db.open(small_lab.serial()), db.open(small_lab.serial(), cache=False)
        uncached.compute()
        assert shared_cache().nbytes == 0
        array.compute()
        assert shared_cache().nbytes == data.nbytes
        delete_all_but(small_lab, "none")
        assert np.array_equal(array, data)
        with pytest.raises(ObjectNotFound):
            uncached.compute()


def test_what_is_changed_in_an_array_does_not_change_the_cache(small_lab: Lab) -> None:
    data = stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array = db.open(small_lab.serial()).isel(T=0, Z=0, C=0)
        for _ in range(2):
            image = array.values
            assert np.array_equal(image, data[0, :, 0, 0])
            image -= 1


def test_a_cache_forgets_what_was_not_asked_for_lately() -> None:
    cache = FrameCache(1000)
    for name in "abc":
        cache.put(name, np.zeros(300, np.uint8))
    assert cache.get("a") is not None
    cache.put("d", np.zeros(300, np.uint8))
    cache.put("d", np.zeros(400, np.uint8))
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]
    assert cache.nbytes == 1000
    cache.put("huge", np.zeros(1001, np.uint8))
    assert cache.get("huge") is None
    assert cache.nbytes == 1000


@pytest.mark.parametrize(("text", "size"), [("", 256 * 2**20), ("0", 0), ("1.5 MB", 1_500_000)])
def test_the_environment_says_how_large_the_cache_is(
    monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    monkeypatch.setenv("IMAGING_DB_FRAME_CACHE", text)
    assert shared_cache.__wrapped__().most_bytes == size


def test_a_size_of_the_cache_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGING_DB_FRAME_CACHE", "much")
    with pytest.raises(ConfigError, match="IMAGING_DB_FRAME_CACHE: 'much' is no size"):
        shared_cache.__wrapped__()


# --- without the extra


def test_a_package_that_is_not_installed_is_told_with_the_command_that_brings_it(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack_of(small_lab)
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(ConfigError, match=r"needs xarray; pip install 'imaging_db\[array\]'"):
            db.open(small_lab.serial())
        assert db.dataset(small_lab.serial()).frames().to_numpy().shape == (2, 1, 2, 2, 16, 19)


def test_a_table_has_a_row_for_each_frame(small_lab: Lab) -> None:
    stack_of(small_lab)
    with ImagingDB(small_lab.settings) as db:
        array = db.dataset(small_lab.serial()).frames(slices=1).to_xarray()
        table = db.dataset(small_lab.serial()).frames(slices=1).to_dataframe()
    assert isinstance(array, xr.DataArray)
    assert len(table) == 4
