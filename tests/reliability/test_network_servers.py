"""An S3 server that is not there, goes away in the middle, and comes back."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.reliability.network import (
    MUCH,
    Network,
    check_failed,
    downloaded,
    network,
    network_to,
    one_network,
    until,
    waits,
)
from tests.support.commands import FORKS, Commands, Started
from tests.support.matrix import Injected
from tests.support.strict_s3 import S3Process, StrictS3, s3_process

__all__ = ["network", "one_network"]

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

# --- servers that go


@pytest.mark.fault("N2", "N7")
@pytest.mark.parametrize("host", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
def test_nobody_there_is_told_before_anything_is_done(
    one_network: Network, tmp_path: Path, injected: Injected, host: str
) -> None:
    bench = one_network.bench
    there = bench.new()
    bench.do(bench.uploading(there))
    for path in bench.lab.folder.glob("config*.json"):
        path.write_text(path.read_text().replace(one_network.proxy.url, host))
    for line in (bench.uploading(bench.new()), bench.downloading(there, tmp_path)):
        done = bench.run(line)
        check_failed(done, 5, "s3://lab", host)
        assert done.seconds < 45
        injected.add()
    assert bench.unfinished() == []
    assert downloaded(one_network, there, tmp_path) == {}


@pytest.mark.fault("N3")
def test_the_server_of_these_tests_keeps_what_it_has_answered(
    tmp_path: Path, injected: Injected
) -> None:
    """Killed while eight threads put: what was acknowledged is there, and every object is whole."""
    acknowledged: list[str] = []
    with s3_process(tmp_path) as process:

        def put(number: int) -> None:
            target = urlsplit(process.url)
            connection = HTTPConnection(target.hostname or "", target.port, timeout=10)
            with contextlib.suppress(OSError, HTTPException), closing(connection):
                for count in itertools.count():
                    key = f"{number}-{count}"
                    connection.request("PUT", f"/lab/{key}", body=key.encode() * 10_000)
                    if connection.getresponse().read() == b"":
                        acknowledged.append(key)

        with ThreadPoolExecutor(8) as pool:
            putting = [pool.submit(put, number) for number in range(8)]
            until(lambda: len(acknowledged) > 40)
            process.kill()
            for one in putting:
                one.result()
        found = process.objects()
        process.start()
    assert set(acknowledged) <= set(found)
    assert all(stored.data == key.encode() * 10_000 for key, stored in found.items())
    injected.add()


@pytest.fixture
def served(
    request: pytest.FixtureRequest, aws_credentials: None, commands: Commands, tmp_path: Path
) -> Iterator[tuple[Network, S3Process]]:
    """A network to a server that is a process, and the process."""
    fixture = request.getfixturevalue
    with (
        StrictS3() as unused,
        s3_process(tmp_path / "objects") as process,
        network_to(unused, process.url, "sqlite+local", fixture, commands) as network,
    ):
        yield network, process


@pytest.mark.fault("N3")
def test_an_upload_goes_on_when_its_server_comes_back(
    served: tuple[Network, S3Process], tmp_path: Path
) -> None:
    """The server is killed in the middle; started again, it has what it had answered."""
    network, process = served
    truth = network.truth()
    serial = network.bench.new()
    started = _until_third_object(network, serial)
    process.kill()
    had = {key for key in process.objects() if serial in key}
    time.sleep(5 if MUCH else 1.5)
    process.start()
    done = started.wait()
    assert done.code == 0, done.told
    assert len(waits(done)) == 1, done.stderr
    assert had
    assert network.seen(serial) == truth


@pytest.mark.fault("N2")
@pytest.mark.skipif(not MUCH, reason="half a minute of waiting: IMAGING_DB_TEST_NETWORK")
def test_a_server_that_stays_away_is_given_up_in_time(
    served: tuple[Network, S3Process], tmp_path: Path
) -> None:
    """Eight attempts with growing pauses: half a minute; the same command finishes the work later."""
    network, process = served
    truth = network.truth()
    serial = network.bench.new()
    started = _until_third_object(network, serial)
    process.kill()
    done = started.wait()
    check_failed(done, 5, "s3://lab", "given up after")
    assert len(waits(done)) == 1, done.stderr
    assert done.seconds < 60
    process.start()
    assert network.seen(serial) is None
    network.bench.do(network.bench.uploading(serial))
    assert network.seen(serial) == truth


def _until_third_object(network: Network, serial: str) -> Started:
    """Start an upload that takes its time, and return when three of its objects were answered."""
    command, argv = network.bench.uploading(serial)
    started = network.bench.commands.start(
        command, argv, cwd=network.bench.lab.folder, failpoint="object.written:3+:stall=0.5"
    )
    until(lambda: sum(f"PUT /lab/raw_frames/{serial}" in r for r in network.proxy.requests) >= 3)
    return started
