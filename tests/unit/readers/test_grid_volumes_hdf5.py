"""Volumes in HDF5 files: which pixel of which file a tile is, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging_db.errors import ConfigError, CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.volumes_hdf5 import Hdf5Files
from tests.support.made_volumes import (
    check_frames,
    cut_off,
    five_axes,
    grid,
    voxels,
    whole,
    write_hdf5,
)

h5py = pytest.importorskip("h5py")

DTYPES = ["uint8", "uint16", ">u2", "uint32", "uint64", "int16", "float32", ">f8"]


def file_settings(path: Path, **more: Any) -> JSONObject:
    return {"kind": "hdf5_file", "path": str(path), "data_name": "vol", **more}


def series_settings(root: Path, **more: Any) -> JSONObject:
    names: JSONObject = {"root": str(root), "base_filename": "plane_<p:3>", "extension": "h5"}
    return {"kind": "hdf5_series", **names, "dataset": "cell", **more}


def one_file(folder: Path, shape: tuple[int, int, int] = (6, 20, 30)) -> Path:
    return write_hdf5(folder / "v.h5", vol=whole(shape))


class TestOneFile:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_pixels_of_every_type_come_back(self, tmp_path: Path, dtype: str) -> None:
        path = write_hdf5(tmp_path / "v.h5", vol=whole((3, 20, 30), dtype=dtype))
        found = check_frames(
            file_settings(path, grid=grid((0, 30), (0, 20), (0, 3))), dtype=np.dtype(dtype).name
        )
        assert found == 3 * 2 * 2

    @pytest.mark.parametrize("axes", ["tzyx", "zytx", "xyzt"])
    def test_axes_may_be_in_any_order(self, tmp_path: Path, axes: str) -> None:
        data = np.array([whole((3, 20, 30), t=t) for t in range(2)])
        stored = np.ascontiguousarray(data.transpose(["tzyx".index(axis) for axis in axes]))
        path = write_hdf5(tmp_path / "v.h5", vol=stored)
        whole_grid = grid((0, 30), (0, 20), (0, 3), t=(0, 2))
        assert check_frames(file_settings(path, axes=axes, grid=whole_grid)) == 2 * 3 * 4

    def test_one_channel_of_several_is_read(self, tmp_path: Path) -> None:
        path = write_hdf5(tmp_path / "v.h5", vol=five_axes((1, 3, 2, 20, 30))[0])
        settings = file_settings(path, axes="czyx", grid=grid((0, 30), (0, 20), (0, 2)))
        assert check_frames({**settings, "channel_index": 2}, c=2) == 8
        with pytest.raises(UnsupportedFormat, match="holds 3 channels; choose one"):
            open_grid(settings)
        with pytest.raises(UnsupportedFormat, match="there is no channel 3"):
            open_grid({**settings, "channel_index": 3})

    def test_an_offset_moves_the_grid_over_the_dataset(self, tmp_path: Path) -> None:
        inner = voxels(range(5, 9), range(100, 120), range(50, 90))
        path = write_hdf5(tmp_path / "v.h5", vol=inner)
        offsets: JSONObject = {"offset_x": -50, "offset_y": -100, "offset_z": -5}
        here = grid((53, 90), (101, 120), (6, 9))
        assert check_frames(file_settings(path, **offsets, grid=here)) == 3 * 2 * 3

    @pytest.mark.parametrize("depth", [1, 4, 8])
    def test_chunks_of_several_slices_are_read_block_by_block(
        self, tmp_path: Path, depth: int
    ) -> None:
        options: JSONObject = {"chunks": (4, 16, 16), "compression": "gzip"}
        path = write_hdf5(tmp_path / "v.h5", options, vol=whole((10, 40, 30)))
        settings = file_settings(path, grid=grid((5, 30), (3, 40), (1, 10), depth=depth))
        assert check_frames(settings) == 9 * 3 * 2

    @pytest.mark.parametrize(
        ("axis", "wrong"), [("x", (0, 31)), ("y", (0, 21)), ("z", (2, 7)), ("t", (0, 2))]
    )
    def test_what_lies_beyond_the_dataset_is_refused(
        self, tmp_path: Path, axis: str, wrong: tuple[int, int]
    ) -> None:
        ends = {"x": (0, 30), "y": (0, 20), "z": (0, 6), "t": (0, 1), axis: wrong}
        there = r"it holds t \[0, 1\), z \[0, 6\), y \[0, 20\), x \[0, 30\)"
        with pytest.raises(UnsupportedFormat, match=rf"grid.{axis} is .*{there}"):
            open_grid(file_settings(one_file(tmp_path), grid=grid(**ends)))

    def test_a_missing_dataset_is_told_with_those_that_are_there(self, tmp_path: Path) -> None:
        settings = file_settings(one_file(tmp_path), grid=grid((0, 16), (0, 16), (0, 1)))
        with pytest.raises(CorruptSource, match=r"v.h5: holds no dataset 'raw'; it holds vol"):
            open_grid({**settings, "data_name": "raw"})

    def test_an_array_of_four_axes_must_say_which_they_are(self, tmp_path: Path) -> None:
        path = write_hdf5(tmp_path / "v.h5", vol=np.zeros((2, 2, 16, 16), "uint8"))
        settings = file_settings(path, grid=grid((0, 16), (0, 16), (0, 2)))
        with pytest.raises(UnsupportedFormat, match=r"4 axes .* name them in the settings"):
            open_grid(settings)
        with pytest.raises(ConfigError, match="axes: 'zyq' must be some of the letters"):
            open_grid({**settings, "axes": "zyq"})
        with pytest.raises(UnsupportedFormat, match="not of the axes z, y, x"):
            open_grid({**settings, "axes": "zyx"})

    def test_text_and_groups_are_no_pixels(self, tmp_path: Path) -> None:
        path = tmp_path / "v.h5"
        with h5py.File(path, "w") as file:
            file["words"] = ["a", "b"]
            file.create_group("folder")
        settings = file_settings(path, grid=grid((0, 1), (0, 1), (0, 1)))
        with pytest.raises(UnsupportedFormat, match="not plain numbers"):
            open_grid({**settings, "data_name": "words"})
        with pytest.raises(UnsupportedFormat, match="is a group"):
            open_grid({**settings, "data_name": "folder"})

    def test_a_file_that_was_cut_off_or_is_none_is_refused(self, tmp_path: Path) -> None:
        path = one_file(tmp_path)
        settings = file_settings(path, grid=grid((0, 16), (0, 16), (0, 1)))
        cut_off(path)
        with pytest.raises(CorruptSource, match=r"v.h5: cannot be read: .*truncated"):
            open_grid(settings)
        path.write_bytes(b"")
        with pytest.raises(CorruptSource, match="is empty"):
            open_grid(settings)
        path.write_text("no HDF5")
        with pytest.raises(CorruptSource, match="cannot be read"):
            open_grid(settings)
        path.unlink()
        with pytest.raises(CorruptSource, match="does not exist"):
            open_grid(settings)

    def test_a_damaged_chunk_is_refused_and_the_others_are_read(self, tmp_path: Path) -> None:
        options: JSONObject = {"chunks": (1, 16, 16), "compression": "gzip"}
        path = write_hdf5(tmp_path / "v.h5", options, vol=whole((3, 16, 16)))
        with h5py.File(path) as file:
            place = file["vol"].id.get_chunk_info_by_coord((1, 0, 0)).byte_offset
        content = bytearray(path.read_bytes())
        content[place : place + 40] = bytes(40)
        path.write_bytes(content)
        with open_grid(file_settings(path, grid=grid((0, 16), (0, 16), (0, 3)))) as reader:
            first, second, third = reader.frames()
            assert reader.read(first).any()
            with pytest.raises(CorruptSource, match=r"v.h5: vol: cannot be read"):
                reader.read(second)
            assert reader.read(third).any()

    def test_a_virtual_dataset_of_a_lost_file_is_refused_and_not_black(
        self, tmp_path: Path
    ) -> None:
        part = write_hdf5(tmp_path / "part.h5", vol=whole((2, 16, 16)))
        layout = h5py.VirtualLayout(shape=(2, 16, 16), dtype="uint16")
        layout[:] = h5py.VirtualSource("part.h5", "vol", shape=(2, 16, 16))
        path = tmp_path / "all.h5"
        with h5py.File(path, "w") as file:
            file.create_virtual_dataset("vol", layout)
        settings = file_settings(path, grid=grid((0, 16), (0, 16), (0, 2)))
        assert check_frames(settings) == 2
        part.unlink()
        with pytest.raises(CorruptSource, match=r"made of other files, part.h5 is not there"):
            open_grid(settings)

    def test_pixels_in_other_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "raw").write_bytes(bytes(512))
        path = tmp_path / "v.h5"
        with h5py.File(path, "w") as file:
            outside = [(str(tmp_path / "raw"), 0, 512)]
            file.create_dataset("vol", (1, 16, 16), "uint16", external=outside)
        with pytest.raises(UnsupportedFormat, match="keeps its pixels in other files"):
            open_grid(file_settings(path, grid=grid((0, 16), (0, 16), (0, 1))))

    def test_the_type_that_settings_say_is_kept_to(self, tmp_path: Path) -> None:
        settings = file_settings(one_file(tmp_path), grid=grid((0, 16), (0, 16), (0, 1)))
        with pytest.raises(ReaderError, match="holds uint16, the settings say uint8"):
            open_grid({**settings, "dtype": "uint8"})

    def test_every_wrong_key_is_told_at_once(self) -> None:
        wrong: JSONObject = {"kind": "hdf5_file", "pth": "v.h5", "offset_x": "left"}
        with pytest.raises(ConfigError) as told:
            open_grid({**wrong, "grid": grid((0, 1), (0, 1), (0, 1))})
        said = " ".join(told.value.problems)
        for part in ("pth: unknown key (did you mean 'path'?)", "path: is required", "offset_x"):
            assert part in said
        with pytest.raises(ConfigError, match="s3:// is none of file://"):
            open_grid(
                {
                    "kind": "hdf5_file",
                    "path": "s3://b/v.h5",
                    "data_name": "vol",
                    "grid": grid((0, 1), (0, 1), (0, 1)),
                }
            )

    def test_eight_threads_read_what_one_reads(self, tmp_path: Path) -> None:
        options: JSONObject = {"chunks": (4, 16, 16), "compression": "gzip"}
        path = write_hdf5(tmp_path / "v.h5", options, vol=whole((8, 48, 48)))
        settings = file_settings(path, grid=grid((0, 48), (0, 48), (0, 8), depth=4))
        with open_grid(settings) as reader, ThreadPoolExecutor(8) as pool:
            frames = list(reader.frames()) * 2
            found = list(pool.map(reader.read, frames))
            for frame, pixels in zip(frames, found, strict=True):
                np.testing.assert_array_equal(pixels, reader.read(frame))
        assert sum(int(pixels.astype(np.uint64).sum()) for pixels in found) == 2 * int(
            whole((8, 48, 48)).astype(np.uint64).sum()
        )


class TestSeries:
    def make(self, root: Path) -> None:
        for z in range(2, 5):
            data = np.array(
                [
                    [voxels(range(z, z + 1), range(20), range(30), t=t, c=c)[0] for c in range(2)]
                    for t in range(3)
                ]
            )
            write_hdf5(root / f"plane_{z:03}.h5", cell=data.transpose(0, 3, 2, 1))

    def test_a_file_a_slice_is_indexed_by_time_then_x_then_y(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        here = grid((0, 30), (0, 20), (2, 5), t=(1, 3))
        settings = series_settings(tmp_path, channel_index=1, scale_factor=1.0, grid=here)
        assert check_frames(settings, c=1) == 2 * 3 * 4

    def test_a_scale_factor_is_refused_because_it_changes_pixels(self, tmp_path: Path) -> None:
        settings = series_settings(tmp_path, scale_factor=0.5, grid=grid((0, 1), (0, 1), (0, 1)))
        with pytest.raises(ConfigError, match=r"scale_factor: 0.5 would change the pixels"):
            open_grid(settings)

    def test_labels_are_indexed_by_x_and_y_alone(self, tmp_path: Path) -> None:
        labels = voxels(range(7, 8), range(20), range(30), dtype="uint32")[0]
        assert labels.max() > 65535
        write_hdf5(tmp_path / "plane_007.h5", cell=labels.T)
        settings = series_settings(tmp_path, axes="xy", grid=grid((0, 30), (0, 20), (7, 8)))
        assert check_frames(settings, dtype="uint32") == 4

    def test_a_lost_file_is_refused_when_its_slice_is_read(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "plane_003.h5").unlink()
        settings = series_settings(tmp_path, channel_index=0, grid=grid((0, 16), (0, 16), (2, 5)))
        with open_grid(settings) as reader:
            frames = list(reader.frames())
            assert reader.read(frames[0]).any()
            with pytest.raises(CorruptSource, match=r"plane_003.h5: does not exist"):
                reader.read(frames[1])
            assert reader.read(frames[2]).any()
        told: JSONObject = {"dtype": "uint16", "colors": 1}
        (tmp_path / "plane_002.h5").unlink()
        with open_grid({**settings, **told}) as reader:  # a worker learns the type from the job
            assert reader.read(list(reader.frames())[2]).any()

    def test_a_slice_of_another_size_or_length_is_refused(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        write_hdf5(tmp_path / "plane_003.h5", cell=np.zeros((3, 16, 20, 2), "uint16"))
        write_hdf5(tmp_path / "plane_004.h5", cell=np.zeros((1, 30, 20, 2), "uint16"))
        settings = series_settings(
            tmp_path, channel_index=0, grid=grid((0, 30), (0, 20), (2, 5), t=(2, 3), tile=32)
        )
        with open_grid(settings) as reader:
            _, narrow, short = reader.frames()
            with pytest.raises(CorruptSource, match=r"x \[0, 30\), there is x \[0, 16\)"):
                reader.read(narrow)
            with pytest.raises(CorruptSource, match="holds 1 timepoints, tile row 0"):
                reader.read(short)

    def test_a_slice_of_another_type_is_refused(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        write_hdf5(tmp_path / "plane_003.h5", cell=np.zeros((3, 30, 20, 2), "uint8"))
        settings = series_settings(
            tmp_path, channel_index=0, grid=grid((0, 30), (0, 20), (2, 4), tile=32)
        )
        with (
            open_grid(settings) as reader,
            pytest.raises(CorruptSource, match=r"plane_003.h5: tile .* uint8, not .* uint16"),
        ):
            reader.read(list(reader.frames())[1])


def test_few_files_are_open_and_one_that_is_read_stays_open(tmp_path: Path) -> None:
    paths = [write_hdf5(tmp_path / f"{n}.h5", vol=whole((1, 4, 4))) for n in range(5)]
    files = Hdf5Files(most_open=2)
    with files.dataset(paths[0], "vol") as first:
        for path in paths[1:]:
            with files.dataset(path, "vol") as other:
                assert other[0, 0, 0] == first[0, 0, 0]
        assert len(files._files) == 2
    files.close()
    files.close()
    with pytest.raises(ValueError, match="was closed"), files.dataset(paths[0], "vol"):
        pass
