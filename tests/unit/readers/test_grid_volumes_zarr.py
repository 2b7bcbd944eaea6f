"""Zarr arrays and images as sources: both versions, axes, chunks that are absent, and what is refused."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging_db.errors import ConfigError, CorruptSource, SourceChanged, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.volumes_found import grid_from_volume
from imaging_db.readers.grid.volumes_ome_zarr import level_of
from tests.support.made_volumes import check_frames, cut_off, five_axes, grid, whole

zarr = pytest.importorskip("zarr")

SMALL = (8, 20, 30)
ALL = grid((0, 30), (0, 20), (0, 8))


def array(place: Path, data: Any, *, version: int = 3, **more: Any) -> Any:
    made = {"chunks": (4, 16, 16), "zarr_format": version, "fill_value": 0, **more}
    stored = zarr.create_array(store=place, shape=data.shape, dtype=data.dtype, **made)
    stored[...] = data
    return stored


def settings_of(path: Path, **more: Any) -> JSONObject:
    return {"kind": "zarr", "path": str(path), "grid": ALL, **more}


def chunk_file(path: Path, version: int) -> Path:
    """The file of the chunk with slices 4 to 7, the first lines and the first pixels."""
    return path / ("c/1/0/0" if version == 3 else "1.0.0")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "uint32", "uint64", "int16", "<f4", ">f8"])
def test_pixels_of_every_type_come_back(tmp_path: Path, version: int, dtype: str) -> None:
    array(tmp_path / "v.zarr", whole(SMALL, dtype=dtype), version=version)
    found = check_frames(settings_of(tmp_path / "v.zarr"), dtype=np.dtype(dtype).name)
    assert found == 8 * 2 * 2


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_a_part_is_read_block_by_block(tmp_path: Path, depth: int) -> None:
    array(tmp_path / "v.zarr", whole((10, 40, 30)))
    here = grid((5, 30), (3, 40), (1, 10), depth=depth)
    assert check_frames(settings_of(tmp_path / "v.zarr", grid=here)) == 9 * 3 * 2


def test_shards_are_read_as_well(tmp_path: Path) -> None:
    more: JSONObject = {"chunks": (2, 8, 8), "shards": (4, 16, 16)}
    array(tmp_path / "v.zarr", whole(SMALL), **more)
    assert check_frames(settings_of(tmp_path / "v.zarr", require_chunks=True)) == 32


def test_an_array_in_a_group_is_named(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    stored = group.create_array("em/raw", shape=SMALL, dtype="uint16", chunks=(4, 16, 16))
    stored[...] = whole(SMALL)
    assert check_frames(settings_of(tmp_path / "g.zarr", dataset="em/raw")) == 32
    with pytest.raises(UnsupportedFormat, match=r'is a Zarr group, .*"dataset": em'):
        open_grid(settings_of(tmp_path / "g.zarr"))
    with pytest.raises(UnsupportedFormat, match=r"g.zarr/seg: is no Zarr array or group"):
        open_grid(settings_of(tmp_path / "g.zarr", dataset="seg"))


def test_axes_are_named_by_the_settings_or_by_the_array(tmp_path: Path) -> None:
    data = five_axes((2, 3, 2, 20, 30))
    array(tmp_path / "v.zarr", data, chunks=(1, 1, 2, 16, 16))
    both = grid((0, 30), (0, 20), (0, 2), t=(0, 2))
    assert check_frames(settings_of(tmp_path / "v.zarr", channel_index=1, grid=both), c=1) == 16
    names = {"chunks": (1, 2, 16, 16), "dimension_names": ("c", "z", "y", "x")}
    array(tmp_path / "named.zarr", data[1], **names)
    settings = settings_of(tmp_path / "named.zarr", grid=grid((0, 30), (0, 20), (0, 2)))
    with pytest.raises(UnsupportedFormat, match="holds 3 channels"):
        open_grid(settings)
    with pytest.raises(UnsupportedFormat, match=r"grid.t is \[1, 2\]"):
        open_grid({**settings, "channel_index": 0, "grid": {**ALL, "z": [0, 2], "t": [1, 2]}})
    settings = {**settings, "axes": "tzyx", "grid": grid((0, 30), (0, 20), (0, 2), t=(0, 3))}
    with open_grid(settings) as reader:
        first = next(reader.frames())
        np.testing.assert_array_equal(reader.read(first), data[1, 0, 0, :16, :16])


def image(path: Path, version: str) -> None:
    """An OME-Zarr of two levels, as versions 0.4 and 0.5 describe it."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    data = five_axes((1, 1, 4, 40, 60))
    for level, pixels in enumerate((data, data[..., ::2, ::2])):
        stored = group.create_array(
            str(level), shape=pixels.shape, dtype="uint16", chunks=(1, 1, 1, 16, 16)
        )
        stored[...] = pixels
    axes: list[Any] = [{"name": "t", "type": "time", "unit": "minute"}, {"name": "c"}]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    levels = [
        {
            "path": str(n),
            "coordinateTransformations": [
                {"type": "scale", "scale": [2, 1, 300, 50 * 2**n, 40 * 2**n]}
            ],
        }
        for n in range(2)
    ]
    told = {"multiscales": [{"axes": axes, "datasets": levels, "version": version}]}
    group.attrs.update({"ome": {**told, "version": version}} if version == "0.5" else told)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_tells_axes_and_sizes_itself(tmp_path: Path, version: str) -> None:
    image(tmp_path / "i.zarr", version)
    settings = grid_from_volume(str(tmp_path / "i.zarr"), channel="DAPI")
    assert settings["kind"] == "zarr"
    assert settings["grid"] == {
        "x": [0, 60],
        "y": [0, 40],
        "z": [0, 4],
        "t": [0, 1],
        "tile": [60, 40],
        "depth": 1,
    }
    assert check_frames(settings) == 4
    with open_grid(settings) as reader:
        told = reader.acquisition
    assert (told.pixel_size_x_um, told.pixel_size_y_um, told.z_step_um) == (0.04, 0.05, 0.3)
    assert (told.time_interval_s, told.channel_names) == (120.0, ("DAPI",))
    half = grid_from_volume(str(tmp_path / "i.zarr"), level=1)
    assert half["pixel_size_um"] == [0.08, 0.1]
    with open_grid(half) as reader:
        pixels = reader.read(next(reader.frames()))
        np.testing.assert_array_equal(pixels, whole((1, 40, 60))[0, ::2, ::2])
    with pytest.raises(UnsupportedFormat, match="holds levels 0 to 1, there is no level 2"):
        grid_from_volume(str(tmp_path / "i.zarr"), level=2)


