"""The part of the contract of stores that concerns their clock and what killed runs leave."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import timedelta

from imaging_db.errors import ObjectConflict, StoreUnavailable, UnsafePath
from imaging_db.stores.base import Leftover, Store, temporary_name
from imaging_db.testing.store_actions import keys, put, put_stream


class StoreTimes:
    """Tests of `imaging_db.testing.store_contract.StoreContract`."""

    large: int

    def test_tells_when_an_object_was_put(self, store: Store) -> None:
        """By its own clock, in UTC, in lists and of one object; whole seconds are exact enough."""
        before = store.now()
        put(store, "a/b", b"x")
        after, second = store.now(), timedelta(seconds=1)
        told = store.stat("a/b")
        assert told is not None
        for found in (told, *store.list("a")):
            assert found.modified is not None
            assert found.modified.utcoffset() == timedelta()
            assert before - second <= found.modified <= after + second
        assert after.utcoffset() == timedelta()
        assert before <= after

    def test_ordinary_work_leaves_nothing_over(self, store: Store) -> None:
        """Neither do streams that failed, nor asking for the time."""
        put(store, "a/b", b"x")
        put_stream(store, "a/c", bytes(self.large))
        with suppress(ObjectConflict):
            put(store, "a/b", b"y")
        with suppress(StoreUnavailable):
            store.put_stream("a/d", io.BytesIO(b"short"), size=self.large)
        store.now()
        store.probe()
        assert list(store.leftovers()) == []
        assert keys(store) == ["a/b", "a/c"]

    def test_only_leftovers_can_be_discarded(self, store: Store) -> None:
        """An object never; what is gone is no news."""
        put(store, "a/b", b"x")
        with suppress(UnsafePath):
            assert store.discard(Leftover("a/b", 1)) is False
        gone = Leftover(f"a/{temporary_name()}", 1)
        assert store.discard(gone) is False
        assert keys(store) == ["a/b"]
