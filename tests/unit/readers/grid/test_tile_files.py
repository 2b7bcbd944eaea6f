"""Tiles that are files: each frame is the pixels of its place, or refused by file and tile."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db.errors import ConfigError, CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import FrameCoords, JSONObject
from imaging_db.readers import registry
from imaging_db.readers.base import IndexedReader, Match, ReaderOptions, ReaderSpec, ReadLimits
from imaging_db.readers.grid.kinds import KINDS, SPEC, open_grid
from imaging_db.testing.reader_contract import ReaderContract
from tests.support.made_tiles import pixels_at, plane_at, tile_settings, write_image, write_tiles


class TestContract(ReaderContract):
    """What every reader promises; a grid is described, so nothing is to be sniffed."""

    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return SPEC

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        write_tiles(tile_settings(tmp_path), dtype="uint16")
        return tmp_path

    @pytest.fixture
    def options(self, source: Path) -> ReaderOptions:
        return ReaderOptions(settings=tile_settings(source))

    def test_sniffing_knows_the_source_and_changes_nothing(
        self, spec: ReaderSpec, source: Path
    ) -> None:
        assert spec.sniff(source) is Match.NO

    def test_what_is_not_there_is_refused_by_name(
        self, spec: ReaderSpec, options: ReaderOptions, tmp_path: Path
    ) -> None:
        (tmp_path / "0" / "0_0.png").unlink()
        with pytest.raises(ReaderError, match=r"0_0.png"):
            spec.open(tmp_path, options)

    def test_a_refused_source_leaves_no_file_open(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        with pytest.raises(ReaderError, match="limit"):
            spec.open(source, with_limit(options, 1))

    def test_frames_above_the_limit_are_refused_before_they_are_read(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        spec.open(source, with_limit(options, 8 * 8 * 2)).close()
        with pytest.raises(ReaderError, match="a tile has 128 bytes, the limit is 127"):
            spec.open(source, with_limit(options, 8 * 8 * 2 - 1))


def with_limit(options: ReaderOptions, most: int) -> ReaderOptions:
    return ReaderOptions(limits=ReadLimits(max_frame_bytes=most), settings=options.settings)


def check_every_frame(settings: JSONObject, dtype: str = "uint8", colors: int = 1) -> None:
    """Every frame of the source is what lies in its box."""
    with open_grid(settings) as reader:
        for frame in reader.frames():
            expected = pixels_at(reader.grid.box(frame.index), dtype, colors=colors)
            found = reader.read(frame)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected), frame.source.path


@pytest.mark.parametrize(
    ("pattern", "dtype"),
    [
        ("{z}/{row}_{col}.png", "uint8"),
        ("{z:04}/{row:03}/{col:03}.png", "uint16"),
        ("{t:03}/{z:02}/{y}/{x}.tif", "uint32"),
        ("t{t}z{z+1}r{row}c{col}.tif", "float64"),
        ("{z}_{y}_{x}.tiff", "uint64"),
    ],
)
@pytest.mark.parametrize("whole", [False, True], ids=["cut off at the edge", "whole at the edge"])
def test_every_frame_is_the_pixels_of_its_place(
    tmp_path: Path, pattern: str, dtype: str, whole: bool
) -> None:
    t = [3, 5] if "{t" in pattern else [3, 4]
    settings = tile_settings(tmp_path, pattern, x=[16, 31], y=[8, 20], z=[5, 7], t=t)
    write_tiles(settings, dtype=dtype, whole=whole)
    check_every_frame(settings, dtype)


def test_colours_and_values_of_other_fields(tmp_path: Path) -> None:
    written = tile_settings(tmp_path, "{z}/{row}_{col}_0.png")
    write_tiles(written, colors=3)
    settings: JSONObject = {
        **tile_settings(tmp_path, "{z}/{row}_{col}_{resolution}.{ft}"),
        "values": {"resolution": 0, "ft": "png"},
    }
    check_every_frame(settings, colors=3)


def test_pixel_positions_may_begin_anywhere(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path, "{z}/{y}_{x}.png", x=[3, 30], y=[1, 18])
    write_tiles(settings)
    check_every_frame(settings)


def test_what_is_told_of_a_frame(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path, x=[16, 31], y=[8, 20], z=[5, 7])
    write_tiles(settings)
    with open_grid({**settings, "channel": "EM"}) as reader:
        frame = list(reader.frames())[-1]
        told = reader.acquisition
    assert frame.coords == FrameCoords(channel=0, slice=6, timepoint=0, position=3)
    assert (frame.channel_name, frame.position_name) == ("EM", "r0002c0003")
    assert frame.metadata == {"row": 2, "column": 3, "x": 24, "y": 16, "z": 6, "t": 0}
    assert frame.shape == (4, 7)
    assert frame.source.path == tmp_path / "6" / "2_3.png"
    assert (told.height, told.width, told.dtype, told.colors) == (None, None, "uint8", 1)
    assert told.position_names == ("r0001c0002", "r0001c0003", "r0002c0002", "r0002c0003")


def test_what_settings_say_of_the_acquisition(tmp_path: Path) -> None:
    settings: JSONObject = {
        **tile_settings(tmp_path, x=[0, 16], y=[0, 16]),
        "metadata": {"boss": {"collection": "kasthuri"}},
        "notes": ["two sections were lost"],
        "pixel_size_um": [0.004, 0.005],
        "z_step_um": 0.03,
        "time_interval_s": 2,
    }
    write_tiles(settings)
    with open_grid(settings) as reader:
        told = reader.acquisition
    assert (told.height, told.width) == (8, 8)
    assert (told.pixel_size_x_um, told.pixel_size_y_um, told.z_step_um) == (0.004, 0.005, 0.03)
    assert told.time_interval_s == 2
    assert told.metadata["boss"] == {"collection": "kasthuri"}
    assert told.metadata["source"]["pattern"] == "{z}/{row}_{col}.png"  # type: ignore[index,call-overload]
    assert told.notes == ("two sections were lost",)


def test_any_frame_is_given_by_its_number(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path)
    write_tiles(settings)
    with open_grid(settings) as reader:
        assert isinstance(reader, IndexedReader)
        frames = list(reader.frames())
        assert list(reader.frames_between(7, 11)) == frames[7:11]
        assert list(reader.portions(5, 10**6)) == [
            (0, 5),
            (5, 5),
            (10, 2),
            (12, 5),
            (17, 5),
            (22, 2),
        ]
        assert list(reader.portions(256, 3 * 64)) == [(n, 3) for n in range(0, 24, 3)]
        assert [frame.index for frame in reader.sample(4)] == [0, 7, 15, 23]
        assert [frame.index for frame in reader.sample(1)] == [0]
        assert [frame.index for frame in reader.sample(100)] == list(range(24))
        assert reader.frame_bytes == 64


def test_settings_with_type_and_colours_are_enough_to_open_without_a_file(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path)
    write_tiles(settings, dtype="uint16")
    with open_grid(settings) as reader:
        completed = reader.settings
    assert (completed["dtype"], completed["colors"]) == ("uint16", 1)
    (tmp_path / "0" / "0_0.png").unlink()
    with open_grid(completed) as reader:
        frames = list(reader.frames())
        assert reader.read(frames[1]).dtype == np.uint16
        with pytest.raises(CorruptSource, match=r"0_0.png: cannot be opened"):
            reader.read(frames[0])


def first_tile_is(path: Path, pixels: np.ndarray) -> ReaderError:
    """Return what a source of uint8 says of its first tile once it holds these pixels."""
    settings = {**tile_settings(path), "dtype": "uint8"}
    write_tiles(settings)
    write_image(path / "0" / "0_0.png", pixels)
    with open_grid(settings) as reader, pytest.raises(ReaderError) as refused:
        reader.read(next(reader.frames()))
    return refused.value


def test_a_tile_of_another_type_is_refused(tmp_path: Path) -> None:
    error = first_tile_is(tmp_path, plane_at(8, 8, dtype="uint16"))
    assert str(error) == f"{tmp_path / '0' / '0_0.png'}: holds uint16, not uint8"


def test_a_tile_in_colours_is_refused_among_grey_ones(tmp_path: Path) -> None:
    error = first_tile_is(tmp_path, plane_at(8, 8, colors=3))
    assert "holds uint8 in 3 colours, not uint8" in str(error)


@pytest.mark.parametrize("size", [(7, 8), (8, 9), (16, 16), (1, 1)])
def test_a_tile_of_another_size_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    error = first_tile_is(tmp_path, plane_at(*size))
    told = f"is {size[0]} x {size[1]} pixels, tile row 0 column 0 z 0 t 0 must be 8 x 8"
    assert told in str(error)


def test_a_tile_of_the_edge_is_whole_or_ends_with_the_extent(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path)
    write_tiles(settings)
    write_image(tmp_path / "0" / "2_3.png", plane_at(6, 4))
    with open_grid(settings) as reader:
        frame = list(reader.frames())[11]
        with pytest.raises(UnsupportedFormat, match="must be 7 x 4 or 8 x 8"):
            reader.read(frame)


def test_a_tile_that_is_cut_off_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path)
    write_tiles(settings)
    path = tmp_path / "0" / "0_1.png"
    path.write_bytes(path.read_bytes()[:-20])
    with open_grid(settings) as reader:
        frames = list(reader.frames())
        with pytest.raises(CorruptSource, match=r"0_1.png: the PNG is cut off"):
            reader.read(frames[1])
        assert np.array_equal(reader.read(frames[2]), pixels_at(reader.grid.box(2)))


def test_jpeg_is_read_and_noted(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path, "{z}/{row}_{col}.jpg")
    write_tiles(settings)
    with open_grid(settings) as reader:
        assert reader.acquisition.notes == (
            "the source is JPEG, which is lossy: kept as it decodes",
        )
        assert reader.read(next(reader.frames())).shape == (8, 8)


def test_extents_that_begin_between_tiles_are_refused_where_names_hold_the_index(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"x: starts at 3, .*: 0 or 8"):
        open_grid(tile_settings(tmp_path, x=[3, 30]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "tiles"}, "unknown kind of source 'tiles'; known: tile_files, "),
        ({"kind": None}, "unknown kind of source"),
        ({"root": None}, "tile_files source: root: is required"),
        ({"root": "/nowhere/at/all"}, "root: /nowhere/at/all is not a folder"),
        ({"pattern": None}, "tile_files source: pattern: is required"),
        ({"pattern": "{row}_{col}.png"}, "does not tell z"),
        ({"pattern": "{z}/{col}.png"}, "does not tell row or y"),
        ({"pattern": "{z:01}{row:01}_{col}_{z-1}.png"}, "below 0"),
        ({"patern": "x"}, r"patern: unknown key \(did you mean 'pattern'\?\)"),
        ({"values": [1]}, "values: must be an object"),
        ({"channel": ""}, "channel: must be a text"),
        ({"dtype": "uint9"}, "dtype: 'uint9' is no type of pixels"),
        ({"dtype": "object"}, "dtype: 'object' is no type of pixels"),
        ({"colors": 0}, "colors: must be a whole number from 1"),
        ({"metadata": 1}, "metadata: must be an object"),
        ({"notes": "x"}, "notes: must be a list"),
        ({"pixel_size_um": [1]}, "pixel_size_um: must be two numbers"),
        ({"pixel_size_um": [0, 1]}, "pixel_size_um: must be above 0"),
        ({"z_step_um": math.nan}, "z_step_um: must be above 0"),
        ({"time_interval_s": "1"}, "time_interval_s: must be a number"),
    ],
)
def test_settings_that_are_wrong_are_refused_by_key(
    tmp_path: Path, change: JSONObject, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        open_grid({**tile_settings(tmp_path), **change})


def test_settings_that_say_another_type_than_the_files_are_refused(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path)
    write_tiles(settings)
    with (
        open_grid({**settings, "dtype": "uint16"}) as reader,
        pytest.raises(UnsupportedFormat, match="holds uint8, not uint16"),
    ):
        reader.read(next(reader.frames()))


def test_a_grid_is_only_opened_by_its_description(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="settings that describe it; use imaging-db ingest"):
        registry.get("grid").open(tmp_path, ReaderOptions())


def test_options_with_settings_can_be_hashed_and_compared(tmp_path: Path) -> None:
    one, other = (ReaderOptions(settings=tile_settings(tmp_path, z=[0, n])) for n in (1, 2))
    assert hash(one) == hash(other)
    assert one != other


def test_hints_of_what_is_read_leave_out_what_must_be_described(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match=r"readers: ome_tiff, tif_folder, tif_id, ndtiff$"):
        registry.find(tmp_path)


def test_every_kind_has_a_place() -> None:
    assert {place.partition(":")[2] for place in KINDS.values()} == {"open_source"}


def test_a_tiff_tile_with_a_thumbnail_is_one_image(tmp_path: Path) -> None:
    settings = tile_settings(tmp_path, "{z}/{row}_{col}.tif", x=[0, 8], y=[0, 8], z=[0, 1])
    write_tiles(settings)
    with tifffile.TiffWriter(tmp_path / "0" / "0_0.tif") as tif:
        tif.write(plane_at(8, 8))
        tif.write(plane_at(4, 4), subfiletype=1)
    check_every_frame(settings)
