"""Connections that are slow: what moves is waited for, what only trickles is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import pytest

from imaging_db.errors import StoreUnavailable
from imaging_db.stores.s3 import S3Store
from imaging_db.testing.store_actions import put
from tests.support.matrix import Injected
from tests.support.s3_proxy import EVER, S3Proxy
from tests.support.strict_s3 import StrictS3

MIB = 2**20


@pytest.fixture
def proxy(strict_s3: StrictS3) -> Iterator[S3Proxy]:
    """A slow way to the server."""
    with S3Proxy(strict_s3.url) as made:
        yield made


@pytest.mark.fault("N3")
def test_a_body_may_take_longer_than_the_time_out_as_long_as_it_moves(
    proxy: S3Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    store = S3Store("lab", endpoint_url=proxy.url, connect_seconds=1)
    store.probe()
    proxy.requests.clear()
    proxy.plan("PUT", "slow up", speed=6 * MIB)
    begun = time.monotonic()
    assert put(store, "a", bytes(15 * MIB)) is True
    assert time.monotonic() - begun > 1.5
    assert proxy.requests == ["PUT /lab/a"]
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    store.close()


@pytest.mark.fault("N3")
@pytest.mark.parametrize("way", ["get", "open", "compare"])
def test_an_answer_that_trickles_is_cut_and_asked_for_again(
    strict_s3: StrictS3, proxy: S3Proxy, injected: Injected, way: str
) -> None:
    store = S3Store("lab", endpoint_url=proxy.url, read_seconds=0.3, patience_seconds=1, attempts=3)
    put(store, "a", bytes(2000))
    strict_s3.objects["a"].headers.clear()

    def stream() -> bytes:
        with store.open("a") as opened:
            return opened.read()

    ways: dict[str, Callable[[], object]] = {
        "get": lambda: store.get("a"),
        "open": stream,
        "compare": lambda: put(store, "a", bytes(2000)),
    }
    proxy.plan("GET", "slow", speed=50, times=EVER)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="the answer was cut"):
        ways[way]()
    assert time.monotonic() - begun < 15
    injected.add(len(proxy.hits))
    proxy.heal()
    ways[way]()
    store.close()
