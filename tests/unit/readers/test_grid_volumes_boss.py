"""Cutouts of a BossDB: what is asked for, with which token, and what is refused; against a server of our own."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import imagecodecs
import numpy as np
import pytest

from imaging_db.errors import ConfigError, CorruptSource, ReaderError, StoreUnavailable
from imaging_db.model import JSONObject
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.volumes_found import grid_from_volume
from tests.support.made_volumes import check_frames, grid, voxels

CUTOUT = re.compile(
    r"/v1/cutout/lab/mouse%202/EM/(\d)/(\d+):(\d+)/(\d+):(\d+)/(\d+):(\d+)/(?:(\d+):\d+/)?"
)
FACTS: dict[str, Any] = {
    "/v1/collection/lab/experiment/mouse%202/channel/EM/": {"datatype": "uint16"},
    "/v1/collection/lab/experiment/mouse%202/": {"coord_frame": "f 1", "num_time_samples": 2},
    "/v1/coord/f%201/": {
        **{"x_start": 0, "x_stop": 50, "y_start": 0, "y_stop": 40, "z_start": 0, "z_stop": 20},
        **{"x_voxel_size": 4.0, "y_voxel_size": 4.0, "z_voxel_size": 40.0},
        "voxel_unit": "nanometers",
    },
}
TOKEN = "0123456789abcdef-secret"


class Boss(ThreadingHTTPServer):
    """Answers cutouts of 50 x 40 x 20 voxels at 2 times; ``planned`` answers come first, one by one.

    A planned answer is a status, ``short`` (fewer bytes than promised), ``less`` (a smaller cutout),
    ``noise`` (no blosc) or ``elsewhere`` (a redirection to another server).
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.planned: list[int | str] = []
        self.asked: list[tuple[str, str, str]] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def settings(self, **more: Any) -> JSONObject:
        uri: JSONObject = {"uri": "bossdb://lab/mouse 2/EM", "host": self.host, "protocol": "http"}
        return {"kind": "boss", **uri, "pause_seconds": 0.001, **more}


class Answer(BaseHTTPRequestHandler):
    server: Boss

    def do_GET(self) -> None:
        token, accept = self.headers.get("Authorization", ""), self.headers["Accept"]
        self.server.asked.append((self.path, token, accept))
        planned = self.server.planned.pop(0) if self.server.planned else 200
        if planned == "elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}{self.path}")
            self.end_headers()
        elif isinstance(planned, int) and planned != 200:
            self.send_error(planned)
        elif self.path in FACTS:
            self.answer(json.dumps(FACTS[self.path]).encode())
        else:
            self.answer(self.cutout(planned), short=planned == "short")

    def cutout(self, planned: int | str) -> bytes:
        found = CUTOUT.fullmatch(self.path)
        assert found is not None
        _, x0, x1, y0, y1, z0, z1 = map(int, found.groups()[:7])
        y1 -= planned == "less"
        t = int(found[8] or 0)
        data = voxels(range(z0, z1), range(y0, y1), range(x0, x1), t=t)
        packed: bytes = imagecodecs.blosc_encode(data, typesize=2)
        return packed[:16] + b"x" * len(packed) if planned == "noise" else packed

    def answer(self, content: bytes, *, short: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:-1] if short else content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def boss(monkeypatch: pytest.MonkeyPatch) -> Iterator[Boss]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("INTERN_TOKEN", TOKEN)
    with Boss() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def cutouts(boss: Boss) -> list[str]:
    return [path for path, _, _ in boss.asked if "/cutout/" in path]


def test_every_tile_is_a_cutout_of_its_place(boss: Boss) -> None:
    here = grid((10, 50), (5, 40), (3, 5), t=(0, 2))
    assert check_frames(boss.settings(dtype="uint16", resolution=1, grid=here)) == 2 * 2 * 9
    assert {(token, accept) for _, token, accept in boss.asked} == {
        (f"Token {TOKEN}", "application/blosc")
    }
    assert cutouts(boss)[0] == "/v1/cutout/lab/mouse%202/EM/1/10:26/5:21/3:4/"
    assert cutouts(boss)[-1] == "/v1/cutout/lab/mouse%202/EM/1/42:50/37:40/4:5/1:2/"


def test_slices_of_a_cuboid_are_asked_for_together(boss: Boss) -> None:
    here = grid((0, 20), (0, 16), (2, 20), depth=16)
    assert check_frames(boss.settings(dtype="uint16", grid=here)) == 18 * 2
    assert [path.split("/")[-2] for path in cutouts(boss)] == ["2:16", "2:16", "16:20", "16:20"]


def test_offsets_move_the_grid_over_the_channel(boss: Boss) -> None:
    offsets: JSONObject = {"x_offset": 10, "y_offset": 20, "z_offset": -2}
    settings = boss.settings(dtype="uint16", **offsets, grid=grid((0, 16), (0, 16), (2, 3)))
    with open_grid(settings) as reader:
        pixels = reader.read(next(reader.frames()))
    expected = voxels(range(1), range(20, 36), range(10, 26))[0]
    np.testing.assert_array_equal(pixels, expected)
    before = boss.settings(dtype="uint16", **offsets, grid=grid((0, 16), (0, 16), (1, 2)))
    with (
        open_grid(before) as reader,
        pytest.raises(CorruptSource, match="lies before the channel's first pixel"),
    ):
        reader.read(next(reader.frames()))


