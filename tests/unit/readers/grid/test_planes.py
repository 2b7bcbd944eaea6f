"""Planes of which tiles are cut: z-stacks, a file of timepoints for each slice, hyperstacks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db.errors import ConfigError, CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.plane_cache import PlaneCache
from tests.support.made_tiles import pixels_at, plane_at, write_image

GRID: JSONObject = {"x": [3, 37], "y": [5, 28], "z": [2, 5], "tile": [16, 8]}


def stack_settings(root: Path, pattern: str = "{z:03}.tif", **grid: list[int]) -> JSONObject:
    return {"kind": "plane_files", "root": str(root), "pattern": pattern, "grid": {**GRID, **grid}}


def write_stack(root: Path, name: str = "{:03}.tif", *, dtype: str = "uint8") -> None:
    for z in range(2, 5):
        write_image(root / name.format(z), plane_at(40, 30, z=z, dtype=dtype))


def check_every_frame(settings: JSONObject, dtype: str = "uint8") -> None:
    with open_grid(settings) as reader:
        for frame in reader.frames():
            expected = pixels_at(reader.grid.box(frame.index), dtype)
            assert np.array_equal(reader.read(frame), expected), (frame.source, frame.coords)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_tiles_are_cut_out_of_planes_from_any_pixel(tmp_path: Path, dtype: str) -> None:
    write_stack(tmp_path, dtype=dtype)
    check_every_frame(stack_settings(tmp_path), dtype)


def test_planes_may_be_png_and_have_names_with_an_offset(tmp_path: Path) -> None:
    write_stack(tmp_path, "20{}.png", dtype="uint16")
    check_every_frame(stack_settings(tmp_path, "{z+200}.png"), "uint16")


def test_planes_may_have_a_name_for_each_timepoint(tmp_path: Path) -> None:
    for t in (4, 5):
        for z in range(2, 5):
            write_image(tmp_path / f"{t}" / f"{z}.png", plane_at(40, 30, z=z, t=t))
    check_every_frame(stack_settings(tmp_path, "{t}/{z}.png", t=[4, 6]))


def test_a_plane_that_ends_before_the_extent_is_refused(tmp_path: Path) -> None:
    write_stack(tmp_path)
    write_image(tmp_path / "003.tif", plane_at(36, 30, z=3))
    with open_grid(stack_settings(tmp_path)) as reader:
        frames = [f for f in reader.frames() if f.coords.slice == 3]
        assert reader.read(frames[0]).shape == (8, 16)
        told = "003.tif: is 36 x 30 pixels, tile row 0 column 2 z 3 t 0 ends at 37, 13"
        with pytest.raises(UnsupportedFormat, match=told):
            reader.read(frames[2])


def test_planes_that_are_missing_damaged_or_of_another_type_are_refused(tmp_path: Path) -> None:
    write_stack(tmp_path)
    (tmp_path / "003.tif").unlink()
    write_image(tmp_path / "004.tif", plane_at(40, 30, z=4, dtype="uint16"))
    with open_grid(stack_settings(tmp_path)) as reader:
        by_slice = {frame.coords.slice: frame for frame in reader.frames()}
        assert reader.read(by_slice[2]).any()
        with pytest.raises(CorruptSource, match=r"003.tif: cannot be opened"):
            reader.read(by_slice[3])
        with pytest.raises(UnsupportedFormat, match=r"004.tif: holds uint16, not uint8"):
            reader.read(by_slice[4])
        (tmp_path / "003.tif").write_bytes(b"")
        with pytest.raises(CorruptSource, match=r"003.tif: is empty"):
            reader.read(by_slice[3])


def test_what_the_caller_writes_does_not_reach_the_plane(tmp_path: Path) -> None:
    write_stack(tmp_path)
    with open_grid(stack_settings(tmp_path, x=[0, 40], y=[0, 30])) as reader:
        frame = next(reader.frames())
        reader.read(frame)[...] = 0
        assert np.array_equal(reader.read(frame), pixels_at(reader.grid.box(0)))


def test_threads_that_want_one_plane_decode_it_once() -> None:
    decoded = []
    gate = threading.Barrier(8)
    planes = PlaneCache()

    def decode() -> np.ndarray:
        decoded.append(1)
        return np.zeros((64, 64), np.uint8)

    def ask(_: int) -> np.ndarray:
        gate.wait(timeout=30)
        return planes.get("a", decode)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(decoded) == 1
    assert all(plane is found[0] for plane in found)
    assert not found[0].flags.writeable


def test_planes_that_were_not_asked_for_longest_are_given_up() -> None:
    planes = PlaneCache(most_bytes=200)
    decoded: list[str] = []

    def ask(key: str, size: int = 100) -> None:
        def decode() -> np.ndarray:
            decoded.append(key)
            return np.zeros(size, np.uint8)

        planes.get(key, decode)

    for key in ("a", "b", "a", "c", "a", "b"):
        ask(key)
    assert decoded == ["a", "b", "c", "b"]
    ask("large", 1000)
    ask("large", 1000)
    assert decoded[4:] == ["large"]


def test_a_plane_that_failed_is_tried_again() -> None:
    planes = PlaneCache()

    def fail() -> np.ndarray:
        raise CorruptSource("a.tif", "is damaged")

    for _ in range(2):
        with pytest.raises(CorruptSource):
            planes.get("a", fail)
    assert planes.get("a", lambda: np.ones(1, np.uint8)) == [1]


def series_settings(root: Path, **grid: list[int]) -> JSONObject:
    usual: JSONObject = {**GRID, "t": [1, 4], **grid}  # type: ignore[dict-item]
    return {"kind": "page_series", "root": str(root), "pattern": "z{z}.tif", "grid": usual}


def write_series(root: Path, *, dtype: str = "uint16", timepoints: int = 4) -> None:
    for z in range(2, 5):
        pages = np.stack([plane_at(40, 30, z=z, t=t, dtype=dtype) for t in range(timepoints)])
        tifffile.imwrite(root / f"z{z}.tif", pages, photometric="minisblack", compression="zlib")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_timepoint_n_is_page_n_of_the_file_of_its_slice(tmp_path: Path, dtype: str) -> None:
    write_series(tmp_path, dtype=dtype)
    check_every_frame(series_settings(tmp_path), dtype)


def test_the_file_of_each_slice_may_be_named(tmp_path: Path) -> None:
    write_series(tmp_path)
    files = {str(z): str(tmp_path / f"z{z}.tif") for z in range(2, 5)}
    settings = series_settings(tmp_path)
    check_every_frame(
        {"kind": "page_series", "grid": settings["grid"], "files": {**files}}, "uint16"
    )


def test_a_slice_without_a_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    settings: JSONObject = {"kind": "page_series", "grid": {**GRID}, "files": {"2": "a", "4": "b"}}
    with pytest.raises(ConfigError, match="files: names no file for slice 3"):
        open_grid(settings)
    with pytest.raises(ConfigError, match="root: means nothing beside 'files'"):
        open_grid({**settings, "root": str(tmp_path)})


def test_a_timepoint_behind_the_last_page_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path)
    with open_grid(series_settings(tmp_path, t=[3, 5])) as reader:
        last = list(reader.frames())[-1]
        with pytest.raises(CorruptSource, match=r"z4.tif: holds 4 pages, page 4 is needed"):
            reader.read(last)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path)
    data = (tmp_path / "z3.tif").read_bytes()
    (tmp_path / "z3.tif").write_bytes(data[: len(data) // 2])
    with open_grid(series_settings(tmp_path)) as reader:
        broken = next(f for f in reader.frames() if f.coords.slice == 3)
        with pytest.raises(ReaderError, match=r"z3.tif"):
            reader.read(broken)


def hyperstack_settings(root: Path, **change: int | str) -> JSONObject:
    grid: JSONObject = {"x": [0, 20], "y": [0, 12], "z": [1, 3], "t": [0, 5], "tile": [16, 8]}
    return {
        "kind": "hyperstack",
        "root": str(root),
        "pattern": "run_{file+1:03}.tif",
        "time_chunk_size": 2,
        "num_z_slices": 3,
        "num_channels": 2,
        "channel_index": 1,
        "grid": grid,
        **change,
    }


def write_hyperstack(root: Path) -> None:
    """Five timepoints of three slices in two channels, two timepoints a file; channel 1 is the made world."""
    for file in range(3):
        pages = []
        for t in range(2 * file, min(2 * file + 2, 5)):
            for z in range(3):
                pixels = plane_at(20, 12, z=z, t=t, dtype="uint16")
                pages += [np.zeros_like(pixels), pixels]
        tifffile.imwrite(root / f"run_{file + 1:03}.tif", np.stack(pages), photometric="minisblack")


def test_pages_of_a_hyperstack_run_over_time_slice_and_channel(tmp_path: Path) -> None:
    write_hyperstack(tmp_path)
    check_every_frame(hyperstack_settings(tmp_path), "uint16")


def test_the_other_channel_has_its_own_pages(tmp_path: Path) -> None:
    write_hyperstack(tmp_path)
    with open_grid(hyperstack_settings(tmp_path, channel_index=0)) as reader:
        assert not any(reader.read(frame).any() for frame in reader.frames())


def test_a_file_with_other_pages_than_whole_timepoints_is_refused(tmp_path: Path) -> None:
    write_hyperstack(tmp_path)
    with open_grid(hyperstack_settings(tmp_path)) as reader:
        frames = list(reader.frames())
        assert frames[0].source.page == 3
        tifffile.imwrite(tmp_path / "run_002.tif", np.zeros((7, 12, 20), np.uint16))
        with pytest.raises(CorruptSource, match=r"run_002.tif: holds 7 pages, 2 timepoints of 3"):
            reader.read(next(f for f in frames if f.coords.timepoint == 2))
    with pytest.raises(CorruptSource, match=r"run_001.tif: holds 12 pages, .* are 6"):
        open_grid(hyperstack_settings(tmp_path, time_chunk_size=1))


def test_a_timepoint_that_the_last_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    write_hyperstack(tmp_path)
    settings = hyperstack_settings(tmp_path)
    settings["grid"] = {**settings["grid"], "t": [5, 6]}  # type: ignore[dict-item]
    with pytest.raises(CorruptSource, match=r"run_003.tif: holds 6 pages, page 9 is needed"):
        open_grid(settings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"channel_index": 2}, "channel_index: is 2, channels are 0 to 1"),
        ({"num_z_slices": 2}, "grid: z ends at 3, num_z_slices is 2"),
        ({"time_chunk_size": 0}, "time_chunk_size: must be a whole number from 1"),
        ({"num_channels": None}, "num_channels: is required"),
        ({"pattern": "run.tif"}, "does not tell file"),
        ({"pattern": "run_{z}.tif"}, "nothing is known of the field 'z'"),
    ],
)
def test_settings_of_a_hyperstack_are_checked(
    tmp_path: Path, change: dict[str, int | str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        open_grid(hyperstack_settings(tmp_path, **change))


def test_threads_read_what_one_thread_reads(tmp_path: Path) -> None:
    write_hyperstack(tmp_path)
    with open_grid(hyperstack_settings(tmp_path)) as reader, ThreadPoolExecutor(8) as pool:
        frames = list(reader.frames()) * 4
        for frame, found in zip(frames, pool.map(reader.read, frames), strict=True):
            assert np.array_equal(found, pixels_at(reader.grid.box(frame.index), "uint16"))
