"""A lab whose bucket is reached through a proxy that spoils requests, and the commands over it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.config.settings import StoreSettings
from tests.support.commands import Commands, Done
from tests.support.golden import Golden
from tests.support.lab import build_lab, make_lab
from tests.support.s3_proxy import S3Proxy
from tests.support.strict_s3 import StrictS3
from tests.torture.bench import Bench, Line, check_told

FRAMES = 6
MUCH = bool(os.environ.get("IMAGING_DB_TEST_NETWORK"))  # now: tests run in a clean environment
ANY_FRAME, ANY_FILE = "/im_c", "/raw_files/"
CONTAINING = {"frames": ANY_FRAME, "files": ANY_FILE}


@dataclass
class Network:
    """A bench on an S3 server behind a proxy; ``server`` is what the proxy leads to."""

    bench: Bench
    proxy: S3Proxy
    server: StrictS3

    def truth(self, name: str = "frames") -> Golden:
        """What an undisturbed upload makes of a source; its requests are forgotten."""
        serial = self.bench.new()
        self.bench.do(self.bench.uploading(serial, name))
        found = self.bench.seen(serial)
        assert found is not None
        self.proxy.requests.clear()
        return found

    def seen(self, serial: str) -> Golden | None:
        """A dataset in full, looked at without the proxy's faults."""
        self.proxy.heal()
        return self.bench.seen(serial)


@contextmanager
def network_to(
    server: StrictS3,
    url: str,
    combination: str,
    fixture: Callable[[str], object],
    commands: Commands,
) -> Iterator[Network]:
    """Return a network to ``url``, with an empty catalog; ``combination`` names it, as ``sqlite+local``."""
    folder = fixture("tmp_path")
    assert isinstance(folder, Path)
    settings = build_lab(combination, fixture, folder).settings
    with S3Proxy(url) as proxy:
        lab = make_lab(settings.database, StoreSettings("s3", "lab", proxy.url), folder)
        if settings.database.is_sqlite:
            with ImagingDB(replace(lab.settings)) as db:
                db._opened(create=True)
        bench = Bench(lab, commands)
        try:
            yield Network(bench, proxy, server)
        finally:
            bench.close()


def check_failed(done: Done, code: int, *words: str) -> str:
    """Return the one line that tells what failed, what to do next, and no secret."""
    check_told(done, code=code)
    (line,) = done.errors()
    assert code == 4 or "; " in line, line  # a source that is refused has its own reason only
    for word in words:
        assert word in line, line
    return line


def waits(done: Done) -> list[str]:
    """The lines that say whom a command waited for."""
    return [line for line in done.stderr.splitlines() if "waiting for" in line]


@pytest.fixture(params=["sqlite", "postgres"])
def network(
    request: pytest.FixtureRequest, strict_s3: StrictS3, commands: Commands
) -> Iterator[Network]:
    """Over each database."""
    combination = f"{request.param}+local"
    fixture = request.getfixturevalue
    with network_to(strict_s3, strict_s3.url, combination, fixture, commands) as made:
        yield made


@pytest.fixture
def one_network(
    request: pytest.FixtureRequest, strict_s3: StrictS3, commands: Commands
) -> Iterator[Network]:
    """Over SQLite, for what does not concern the database."""
    fixture = request.getfixturevalue
    with network_to(strict_s3, strict_s3.url, "sqlite+local", fixture, commands) as made:
        yield made


def downloaded(network: Network, serial: str, dest: Path) -> dict[str, bytes]:
    """What a download put below its folder, without what describes it."""
    folder = dest / serial
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    beside = {"frames_meta.csv", "global_metadata.json"}
    return {name: path.read_bytes() for name, path in found.items() if name not in beside}


def until(happened: Callable[[], bool], *, seconds: float = 60) -> None:
    """Return once something has happened."""
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.01)


def all_lines(bench: Bench, there: str, folder: Path) -> list[Line]:
    """An upload, a download, a query."""
    return [
        bench.uploading(bench.new()),
        bench.downloading(there, folder / "dest"),
        bench.saying("query"),
    ]