def test_the_server_tells_type_extent_and_sizes(boss: Boss) -> None:
    told = boss.settings()
    del told["kind"], told["uri"]
    settings = grid_from_volume("bossdb://lab/mouse 2/EM", **told)
    ends = {"x": [0, 50], "y": [0, 40], "z": [0, 20], "t": [0, 2]}
    assert settings["grid"] == {**ends, "tile": [50, 40], "depth": 16}
    assert (settings["pixel_size_um"], settings["z_step_um"]) == ([0.004, 0.004], 0.04)
    assert check_frames(settings) == 40
    with pytest.raises(ReaderError, match=r"grid.x is \[0, 51\]"):
        open_grid({**settings, "grid": grid((0, 51), (0, 40), (0, 20))})
    with pytest.raises(ConfigError, match="does not tell its extent on x, y, z, t; give it"):
        grid_from_volume("bossdb://lab/mouse 2/EM", **told, resolution=1)


def test_facts_that_are_none_are_refused(boss: Boss, monkeypatch: pytest.MonkeyPatch) -> None:
    here = boss.settings(grid=grid((0, 16), (0, 16), (0, 1)))
    place = "/v1/collection/lab/experiment/mouse%202/"
    for facts, said in (([], "answers no JSON object"), ({"coord_frame": "f"}, "num_time_samples")):
        monkeypatch.setitem(FACTS, place, facts)
        with pytest.raises(CorruptSource, match=said):
            open_grid(here)


def test_with_the_type_in_the_settings_nothing_is_asked_before_a_tile_is_read(boss: Boss) -> None:
    with open_grid(boss.settings(dtype="uint16", grid=grid((0, 16), (0, 16), (0, 1)))):
        assert boss.asked == []


@pytest.mark.parametrize("trouble", [500, 503, 429, "short"])
def test_trouble_that_passes_is_waited_out(boss: Boss, trouble: int | str) -> None:
    boss.planned = [trouble, trouble]
    here = grid((0, 16), (0, 16), (0, 1))
    assert check_frames(boss.settings(dtype="uint16", grid=here)) == 1
    assert len(boss.asked) == 3


def test_a_server_that_keeps_failing_is_temporary(boss: Boss) -> None:
    boss.planned = [500] * 5
    with open_grid(boss.settings(dtype="uint16", grid=grid((0, 16), (0, 16), (0, 1)))) as reader:
        frame = next(reader.frames())
        with pytest.raises(StoreUnavailable, match="the server answers 500") as told:
            reader.read(frame)
    assert told.value.exit_code == 5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (400, "the server answers 400"),
        (404, "the server answers 404"),
        (401, "401 .*; set the environment variable INTERN_TOKEN"),
        (403, "403 .*; set the environment variable INTERN_TOKEN"),
        ("less", r"tile row 0 .*: the cutout does not have 512 bytes \(\(1, 16, 16\) uint16\)"),
        ("noise", "tile row 0 .*: the cutout does not have 512 bytes"),
    ],
)
def test_a_refusal_or_another_cutout_is_never_black(
    boss: Boss, answer: int | str, said: str
) -> None:
    boss.planned = [answer]
    with open_grid(boss.settings(dtype="uint16", grid=grid((0, 16), (0, 16), (0, 1)))) as reader:
        frame = next(reader.frames())
        with pytest.raises(CorruptSource, match=said) as told:
            reader.read(frame)
    assert TOKEN not in str(told.value)
    assert "/v1/cutout/lab/mouse%202/EM/0/0:16/0:16/0:1/" in str(told.value)


def test_the_token_goes_to_no_other_server(boss: Boss) -> None:
    boss.planned = ["elsewhere"]
    assert check_frames(boss.settings(dtype="uint16", grid=grid((0, 16), (0, 16), (0, 1)))) == 1
    assert [token for _, token, _ in boss.asked] == [f"Token {TOKEN}", ""]


def test_without_a_token_the_public_one_is_sent(
    boss: Boss, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERN_TOKEN")
    assert check_frames(boss.settings(dtype="uint16", grid=grid((0, 16), (0, 16), (0, 1)))) == 1
    assert boss.asked[0][1] == "Token public"


def test_settings_hold_no_token_and_are_checked_before_anything_is_asked(boss: Boss) -> None:
    wrong = {"token": TOKEN, "uri": "bossdb://lab/EM", "host": "me:pw@host", "pause_seconds": 0}
    with pytest.raises(ConfigError) as told:
        open_grid({**boss.settings(grid=grid((0, 16), (0, 16), (0, 1))), **wrong})
    assert {problem.split(": ")[1] for problem in told.value.problems} == set(wrong)
    assert TOKEN not in str(told.value)
    assert boss.asked == []
