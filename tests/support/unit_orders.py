"""Small jobs for engines: a web server that gives tiles whose pixels are known, and work orders over it.

The server sees who asks, so that a tile can wait until a test lets it go, and one can kill whoever reads it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image

from imaging_db.codecs import decode_frame
from imaging_db.config import StoreSettings
from imaging_db.jobs.engines.base import Engine
from imaging_db.jobs.source import GRID, JobSource
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model.job import Lease, Unit, UnitResult
from imaging_db.readers.base import ReaderOptions

SIDE = 16


def tile(z: int) -> npt.NDArray[np.uint16]:
    """The pixels of the one tile of a slice."""
    return (np.arange(SIDE * SIDE, dtype=np.uint16) + 1000 * z).reshape(SIDE, SIDE)


class Tiles:
    """A web server of tiles, one a slice. ``asked`` holds the slices that were asked for, in order.

    Slices in ``killers`` kill the process that asks for them; those in ``held`` wait for `let_go`.
    """

    def __init__(self, *, killers: Iterable[int] = (), held: Iterable[int] = ()) -> None:
        self.killers, self.held = set(killers), set(held)
        self.asked: list[int] = []
        self.readers: set[int] = set()
        self._free = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def let_go(self) -> None:
        self._free.set()

    def close(self) -> None:
        self.let_go()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def give(self, z: int, port: int) -> bytes:
        """The file of a slice for who asks from a port."""
        self.asked.append(z)
        if sys.platform == "linux":  # elsewhere only an administrator is told whose a connection is
            pid = owner_of(port)
            self.readers.add(pid)
            if z in self.killers:
                os.kill(pid, signal.SIGKILL)
        if z in self.held:
            self._free.wait(60)
        file = io.BytesIO()
        Image.fromarray(tile(z)).save(file, "png")
        return file.getvalue()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        give = self.give

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = give(int(self.path.strip("/").partition(".")[0]), self.client_address[1])
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # who asked is dead
                    return

            def log_message(self, format: str, *args: Any) -> None:
                return

        return Handler


def owner_of(port: int) -> int:
    """The process whose connection comes from a port."""
    for _ in range(100):
        for one in psutil.net_connections("tcp"):
            if one.laddr and one.laddr.port == port and one.pid:
                return one.pid
        time.sleep(0.01)
    raise LookupError(f"nobody has port {port}")


def gone(pids: Iterable[int], *, seconds: float = 5.0) -> bool:
    """Whether processes end in time."""
    return eventually(lambda: not any(map(is_alive, pids)), seconds=seconds)


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only what the system keeps of it until somebody asks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def order_over(url: str, folder: Path, *, slices: int, **settings: Any) -> WorkOrder:
    """An order to store the slices of a server, one frame each, in a folder."""
    grid = {"x": [0, SIDE], "y": [0, SIDE], "z": [0, slices], "tile": [SIDE, SIDE]}
    described = {
        "kind": "tile_urls",
        "url": url,
        "pattern": "{z}.png",
        "grid": grid,
        "dtype": "uint16",
        "colors": 1,
        **settings,
    }
    folder.mkdir(exist_ok=True)
    source = JobSource(GRID, folder, ReaderOptions(settings=described))
    place = StoreSettings("local", str(folder))
    return WorkOrder(str(uuid.uuid4()), source.to_json(), "raw_frames/JOB", "png", place)


def leases_of(slices: Iterable[int]) -> list[Lease]:
    """First attempts at units of one slice each."""
    return [Lease(Unit(z, z, 1), 1) for z in slices]


def all_of(engine: Engine, count: int, *, seconds: float = 60.0) -> dict[int, UnitResult]:
    """What became of so many units, by their number; each comes back once."""
    found: dict[int, UnitResult] = {}
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        for result in engine.finished(1.0):
            number = result.lease.unit.ordinal
            assert number not in found, f"unit {number} came back twice"
            found[number] = result
    return found


def check_stored(folder: Path, result: UnitResult) -> None:
    """The object of a slice is there, with its pixels."""
    (frame,) = result.frames
    content = (folder / "raw_frames" / "JOB" / frame.file_name).read_bytes()
    assert np.array_equal(decode_frame(content), tile(result.lease.unit.ordinal))


def eventually(check: Callable[[], bool], *, seconds: float = 10.0) -> bool:
    """Whether something becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if check():
            return True
        time.sleep(0.02)
    return check()
