"""Folders that describe themselves: extent, tile and type found from names and a few headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging_db.errors import ConfigError, CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.grid.folders import grid_from_folder
from imaging_db.readers.grid.kinds import open_grid
from tests.support.made_tiles import pixels_at, plane_at, tile_settings, write_image, write_tiles


def check_every_frame(settings: JSONObject, dtype: str) -> None:
    with open_grid(settings) as reader:
        for frame in reader.frames():
            expected = pixels_at(reader.grid.box(frame.index), dtype)
            assert np.array_equal(reader.read(frame), expected)


@pytest.mark.parametrize(
    ("pattern", "dtype"),
    [
        ("{z}/{row}_{col}.png", "uint8"),
        ("t{t:02}/z{z+7}_{row:03}{col:03}.tif", "uint32"),
        ("{z:04}_{y}_{x}.png", "uint16"),
    ],
)
def test_a_folder_tells_its_extent_its_tiles_and_their_type(
    tmp_path: Path, pattern: str, dtype: str
) -> None:
    t = [2, 4] if "{t" in pattern else [0, 1]
    written = tile_settings(tmp_path, pattern, x=[8, 31], y=[8, 20], z=[5, 7], t=t)
    grid = write_tiles(written, dtype=dtype)
    found = grid_from_folder(tmp_path, pattern)
    assert found["grid"] == grid.to_json()
    assert (found["dtype"], found["colors"], found["notes"]) == (dtype, 1, [])
    check_every_frame(found, dtype)


def test_whole_tiles_at_the_edge_make_a_whole_extent(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path), whole=True)
    found = grid_from_folder(tmp_path, "{z}/{row}_{col}.png")
    assert found["grid"]["x"] == [0, 32]  # type: ignore[index,call-overload]
    assert found["grid"]["y"] == [0, 24]  # type: ignore[index,call-overload]


def test_pixel_positions_that_begin_between_tiles_are_found(tmp_path: Path) -> None:
    written = tile_settings(tmp_path, "{z}/{y}_{x}.png", x=[3, 30], y=[1, 18])
    grid = write_tiles(written)
    assert grid_from_folder(tmp_path, "{z}/{y}_{x}.png")["grid"] == grid.to_json()


def test_a_folder_of_planes_is_one_tile_a_slice_or_cut_into_tiles(tmp_path: Path) -> None:
    for z in range(3):
        write_image(tmp_path / f"{z:03}.tif", plane_at(40, 30, z=z, dtype="uint16"))
    whole = grid_from_folder(tmp_path, "{z:03}.tif")
    assert whole["grid"]["tile"] == [40, 30]  # type: ignore[index,call-overload]
    check_every_frame(whole, "uint16")
    tiles = grid_from_folder(tmp_path, "{z:03}.tif", tile=(16, 8))
    assert tiles["kind"] == "plane_files"
    assert tiles["grid"]["x"] == [0, 40]  # type: ignore[index,call-overload]
    check_every_frame(tiles, "uint16")


def test_other_fields_have_the_values_that_are_given(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path, "{z}/{row}_{col}_0.png"))
    write_tiles(tile_settings(tmp_path, "{z}/{row}_{col}_1.png", x=[0, 8], y=[0, 8]))
    found = grid_from_folder(tmp_path, "{z}/{row}_{col}_{level}.png", values={"level": 0})
    assert found["values"] == {"level": 0}
    assert found["notes"] == ["2 files of other names left out: 0/0_0_1.png, 1/0_0_1.png"] or (
        found["notes"] == ["2 files of other names left out: 1/0_0_1.png, 0/0_0_1.png"]
    )
    check_every_frame(found, "uint8")


def test_missing_tiles_are_named_and_counted(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path))
    (tmp_path / "0" / "1_2.png").unlink()
    (tmp_path / "1" / "2_0.png").unlink()
    with pytest.raises(CorruptSource) as refused:
        grid_from_folder(tmp_path, "{z}/{row}_{col}.png")
    assert refused.value.cause == "2 of 24 tiles are missing: 0/1_2.png, 1/2_0.png"


def test_of_many_missing_tiles_the_first_are_named(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path))
    for path in sorted((tmp_path / "0").glob("1_*.png")) + sorted((tmp_path / "1").glob("1_*.png")):
        path.unlink()
    with pytest.raises(CorruptSource, match=r"8 of 24 tiles are missing: 0/1_0.png, .*, ...;"):
        grid_from_folder(tmp_path, "{z}/{row}_{col}.png")


def test_a_folder_where_no_name_matches_is_refused(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path))
    with pytest.raises(CorruptSource, match=r"no file has a name such as .*, 24 have others"):
        grid_from_folder(tmp_path, "{z}/{row}_{col}.tif")
    with pytest.raises(ReaderError, match="absent: cannot be listed"):
        grid_from_folder(tmp_path / "absent", "{z}.tif")


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("0/0_3.png", (6, 8), "is 6 x 8 pixels, 7 x 8 are expected"),
        ("0/2_0.png", (8, 5), "is 8 x 5 pixels, 8 x 4 are expected"),
        ("1/0_0.png", (9, 8), "is 9 x 8 pixels, 8 x 8 are expected"),
        ("0/2_3.png", (9, 4), "is 9 x 4 pixels, 8 x 8 are expected"),
    ],
)
def test_corners_whose_sizes_do_not_fit_together_are_refused(
    tmp_path: Path, name: str, size: tuple[int, int], told: str
) -> None:
    write_tiles(tile_settings(tmp_path))
    write_image(tmp_path / name, plane_at(*size))
    with pytest.raises(UnsupportedFormat, match=told):
        grid_from_folder(tmp_path, "{z}/{row}_{col}.png")


def test_corners_of_two_types_are_refused(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path))
    write_image(tmp_path / "1" / "2_3.png", plane_at(7, 4, dtype="uint16"))
    with pytest.raises(UnsupportedFormat, match="holds uint16, not uint8"):
        grid_from_folder(tmp_path, "{z}/{row}_{col}.png")


def test_tiles_that_do_not_lie_side_by_side_are_refused(tmp_path: Path) -> None:
    for x in (0, 8, 20):
        write_image(tmp_path / f"0_{x}.png", plane_at(8, 8))
    with pytest.raises(UnsupportedFormat, match="begin at x 0 and 20: not side by side"):
        grid_from_folder(tmp_path, "{y}_{x}.png")


def test_a_tile_size_is_not_for_names_that_tell_tiles(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tell tiles already"):
        grid_from_folder(tmp_path, "{row}_{col}.png", tile=(8, 8))


def test_a_folder_in_place_of_a_tile_is_named_as_a_missing_one(tmp_path: Path) -> None:
    write_tiles(tile_settings(tmp_path))
    (tmp_path / "0/1_1.png").unlink()
    (tmp_path / "0/1_1.png").mkdir()
    with pytest.raises(CorruptSource, match=r"tiles are missing: 0/1_1\.png"):
        grid_from_folder(tmp_path, "{z}/{row}_{col}.png")


def test_a_link_that_leads_to_itself_is_a_tile_that_cannot_be_read(tmp_path: Path) -> None:
    grid = write_tiles(tile_settings(tmp_path))
    (tmp_path / "0/1_1.png").unlink()
    (tmp_path / "0/1_1.png").symlink_to("1_1.png")
    with open_grid(grid_from_folder(tmp_path, "{z}/{row}_{col}.png")) as reader:
        failed = []
        for frame in reader.frames():
            try:
                reader.read(frame)
            except ReaderError as error:
                failed.append(str(error))
        assert len(list(reader.frames())) == grid.nbr_frames
    assert len(failed) == 1
    assert "1_1.png" in failed[0]
