"""Neuroglancer's precomputed volumes: offsets, scales, encodings, compressed chunks, and what is refused."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from imaging_db.errors import (
    ConfigError,
    CorruptSource,
    ImagingDBError,
    StoreUnavailable,
    UnsupportedFormat,
)
from imaging_db.model import JSONObject
from imaging_db.readers.grid import volumes_precomputed
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.volumes_found import grid_from_volume
from tests.support.made_volumes import check_frames, cut_off, grid, voxels

tensorstore = pytest.importorskip("tensorstore")

OFFSET = (3, 40, 50)
SIZE = (10, 60, 70)
PLACES = tuple(range(start, start + length) for start, length in zip(OFFSET, SIZE, strict=True))
ALL = grid((50, 120), (40, 100), (3, 13), tile=32)


def volume(
    folder: Path, *, dtype: str = "uint16", encoding: str = "raw", channels: int = 1, **scale: Any
) -> Path:
    """A scale that begins at x 50, y 40, z 3, each chunk 32 x 32 x 4."""
    z, y, x = PLACES
    kind = "segmentation" if encoding == "compressed_segmentation" else "image"
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder.as_posix()}/"},
        "multiscale_metadata": {"type": kind, "data_type": dtype, "num_channels": channels},
        "scale_metadata": {
            "size": SIZE[::-1],
            "voxel_offset": OFFSET[::-1],
            "chunk_size": [32, 32, 4],
            "resolution": [4, 4, 40],
            "encoding": encoding,
            **scale,
        },
    }
    store = tensorstore.open(spec, create=True, open=True).result()
    for channel in range(channels):
        data = voxels(z, y, x, c=channel, dtype=dtype)
        store[..., channel].write(data.transpose(2, 1, 0)).result()
    return folder


def settings_of(path: Path, **more: Any) -> JSONObject:
    return {"kind": "precomputed", "path": str(path), "grid": ALL, **more}


def chunks(path: Path) -> list[Path]:
    return sorted(file for file in (path / "4_4_40").iterdir())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float32"])
def test_pixels_of_every_type_come_back(tmp_path: Path, dtype: str) -> None:
    assert check_frames(settings_of(volume(tmp_path, dtype=dtype)), dtype=dtype) == 10 * 2 * 3


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_compressed_labels_come_back(tmp_path: Path, dtype: str) -> None:
    block: JSONObject = {"compressed_segmentation_block_size": [8, 8, 8]}
    volume(tmp_path, dtype=dtype, encoding="compressed_segmentation", **block)
    assert check_frames(settings_of(tmp_path), dtype=dtype) == 60


def test_png_chunks_come_back(tmp_path: Path) -> None:
    volume(tmp_path, dtype="uint8", encoding="png")
    assert check_frames(settings_of(tmp_path), dtype="uint8") == 60


def test_jpeg_chunks_are_told_to_be_lossy(tmp_path: Path) -> None:
    volume(tmp_path, dtype="uint8", encoding="jpeg")
    with open_grid(settings_of(tmp_path)) as reader:
        assert "JPEG, which is lossy" in reader.acquisition.notes[0]
        assert reader.read(next(reader.frames())).any()


def test_another_encoding_is_named(tmp_path: Path) -> None:
    info = volume(tmp_path) / "info"
    info.write_text(info.read_text().replace('"raw"', '"compresso"'))
    with pytest.raises(UnsupportedFormat, match="encoded as compresso, which is none of raw"):
        open_grid(settings_of(tmp_path))


def test_shards_come_back(tmp_path: Path) -> None:
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 1,
        "hash": "identity",
        "minishard_bits": 1,
        "shard_bits": 1,
        "data_encoding": "gzip",
    }
    volume(tmp_path, sharding=sharding)
    assert check_frames(settings_of(tmp_path, grid={**ALL, "depth": 4})) == 60


@pytest.mark.parametrize("depth", [1, 4, 16])
def test_a_part_of_it_is_read_where_it_lies(tmp_path: Path, depth: int) -> None:
    here = grid((61, 120), (53, 100), (5, 13), depth=depth)
    assert check_frames(settings_of(volume(tmp_path), grid=here)) == 8 * 3 * 4


@pytest.mark.parametrize("suffix", [".gz", ".br"])
def test_chunks_that_cloudvolume_compressed_are_read(tmp_path: Path, suffix: str) -> None:
    for file in chunks(volume(tmp_path)):
        content = file.read_bytes()
        packed = gzip.compress(content) if suffix == ".gz" else imagecodecs.brotli_encode(content)
        file.with_name(file.name + suffix).write_bytes(packed)
        file.unlink()
    assert check_frames(settings_of(tmp_path, grid={**ALL, "depth": 4})) == 60
    chunks(tmp_path)[0].unlink()
    with (
        open_grid(settings_of(tmp_path)) as reader,
        pytest.raises(CorruptSource, match=r"4_4_40.*: is absent, also with .gz and .br"),
    ):
        [reader.read(frame) for frame in reader.frames()]
    cut_off(chunks(tmp_path)[0])
    with (
        open_grid(settings_of(tmp_path, fill_missing=True)) as reader,
        pytest.raises(CorruptSource, match="cannot be read"),
    ):
        [reader.read(frame) for frame in reader.frames()]


def test_an_absent_chunk_is_refused_unless_the_settings_say_it_is_0(tmp_path: Path) -> None:
    volume(tmp_path)
    (tmp_path / "4_4_40/50-82_40-72_7-11").unlink()
    with open_grid(settings_of(tmp_path)) as reader:
        frames = list(reader.frames())
        assert reader.read(frames[0]).any()
        with pytest.raises(CorruptSource, match=r"4_4_40: tile .* z 7 t 0: cannot be read"):
            reader.read(frames[4 * 6])
    with open_grid(settings_of(tmp_path, fill_missing=True)) as reader:
        assert not reader.read(frames[4 * 6]).any()
        assert reader.read(frames[0]).any()


def test_a_damaged_chunk_is_refused(tmp_path: Path) -> None:
    cut_off(volume(tmp_path) / "4_4_40/50-82_40-72_7-11")
    with (
        open_grid(settings_of(tmp_path)) as reader,
        pytest.raises(CorruptSource, match="z 7 t 0: cannot be read"),
    ):
        reader.read(list(reader.frames())[4 * 6])


def test_the_fourth_axis_is_the_channel(tmp_path: Path) -> None:
    volume(tmp_path, channels=2)
    assert check_frames(settings_of(tmp_path, channel_index=1), c=1) == 60
    with pytest.raises(UnsupportedFormat, match="holds 2 channels"):
        open_grid(settings_of(tmp_path))


def test_scales_are_chosen_by_number_or_resolution(tmp_path: Path) -> None:
    volume(tmp_path)
    volume(tmp_path, resolution=[8, 8, 40], chunk_size=[16, 16, 2])
    assert check_frames(settings_of(tmp_path, mip=1)) == 60
    assert check_frames(settings_of(tmp_path, mip=[8, 8, 40])) == 60
    with pytest.raises(
        UnsupportedFormat, match=r"has no mip 2; .* 0 \[4.0, 4.0, 40.0\], 1 \[8.0, 8.0, 40.0\] nm"
    ):
        open_grid(settings_of(tmp_path, mip=2))
    with pytest.raises(ConfigError, match="mip: must be a whole number or a resolution"):
        open_grid(settings_of(tmp_path, mip=[8, 8]))


def test_no_configuration_is_needed(tmp_path: Path) -> None:
    settings = grid_from_volume(f"precomputed://{volume(tmp_path).as_uri()}")
    assert settings["kind"] == "precomputed"
    ends = {"x": [50, 120], "y": [40, 100], "z": [3, 13], "t": [0, 1]}
    assert settings["grid"] == {**ends, "tile": [70, 60], "depth": 4}
    assert check_frames(settings) == 10
    with open_grid(settings) as reader:
        told = reader.acquisition
    assert (told.pixel_size_x_um, told.pixel_size_y_um, told.z_step_um) == (0.004, 0.004, 0.04)


def test_a_grid_beyond_the_volume_is_refused(tmp_path: Path) -> None:
    settings = settings_of(volume(tmp_path), grid=grid((0, 70), (40, 100), (3, 13)))
    with pytest.raises(UnsupportedFormat, match=r"grid.x is \[0, 70\], it holds .* x \[50, 120\)"):
        open_grid(settings)


class Web(ThreadingHTTPServer):
    """Serves a folder, chunks compressed as web servers do; ``status`` is what it answers for chunks."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        self.root, self.status = root, 200
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        file = self.server.root / self.path.lstrip("/")
        if file.name != "info" and self.server.status != 200:
            self.send_error(self.server.status)
            return
        content = gzip.compress(file.read_bytes())
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    once = {"http_request_retries": {"max_retries": 1}}
    monkeypatch.setattr(volumes_precomputed, "_CONTEXT", once)
    with Web(volume(tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_volume_on_a_web_server_is_read(web: Web) -> None:
    assert check_frames({**settings_of(web.root), "path": f"precomputed://{web.url}"}) == 60


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (403, CorruptSource, "z 3 t 0: cannot be read: .*403"),
        (404, CorruptSource, "z 3 t 0: cannot be read: .* is missing"),
        (503, StoreUnavailable, "z 3 t 0: does not answer: .*503"),
    ],
)
def test_what_a_web_server_does_not_give_is_never_black(
    web: Web, status: int, kind: type[ImagingDBError], said: str
) -> None:
    web.status = status
    with open_grid({**settings_of(web.root), "path": web.url}) as reader:
        frame = next(reader.frames())
        with pytest.raises(kind, match=said):
            reader.read(frame)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("gs://bucket", {"driver": "gcs", "bucket": "bucket", "path": ""}),
        ("s3://bucket/em/1", {"driver": "s3", "bucket": "bucket", "path": "em/1/"}),
        ("https://host/em", {"driver": "http", "base_url": "https://host/em/"}),
    ],
)
def test_addresses_are_those_of_tensorstore(address: str, found: dict[str, str]) -> None:
    assert volumes_precomputed.kvstore_of(address) == found
    spec = tensorstore.KvStore.Spec({**found, "context": volumes_precomputed._CONTEXT})
    assert spec.url.startswith(address)


