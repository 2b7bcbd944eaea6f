"""What volumes of every kind share: axes, blocks that are kept, grids that suit, packages that are missing."""

from __future__ import annotations

import errno
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import (
    ConfigError,
    CorruptSource,
    ImagingDBError,
    StoreUnavailable,
    UnsupportedFormat,
)
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.volumes_axes import axes_of
from imaging_db.readers.grid.volumes_blocks import LastBlocks
from imaging_db.readers.grid.volumes_errors import refusing
from imaging_db.readers.grid.volumes_found import grid_from_volume, suited_grid, volume_kind
from imaging_db.readers.grid.volumes_source import Held, VolumeSource, native
from tests.support.made_volumes import check_frames, grid, voxels, whole, write_hdf5


class Counted:
    """A volume in memory that begins at slice ``start`` and counts what is read of it."""

    def __init__(self, chunk: tuple[int, int, int] | None, *, start: int = 0) -> None:
        extent = {"t": (0, 1), "z": (start, start + 12), "y": (0, 16), "x": (0, 16)}
        self.held = Held("memory", "uint16", extent, chunk, chunk_start=start)
        self.slices: list[Range] = []

    def read(self, box: Box, z: Range) -> Any:
        self.slices.append(z)
        return voxels(range(*z), range(box.y0, box.y1), range(box.x0, box.x1))

    def origin(self, box: Box) -> PageRef:
        return PageRef(Path("memory"), box.z)

    def close(self) -> None:
        """Nothing is open."""


def read_all(source: VolumeSource, cells: TileGrid) -> None:
    for box in cells.frames_between(0, cells.nbr_frames):
        expected = voxels(range(box.z, box.z + 1), range(box.y0, box.y1), range(box.x0, box.x1))
        np.testing.assert_array_equal(source.read(box), expected[0])


@pytest.mark.parametrize(
    ("chunk", "start", "depth", "read"),
    [
        (None, 0, 4, [(z, z + 1) for z in range(12)]),
        ((1, 8, 8), 0, 4, [(z, z + 1) for z in range(12)]),
        ((4, 8, 8), 0, 1, [(z, z + 1) for z in range(12)]),
        ((4, 8, 8), 0, 4, [(0, 4), (4, 8), (8, 12)]),
        ((4, 8, 8), 0, 6, [(0, 4), (4, 6), (6, 8), (8, 12)]),
        ((5, 8, 8), 3, 20, [(3, 8), (8, 13), (13, 15)]),
    ],
)
def test_a_chunk_is_read_once_for_all_its_slices(
    chunk: tuple[int, int, int] | None, start: int, depth: int, read: list[Range]
) -> None:
    volume = Counted(chunk, start=start)
    cells = TileGrid((0, 16), (0, 16), (start, start + 12), (0, 1), 16, 16, depth)
    read_all(VolumeSource(volume, cells), cells)
    assert volume.slices == read


def test_a_part_of_the_slices_is_all_that_is_read() -> None:
    volume = Counted((4, 8, 8))
    cells = TileGrid((0, 16), (0, 16), (2, 7), (0, 1), 8, 16, 4)
    read_all(VolumeSource(volume, cells), cells)
    assert volume.slices == [(2, 4), (2, 4), (4, 7), (4, 7)]


def test_slices_that_are_stored_together_and_read_apart_are_noted() -> None:
    for depth, noted in ((1, 1), (4, 0)):
        cells = TileGrid((0, 16), (0, 16), (0, 12), (0, 1), 16, 16, depth)
        assert len(VolumeSource(Counted((4, 8, 8)), cells).notes) == noted


def test_a_source_describes_itself() -> None:
    source = VolumeSource(Counted((4, 8, 8)), TileGrid((0, 1), (0, 1), (0, 1), (0, 1), 1, 1))
    ends = {"x": [0, 16], "y": [0, 16], "z": [0, 12], "t": [0, 1]}
    assert source.describe() == {**ends, "dtype": "uint16", "chunk": [4, 8, 8]}


def test_without_room_slices_are_read_one_by_one() -> None:
    blocks = LastBlocks(most_bytes=100)
    made: list[int] = []

    def read() -> Any:
        made.append(1)
        return np.zeros(80, np.uint8)

    first = blocks.get("a", nbytes=80, read=read)
    assert blocks.get("a", nbytes=80, read=read) is first
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(blocks.get, "b", nbytes=80, read=read).result() is None
        assert pool.submit(blocks.get, "c", nbytes=20, read=read).result() is not None
        assert blocks.nbytes == 100
    assert blocks.get("d", nbytes=101, read=read) is None
    assert (
        blocks.get("e", nbytes=100, read=read) is not None
    )  # what the ended thread kept is forgotten
    blocks.forget()
    assert (blocks.nbytes, len(made)) == (0, 3)


def test_a_block_that_could_not_be_read_takes_no_room() -> None:
    blocks = LastBlocks(most_bytes=100)

    def fail() -> Any:
        raise CorruptSource("v.h5", "is damaged")

    for _ in range(2):
        with pytest.raises(CorruptSource):
            blocks.get("a", nbytes=100, read=fail)
        assert blocks.nbytes == 0


def test_threads_keep_a_block_each() -> None:
    blocks, gate = LastBlocks(), threading.Barrier(4, timeout=20)

    def work(number: int) -> bool:
        mine = np.full(10, number)
        kept = blocks.get(number, nbytes=mine.nbytes, read=lambda: mine)
        gate.wait()
        again = blocks.get(number, nbytes=mine.nbytes, read=lambda: np.zeros(10))
        gate.wait()
        return kept is mine and again is mine

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


