"""Grids: which frame is which box, by arithmetic that holds for any size."""

from __future__ import annotations

import time
import tracemalloc
from itertools import islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import ConfigError
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import TileGrid, grid_of

GIANT = TileGrid((0, 61_952), (0, 46_592), (0, 2156), (0, 1), 512, 512, depth=16)
EXTENTS = st.tuples(st.integers(0, 40), st.integers(1, 25)).map(lambda p: (p[0], sum(p)))
GRIDS = st.builds(
    TileGrid,
    x=EXTENTS,
    y=EXTENTS,
    z=EXTENTS,
    t=st.tuples(st.integers(0, 5), st.integers(1, 2)).map(lambda p: (p[0], sum(p))),
    tile_width=st.integers(1, 12),
    tile_height=st.integers(1, 12),
    depth=st.integers(1, 7),
)


def test_frames_are_ordered_by_time_block_row_column_and_slice() -> None:
    grid = TileGrid((0, 20), (0, 10), (0, 3), (0, 2), 10, 10, depth=2)
    found = [(b.t, b.z, b.row, b.column) for b in grid.frames_between(0, grid.nbr_frames)]
    assert found[:6] == [
        (0, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 0, 1),
        (0, 1, 0, 1),
        (0, 2, 0, 0),
        (0, 2, 0, 1),
    ]
    assert [place[0] for place in found] == [0] * 6 + [1] * 6


def test_the_last_row_and_column_are_cut_off_where_the_extent_ends() -> None:
    grid = TileGrid((0, 1000), (0, 700), (0, 1), (0, 1), 512, 512)
    boxes = list(grid.frames_between(0, 4))
    assert [(b.y0, b.y1, b.x0, b.x1) for b in boxes] == [
        (0, 512, 0, 512),
        (0, 512, 512, 1000),
        (512, 700, 0, 512),
        (512, 700, 512, 1000),
    ]
    assert (grid.heights, grid.widths) == ({512, 188}, {512, 488})


def test_tiles_follow_each_other_from_the_start_wherever_it_lies() -> None:
    grid = TileGrid((100, 1124), (700, 1212), (5, 6), (0, 1), 512, 512)
    boxes = list(grid.frames_between(0, grid.nbr_frames))
    assert [(b.row, b.column, b.y0, b.x0) for b in boxes] == [(1, 0, 700, 100), (1, 1, 700, 612)]
    assert [grid.position(b) for b in boxes] == [0, 1]


def test_blocks_of_slices_begin_at_multiples_of_the_depth() -> None:
    grid = TileGrid((0, 1), (0, 1), (5, 21), (0, 1), 1, 1, depth=16)
    assert list(grid.portions(100, 1000, 1)) == [(0, 11), (11, 5)]


@given(GRIDS)
def test_every_tile_of_every_slice_is_one_frame(grid: TileGrid) -> None:
    boxes = list(grid.frames_between(0, grid.nbr_frames))
    places = [(b.t, b.z, grid.position(b)) for b in boxes]
    every = product(range(*grid.t), range(*grid.z), range(grid.nbr_positions))
    assert sorted(places) == list(every)
    assert len(places) == grid.nbr_frames
    assert {b.height for b in boxes} == grid.heights
    assert {b.width for b in boxes} == grid.widths


@given(GRIDS)
def test_the_boxes_of_a_slice_cover_its_extent_once(grid: TileGrid) -> None:
    boxes = grid.frames_between(0, grid.nbr_frames)
    first = [b for b in boxes if (b.t, b.z) == (grid.t[0], grid.z[0])]
    seen = [(y, x) for b in first for y in range(b.y0, b.y1) for x in range(b.x0, b.x1)]
    assert sorted(seen) == list(product(range(*grid.y), range(*grid.x)))