def test_a_description_that_cannot_be_read_is_refused() -> None:
    for wrong in ({"datasets": []}, {"datasets": [{}]}, {"axes": 3, "datasets": [{"path": "0"}]}):
        with pytest.raises(UnsupportedFormat):
            level_of("i.zarr", {"multiscales": [wrong]}, level=0)


@pytest.mark.parametrize("version", [2, 3])
def test_an_absent_chunk_is_the_fill_value_unless_chunks_are_required(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "v.zarr"
    array(path, whole(SMALL), version=version, fill_value=7)
    chunk_file(path, version).unlink()
    with open_grid(settings_of(path)) as reader:
        assert (reader.read(list(reader.frames())[16]) == 7).all()
    with open_grid(settings_of(path, require_chunks=True)) as reader:
        frames = list(reader.frames())
        assert reader.read(frames[0]).any()
        key = chunk_file(path, version).relative_to(path).as_posix()
        with pytest.raises(
            CorruptSource, match=f"tile row 0 column 0 z 4 t 0: chunk {key} is absent"
        ):
            reader.read(frames[16])


def test_without_a_fill_value_an_absent_chunk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    array(path, whole(SMALL), version=2, fill_value=None)
    assert check_frames(settings_of(path)) == 32
    chunk_file(path, 2).unlink()
    with open_grid(settings_of(path)) as reader, pytest.raises(CorruptSource, match="is absent"):
        reader.read(list(reader.frames())[16])


@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_chunk_is_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "v.zarr"
    array(path, whole(SMALL), version=version)
    cut_off(chunk_file(path, version))
    with (
        open_grid(settings_of(path)) as reader,
        pytest.raises(CorruptSource, match=r"v.zarr: tile .* z 4 t 0: cannot be read"),
    ):
        reader.read(list(reader.frames())[16])


def test_a_raw_chunk_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    array(path, whole(SMALL), compressors=None)
    cut_off(chunk_file(path, 3))
    with open_grid(settings_of(path)) as reader, pytest.raises(CorruptSource):
        reader.read(list(reader.frames())[16])


def test_a_folder_that_goes_away_is_not_black(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    array(path, whole(SMALL))
    with open_grid(settings_of(path)) as reader:
        frames = list(reader.frames())
        assert reader.read(frames[0]).any()
        shutil.move(path, tmp_path / "unmounted")
        with pytest.raises(SourceChanged, match=r"v.zarr: is gone"):
            reader.read(frames[1])


def test_what_is_no_zarr_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptSource, match="does not exist"):
        open_grid(settings_of(tmp_path / "absent.zarr"))
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(UnsupportedFormat, match="is no Zarr array or group"):
        open_grid(settings_of(tmp_path / "empty.zarr"))
    (tmp_path / "empty.zarr/zarr.json").write_text("{")
    with pytest.raises(CorruptSource, match="cannot be read"):
        open_grid(settings_of(tmp_path / "empty.zarr"))
    with pytest.raises(UnsupportedFormat, match="is a file, a Zarr is a folder; unpack it"):
        open_grid(settings_of(tmp_path / "empty.zarr/zarr.json"))


def test_an_address_is_read_as_a_folder_is(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    array(tmp_path / "v.zarr", whole(SMALL))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "v.zarr"), "/volumes/v.zarr", recursive=True)
    settings: JSONObject = {**settings_of(tmp_path), "path": "memory://volumes/v.zarr"}
    try:
        assert check_frames({**settings, "require_chunks": True}) == 32
        memory.rm("/volumes/v.zarr/c/1/0/0")
        with open_grid({**settings, "require_chunks": True}) as reader:
            frame = list(reader.frames())[16]
            with pytest.raises(CorruptSource, match="chunk c/1/0/0 is absent"):
                reader.read(frame)
    finally:
        memory.rm("/volumes", recursive=True)