@given(st.permutations("tczyx"), st.sets(st.sampled_from("tcz")))
def test_any_order_of_axes_gives_the_same_pixels(order: list[str], absent: set[str]) -> None:
    letters = "".join(letter for letter in order if letter not in absent)
    full = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    here = full[tuple(slice(0, 1) if letter in absent else slice(None) for letter in "tczyx")]
    stored = here.transpose(["tczyx".index(letter) for letter in order])
    stored = stored.reshape(
        [n for n, letter in zip(stored.shape, order, strict=True) if letter not in absent]
    )
    ranges = {"t": (1, 2), "c": (2, 3), "z": (1, 3), "y": (1, 5), "x": (2, 6)}
    axes = axes_of(letters)
    found = axes.to_zyx(stored[axes.cut(ranges)])
    t, c = (0 if "t" in absent else 1), (0 if "c" in absent else 2)
    z = slice(0, 1) if "z" in absent else slice(1, 3)
    np.testing.assert_array_equal(found, full[t, c, z, 1:5, 2:6])


@pytest.mark.parametrize("wrong", ["", "zy", "zyxx", "zyq", "syx"])
def test_axes_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="must be some of the letters t, c, z, y, x"):
        axes_of(wrong)


def test_pixels_become_native_and_contiguous_without_a_copy_where_they_are() -> None:
    same = whole((1, 4, 4))
    assert np.shares_memory(native(same), same)
    big = native(same.astype(">u2").transpose(0, 2, 1))
    assert (big.dtype.isnative, big.flags.c_contiguous) == (True, True)
    np.testing.assert_array_equal(big, same.transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("chunk", "tile", "depth"),
    [
        (None, [1024, 1024], 1),
        ((1, 512, 700), [700, 512], 1),
        ((64, 64, 64), [512, 512], 64),
        ((4, 100, 300), [300, 500], 4),
        ((1, 9000, 20000), [1024, 1024], 1),
        ((2, 4000, 4000), [3000, 2000], 2),
    ],
)
def test_tiles_are_of_whole_chunks_of_a_usual_size(
    chunk: tuple[int, int, int] | None, tile: list[int], depth: int
) -> None:
    extent = {"t": (0, 1), "z": (0, 100), "y": (0, 2000), "x": (0, 3000)}
    made = suited_grid(Held("v", "uint8", extent, chunk), {})
    assert (made.to_json()["tile"], made.depth) == (tile, depth)
    wanted = suited_grid(Held("v", "uint8", extent, chunk), {"z": [5, 6], "tile": [7, 8]})
    assert (wanted.z, wanted.tile_width, wanted.tile_height) == ((5, 6), 7, 8)


def test_an_hdf5_file_needs_no_configuration(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    path = write_hdf5(tmp_path / "v.data", vol=whole((3, 20, 30)), names=np.arange(4))
    assert volume_kind(str(path)) == "hdf5_file"
    settings = grid_from_volume(path.as_uri(), channel="EM", tile=[16, 16])
    assert (settings["path"], settings["data_name"]) == (str(path), "vol")
    assert check_frames(settings) == 3 * 2 * 2
    two = write_hdf5(tmp_path / "two.h5", a=whole((1, 4, 4)), b=whole((1, 4, 4)))
    with pytest.raises(
        UnsupportedFormat, match=r"holds 2 datasets .*: a \(1, 4, 4\), b \(1, 4, 4\)"
    ):
        grid_from_volume(str(two))
    assert grid_from_volume(str(two), data_name="b")["data_name"] == "b"


def test_what_nothing_tells_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no volume")
    for path in (tmp_path, tmp_path / "a.txt", tmp_path / "absent"):
        assert volume_kind(str(path)) is None
        with pytest.raises(UnsupportedFormat, match="name its kind: hdf5_file, zarr"):
            grid_from_volume(str(path))
    with pytest.raises(ConfigError, match="kind: 'tiff' is none of"):
        grid_from_volume(str(tmp_path), kind="tiff")
    addresses = {
        "s3://bucket/a.zarr": "zarr",
        "https://host/a.zarr/0": "zarr",
        "precomputed://gs://bucket/a": "precomputed",
        "bossdb://a/b/c": "boss",
        "gs://bucket/a": None,
    }
    assert {address: volume_kind(address) for address in addresses} == addresses


@pytest.mark.parametrize(
    ("kind", "package"), [("hdf5_file", "h5py"), ("zarr", "zarr"), ("precomputed", "tensorstore")]
)
def test_a_missing_package_is_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    settings: JSONObject = {"kind": kind, "path": str(tmp_path)}
    more: JSONObject = {"data_name": "vol"} if kind == "hdf5_file" else {}
    with pytest.raises(ConfigError, match=rf"needs {package}; pip install 'imaging_db\[volumes\]'"):
        open_grid({**settings, **more, "grid": grid((0, 1), (0, 1), (0, 1))})


class ClientConnectionError(Exception):
    """As aiohttp names it."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("late"), StoreUnavailable),
        (ConnectionResetError("gone"), StoreUnavailable),
        (OSError(errno.ESTALE, "Stale file handle"), StoreUnavailable),
        (OSError(errno.EMFILE, "Too many open files"), StoreUnavailable),
        (ValueError("UNAVAILABLE: try again"), StoreUnavailable),
        (ValueError("NOT_FOUND: no chunk"), CorruptSource),
        (OSError(errno.EIO, "Input/output error"), CorruptSource),
        (KeyError("0.0"), CorruptSource),
        (FileNotFoundError("v"), CorruptSource),
        (UnsupportedFormat("v", "is ours"), UnsupportedFormat),
    ],
)
def test_what_may_pass_is_told_apart_from_what_is_damaged(
    error: Exception, kind: type[ImagingDBError]
) -> None:
    with pytest.raises(kind), refusing("v.zarr", what="tile"):
        raise error