@given(GRIDS, st.integers(1, 40), st.integers(1, 400), st.integers(1, 50))
def test_portions_hold_every_frame_once_and_no_more_than_they_may(
    grid: TileGrid, most_frames: int, most_bytes: int, frame_bytes: int
) -> None:
    first = 0
    for start, count in grid.portions(most_frames, most_bytes, frame_bytes):
        assert start == first
        assert 1 <= count <= max(1, min(most_frames, most_bytes // frame_bytes))
        boxes = list(grid.frames_between(start, start + count))
        assert len({(b.t, b.z // grid.depth) for b in boxes}) == 1, "crosses a block"
        first += count
    assert first == grid.nbr_frames


@given(GRIDS, st.integers(1, 60))
def test_a_tile_is_not_divided_between_portions_where_it_fits(grid: TileGrid, most: int) -> None:
    for start, count in grid.portions(most, 10**9, 1):
        boxes = list(grid.frames_between(start, start + count))
        z = {b.z for b in boxes}
        block = [n for n in range(*grid.z) if n // grid.depth == boxes[0].z // grid.depth]
        assert len(z) == len(block) or len(block) > most


def test_a_giant_volume_costs_nothing_until_it_is_asked_for() -> None:
    tracemalloc.start()
    began = time.perf_counter()
    assert GIANT.nbr_frames == 121 * 91 * 2156 == 23_739_716
    last = GIANT.box(GIANT.nbr_frames - 1)
    assert last == Box(0, 2155, 90, 120, 46_080, 46_592, 61_440, 61_952)
    assert list(islice(GIANT.portions(256, 64 * 2**20, 512 * 512), 2)) == [(0, 256), (256, 256)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert time.perf_counter() - began < 1


def test_the_giant_volume_has_as_many_portions_as_sixteen_slices_of_sixteen_tiles_make() -> None:
    count = sum(1 for _ in GIANT.portions(256, 64 * 2**20, 512 * 512))
    full_blocks, tiles = divmod(2156, 16)[0], 121 * 91
    assert count == full_blocks * -(-tiles // 16) + -(-tiles // (256 // 12))


def test_what_is_not_in_the_grid_is_no_frame() -> None:
    grid = TileGrid((0, 1), (0, 1), (0, 1), (0, 1), 1, 1)
    for index in (-1, 1):
        with pytest.raises(IndexError, match="1 frames"):
            grid.box(index)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"x": (512, 0)}, r"grid: x: \[512, 0\] ends before it begins"),
        ({"y": (-5, 10)}, r"grid: y: \[-5, 10\] starts below 0"),
        ({"z": (7, 7)}, r"grid: z: \[7, 7\] is empty"),
        ({"t": (0, 2**31)}, "grid: t: .* ends beyond"),
        ({"tile_width": 0}, "grid: tile width: must be from 1"),
        ({"tile_height": -512}, "grid: tile height: must be from 1"),
        ({"depth": 0}, "grid: depth: must be from 1"),
        ({"x": (0, 2**20), "y": (0, 2**20), "tile_width": 1, "tile_height": 1}, "too many"),
    ],
)
def test_extents_and_sizes_that_mean_nothing_are_refused_by_name(
    wrong: dict[str, object], told: str
) -> None:
    right = {"x": (0, 9), "y": (0, 9), "z": (0, 9), "t": (0, 1), "tile_width": 3, "tile_height": 3}
    with pytest.raises(ConfigError, match=told):
        TileGrid(**{**right, **wrong})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        TileGrid((9, 0), (0, 9), (3, 3), (0, 1), 0, 1)
    assert len(refused.value.problems) == 3


def test_starts_between_tiles_are_refused_with_the_nearest_that_are_right() -> None:
    grid = TileGrid((100, 1124), (512, 1024), (0, 1), (0, 1), 512, 512)
    with pytest.raises(ConfigError, match=r"x: starts at 100, .*\(512\): 0 or 512"):
        grid.check_aligned()
    grid.check_aligned("y")


def test_a_grid_is_read_back_from_the_json_that_it_writes() -> None:
    assert grid_of({"grid": GIANT.to_json()}) == GIANT
    short = grid_of({"grid": {"x": [0, 9], "y": [0, 8], "z": [0, 7], "tile": [3, 2]}})
    assert short == TileGrid((0, 9), (0, 8), (0, 7), (0, 1), 3, 2)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"x": [0, 1, 2]}, r"grid: x: must be two whole numbers \[a, b\], found \[0, 1, 2\]"),
        ({"x": []}, "grid: x"),
        ({"y": None}, "grid: y"),
        ({"z": [0, 2.0]}, "grid: z"),
        ({"t": [False, True]}, "grid: t"),
        ({"tile": 512}, "grid: tile"),
        ({"depth": "deep"}, "grid: depth"),
        ({"Z": [0, 2]}, r"grid: Z: unknown key \(did you mean 'z'\?\)"),
    ],
)
def test_json_that_is_no_grid_is_refused_by_key(wrong: dict[str, object], told: str) -> None:
    right = {"x": [0, 9], "y": [0, 9], "z": [0, 9], "tile": [3, 3]}
    with pytest.raises(ConfigError, match=told):
        grid_of({"grid": {**right, **wrong}})  # type: ignore[dict-item]


def test_settings_without_a_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="grid: must be an object"):
        grid_of({"kind": "tile_files"})