def test_other_words_of_cloudvolume_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        open_grid(settings_of(tmp_path, parallel=4, green_threads=True))
    assert {problem.split(": ")[1] for problem in told.value.problems} == {
        "parallel",
        "green_threads",
    }
    with pytest.raises(ConfigError, match="graphene:// is none of file://, gs://, s3://"):
        open_grid({**settings_of(tmp_path), "path": "graphene://host/table"})


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="holds no file 'info'"):
        open_grid(settings_of(tmp_path))
    (tmp_path / "info").write_text("{")
    with pytest.raises(CorruptSource, match="info is not that of a precomputed volume"):
        open_grid(settings_of(tmp_path))
    (tmp_path / "info").write_text(json.dumps({"@type": "neuroglancer_skeletons"}))
    with pytest.raises(CorruptSource, match="KeyError: 'scales'"):
        open_grid(settings_of(tmp_path))


def test_eight_threads_read_what_one_reads(tmp_path: Path) -> None:
    settings = settings_of(volume(tmp_path), grid={**ALL, "depth": 4})
    with open_grid(settings) as reader, ThreadPoolExecutor(8) as pool:
        frames = list(reader.frames())
        for frame, pixels in zip(frames, pool.map(reader.read, frames), strict=True):
            np.testing.assert_array_equal(pixels, reader.read(frame))
