"""What is special about a store in a folder: names, modes, links and lost mounts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imaging_db.errors import (
    ObjectConflict,
    ObjectNotFound,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
)
from imaging_db.stores.base import temporary_name
from imaging_db.stores.local import LocalStore
from imaging_db.testing.store_actions import keys, put, put_stream

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions, links and pipes")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lab"


@pytest.fixture
def store(root: Path) -> Iterator[LocalStore]:
    store = LocalStore(root)
    store.probe()
    yield store
    store.close()


def files(folder: Path) -> list[str]:
    """Everything below a folder, temporary files too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


class TestFolder:
    def test_keys_are_paths(self, root: Path, store: LocalStore) -> None:
        put(store, "raw_frames/one/im.png", b"pixels")
        assert (root / "raw_frames" / "one" / "im.png").read_bytes() == b"pixels"
        assert store.address == str(root)

    def test_emptied_folders_go(self, root: Path, store: LocalStore) -> None:
        put(store, "a/b/c", b"x")
        put(store, "a/d", b"x")
        store.delete("a/b/c")
        assert files(root) == ["a", "a/d"]
        store.delete("a/d")
        assert files(root) == []

    @pytest.mark.fault("P8")
    @posix
    def test_files_honour_the_umask(self, root: Path, store: LocalStore) -> None:
        before = os.umask(0o027)
        try:
            put(store, "a/b", b"x")
        finally:
            os.umask(before)
        assert (root / "a/b").stat().st_mode & 0o777 == 0o640

    def test_foreign_and_temporary_files_are_not_listed(
        self, root: Path, store: LocalStore
    ) -> None:
        put(store, "a/b", b"x")
        (root / "a" / temporary_name()).write_bytes(b"left by a killed run")
        if os.name != "nt":
            (root / "a" / "back\\slash").write_bytes(b"")
        assert keys(store) == ["a/b"]

    def test_no_object_below_an_object(self, store: LocalStore) -> None:
        put(store, "a", b"x")
        with pytest.raises(ObjectConflict):
            put(store, "a/b", b"x")
        with pytest.raises(ObjectNotFound):
            store.get("a/b")
        assert store.stat("a/b") is None
        assert store.delete("a/b") is False

    def test_no_object_in_place_of_a_folder(self, store: LocalStore) -> None:
        put(store, "a/b", b"x")
        with pytest.raises(ObjectConflict):
            put(store, "a", b"x")
        assert keys(store) == ["a/b"]


class TestRoot:
    def test_is_made_where_its_parent_exists(self, tmp_path: Path) -> None:
        LocalStore(tmp_path / "new").probe()
        assert (tmp_path / "new").is_dir()

    def test_is_not_made_for_reading(self, tmp_path: Path) -> None:
        with pytest.raises(StoreDenied, match="does not exist; mount"):
            LocalStore(tmp_path / "new").probe(write=False)
        assert files(tmp_path) == []

    def test_is_not_made_on_a_share_that_is_not_mounted(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "share" / "lab")
        for call in (store.probe, lambda: put(store, "a", b"x"), lambda: store.get("a")):
            with pytest.raises(StoreDenied, match=r"share.lab does not exist"):
                call()
        assert files(tmp_path) == []

    @posix
    @pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "a" * 300])
    @pytest.mark.parametrize("write", [True, False])
    def test_with_a_name_that_no_folder_can_have(
        self, tmp_path: Path, name: str, write: bool
    ) -> None:
        with pytest.raises(StoreDenied, match="cannot be a folder's name") as raised:
            LocalStore(tmp_path / name).probe(write=write)
        assert str(tmp_path) in str(raised.value)
        assert str(raised.value).isprintable()
        assert raised.value.exit_code == 2
        assert files(tmp_path) == []

    def test_must_be_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreDenied, match="is not a folder"):
            LocalStore(tmp_path / "file").probe()

    @posix
    def test_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "lab").symlink_to("disk")
        store = LocalStore(tmp_path / "lab")
        put(store, "a/b", b"x")
        assert files(tmp_path / "disk") == ["a", "a/b"]
        store.close()

    @posix
    @pytest.mark.parametrize("key", ["known/2", "new/1"])
    def test_that_was_unmounted_is_not_written_to(
        self, root: Path, store: LocalStore, key: str
    ) -> None:
        """What is left in its place is an empty mount point."""
        put(store, "known/1", b"x")
        root.rename(root.with_name("unmounted"))
        root.mkdir()
        with pytest.raises(StoreUnavailable, match="no longer the folder it was; mount"):
            put(store, key, b"x")
        assert files(root) == []

    @posix
    def test_that_was_unmounted_is_not_taken_for_empty(self, root: Path, store: LocalStore) -> None:
        put(store, "a/b", b"x")
        assert keys(store) == ["a/b"]
        assert store.get("a/b") == b"x"
        root.rename(root.with_name("unmounted"))
        root.mkdir()
        calls: list[Callable[[], object]] = [
            lambda: store.get("a/b"),
            lambda: store.stat("a/b"),
            lambda: store.delete("a/b"),
            lambda: keys(store),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="no longer the folder it was"):
                call()

    @posix
    def test_that_is_gone_is_not_made_again(self, root: Path, store: LocalStore) -> None:
        put(store, "known/1", b"x")
        root.rename(root.with_name("unmounted"))
        with pytest.raises(StoreUnavailable, match="no longer the folder it was"):
            put(store, "known/2", b"x")
        assert not root.exists()


