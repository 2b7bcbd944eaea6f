"""Ways to copy a folder of files into a bucket and back: ours, and those that pip installs."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks import children
from benchmarks.obstore_store import ObstoreStore
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import Store
from imaging_db.stores.s3 import S3Store

THREADS = 24
BUCKET = "bench"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIABENCHMARKKEY0000",
    "AWS_SECRET_ACCESS_KEY": "only-for-this-benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
}

Copy = Callable[[Path, str], None]  # all files of a folder below a prefix, or back


@dataclass(frozen=True)
class Cost:
    """Seconds of wall clock and of CPU of the process that copied."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Client:
    """One contender: how it puts and how it gets; a ``slow`` one is spared the many small objects."""

    name: str
    put: Callable[[Path, str], Cost]
    get: Callable[[Path, str], Cost]
    slow: bool = False


def clients(url: str) -> tuple[Client, ...]:
    """Return the contenders for the server at ``url``, each used once, so that it has connected."""
    one = boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=THREADS))
    anew = _of_calls(
        "boto3, a client an object (imagingDB)", partial(_put_anew, url), partial(_get_anew, url)
    )
    found = (
        replace(anew, slow=True),
        _of_calls("boto3, one client", partial(_put_boto3, one), partial(_get_boto3, one)),
        _of_store("imaging_db", S3Store(BUCKET, endpoint_url=url)),
        _of_store("obstore, our contract", ObstoreStore(BUCKET, endpoint_url=url)),
    )
    return (*found, *_programs(url))


def program(name: str) -> str | None:
    """Return the path of a program that pip put beside this Python, or of the system's."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _of_store(name: str, store: Store) -> Client:
    store.probe()
    store.stat("nothing")  # what is done once only is done now

    def put(key: str, file: Path) -> None:
        data = file.read_bytes()
        store.put(key, data, sha256=sha256_of_bytes(data))

    def get(key: str, file: Path) -> None:
        data = store.get(key)
        if sha256_of_bytes(data) != file.stem:  # files are named by their hash
            raise RuntimeError(f"{key} is damaged")
        file.write_bytes(data)

    return _of_calls(name, put, get)


def _of_calls(
    name: str, put: Callable[[str, Path], None], get: Callable[[str, Path], None]
) -> Client:
    def put_all(folder: Path, prefix: str) -> None:
        _each(put, [(f"{prefix}/{file.name}", file) for file in sorted(folder.iterdir())])

    def get_all(folder: Path, prefix: str) -> None:
        names = [file.name for file in sorted((folder.parent / "files").iterdir())]
        _each(get, [(f"{prefix}/{name}", folder / name) for name in names])

    return Client(name, partial(_timed, put_all), partial(_timed, get_all))


def _each(call: Callable[[str, Path], None], work: Iterable[tuple[str, Path]]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda item: call(*item), work):
            pass


def _timed(copy: Copy, folder: Path, prefix: str) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    copy(folder, prefix)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def _put_anew(url: str, key: str, file: Path) -> None:
    client = boto3.session.Session().client("s3", endpoint_url=url)
    client.list_objects_v2(Bucket=BUCKET, Prefix=key)
    _put_boto3(client, key, file)


def _get_anew(url: str, key: str, file: Path) -> None:
    _get_boto3(boto3.session.Session().client("s3", endpoint_url=url), key, file)


def _put_boto3(client: Any, key: str, file: Path) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())


def _get_boto3(client: Any, key: str, file: Path) -> None:
    file.write_bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def _programs(url: str) -> Iterable[Client]:
    rclone, s5cmd = program("rclone"), program("s5cmd")
    if rclone:
        remote = f":s3,provider=Other,env_auth,endpoint='{url}',force_path_style:{BUCKET}"
        words = [rclone, "copy", "--config", os.devnull, "--no-traverse", "--s3-no-check-bucket"]
        words += ["--transfers", str(THREADS), "--checkers", str(THREADS)]
        yield Client(
            "rclone copy",
            lambda folder, prefix: _run([*words, str(folder), f"{remote}/{prefix}"]),
            lambda folder, prefix: _run([*words, f"{remote}/{prefix}", str(folder)]),
        )
    if s5cmd:
        tool = [s5cmd, "--endpoint-url", url, "--numworkers", str(THREADS), "--log", "error", "cp"]
        yield Client(
            "s5cmd cp",
            lambda folder, prefix: _run([*tool, f"{folder}/*", f"s3://{BUCKET}/{prefix}/"]),
            lambda folder, prefix: _run([*tool, f"s3://{BUCKET}/{prefix}/*", f"{folder}/"]),
        )


def _run(command: list[str]) -> Cost:
    outcome = children.run(command, env=SECRETS)
    return Cost(outcome.wall, outcome.cpu)
