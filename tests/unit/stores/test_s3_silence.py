"""How long S3Store waits for a server that says nothing, and that it tells whom it waits for."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from imaging_db.errors import StoreUnavailable
from imaging_db.stores.s3 import S3Store
from imaging_db.testing.store_actions import keys, put, put_stream
from tests.support.strict_s3 import StrictS3

MIB = 2**20
WAITING = re.compile(r"waiting for (\S+): (.+), next attempt in \d+\.\d s")


@pytest.fixture
def silent_url(aws_credentials: None) -> Iterator[str]:
    """An endpoint that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.fault("N2", "N3")
def test_a_probe_is_short(silent_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """With the time-outs that everybody has: somebody waits at a terminal."""
    store = S3Store("lab", endpoint_url=silent_url)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer in time") as raised:
        store.probe()
    assert time.monotonic() - begun < 30
    assert silent_url in str(raised.value)
    assert raised.value.exit_code == 5
    assert waits(caplog) == [(silent_url, "no answer")]
    store.close()


@pytest.mark.fault("N2", "N3")
def test_a_probe_that_meets_silence_late_is_short(
    strict_s3: StrictS3, caplog: pytest.LogCaptureFixture
) -> None:
    """The listing works; what follows is silent, clearing up too."""
    store = S3Store("lab", endpoint_url=strict_s3.url, read_seconds=0.4)
    for method in ("PUT", "DELETE"):
        strict_s3.fault(method, "wait", times=1000, seconds=1)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        store.probe()
    assert time.monotonic() - begun < 10
    assert waits(caplog) == [(strict_s3.url, "no answer")]
    store.close()


@pytest.mark.fault("N2", "N3")
def test_a_deletion_ends_before_the_right_to_it_does(
    strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.stores.s3._DELETE_PATIENCE", 0.4)
    monkeypatch.setattr("imaging_db.stores.s3_bucket._DELETE_READ_SECONDS", 0.3)
    store = S3Store("lab", endpoint_url=strict_s3.url)
    put(store, "a", b"x")
    strict_s3.fault("DELETE", "wait", times=1000, seconds=1)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        store.delete("a")
    assert time.monotonic() - begun < 3
    store.close()


def test_an_object_that_was_looked_at_for_long_is_not_deleted(
    strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for it may not have the right to it any more."""
    monkeypatch.setattr("imaging_db.stores.s3._DELETE_PATIENCE", 0.1)
    store = S3Store("lab", endpoint_url=strict_s3.url)
    put(store, "a", b"x")
    strict_s3.fault("HEAD", "wait", seconds=0.3)
    with pytest.raises(StoreUnavailable, match="looked at for too long"):
        store.delete("a")
    assert store.delete("a") is True
    store.close()


@pytest.mark.fault("N2", "N3")
def test_an_operation_ends_when_its_patience_does(silent_url: str) -> None:
    """However many attempts it has left, and what comes after it is tried once only."""
    store = S3Store(
        "lab", endpoint_url=silent_url, read_seconds=0.3, attempts=1000, patience_seconds=1
    )
    for call in (lambda: put(store, "a", b"x"), lambda: keys(store), lambda: store.get("a")):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match=f"no answer in time|{silent_url}"):
            call()
        assert 0.6 <= time.monotonic() - begun < 20  # a thousand attempts take minutes
    store.close()


def test_the_endpoint_of_the_environment_is_named(
    silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", silent_url)
    store = S3Store("lab", read_seconds=0.2)
    with pytest.raises(StoreUnavailable, match=f"s3://lab: no answer in time from {silent_url};"):
        store.probe()
    store.close()


class TestWarning:
    @pytest.fixture
    def store(self, strict_s3: StrictS3) -> Iterator[S3Store]:
        store = S3Store("lab", endpoint_url=strict_s3.url, part_bytes=5 * MIB)
        store.probe()
        yield store
        store.close()

    @pytest.mark.fault("N1")
    def test_comes_once_for_all_that_wait(
        self, strict_s3: StrictS3, store: S3Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Thirty threads that meet one trouble are one line."""
        strict_s3.fault("PUT", status=503, code="SlowDown", times=40)
        with ThreadPoolExecutor(30) as pool:
            list(pool.map(lambda number: put(store, str(number), b"x"), range(30)))
        assert waits(caplog) == [(strict_s3.url, "it answers SlowDown")]

    def test_comes_once_for_all_parts(
        self, strict_s3: StrictS3, store: S3Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in (1, 2, 3):
            strict_s3.fault("PUT", "reset", containing=f"partNumber={number}")
        assert put_stream(store, "a", bytes(11 * MIB)) is True
        assert waits(caplog) == [(strict_s3.url, "no connection")]

    def test_comes_for_an_answer_that_is_cut(
        self, strict_s3: StrictS3, store: S3Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, "a", bytes(100_000))
        strict_s3.fault("GET", "truncate", times=2)
        store.get("a")
        assert [cause for _, cause in told(caplog)] == ["the answer was cut"]

    def test_does_not_come_where_nothing_waits(
        self, strict_s3: StrictS3, store: S3Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, "a", b"x")
        assert store.stat("b") is None
        strict_s3.fault("PUT", status=403, code="AccessDenied")
        with pytest.raises(Exception, match="access denied"):
            put(store, "b", b"x")
        assert caplog.records == []


def test_parts_renew_the_patience(strict_s3: StrictS3) -> None:
    """Trouble at the first part is no reason to give up at the third."""
    store = S3Store("lab", endpoint_url=strict_s3.url, part_bytes=5 * MIB, patience_seconds=1.5)
    store.probe()
    strict_s3.fault("PUT", "reset", containing="partNumber=1")
    strict_s3.fault("PUT", "wait", seconds=1.5, containing="partNumber=2")
    strict_s3.fault("PUT", "reset", containing="partNumber=3")
    assert put_stream(store, "a", bytes(11 * MIB)) is True
    store.close()


def waits(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The endpoint and the cause of each line that says whom we wait for; no other line came."""
    found = told(caplog)
    assert len(found) == len(caplog.records)
    return found


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    lines = [WAITING.fullmatch(record.getMessage()) for record in caplog.records]
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [(line[1], line[2]) for line in lines if line]
