"""Made sources in the form of each plugin of the Boss, read pixel by pixel through their configurations."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tensorstore
import tifffile
import zarr

from imaging_db.errors import ReaderError
from imaging_db.jobs.boss import grid_settings
from imaging_db.readers.grid.kinds import open_grid
from tests.support.boss import config_of, extent_of

PATH = "client.path_processor"
TILE = "client.tile_processor"
CHUNK = "client.chunk_processor"

PRIMES = {"uint8": 251, "uint16": 65521, "uint32": 4294967291}

Pixels = npt.NDArray[Any]


def pixels(t: int, z: int, y: tuple[int, int], x: tuple[int, int], dtype: str = "uint8") -> Pixels:
    """The pixels of a place of the made sources: a function of where they are, with many values."""
    rows, columns = np.arange(*y)[:, None], np.arange(*x)[None, :]
    found = (t * 7919 + z * 1009 + rows * 37 + columns) * (65537 if dtype == "uint32" else 1)
    return np.asarray(found % PRIMES[dtype], dtype)


def volume(z: int, y: int, x: int, dtype: str = "uint8") -> Pixels:
    return np.stack([pixels(0, slice_, (0, y), (0, x), dtype) for slice_ in range(z)])


def check(tmp_path: Path, name: str, changes: dict[str, Any], *, dtype: str = "uint8") -> int:
    """Read every frame of a configuration, compare it with its place, and return how many there are."""
    count = 0
    with open_grid(grid_settings(config_of(tmp_path, name, changes))) as reader:
        for frame in reader.frames():
            box = reader.grid.box(frame.index)
            wanted = pixels(box.t, box.z, (box.y0, box.y1), (box.x0, box.x1), dtype)
            found = reader.read(frame)
            assert found.dtype == np.dtype(dtype)
            assert np.array_equal(found, wanted), box
            assert (frame.coords.slice, frame.coords.timepoint) == (box.z, box.t)
            count += 1
    return count


def small(extent: dict[str, list[int]], tile: int = 32) -> dict[str, Any]:
    size = {"x": tile, "y": tile, "z": 1, "t": 1}
    return {"ingest_job.extent": extent, "ingest_job.tile_size": size}


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, image: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(image))
    else:
        tifffile.imwrite(path, image)


# --- images


@pytest.mark.parametrize(
    ("plugin", "name", "filetype"),
    [
        ("FileImageStack", "stack/{z}/{row}_{col}_1.png", "png"),
        ("FileImageStackZoomLevel", "stack/1/{z}/{row}_{col}.tif", "tif"),
        ("DirectoryImageStack", "stack/1/{z}/{row}/{col}.png", "png"),
    ],
)
def test_tiles_of_catmaid(tmp_path: Path, plugin: str, name: str, filetype: str) -> None:
    for z in (2, 3):
        for row, col in np.ndindex(3, 4):
            y = (row * 32, min(70, row * 32 + 32))  # the last row is cut, the last column is whole
            x = (col * 32, col * 32 + 32)
            write(tmp_path / name.format(z=z, row=row, col=col), pixels(0, z, y, x))
    changes = {
        f"{PATH}.class": f"ingestclient.plugins.catmaid.Catmaid{plugin}PathProcessor",
        f"{TILE}.class": f"ingestclient.plugins.catmaid.Catmaid{plugin}TileProcessor",
        f"{PATH}.params.filetype": filetype,
        "ingest_job.resolution": 1,
        **small({"x": [32, 100], "y": [0, 70], "z": [2, 4], "t": [0, 1]}),
    }
    assert check(tmp_path, "catmaid_files", changes) == 2 * 3 * 3


def test_tiles_behind_addresses(tmp_path: Path) -> None:
    def answer(path: str) -> bytes | None:
        z, row, col = (int(part.removesuffix(".png")) for part in path.split("/")[-3:])
        y, x = (row * 32, row * 32 + 32), (col * 32, col * 32 + 32)
        return bytes(imagecodecs.png_encode(pixels(0, z, y, x)))

    with served(answer) as host:
        changes = {
            f"{TILE}.params.url": f"http://{host}/0/",
            f"{TILE}.params.filetype": "png",
            **small(extent_of(70, 33, 3)),
        }
        assert check(tmp_path, "catmaid_urls", changes) == 3 * 2 * 3


def test_a_tile_that_the_server_refuses_is_not_black(tmp_path: Path) -> None:
    with served(lambda _: None) as host:
        changes = {f"{TILE}.params.url": f"http://{host}/0/", **small(extent_of(32, 32, 1))}
        settings = grid_settings(config_of(tmp_path, "catmaid_urls", changes))
        with pytest.raises(ReaderError, match="403"):
            open_grid(settings)


@pytest.mark.parametrize(
    "extent", [extent_of(100, 70, 3), {"x": [11, 90], "y": [5, 69], "z": [1, 3], "t": [0, 1]}]
)
def test_slices_that_are_cut_into_tiles(tmp_path: Path, extent: dict[str, list[int]]) -> None:
    for z in range(3):
        image = pixels(0, z, (0, 70), (0, 100), "uint16")
        write(tmp_path / "sections" / f"{3253 + z}_section{z:03}.png", image)
    frames = check(tmp_path, "z_stack", small(extent), dtype="uint16")
    assert frames == (3 * 3 * 4 if extent["x"] == [0, 100] else 2 * 2 * 3)


def test_tiles_whose_names_tell_row_and_column(tmp_path: Path) -> None:
    for z, row, col in np.ndindex(2, 2, 3):
        y, x = (row * 32, row * 32 + 32), (col * 32, col * 32 + 32)
        name = f"{z + 5:04}/{row}/tile {col}.tif"
        write(tmp_path / "sections" / name, pixels(0, z, y, x, "uint32"))
    changes = {
        f"{PATH}.params.base_filename": "<o:5p:4>/<y>/tile <x>",
        f"{PATH}.params.extension": "tif",
        **small(extent_of(96, 64, 2)),
    }
    assert check(tmp_path, "z_stack", changes, dtype="uint32") == 2 * 2 * 3


def test_pages_are_timepoints(tmp_path: Path) -> None:
    for z in range(2):
        pages = np.stack([pixels(t, z, (0, 40), (0, 50), "uint16") for t in range(6)])
        tifffile.imwrite(tmp_path / f"movie{z}.tif", pages, photometric="minisblack")
    changes = {
        f"{PATH}.params": {"z_0": "movie0.tif", "z_1": "movie1.tif"},
        **small({"x": [0, 50], "y": [0, 40], "z": [0, 2], "t": [2, 6]}),
    }
    assert check(tmp_path, "time_series", changes, dtype="uint16") == 4 * 2 * 2 * 2


@pytest.mark.parametrize("channel", [0, 1])
def test_pages_of_a_hyperstack_run_over_channels_slices_and_timepoints(
    tmp_path: Path, channel: int
) -> None:
    (tmp_path / "movies").mkdir()
    for number, times in ((200, range(4)), (201, range(4, 7))):
        pages = [
            pixels(t, z, (0, 40), (0, 50), "uint16") + np.uint16(1000 * (c != channel))
            for t in times
            for z in range(3)
            for c in range(2)
        ]
        path = tmp_path / "movies" / f"run_{number:04}.tif"
        tifffile.imwrite(path, np.stack(pages), photometric="minisblack")
    changes = {
        f"{PATH}.params.time_chunk_size": 4,
        f"{TILE}.params.time_chunk_size": 4,
        f"{TILE}.params.channel_index": channel,
        **small(extent_of(50, 40, 3, 7), tile=64),
    }
    assert check(tmp_path, "tiff_hyperstack", changes, dtype="uint16") == 3 * 7


# --- HDF5


def test_hdf5_files_of_a_series_are_indexed_t_x_y_c(tmp_path: Path) -> None:
    (tmp_path / "calcium").mkdir()
    for z in range(2):
        planes = [pixels(t, z, (0, 40), (0, 50), "uint16").T for t in range(3)]
        both = np.stack([np.stack(planes) + np.uint16(5), np.stack(planes)], axis=-1)
        with h5py.File(tmp_path / "calcium" / f"mouse_slice{z + 1}.hdf5", "w") as file:
            file["aligned"] = both
    changes = {f"{TILE}.params.channel_index": 1, **small(extent_of(50, 40, 2, 3))}
    assert check(tmp_path, "hdf5_series", changes, dtype="uint16") == 3 * 2 * 2 * 2


def test_hdf5_labels_are_indexed_x_y(tmp_path: Path) -> None:
    (tmp_path / "calcium").mkdir()
    for z in range(2):
        with h5py.File(tmp_path / "calcium" / f"mouse_slice{z + 1}.hdf5", "w") as file:
            file["labels"] = pixels(0, z, (0, 40), (0, 50), "uint32").T
    changes = {
        f"{TILE}.class": "ingestclient.plugins.hdf5.Hdf5TimeSeriesLabelTileProcessor",
        f"{TILE}.params": {"dataset": "labels", "upload_format": "png", "filesystem": "local"},
        **small(extent_of(50, 40, 2)),
    }
    assert check(tmp_path, "hdf5_series", changes, dtype="uint32") == 2 * 2 * 2


def hdf5_slices(tmp_path: Path) -> dict[str, Any]:
    """Slices whose pixels begin at x 20, y 10 of the frame; half of that is in the files."""
    (tmp_path / "calcium").mkdir()
    for z in range(2):
        with h5py.File(tmp_path / "calcium" / f"mouse_slice{z + 1}.hdf5", "w") as file:
            file["img"] = pixels(0, z, (10, 74), (20, 84))
            file["offset"] = [4, 15]
            file["extent"] = [64, 64]
    params = {
        "filesystem": "local",
        "upload_format": "png",
        "datatype": "uint8",
        "data_name": "img",
        "offset_name": "offset",
        "extent_name": "extent",
        "offset_origin_x": 5,
        "offset_origin_y": 6,
    }
    return {
        f"{PATH}.class": "ingestclient.plugins.hdf5.Hdf5SlicePathProcessor",
        f"{TILE}.class": "ingestclient.plugins.hdf5.Hdf5SliceTileProcessor",
        f"{TILE}.params": params,
        **small({"x": [20, 84], "y": [10, 74], "z": [0, 2], "t": [0, 1]}),
    }


def test_hdf5_slices_lie_where_they_say(tmp_path: Path) -> None:
    assert check(tmp_path, "hdf5_series", hdf5_slices(tmp_path)) == 2 * 2 * 2


def test_what_no_slice_covers_is_refused_or_filled_as_the_user_says(tmp_path: Path) -> None:
    changes = hdf5_slices(tmp_path) | small({"x": [0, 64], "y": [10, 42], "z": [0, 1], "t": [0, 1]})
    settings = grid_settings(config_of(tmp_path, "hdf5_series", changes))
    with open_grid(settings) as reader, pytest.raises(ReaderError, match=r"there is x \[20, 84\)"):
        reader.read(next(reader.frames()))
    changes[f"{TILE}.params"]["fill"] = 0
    with open_grid(grid_settings(config_of(tmp_path, "hdf5_series", changes))) as reader:
        found = reader.read(next(reader.frames()))
    assert not found[:, :20].any()
    assert np.array_equal(found[:, 20:], pixels(0, 0, (10, 42), (20, 32)))


@pytest.mark.parametrize("exclusive", [True, False])
def test_hdf5_chunks_are_named_by_where_they_lie(tmp_path: Path, exclusive: bool) -> None:
    (tmp_path / "chunks").mkdir()
    for z, y, x in np.ndindex(2, 2, 2):
        zyx = tuple(
            slice(n * size, n * size + size) for n, size in zip((z, y, x), (5, 32, 32), strict=True)
        )
        ends = [
            f"{part.start + offset}-{part.stop + offset - (not exclusive)}"
            for part, offset in zip(zyx[::-1], (100, 200, 300), strict=True)
        ]
        with h5py.File(tmp_path / "chunks" / f"brain_{'_'.join(ends)}.hdf5", "w") as file:
            file["img"] = volume(10, 64, 64)[zyx]
    sizes = {"x_chunk_size": 32, "y_chunk_size": 32, "z_chunk_size": 5}
    offsets = {"x_offset": 100, "y_offset": 200, "z_offset": 300}
    named = {"root_dir": "chunks", "extension": "hdf5", "prefix": "brain"}
    changes = {
        f"{PATH}.params": {**named, **sizes, **offsets, "use_python_convention": exclusive},
        f"{TILE}.params.z_chunk_size": 5,
        **small({"x": [0, 50], "y": [0, 64], "z": [1, 8], "t": [0, 1]}),
    }
    assert check(tmp_path, "hdf5_chunks", changes) == 7 * 2 * 2


def test_one_hdf5_file_is_read_from_its_offset(tmp_path: Path) -> None:
    stored = np.zeros((8, 80, 90), np.uint8)
    stored[3:, 2:, 1:] = volume(5, 78, 89)
    with h5py.File(tmp_path / "volume.h5", "w") as file:
        file["img"] = stored
    offsets = {f"{TILE}.params.offset_{axis}": n for axis, n in zip("xyz", (1, 2, 3), strict=True)}
    changes = offsets | small({"x": [7, 89], "y": [0, 78], "z": [1, 5], "t": [0, 1]})
    assert check(tmp_path, "hdf5_file", changes) == 4 * 3 * 3


def test_pixels_of_another_type_than_the_configuration_says_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "volume.h5", "w") as file:
        file["img"] = volume(2, 32, 32, "uint16")
    settings = grid_settings(config_of(tmp_path, "hdf5_file", small(extent_of(32, 32, 2))))
    with pytest.raises(ReaderError, match="uint16"):
        open_grid(settings)


# --- chunks of volumes

VOLUME = {"x": [0, 600], "y": [3, 520], "z": [1, 20], "t": [0, 1]}
CUBOIDS = {"ingest_job.extent": VOLUME, "ingest_job.chunk_size": {"x": 512, "y": 512, "z": 16}}


def test_a_volume_of_cloudvolume(tmp_path: Path) -> None:
    made = tensorstore.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{tmp_path / 'em'}/"},
            "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
            "scale_metadata": {
                "size": [600, 520, 20],
                "resolution": [4, 4, 40],
                "chunk_size": [256, 256, 16],
                "encoding": "raw",
            },
            "create": True,
        }
    ).result()
    made[..., 0].write(volume(20, 520, 600).transpose(2, 1, 0)).result()
    changes = {f"{CHUNK}.params": {"cloudpath": (tmp_path / "em").as_uri(), "mip": 0}}
    assert check(tmp_path, "cloudvolume", changes | CUBOIDS) == 19 * 2 * 2
    changes = {f"{CHUNK}.params": {"cloudpath": "em", "progress": False}}
    assert check(tmp_path, "cloudvolume", changes | CUBOIDS) == 19 * 2 * 2


def test_a_volume_in_a_zarr(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "brain.zarr"), mode="w", zarr_format=2)
    array = group.create_array("raw", shape=(20, 520, 600), chunks=(16, 256, 256), dtype="uint8")
    array[:] = volume(20, 520, 600)
    changes = {
        f"{PATH}.class": "ingestclient.plugins.zarr.ZarrPathProcessor",
        f"{CHUNK}.class": "ingestclient.plugins.zarr.ZarrChunkProcessor",
        f"{CHUNK}.params": {"cloud_path": "brain.zarr", "volume_name": "raw"},
    }
    assert check(tmp_path, "cloudvolume", changes | CUBOIDS) == 19 * 2 * 2


# --- another Boss


def boss_of(shape: tuple[int, int, int]) -> Callable[[str], bytes | None]:
    """A Boss with one channel ``source/em_2018/raw`` of that shape (z, y, x)."""
    above = "/v1/collection/source/experiment/em_2018/"
    ends = {f"{axis}_stop": n for axis, n in zip("zyx", shape, strict=True)}
    facts: dict[str, Any] = {
        above: {"coord_frame": "brain", "num_time_samples": 1},
        f"{above}channel/raw/": {"datatype": "uint8"},
        "/v1/coord/brain/": {**{f"{axis}_start": 0 for axis in "xyz"}, **ends},
    }
    stored = volume(*shape)

    def answer(path: str) -> bytes | None:
        if path in facts:
            return json.dumps(facts[path]).encode()
        *names, x, y, z, _ = path.removeprefix("/v1/cutout/").split("/")
        if names != ["source", "em_2018", "raw", "0"]:
            return None
        part = stored[tuple(slice(*map(int, ends.split(":"))) for ends in (z, y, x))]
        return bytes(imagecodecs.blosc_encode(np.ascontiguousarray(part), typesize=1))

    return answer


def test_tiles_of_another_boss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERN_TOKEN", "S3cr3t-XYZ")
    with served(boss_of((9, 70, 60)), token="S3cr3t-XYZ") as host:
        changes = {
            "client.backend.host": host,
            "client.backend.protocol": "http",
            f"{TILE}.params.x_tile": 32,
            f"{TILE}.params.y_tile": 32,
            **small({"x": [5, 60], "y": [0, 70], "z": [2, 9], "t": [0, 1]}),
        }
        assert check(tmp_path, "intern_tiles", changes) == 7 * 3 * 2


def test_chunks_of_another_boss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERN_TOKEN", "S3cr3t-XYZ")
    with served(boss_of((20, 520, 600)), token="S3cr3t-XYZ") as host:
        params = {"uri": "bossdb://source/em_2018/raw", "host": host, "protocol": "http"}
        changes = {
            f"{PATH}.class": "ingestclient.plugins.intern.InternPathProcessor",
            f"{CHUNK}.class": "ingestclient.plugins.intern.InternChunkProcessor",
            f"{CHUNK}.params": params,
        }
        assert check(tmp_path, "cloudvolume", changes | CUBOIDS) == 19 * 2 * 2


@contextmanager
def served(answer: Callable[[str], bytes | None], *, token: str | None = None) -> Iterator[str]:
    """A server on this computer: what ``answer`` gives for a path, 403 for None or without the token."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = token is None or self.headers["Authorization"] == f"Token {token}"
            body = answer(self.path) if allowed else None
            self.send_response(403 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
