"""Tiles from a web server: what passes by itself is asked for again, what is refused is never black."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from imaging_db.errors import ConfigError, CorruptSource, StoreUnavailable, UnsupportedFormat
from imaging_db.model import JSONObject
from imaging_db.readers.grid.http_get import MOST_TRIES
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.reader import GridReader
from tests.support.made_tiles import pixels_at, tile_settings, write_tiles


class TileServer(ThreadingHTTPServer):
    """Serves a folder; ``answers`` of an address come first, one after the other, instead of the file.

    An answer is a status, ``cut`` (the connection ends in the middle), ``closed`` (before anything is
    said), ``silent`` (nothing comes), or ``elsewhere`` (a redirection to a file of this computer).
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: dict[str, list[int | str]] = {}
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tiles"


class Answer(BaseHTTPRequestHandler):
    server: TileServer

    def do_GET(self) -> None:
        name = self.path.removeprefix("/tiles/")
        self.server.asked[name] += 1
        planned = self.server.answers.get(name)
        answer = planned.pop(0) if planned else 200
        path = self.server.root / name
        if answer == 200 and not path.is_file():
            answer = 404
        data = path.read_bytes() if path.is_file() else b""
        if answer == "silent":
            self.server.over.wait(30)
        elif answer == "elsewhere":
            self.send_response(302)
            self.send_header("Location", path.as_uri())
            self.end_headers()
        elif isinstance(answer, int) and answer != 200:
            self.send_error(answer)
        elif answer != "closed":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if answer == "cut" else data)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with TileServer(tmp_path) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.over.set()
        made.shutdown()
        thread.join()


def url_settings(server: TileServer, **more: float) -> JSONObject:
    told = tile_settings(server.root, x=[0, 15], y=[0, 8])
    pauses = {"pause_seconds": 0.001, "timeout_seconds": 20}
    where: JSONObject = {"kind": "tile_urls", "url": server.url, "dtype": "uint8"}
    return {"pattern": told["pattern"], "grid": told["grid"], **where, **pauses, **more}


@pytest.fixture
def reader(server: TileServer) -> Iterator[GridReader]:
    write_tiles(tile_settings(server.root, x=[0, 15], y=[0, 8]))
    with open_grid(url_settings(server)) as opened:
        yield opened


def test_every_tile_is_the_pixels_of_its_place(server: TileServer, reader: GridReader) -> None:
    for frame in reader.frames():
        assert np.array_equal(reader.read(frame), pixels_at(reader.grid.box(frame.index)))
    assert set(server.asked.values()) == {1}
    assert list(reader.sources) == []


def test_tiff_comes_over_the_network_too(server: TileServer) -> None:
    settings = tile_settings(server.root, "{z}/{row}_{col}.tif", x=[0, 15], y=[0, 8])
    write_tiles(settings, dtype="float32")
    remote = {**url_settings(server), "pattern": settings["pattern"]}
    del remote["dtype"]
    with open_grid(remote) as opened:
        for frame in opened.frames():
            expected = pixels_at(opened.grid.box(frame.index), "float32")
            assert np.array_equal(opened.read(frame), expected)


@pytest.mark.parametrize("trouble", [500, 502, 503, 429, "cut", "closed"])
def test_trouble_that_passes_is_outwaited(
    server: TileServer, reader: GridReader, trouble: int | str
) -> None:
    server.answers["0/0_1.png"] = [trouble, trouble]
    frame = list(reader.frames())[1]
    assert np.array_equal(reader.read(frame), pixels_at(reader.grid.box(1)))
    assert server.asked["0/0_1.png"] == 3


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (500, "the server answers 500 Internal Server Error, 5 times"),
        (429, "the server answers 429 Too Many Requests, 5 times"),
        ("cut", "the answer breaks off: .* bytes are missing, 5 times"),
        ("closed", "the answer breaks off: .*, 5 times"),
    ],
)
def test_trouble_that_stays_is_temporary_and_named(
    server: TileServer, reader: GridReader, trouble: int | str, told: str
) -> None:
    server.answers["0/0_1.png"] = [trouble] * 9
    with pytest.raises(StoreUnavailable, match=f"{server.url}/0/0_1.png: {told}") as refused:
        reader.read(list(reader.frames())[1])
    assert refused.value.exit_code == 5
    assert server.asked["0/0_1.png"] == MOST_TRIES


def test_a_silent_server_is_not_waited_for_forever(server: TileServer, reader: GridReader) -> None:
    server.answers["0/0_1.png"] = ["silent"] * 9
    with (
        open_grid(url_settings(server, timeout_seconds=0.05)) as impatient,
        pytest.raises(StoreUnavailable, match="timed out, 5 times"),
    ):
        impatient.read(list(impatient.frames())[1])


def test_a_server_that_is_not_there_is_temporary(server: TileServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with (
            open_grid({**url_settings(server), "url": url}) as opened,
            pytest.raises(StoreUnavailable, match="cannot be reached: "),
        ):
            opened.read(next(opened.frames()))


@pytest.mark.parametrize(
    ("status", "told"),
    [(403, "403 Forbidden"), (404, "404 Not Found"), (204, "204 No Content"), (400, "400 Bad")],
)
def test_a_refusal_is_refused_at_once(
    server: TileServer, reader: GridReader, status: int, told: str
) -> None:
    server.answers["0/0_1.png"] = [status]
    with pytest.raises(CorruptSource, match=f"0_1.png: the server answers {told}"):
        reader.read(list(reader.frames())[1])
    assert server.asked["0/0_1.png"] == 1


def test_a_server_cannot_point_to_files_of_this_computer(
    server: TileServer, reader: GridReader
) -> None:
    server.answers["0/0_1.png"] = ["elsewhere"]
    with pytest.raises(CorruptSource, match="the server answers 302"):
        reader.read(list(reader.frames())[1])


def test_a_page_that_says_sorry_is_no_tile(server: TileServer, reader: GridReader) -> None:
    (server.root / "0" / "0_1.png").write_text("<html>sorry</html>")
    with pytest.raises(UnsupportedFormat, match=f"^{server.url}/0/0_1.png: is no image"):
        reader.read(list(reader.frames())[1])


def test_a_tile_that_the_server_holds_damaged_is_refused_by_address(
    server: TileServer, reader: GridReader
) -> None:
    path = server.root / "0" / "0_1.png"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptSource, match=f"^{server.url}/0/0_1.png: the PNG is cut off"):
        reader.read(list(reader.frames())[1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": None}, "url: is required"),
        ({"url": "file:///etc"}, "url: must begin with http:// or https://"),
        ({"url": "http://"}, "url: must begin with http:// or https:// and name a server"),
        ({"url": "http://[::1/"}, "url: "),
        ({"url": "https://host/a?token=x"}, r"url: must end before '\?'"),
        ({"timeout_seconds": 0}, "timeout_seconds: must be a number of seconds above 0"),
        ({"pause_seconds": "1"}, "pause_seconds: must be a number of seconds above 0"),
        ({"root": "/data"}, "root: unknown key"),
    ],
)
def test_settings_are_checked_before_anything_is_asked_for(
    server: TileServer, change: JSONObject, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        open_grid({**url_settings(server), **change})
    assert not server.asked


def test_a_password_in_an_address_is_refused_and_not_repeated(server: TileServer) -> None:
    with pytest.raises(ConfigError, match="must hold no user name or password") as refused:
        open_grid({**url_settings(server), "url": "https://ada:s3cret@host/tiles"})
    assert "s3cret" not in str(refused.value)
