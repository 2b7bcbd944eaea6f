"""An S3 server, or the way to it, that fails while commands run: through a proxy that does it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from imaging_db.model import sha256_of_bytes
from tests.reliability.network import (
    ANY_FRAME,
    CONTAINING,
    FRAMES,
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
from tests.support.commands import FORKS, Commands
from tests.support.matrix import Injected
from tests.support.s3_proxy import EVER
from tests.support.strict_s3 import StrictS3
from tests.support.strict_s3_objects import Object

__all__ = ["network", "one_network"]

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

MIB = 2**20


def stored(network: Network, serial: str) -> dict[str, bytes]:
    """What the server holds of a dataset."""
    objects = network.server.objects
    return {k.split("/", 2)[2]: objects[k].data for k in objects if f"/{serial}/" in k}


# --- trouble that passes


PASSING = [
    ("status", {"status": 500, "code": "InternalError"}),
    ("status", {"status": 502, "code": ""}),
    ("status", {"status": 503, "code": "SlowDown"}),
    ("status", {"status": 429, "code": "TooManyRequests"}),
    ("reset", {}),
    ("reset after", {}),
    ("lose answer", {}),
    ("silence", {"seconds": 0.5}),
]


@pytest.mark.fault("N1", "N3", "N4")
@pytest.mark.parametrize("name", ["frames", "files"])
def test_passing_trouble_is_told_once_and_changes_nothing(
    network: Network, tmp_path: Path, injected: Injected, name: str
) -> None:
    """Each kind twice: during an upload, and during the download of what it made."""
    truth = network.truth(name)
    bench, proxy = network.bench, network.proxy
    quarter = 2 * bench.lab.settings.database.is_sqlite + (name == "frames")
    kinds = PASSING if MUCH else PASSING[quarter::4]
    for kind, options in kinds:
        serial = bench.new()
        proxy.plan("PUT", kind, times=2, containing=CONTAINING[name], **options)
        done = bench.do(bench.uploading(serial, name))
        assert len(waits(done)) == (kind != "silence"), done.stderr
        assert network.seen(serial) == truth
        proxy.plan("GET", kind, times=2, containing=f"/{serial}/", **options)
        done = bench.do(bench.downloading(serial, tmp_path / "dest"))
        assert len(waits(done)) == (kind != "silence"), done.stderr
        assert downloaded(network, serial, tmp_path / "dest") == stored(network, serial)
    assert len(proxy.hits) == 4 * len(kinds)
    injected.add(len(proxy.hits))


@pytest.mark.fault("N9")
def test_a_race_that_the_server_cannot_decide_is_decided_later(
    request: pytest.FixtureRequest, aws_credentials: None, commands: Commands, injected: Injected
) -> None:
    """It answers 409 to the first put of every key, of the probe too."""
    fixture = request.getfixturevalue
    with (
        StrictS3(conditional="busy") as server,
        network_to(server, server.url, "sqlite+local", fixture, commands) as network,
    ):
        assert network.truth()["dataset"]["nbr_objects"] == FRAMES
        assert len(server.raced) == FRAMES + 1
        injected.add(len(server.raced))


@pytest.mark.fault("N6")
@pytest.mark.parametrize("name", ["frames", "files"])
def test_bytes_that_are_damaged_on_their_way_up_are_sent_again(
    one_network: Network, injected: Injected, name: str
) -> None:
    network = one_network
    truth = network.truth(name)
    serial = network.bench.new()
    network.proxy.plan("PUT", "damage", times=3, containing=CONTAINING[name])
    network.bench.do(network.bench.uploading(serial, name))
    assert network.seen(serial) == truth
    injected.add(len(network.proxy.hits))
    assert len(network.proxy.hits) == 3


# --- what comes down


WRONG = ["truncate", "flip", "other", "empty", "html"]


@pytest.mark.fault("N5")
@pytest.mark.parametrize("name", ["frames", "files"])
def test_an_object_that_comes_wrong_once_is_asked_for_again(
    one_network: Network, tmp_path: Path, injected: Injected, name: str
) -> None:
    network = one_network
    serial = network.bench.new()
    network.bench.do(network.bench.uploading(serial, name))
    for kind in WRONG:
        network.proxy.plan("GET", kind, containing=f"/{serial}/")
        network.bench.do(network.bench.downloading(serial, tmp_path / kind))
        assert downloaded(network, serial, tmp_path / kind) == stored(network, serial)
    injected.add(len(network.proxy.hits))
    assert len(network.proxy.hits) == len(WRONG)


@pytest.mark.fault("N5")
@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [("frames", "flip", 6), ("files", "flip", 6), ("files", "other", 6), ("frames", "html", 5)],
)
def test_an_object_that_never_comes_right_gets_no_name(
    one_network: Network, tmp_path: Path, injected: Injected, name: str, kind: str, code: int
) -> None:
    network = one_network
    serial = network.bench.new()
    network.bench.do(network.bench.uploading(serial, name))
    bad = {"frames": "im_c001_z001_t000_p000.png", "files": "c.txt"}[name]
    network.proxy.plan("GET", kind, times=EVER, containing=bad)
    done = network.bench.run(network.bench.downloading(serial, tmp_path))
    check_failed(done, code)
    found = downloaded(network, serial, tmp_path)
    whole = stored(network, serial)
    assert found.items() <= whole.items()
    assert bad not in found
    if code == 6:
        assert set(found) == set(whole) - {bad}
    injected.add(len(network.proxy.hits))
    network.proxy.heal()
    network.bench.do(network.bench.downloading(serial, tmp_path))
    assert downloaded(network, serial, tmp_path) == whole


@pytest.mark.fault("N13")
def test_an_object_that_somebody_deleted_is_named(one_network: Network, tmp_path: Path) -> None:
    network = one_network
    serial = network.bench.new()
    network.bench.do(network.bench.uploading(serial))
    key = f"raw_frames/{serial}/im_c001_z001_t000_p000.png"
    del network.server.objects[key]
    done = network.bench.run(network.bench.downloading(serial, tmp_path))
    check_failed(done, 6, key, "missing")
    assert downloaded(network, serial, tmp_path) == stored(network, serial)


@pytest.mark.fault("N13")
def test_every_page_of_a_long_listing_is_read(one_network: Network) -> None:
    """Pages of a thousand keys, the last of one, with names that a URL has to escape."""
    objects = one_network.server.objects
    for number in range(2001):
        objects[f"raw_frames/many/a+b &{number:05d}.png"] = Object(b"x")
    found = [info.key for info in one_network.bench.db.store.list("raw_frames/many")]
    assert found == sorted(objects)
    assert sum("list-type=2" in request for request in one_network.proxy.requests) == 3


@pytest.mark.fault("N14")
def test_answers_that_a_middleman_has_changed_are_understood(
    one_network: Network, tmp_path: Path, injected: Injected
) -> None:
    """HTTP/1.0, pieces instead of a length, headers that are gone: exact, or refused."""
    network = one_network
    truth = network.truth()
    for kind in ("old", "chunked", "strip"):
        serial = network.bench.new()
        network.proxy.plan("*", kind, times=EVER, containing=ANY_FRAME)
        done = network.bench.run(network.bench.uploading(serial))
        if kind == "strip":
            check_failed(done, 5, "does not come from S3")
            assert network.seen(serial) is None
            network.bench.do(network.bench.uploading(serial))
        assert done.code in (0, 5), done.told
        network.proxy.heal()
        network.proxy.plan("GET", kind, times=EVER, containing=ANY_FRAME)
        done = network.bench.run(network.bench.downloading(serial, tmp_path))
        assert kind == "strip" or done.code == 0, done.told
        assert downloaded(network, serial, tmp_path).items() <= stored(network, serial).items()
        assert network.seen(serial) == truth
    injected.add(len(network.proxy.hits))


# --- refusals, before anything is done


REFUSALS = [
    (403, "AccessDenied", "access denied"),
    (404, "NoSuchBucket", "no bucket 'lab'"),
    (400, "ExpiredToken", "expired"),
    (301, "PermanentRedirect", "AWS_DEFAULT_REGION"),
]


@pytest.mark.fault("N7")
def test_a_refusal_is_told_before_anything_is_done(
    network: Network, tmp_path: Path, injected: Injected
) -> None:
    bench, proxy = network.bench, network.proxy
    there = bench.new()
    bench.do(bench.uploading(there))
    every = MUCH or bench.lab.settings.database.is_sqlite
    for status, code, words in REFUSALS if every else REFUSALS[:1]:
        for method in ("GET", "HEAD", "PUT"):
            proxy.plan(method, "status", times=EVER, status=status, code=code)
        proxy.requests.clear()
        check_failed(bench.run(bench.uploading(bench.new())), 2, words)
        assert len(proxy.requests) <= 3
        check_failed(bench.run(bench.downloading(there, tmp_path)), 2, words)
        proxy.heal()
        injected.add(2)
    assert downloaded(network, there, tmp_path) == {}
    assert bench.unfinished() == []


@pytest.mark.fault("N8")
@pytest.mark.parametrize("name", ["frames", "files"])
def test_other_content_under_a_key_is_never_replaced(network: Network, name: str) -> None:
    serial = network.bench.new()
    key = {"frames": "raw_frames/{}/im_c001_z001_t000_p000.png", "files": "raw_files/{}/c.txt"}
    theirs = key[name].format(serial)
    network.bench.db.store.put(theirs, b"theirs", sha256=sha256_of_bytes(b"theirs"))
    check_failed(network.bench.run(network.bench.uploading(serial, name)), 7, serial)
    assert network.server.objects[theirs].data == b"theirs"
    assert network.seen(serial) is None


@pytest.mark.fault("N10")
@pytest.mark.parametrize(("conditional", "checksums"), [("ignore", False), ("reject", True)])
def test_a_server_that_knows_less_is_enough(
    request: pytest.FixtureRequest,
    aws_credentials: None,
    commands: Commands,
    tmp_path: Path,
    conditional: str,
    checksums: bool,
) -> None:
    fixture = request.getfixturevalue
    with (
        StrictS3(conditional=conditional, checksums=checksums) as server,
        network_to(server, server.url, "sqlite+local", fixture, commands) as network,
    ):
        bench = network.bench
        serial = bench.new()
        network.proxy.plan("PUT", "damage", times=2, containing=ANY_FRAME)
        done = bench.do(bench.uploading(serial))
        assert done.stderr.count("does not honour If-None-Match") == 1
        assert network.seen(serial) is not None
        assert "already there" in bench.do(bench.uploading(serial)).stdout
        bench.do(bench.downloading(serial, tmp_path))
        assert downloaded(network, serial, tmp_path) == stored(network, serial)


@pytest.mark.fault("N12")
@pytest.mark.parametrize("hours", [2, -2])
def test_a_clock_that_is_off_is_told(
    request: pytest.FixtureRequest, aws_credentials: None, commands: Commands, hours: int
) -> None:
    fixture = request.getfixturevalue
    with (
        StrictS3(clock_off=hours * 3600) as server,
        network_to(server, server.url, "sqlite+local", fixture, commands) as network,
    ):
        serial = network.bench.new()
        done = network.bench.run(network.bench.uploading(serial))
        check_failed(done, 5, "local clock differs", "by 2 h 0 min; set the clock")
        assert network.bench.unfinished() == []


# --- large files


@pytest.mark.fault("N11")
def test_an_upload_in_parts_that_is_killed_leaves_nothing_to_see(
    one_network: Network, tmp_path: Path
) -> None:
    """What S3 keeps of it is not among the objects, and the same command uploads the file whole."""
    network, bench = one_network, one_network.bench
    source = bench.source("files")
    (source / "large.bin").write_bytes(bytes(17 * MIB) + b"end")
    serial = bench.new()
    network.proxy.plan("PUT", "silence", seconds=3, containing="partNumber=2")
    command, argv = bench.uploading(serial, "files")
    started = bench.commands.start(command, argv, cwd=bench.lab.folder)
    until(lambda: bool(network.proxy.hits))
    started.send(signal.SIGKILL)
    assert started.wait().code == -signal.SIGKILL
    assert network.server.uploads
    assert not any("large" in key for key in network.server.objects)
    assert network.seen(serial) is None
    bench.do(bench.uploading(serial, "files"))
    assert network.seen(serial) is not None
    assert stored(network, serial)["large.bin"] == (source / "large.bin").read_bytes()
