"""Stores around stores: trying again, and refusing to be changed."""

from __future__ import annotations

import io
import threading
import time

import pytest

from imaging_db.errors import ObjectNotFound, StoreDenied, StoreUnavailable
from imaging_db.stores.base import Leftover, ObjectInfo, Store
from imaging_db.stores.memory import MemoryStore
from imaging_db.stores.wrappers import ReadOnlyStore, RetryingStore
from imaging_db.testing.store_actions import keys, put, put_stream


class Flaky(MemoryStore):
    """A store that fails ``failures`` times before each success."""

    def __init__(self, failures: int, *, transient: bool = True) -> None:
        super().__init__("flaky")
        self.failures = failures
        self.transient = transient
        self.calls = 0

    def trip(self) -> None:
        self.calls += 1
        if self.calls % (self.failures + 1):
            raise StoreUnavailable("the network is down", transient=self.transient)

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        self.trip()
        return super().put(key, data, sha256=sha256)

    def get(self, key: str) -> bytes:
        self.trip()
        return super().get(key)

    def delete(self, key: str) -> bool:
        self.trip()
        return super().delete(key)

    def flush(self) -> None:
        self.trip()

    def list(self, prefix: str):  # type: ignore[no-untyped-def]
        for number, found in enumerate(super().list(prefix)):
            if number == 2:
                self.trip()
            yield found


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, without making them."""
    made: list[float] = []
    sleep, here = time.sleep, threading.get_ident()

    def pause(seconds: float) -> None:
        if threading.get_ident() == here:
            made.append(seconds)
        else:  # a thread that another test left, such as that of a server
            sleep(seconds)

    monkeypatch.setattr(time, "sleep", pause)
    return made


def test_tries_again(pauses: list[float]) -> None:
    flaky = Flaky(3)
    store = RetryingStore(flaky)
    assert put(store, "a", b"x") is True
    assert store.get("a") == b"x"
    assert flaky.calls == 8
    assert len(pauses) == 6


def test_tells_once_for_each_operation(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    store = RetryingStore(Flaky(3))
    put(store, "a", b"x")
    store.get("a")
    lines = [record.getMessage() for record in caplog.records]
    expected = "waiting for memory://flaky: the network is down, next attempt in {:.1f} s"
    assert lines == [expected.format(pauses[0]), expected.format(pauses[3])]


def test_pauses_grow_and_differ(pauses: list[float]) -> None:
    with pytest.raises(StoreUnavailable):
        put(RetryingStore(Flaky(100), attempts=8, seconds=1000), "a", b"x")
    assert len(pauses) == 7
    for number, pause in enumerate(pauses):
        assert 0.1 <= pause <= min(10, 0.5 * 2**number)


def test_winds_a_stream_back(pauses: list[float]) -> None:
    store = RetryingStore(Flaky(2))
    stream = io.BytesIO(b"skipped|kept")
    stream.seek(8)
    assert store.put_stream("a", stream, size=4) is True
    assert store.get("a") == b"kept"


def test_a_list_goes_on_where_it_broke(pauses: list[float]) -> None:
    flaky = Flaky(0)
    for key in ("a", "b", "c", "d"):
        put(flaky, key, b"x")
    flaky.calls, flaky.failures = 0, 2
    assert keys(RetryingStore(flaky)) == ["a", "b", "c", "d"]
    assert len(pauses) == 2


def test_gives_up_after_so_many_attempts(pauses: list[float]) -> None:
    flaky = Flaky(100)
    with pytest.raises(StoreUnavailable, match="network is down"):
        put(RetryingStore(flaky, attempts=4), "a", b"x")
    assert flaky.calls == 4


def test_gives_up_after_so_many_seconds(pauses: list[float]) -> None:
    flaky = Flaky(100)
    with pytest.raises(StoreUnavailable):
        put(RetryingStore(flaky, attempts=100, seconds=0.05), "a", b"x")
    assert flaky.calls == 1


def test_does_not_try_a_full_store_again(pauses: list[float]) -> None:
    flaky = Flaky(1, transient=False)
    with pytest.raises(StoreUnavailable):
        put(RetryingStore(flaky), "a", b"x")
    assert (flaky.calls, pauses) == (1, [])


def test_does_not_try_a_flush_again(pauses: list[float]) -> None:
    flaky = Flaky(1)
    with pytest.raises(StoreUnavailable):
        RetryingStore(flaky).flush()
    assert (flaky.calls, pauses) == (1, [])


def test_does_not_try_again_what_is_missing(pauses: list[float]) -> None:
    with pytest.raises(ObjectNotFound):
        RetryingStore(MemoryStore()).get("a")
    assert pauses == []


def test_read_only_reads() -> None:
    memory = MemoryStore("lab")
    put(memory, "a/b", b"x")
    store = ReadOnlyStore(memory)
    assert isinstance(store, Store)
    store.probe(write=False)
    store.flush()
    assert store.get("a/b") == store.open("a/b").read() == b"x"
    assert [store.stat("a/b")] == list(store.list("a"))
    assert store.stat("a/b") == ObjectInfo("a/b", 1, memory.stat("a/b").sha256)  # type: ignore[union-attr]
    assert store.address == "memory://lab"
    assert list(store.leftovers()) == []
    assert store.now() <= memory.now()
    store.close()


def test_read_only_refuses() -> None:
    store = ReadOnlyStore(MemoryStore("lab"))
    for call in (
        store.probe,
        lambda: put(store, "a", b"x"),
        lambda: put_stream(store, "a", b"x"),
        lambda: store.delete("a"),
        lambda: store.discard(Leftover("a", 1)),
    ):
        with pytest.raises(StoreDenied, match="memory://lab is open for reading only"):
            call()
    assert keys(store) == []
