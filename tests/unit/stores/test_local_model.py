"""A folder behaves as a dictionary does, whatever is done to it in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imaging_db.errors import ObjectConflict, ObjectNotFound
from imaging_db.stores.local import LocalStore
from imaging_db.testing.store_actions import keys, put, put_stream

KEYS = st.sampled_from(["a/1", "a/2", "a-b/1", "a.b", "b/c/d/1", "b/c/2", "\u00b5m/x y"])
CONTENTS = st.sampled_from([b"", b"x", b"y", bytes(1_100_000)])


class LocalStoreMachine(RuleBasedStateMachine):
    """The expected objects are a plain dictionary."""

    @initialize()
    def open_store(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name) / "lab"
        self.store = LocalStore(self.root)
        self.store.probe()
        self.expected: dict[str, bytes] = {}

    @rule(key=KEYS, data=CONTENTS, stream=st.booleans())
    def put(self, key: str, data: bytes, stream: bool) -> None:
        present = self.expected.get(key)
        try:
            created = (put_stream if stream else put)(self.store, key, data)
        except ObjectConflict:
            assert present is not None
            assert present != data
        else:
            assert created is (present is None)
            self.expected.setdefault(key, data)
            assert self.expected[key] == data

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.store.delete(key) is (self.expected.pop(key, None) is not None)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        try:
            found = self.store.get(key)
        except ObjectNotFound:
            assert key not in self.expected
        else:
            assert found == self.expected[key]

    @rule()
    def flush(self) -> None:
        self.store.flush()

    @rule()
    def begin_another_run(self) -> None:
        self.store.close()
        self.store = LocalStore(self.root)

    @invariant()
    def lists_what_is_there(self) -> None:
        found = {info.key: info.size for info in self.store.list("")}
        assert found == {key: len(data) for key, data in self.expected.items()}
        assert list(found) == sorted(found)
        below = sorted(key for key in self.expected if key.startswith("a/"))
        assert keys(self.store, "a") == below

    @invariant()
    def leaves_nothing_else(self) -> None:
        files = [path for path in self.root.rglob("*") if path.is_file()]
        folders = [path for path in self.root.rglob("*") if path.is_dir()]
        assert len(files) == len(self.expected)
        assert all(any(folder.iterdir()) for folder in folders)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


LocalStoreMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None
)
TestLocalStoreModel = LocalStoreMachine.TestCase