@posix
class TestLinks:
    """Nothing is read or written through a link that leaves the root."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        folder = tmp_path / "outside"
        folder.mkdir()
        (folder / "secret").write_bytes(b"secret")
        return folder

    def test_folder_that_leads_out(self, root: Path, outside: Path, store: LocalStore) -> None:
        (root / "a").symlink_to(outside)
        calls: list[Callable[[], object]] = [
            lambda: put(store, "a/new", b"x"),
            lambda: put(store, "a/deeper/new", b"x"),
            lambda: put_stream(store, "a/new", b"x"),
            lambda: store.get("a/secret"),
            lambda: store.open("a/secret"),
            lambda: store.stat("a/secret"),
            lambda: store.delete("a/secret"),
            lambda: keys(store, "a"),
        ]
        for call in calls:
            with pytest.raises(UnsafePath, match="leads out"):
                call()
        assert files(outside) == ["secret"]
        assert keys(store) == []

    def test_folder_that_stays_inside(self, root: Path, store: LocalStore) -> None:
        (root / "disk2").mkdir()
        (root / "a").symlink_to("disk2")
        put(store, "a/b", b"x")
        assert store.get("a/b") == b"x"
        assert keys(store) == ["disk2/b"]

    @pytest.mark.parametrize("directory", ["S3", "S3/deeper", "top/S1"])
    def test_folder_of_another_dataset_is_neither_listed_nor_removed_from(
        self, root: Path, store: LocalStore, directory: str
    ) -> None:
        for key in ("raw_frames/S1/a", "raw_frames/S1/deeper/a"):
            put(store, key, b"of S1")
        (root / "S3").symlink_to("raw_frames/S1")
        (root / "top").symlink_to("raw_frames")
        (root / directory / temporary_name()).write_bytes(b"x")
        found = next(store.leftovers("raw_frames"))
        name = found.key.rpartition("/")[2]
        calls: list[Callable[[], object]] = [
            lambda: keys(store, directory),
            lambda: next(store.leftovers(directory)),
            lambda: store.delete(f"{directory}/a"),
            lambda: store.discard(replace(found, key=f"{directory}/{name}")),
        ]
        for call in calls:
            with pytest.raises(UnsafePath, match="symbolic link"):
                call()
        assert store.get(f"{directory}/a") == b"of S1"
        assert len(keys(store)) == 2 and found in store.leftovers()

    @pytest.mark.parametrize("name", ["secret", "missing"])
    def test_object_that_is_a_link(
        self, root: Path, outside: Path, store: LocalStore, name: str
    ) -> None:
        (root / "a").symlink_to(outside / name)
        calls: list[Callable[[], object]] = [
            lambda: put(store, "a", b"x"),
            lambda: put(store, "a", b"secret"),
            lambda: store.get("a"),
            lambda: store.stat("a"),
        ]
        for call in calls:
            with pytest.raises(UnsafePath, match="symbolic link"):
                call()
        assert files(outside) == ["secret"]
        assert (outside / "secret").read_bytes() == b"secret"
        assert keys(store) == []
        assert store.delete("a") is True
        assert files(outside) == ["secret"]

    def test_pipe_is_no_object(self, root: Path, store: LocalStore) -> None:
        os.mkfifo(root / "pipe")
        with pytest.raises(ObjectNotFound):
            store.get("pipe")
        assert store.stat("pipe") is None
        assert keys(store) == []
