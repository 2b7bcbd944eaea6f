"""What every store must do, as tests: subclass `StoreContract` and give it a ``store`` fixture.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path: Path) -> Iterator[Store]:
            store = MyStore(tmp_path)
            store.probe()
            yield store
            store.close()

The fixture gives an empty store that was probed. The suite needs pytest, which is not a dependency of imaging_db.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from imaging_db.errors import (
    ChecksumMismatch,
    CorruptSource,
    ObjectConflict,
    ObjectNotFound,
    StoreUnavailable,
    UnsafePath,
)
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import Store, temporary_name
from imaging_db.testing.store_actions import (
    FORBIDDEN_KEYS,
    ODD_NAMES,
    SORTED_KEYS,
    THREADS,
    InterruptedStream,
    all_at_once,
    keys,
    put,
    put_stream,
    raising,
)
from imaging_db.testing.store_times import StoreTimes


def _put_same(store: Store, key: str, data: bytes, _number: int) -> bool:
    return put(store, key, data)


class StoreContract(StoreTimes):
    """The suite. ``large`` is the size of a stream that the store should not take in one piece."""

    large = 11 * 2**20 + 7
    many = 1_005

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store that was probed; a subclass must say which."""
        raise NotImplementedError

    # putting and getting

    def test_is_a_store(self, store: Store) -> None:
        """It has every method, and an address for people."""
        assert isinstance(store, Store)
        assert store.address

    @pytest.mark.parametrize("data", [b"", b"\x00", b"pixels" * 10_000, bytes(2**20 + 1)])
    def test_gives_back_what_was_put(self, store: Store, data: bytes) -> None:
        """Byte by byte, the empty object too."""
        assert put(store, "raw_frames/one/im.png", data) is True
        assert store.get("raw_frames/one/im.png") == data

    def test_takes_a_memoryview(self, store: Store) -> None:
        """Pixels need not be copied into bytes first."""
        data = bytes(range(256))
        assert store.put("a", memoryview(data)[16:32], sha256=sha256_of_bytes(data[16:32]))
        assert store.get("a") == data[16:32]

    def test_same_bytes_again_are_no_news(self, store: Store) -> None:
        """False, and nothing changes."""
        assert put(store, "a/b", b"same") is True
        assert put(store, "a/b", b"same") is False
        assert put(store, "a/b", bytes(bytearray(b"same"))) is False
        assert store.get("a/b") == b"same"

    @pytest.mark.parametrize("other", [b"abcE", b"abc", b"abcde", b"", b"ABCD"])
    def test_other_bytes_are_a_conflict(self, store: Store, other: bytes) -> None:
        """Of the same size, shorter or longer: those that were there stay."""
        put(store, "a/b", b"abcd")
        with pytest.raises(ObjectConflict) as raised:
            put(store, "a/b", other)
        assert raised.value.key == "a/b"
        assert store.get("a/b") == b"abcd"

    def test_empty_object_is_not_replaced(self, store: Store) -> None:
        """An empty object is something."""
        put(store, "a", b"")
        with pytest.raises(ObjectConflict):
            put(store, "a", b"x")
        assert store.get("a") == b""

    # what is not there

    def test_nothing_is_there(self, store: Store) -> None:
        """Each method says so in its own way."""
        assert store.stat("a/b") is None
        assert store.delete("a/b") is False
        with pytest.raises(ObjectNotFound) as raised:
            store.get("a/b")
        assert raised.value.key == "a/b"
        with pytest.raises(ObjectNotFound):
            store.open("a/b")

    def test_a_folder_is_no_object(self, store: Store) -> None:
        """Where only ``a/b`` was put, ``a`` is nothing."""
        put(store, "a/b", b"x")
        assert store.stat("a") is None
        assert store.delete("a") is False
        with pytest.raises(ObjectNotFound):
            store.get("a")
        assert store.get("a/b") == b"x"

    # stat, open, delete

    def test_stat_tells_the_size(self, store: Store) -> None:
        """And the checksum, where the store keeps one."""
        put(store, "a/b", b"12345")
        found = store.stat("a/b")
        assert found is not None
        assert (found.key, found.size) == ("a/b", 5)
        assert found.sha256 in (None, sha256_of_bytes(b"12345"))

    def test_open_reads_in_pieces(self, store: Store) -> None:
        """A stream that ends where the object ends."""
        put(store, "a", b"0123456789")
        with store.open("a") as stream:
            assert [stream.read(4), stream.read(4), stream.read(4), stream.read(4)] == [
                b"0123",
                b"4567",
                b"89",
                b"",
            ]

    def test_deleted_is_gone_and_the_key_free(self, store: Store) -> None:
        """Other bytes may be put there afterwards."""
        put(store, "a/b/c", b"old")
        put(store, "a/b/d", b"stays")
        assert store.delete("a/b/c") is True
        assert store.delete("a/b/c") is False
        assert keys(store) == ["a/b/d"]
        assert put(store, "a/b/c", b"new") is True
        assert store.get("a/b/c") == b"new"

    def test_deleting_everything_leaves_nothing(self, store: Store) -> None:
        """While the list is still running."""
        for number in range(30):
            put(store, f"d/{number % 3}/{number}", b"x")
        for found in store.list("d"):
            assert store.delete(found.key)
        assert keys(store) == []
        assert put(store, "d/0/0", b"y") is True

    # lists

    def test_list_is_sorted(self, store: Store) -> None:
        """By code points, whatever folders there are: the same in every store."""
        kept = [key for key in SORTED_KEYS if not any(k.startswith(f"{key}/") for k in SORTED_KEYS)]
        for key in reversed(kept):
            put(store, key, key.encode())
        assert keys(store) == sorted(kept)
        assert [found.size for found in store.list("")] == [len(key.encode()) for key in kept]

    def test_prefix_is_a_whole_folder(self, store: Store) -> None:
        """``Pos1`` is not ``Pos10``."""
        for key in ("d/Pos1/x", "d/Pos10/x", "d/Pos1.x", "d/Pos", "e/Pos1/x"):
            put(store, key, b"x")
        assert keys(store, "d/Pos1") == ["d/Pos1/x"]
        assert keys(store, "d/Po") == []
        assert keys(store, "none/of/it") == []
        assert keys(store, "d") == ["d/Pos", "d/Pos1.x", "d/Pos1/x", "d/Pos10/x"]

    def test_list_has_no_last_page(self, store: Store) -> None:
        """More objects than S3 lists in one answer, each once."""
        expected = [f"many/{number:05d}" for number in range(self.many)]
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda key: put(store, key, b"x"), expected))
        assert keys(store, "many") == expected

    # keys

    def test_keeps_odd_names(self, store: Store) -> None:
        """Or refuses them before anything is written (some file systems have no such names)."""
        kept = []
        for name in ODD_NAMES:
            key = f"odd/{name}/{name}"
            with suppress(UnsafePath):
                assert put(store, key, name.encode()) is True
                kept.append(key)
        assert keys(store) == sorted(kept)
        for key in kept:
            assert keys(store, key.rpartition("/")[0]) == [key]
            assert store.get(key) == key.rpartition("/")[2].encode()
            assert store.delete(key) is True
        assert keys(store) == []

    def test_accents_are_kept_as_they_are(self, store: Store) -> None:
        """Composed or decomposed: the key that is listed is the key that was put."""
        composed, decomposed = "c\u00e9", "de\u0301"
        put(store, composed, b"1")
        put(store, decomposed, b"2")
        assert sorted(keys(store)) == sorted([composed, decomposed])
        assert store.get(decomposed) == b"2"

    def test_keeps_long_names(self, store: Store) -> None:
        """A part may have 255 bytes, a key 1024."""
        long = "/".join(["n" * 200] * 4 + ["x" * 220])
        put(store, "a/" + "x" * 255, b"1")
        put(store, long, b"2")
        assert store.get("a/" + "x" * 255) == b"1"
        assert store.get(long) == b"2"

    def test_refuses_unsafe_keys(self, store: Store) -> None:
        """In every method, before anything happens."""
        calls: Sequence[Callable[[str], object]] = (
            lambda key: put(store, key, b"x"),
            lambda key: put_stream(store, key, b"x"),
            store.get,
            store.open,
            store.stat,
            store.delete,
        )
        for key in FORBIDDEN_KEYS:
            for call in calls:
                with pytest.raises(UnsafePath):
                    call(key)
        assert keys(store) == []

    def test_refuses_names_of_temporary_files(self, store: Store) -> None:
        """Such an object could never be listed."""
        with pytest.raises(UnsafePath):
            put(store, f"a/{temporary_name()}", b"x")

    # streams

    @pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1])
    def test_takes_a_stream(self, store: Store, size: int) -> None:
        """Of any size, with or without its checksum known before."""
        data = bytes(size)
        assert put_stream(store, "s/known", data) is True
        assert put_stream(store, "s/unknown", data, with_sum=False) is True
        assert store.get("s/known") == store.get("s/unknown") == data

    def test_takes_a_large_stream_once(self, store: Store) -> None:
        """In parts, and the same again is no news."""
        data = bytes(range(251)) * (self.large // 251 + 1)
        assert put_stream(store, "s", data) is True
        assert put_stream(store, "s", data) is False
        assert put_stream(store, "s", data, with_sum=False) is False
        assert put(store, "s", data) is False
        assert store.get("s") == data
        with store.open("s") as stream:
            assert stream.read() == data

    def test_large_stream_does_not_replace(self, store: Store) -> None:
        """One bit at the end is enough of a difference."""
        data = bytes(self.large)
        put_stream(store, "s", data)
        with pytest.raises(ObjectConflict):
            put_stream(store, "s", data[:-1] + b"\x01")
        assert store.get("s") == data

    def test_takes_only_so_many_bytes(self, store: Store) -> None:
        """From where the stream stands."""
        stream = io.BytesIO(b"head|body|tail")
        stream.seek(5)
        assert store.put_stream("s", stream, size=4) is True
        assert store.get("s") == b"body"

    @pytest.mark.parametrize("missing", [1, 2**20 + 1])
    def test_short_stream_leaves_nothing(self, store: Store, missing: int) -> None:
        """A file that was cut while it was read."""
        stream = io.BytesIO(bytes(self.large - missing))
        with pytest.raises(StoreUnavailable):
            store.put_stream("s/a", stream, size=self.large)
        assert keys(store) == []
        assert store.stat("s/a") is None

    @pytest.mark.parametrize("size", [10, 11 * 2**20])
    def test_changed_stream_leaves_nothing(self, store: Store, size: int) -> None:
        """The bytes are not those that the checksum was taken of."""
        expected = sha256_of_bytes(b"what the file was")
        with pytest.raises(ChecksumMismatch):
            store.put_stream("s/a", io.BytesIO(bytes(size)), size=size, sha256=expected)
        assert keys(store) == []

    def test_interrupt_leaves_nothing(self, store: Store) -> None:
        """Ctrl-C in the middle of a large file; the next run begins afresh."""
        data = bytes(self.large)
        stream = InterruptedStream(data, raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.put_stream("s/a", stream, size=len(data))
        assert keys(store) == []
        assert put_stream(store, "s/a", data) is True

    def test_unreadable_source_is_named(self, store: Store) -> None:
        """An input error of the source is not blamed on the store."""
        stream = InterruptedStream(bytes(self.large), raising(OSError(5, "Input/output error")))
        with pytest.raises(CorruptSource, match="Input/output error"):
            store.put_stream("s/a", stream, size=self.large)
        assert keys(store) == []

    def test_unfinished_object_is_invisible(self, store: Store) -> None:
        """Whole or not at all."""
        seen: list[object] = []

        def look() -> None:
            seen.append((keys(store), store.stat("s/a")))

        data = bytes(self.large)
        stream, sha256 = InterruptedStream(data, look), sha256_of_bytes(data)
        assert store.put_stream("s/a", stream, size=self.large, sha256=sha256) is True
        assert seen
        assert all(found == ([], None) for found in seen)
        assert keys(store) == ["s/a"]

    # many at once

    def test_one_of_many_puts_the_same(self, store: Store) -> None:
        """Exactly one is told that it was the first."""
        data = b"the same pixels" * 1000
        for key in ("race/1", "race/2", "race/3"):
            answers = all_at_once(partial(_put_same, store, key, data))
            assert sorted(map(str, answers)) == ["False"] * (THREADS - 1) + ["True"]
            assert store.get(key) == data

    def test_one_of_many_wins(self, store: Store) -> None:
        """Different bytes under one key: one stays, the others hear of it, nothing is mixed."""
        contents = [bytes([number]) * 50_000 for number in range(THREADS)]
        answers = all_at_once(lambda number: put(store, "race/key", contents[number]))
        winners = [number for number, answer in enumerate(answers) if answer is True]
        assert len(winners) == 1
        assert sum(isinstance(answer, ObjectConflict) for answer in answers) == THREADS - 1
        assert store.get("race/key") == contents[winners[0]]

    def test_many_put_different_keys(self, store: Store) -> None:
        """In one folder and in new ones."""
        answers = all_at_once(
            lambda n: [put(store, f"many/{n % 4}/{n}-{i}", b"%d" % n) for i in range(5)]
        )
        assert answers == [[True] * 5] * THREADS
        assert len(keys(store, "many")) == THREADS * 5

    def test_put_while_others_delete(self, store: Store) -> None:
        """A folder that becomes empty is no reason to fail."""

        def come_and_go(number: int) -> bool:
            return all(
                put(store, f"busy/folder/{number}", b"x") and store.delete(f"busy/folder/{number}")
                for _ in range(10)
            )

        assert all_at_once(come_and_go, threads=8) == [True] * 8
        assert keys(store) == []

    # the store itself

    def test_flush_keeps_everything(self, store: Store) -> None:
        """Nothing put, something put, twice."""
        store.flush()
        put(store, "a/b", b"x")
        store.flush()
        store.flush()
        assert store.get("a/b") == b"x"

    def test_close_twice(self, store: Store) -> None:
        """And without having been used."""
        store.close()
        put(store, "a", b"x")
        store.close()
        store.close()

    def test_probe_leaves_no_trace(self, store: Store) -> None:
        """Before and after something was put."""
        store.probe()
        store.probe(write=False)
        assert keys(store) == []
        put(store, "a/b", b"x")
        store.probe()
        assert keys(store) == ["a/b"]
