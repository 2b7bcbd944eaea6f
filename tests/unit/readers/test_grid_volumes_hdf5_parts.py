"""Volumes in many HDF5 files: slices that say where they lie, chunks that their names place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging_db.errors import ConfigError, CorruptSource
from imaging_db.model import JSONObject
from imaging_db.readers.grid.kinds import open_grid
from tests.support.made_volumes import check_frames, cut_off, grid, voxels, write_hdf5

h5py = pytest.importorskip("h5py")


def slices_settings(root: Path, **more: Any) -> JSONObject:
    names: JSONObject = {"root": str(root), "base_filename": "<o:10p:4>", "extension": "hdf5"}
    data: JSONObject = {"data_name": "img", "offset_name": "offset", "extent_name": "extent"}
    return {"kind": "hdf5_slices", **names, **data, **more}


def chunks_settings(root: Path, **more: Any) -> JSONObject:
    names: JSONObject = {"root": str(root), "prefix": "vol", "extension": "h5", "data_name": "main"}
    sizes: JSONObject = {"x_chunk_size": 16, "y_chunk_size": 8, "z_chunk_size": 4}
    return {"kind": "hdf5_chunks", **names, **sizes, **more}


class TestSlices:
    def make(
        self, root: Path, z: int, y: range, x: range, origin: tuple[int, int] = (0, 0)
    ) -> Path:
        return write_hdf5(
            root / f"{z + 10:04}.hdf5",
            img=voxels(range(z, z + 1), y, x)[0],
            offset=np.array([y.start - origin[0], x.start - origin[1]]),
            extent=np.array([len(y), len(x)]),
        )

    def test_each_axis_has_its_own_origin(self, tmp_path: Path) -> None:
        for z in range(2):
            self.make(tmp_path, z, range(100, 140), range(30, 90), origin=(100, 7))
        settings = slices_settings(
            tmp_path,
            offset_origin_y=100,
            offset_origin_x=7,
            grid=grid((32, 90), (104, 140), (0, 2)),
        )
        assert check_frames(settings) == 2 * 3 * 4

    def test_a_tile_that_is_not_wholly_there_is_refused(self, tmp_path: Path) -> None:
        self.make(tmp_path, 0, range(5, 25), range(0, 32))
        with (
            open_grid(slices_settings(tmp_path, grid=grid((0, 32), (0, 32), (0, 1)))) as reader,
            pytest.raises(
                CorruptSource, match=r"0010.hdf5: img: .* y \[0, 16\), there is y \[5, 25\)"
            ),
        ):
            reader.read(next(reader.frames()))

    def test_with_fill_what_is_not_there_has_that_value(self, tmp_path: Path) -> None:
        self.make(tmp_path, 0, range(5, 25), range(3, 30))
        expected = np.full((48, 48), 9, "uint16")
        expected[5:25, 3:30] = voxels(range(1), range(5, 25), range(3, 30))[0]
        settings = slices_settings(tmp_path, fill=9, grid=grid((0, 48), (0, 48), (0, 1)))
        with open_grid(settings) as reader:
            assert "pixels that no file holds are 9" in reader.acquisition.notes[0]
            for frame in reader.frames():
                y, x = int(str(frame.metadata["y"])), int(str(frame.metadata["x"]))
                here = expected[y : y + 16, x : x + 16]
                np.testing.assert_array_equal(reader.read(frame), here)

    @pytest.mark.parametrize("fill", [-1, 65536, 0.5])
    def test_a_fill_that_is_no_pixel_is_refused(self, tmp_path: Path, fill: float) -> None:
        self.make(tmp_path, 0, range(16), range(16))
        settings = slices_settings(tmp_path, fill=fill, grid=grid((0, 16), (0, 16), (0, 1)))
        with pytest.raises(ConfigError, match=r"fill: .* is no uint16"):
            open_grid(settings)

    def test_an_offset_must_be_two_whole_numbers(self, tmp_path: Path) -> None:
        path = self.make(tmp_path, 0, range(16), range(16))
        settings = slices_settings(tmp_path, grid=grid((0, 16), (0, 16), (0, 1)))
        for offset, said in (([0.5, 0.0], "are not whole numbers"), ([0], "holds 1 numbers")):
            with h5py.File(path, "r+") as file:
                del file["offset"]
                file["offset"] = offset
            with open_grid(settings) as reader, pytest.raises(CorruptSource, match=said):
                reader.read(next(reader.frames()))

    def test_an_extent_beyond_the_data_is_refused(self, tmp_path: Path) -> None:
        path = self.make(tmp_path, 0, range(16), range(16))
        with h5py.File(path, "r+") as file:
            file["extent"][...] = [16, 17]
        with (
            open_grid(slices_settings(tmp_path, grid=grid((0, 16), (0, 16), (0, 1)))) as reader,
            pytest.raises(CorruptSource, match=r"img is \(16, 16\), extent says \(16, 17\)"),
        ):
            reader.read(next(reader.frames()))


class TestChunks:
    def make(self, root: Path, *, shorter: int = 0, offset: int = 0) -> None:
        """20 x 20 x 10 voxels; the last chunks hold what is left."""
        for z0 in range(0, 10, 4):
            for y0 in range(0, 20, 8):
                for x0 in range(0, 20, 16):
                    sizes = ((x0, 16), (y0, 8), (z0, 4))
                    parts = [f"{a + offset}-{a + offset + n - shorter}" for a, n in sizes]
                    data = voxels(
                        range(z0, min(z0 + 4, 10)),
                        range(y0, min(y0 + 8, 20)),
                        range(x0, min(x0 + 16, 20)),
                    )
                    write_hdf5(root / f"vol_{'_'.join(parts)}.h5", main=data)

    @pytest.mark.parametrize("depth", [1, 4, 3])
    @pytest.mark.parametrize("tile", [8, 16, 32])
    def test_a_tile_may_be_part_of_a_chunk_or_several(
        self, tmp_path: Path, tile: int, depth: int
    ) -> None:
        self.make(tmp_path)
        here = grid((1, 20), (2, 20), (1, 10), tile=tile, depth=depth)
        assert check_frames(chunks_settings(tmp_path, grid=here)) == 9 * -(-19 // tile) * -(
            -18 // tile
        )

    def test_names_may_count_from_an_offset_and_tell_the_last_index(self, tmp_path: Path) -> None:
        self.make(tmp_path, shorter=1, offset=1)
        assert (tmp_path / "vol_1-16_9-16_5-8.h5").is_file()
        offsets: JSONObject = {"x_offset": 1, "y_offset": 1, "z_offset": 1}
        settings = chunks_settings(tmp_path, use_python_convention=False, **offsets)
        assert check_frames({**settings, "grid": grid((0, 20), (0, 20), (0, 10))}) == 40

    def test_a_lost_or_damaged_chunk_is_refused_and_not_black(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        (tmp_path / "vol_0-16_0-8_4-8.h5").unlink()
        cut_off(tmp_path / "vol_0-16_0-8_8-12.h5")
        settings = chunks_settings(tmp_path, grid=grid((0, 16), (0, 8), (0, 10)))
        with open_grid(settings) as reader:
            frames = list(reader.frames())
            assert reader.read(frames[3]).any()
            with pytest.raises(CorruptSource, match=r"vol_0-16_0-8_4-8.h5: does not exist"):
                reader.read(frames[4])
            with pytest.raises(CorruptSource, match=r"vol_0-16_0-8_8-12.h5: cannot be read"):
                reader.read(frames[8])

    def test_every_wrong_key_is_told_at_once(self, tmp_path: Path) -> None:
        settings = chunks_settings(tmp_path, use_python_convention="yes", x_chunk_size=0)
        del settings["z_chunk_size"]
        with pytest.raises(ConfigError) as told:
            open_grid({**settings, "grid": grid((0, 1), (0, 1), (0, 1))})
        wrong = {problem.split(": ")[1] for problem in told.value.problems}
        assert wrong == {"use_python_convention", "x_chunk_size", "z_chunk_size"}

    def test_a_grid_beyond_the_last_chunk_is_refused(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        settings = chunks_settings(tmp_path, grid=grid((16, 24), (0, 8), (0, 1)))
        with (
            open_grid(settings) as reader,
            pytest.raises(
                CorruptSource, match=r"main is \(4, 8, 4\) uint16, tile .* needs \[0:1, 0:8, 0:8\]"
            ),
        ):
            reader.read(next(reader.frames()))
