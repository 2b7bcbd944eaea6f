"""Objects of one and of five megabytes into S3 and back, near and 40 ms away: ours beside others.

The server is ``rclone serve s3`` in a process of its own: real files, signatures and Content-MD5 checked.
Files are read from and written to a folder in the cache; ours hashes both ways. All get the same objects,
which the server has handed out once: it reads an object twice the first time, for its ETag.
"""

from __future__ import annotations

import logging
import os
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from benchmarks import children
from benchmarks.result import Result, ratios
from benchmarks.s3_clients import BUCKET, SECRETS, Client, Cost, clients, program
from benchmarks.scratch import is_quick, working_folder
from benchmarks.slow_link import slow_link
from imaging_db.model import sha256_of_bytes

_GROUP = "S3 clients"
_OURS, _PEER = "imaging_db", "rclone copy"
_SIZES = {1: 64, 5: 24}  # megabytes, and how many objects
_ROUND_TRIPS = {"0 ms": 0.0, "40 ms": 0.04}

Turns = dict[tuple[str, str, str], list[tuple[Cost, int]]]  # direction, case, contender


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give MB/s and CPU seconds a GB of each client; the repeats of all are made in turns."""
    turns: Turns = {}
    with working_folder("s3") as folder, _secrets(), _server(folder / "server") as url:
        for away, round_trip in _ROUND_TRIPS.items():
            with slow_link(url, round_trip=round_trip) as slow:
                found = clients(slow if round_trip else url)
                for size, count in _SIZES.items():
                    files = _make(folder / "files", size=size, count=4 if is_quick() else count)
                    case = f"{size} MB objects, {away} away"
                    _fetched(found[-1], files, prefix=f"{size}-{away[:2].strip()}", put=True)
                    for turn in range(repeats):
                        for number, client in enumerate(found):
                            if client.slow and size == min(_SIZES):
                                continue
                            prefix = f"{size}-{away[:2].strip()}-{turn}-{number}"
                            _once(turns, client, case, files, prefix)
                            shutil.rmtree(folder / "server" / BUCKET / prefix)
    results = {key: _result(*key, costs) for key, costs in turns.items()}
    yield from results.values()
    yield from _compared(results)


def _once(turns: Turns, client: Client, case: str, files: Path, prefix: str) -> None:
    size = sum(file.stat().st_size for file in files.iterdir())
    put = client.put(files, prefix)
    got = _fetched(client, files, prefix=prefix.rsplit("-", 2)[0])
    for direction, cost in (("PUT", put), ("GET", got)):
        turns.setdefault((direction, case, client.name), []).append((cost, size))


def _fetched(client: Client, files: Path, *, prefix: str, put: bool = False) -> Cost:
    """Return what getting the objects below ``prefix`` cost, which are those of ``files``."""
    if put:
        client.put(files, prefix)
    back = files.parent / "back"
    back.mkdir()
    cost = client.get(back, prefix)
    if sorted(file.name for file in back.iterdir()) != sorted(
        file.name for file in files.iterdir()
    ):
        raise RuntimeError(f"{client.name} did not bring back what is there")
    shutil.rmtree(back)
    return cost


def _result(direction: str, case: str, name: str, costs: list[tuple[Cost, int]]) -> Result:
    return Result(
        _GROUP,
        f"{direction} {case}",
        name,
        "MB/s",
        tuple(size / 1e6 / cost.wall for cost, size in costs),
        cpu_per_gb=tuple(cost.cpu * 1e9 / size for cost, size in costs),
    )


def _compared(results: dict[tuple[str, str, str], Result]) -> Iterator[Result]:
    """Give ours by rclone, and our puts far away by those near: what the store leaves for the targets."""
    for (direction, case, name), ours in results.items():
        peer = results.get((direction, case, _PEER))
        if name == _OURS and peer is not None:
            least = 0.9 if direction == "GET" else 0.6
            yield _ratio(ours, peer, "times rclone copy", least)
        near = results.get((direction, case.replace("40 ms", "0 ms"), _OURS))
        if name == _OURS and direction == "PUT" and near is not None and near is not ours:
            yield _ratio(ours, near, "times 0 ms", 0.7)


def _ratio(ours: Result, theirs: Result, unit: str, least: float) -> Result:
    values = ratios(ours, theirs)
    met = statistics.median(values) >= least
    return Result(_GROUP, ours.case, _OURS, unit, values, f"at least {least} {unit}", met)


def _make(folder: Path, *, size: int, count: int) -> Path:
    """Return a folder of ``count`` files of random bytes, each named by its SHA-256."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for _ in range(count):
        data = os.urandom(size * 10**6)
        (folder / f"{sha256_of_bytes(data)}.png").write_bytes(data)
    return folder


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Give the URL of rclone over an empty folder with one bucket."""
    folder.mkdir()
    port = children.free_port()
    key = f"{SECRETS['AWS_ACCESS_KEY_ID']},{SECRETS['AWS_SECRET_ACCESS_KEY']}"
    command = [program("rclone") or "rclone", "serve", "s3", "--config", os.devnull]
    command += ["--addr", f"127.0.0.1:{port}", "--auth-key", key, folder]
    with children.server(command, port=port):
        url = f"http://127.0.0.1:{port}"
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
        yield url


@contextmanager
def _secrets() -> Iterator[None]:
    """Put the server's credentials into the environment; say nothing of what the server ignores."""
    before = {name: os.environ.get(name) for name in SECRETS}
    os.environ.update(SECRETS)
    log = logging.getLogger("imaging_db.stores")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