def test_a_package_that_an_address_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"s3://bucket/v.zarr: .*; pip install s3fs"):
        open_grid({**settings_of(Path()), "path": "s3://bucket/v.zarr"})


def test_a_grid_beyond_the_array_is_refused(tmp_path: Path) -> None:
    array(tmp_path / "v.zarr", whole(SMALL))
    with pytest.raises(UnsupportedFormat, match=r"grid.z is \[0, 9\], it holds .* z \[0, 8\)"):
        open_grid(settings_of(tmp_path / "v.zarr", grid=grid((0, 30), (0, 20), (0, 9))))


def test_a_path_may_be_written_as_an_address(tmp_path: Path) -> None:
    array(tmp_path / "a b.zarr", whole(SMALL))
    settings = settings_of(tmp_path)
    assert check_frames({**settings, "path": (tmp_path / "a b.zarr").as_uri()}) == 32
    with pytest.raises(ConfigError, match="must not hold a name or password"):
        open_grid({**settings, "path": "https://me:secret@host/a.zarr"})


def test_eight_threads_read_what_one_reads(tmp_path: Path) -> None:
    array(tmp_path / "v.zarr", whole((8, 48, 48)))
    settings = settings_of(tmp_path / "v.zarr", grid=grid((0, 48), (0, 48), (0, 8), depth=4))
    with open_grid(settings) as reader, ThreadPoolExecutor(8) as pool:
        frames = list(reader.frames())
        for frame, pixels in zip(frames, pool.map(reader.read, frames), strict=True):
            np.testing.assert_array_equal(pixels, reader.read(frame))
