"""A store in a folder when the system refuses: full disks, permissions, disks that lose what they took."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imaging_db.errors import (
    ImagingDBError,
    ObjectConflict,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
)
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


FAULTS = [
    (errno.ENOSPC, StoreUnavailable, "is full (No space left on device); free space and rerun"),
    (getattr(errno, "EDQUOT", errno.ENOSPC), StoreUnavailable, "is full ("),
    (errno.EIO, StoreUnavailable, "Input/output error"),
    (errno.EROFS, StoreDenied, "Read-only file system"),
    (errno.EMFILE, StoreUnavailable, "Too many open files"),
    (errno.ENAMETOOLONG, UnsafePath, "cannot be a file name"),
]


@posix
class TestFaults:
    @pytest.mark.parametrize("call", ["open", "write", "fstat", "close", "link"])
    @pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: errno.errorcode[fault[0]])
    @pytest.mark.fault("D1", "D5", "D6")
    def test_of_each_system_call_leave_nothing(
        self,
        root: Path,
        store: LocalStore,
        monkeypatch: pytest.MonkeyPatch,
        fault: tuple[int, type[ImagingDBError], str],
        call: str,
    ) -> None:
        code, kind, text = fault
        put(store, "a/before", b"x")
        error = OSError(code, os.strerror(code))
        with failing(monkeypatch, call, error), pytest.raises(kind) as raised:
            put(store, "a/new", b"pixels")
        assert text in str(raised.value)
        assert str(root) in str(raised.value)
        assert "\n" not in str(raised.value)
        assert files(root) == ["a", "a/before"]
        assert put(store, "a/new", b"pixels") is True

    @pytest.mark.parametrize("call", ["write", "fstat", "link"])
    def test_interrupt_leaves_nothing(
        self, root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        with failing(monkeypatch, call, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            put(store, "a/new", b"pixels")
        assert files(root) == ["a"]

    def test_short_writes_are_continued(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
        put(store, "a", b"0123456789")
        assert store.get("a") == b"0123456789"

    def test_read_error_names_store_and_key(
        self, root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, "a", b"x")
        error = OSError(errno.EIO, os.strerror(errno.EIO))
        message = pytest.raises(StoreUnavailable, match="a: Input/output error")
        with failing(monkeypatch, "open", error), message:
            store.get("a")

    @pytest.mark.parametrize("count", [-1, 10, 1_000_000])
    def test_file_that_fails_while_it_is_read(
        self, root: Path, store: LocalStore, count: int
    ) -> None:
        """Its handle is turned into one that cannot be read, after it was opened."""
        put(store, "a/b", bytes(100_000))
        with store.open("a/b") as stream, (root / "other").open("wb") as other:
            os.dup2(other.fileno(), stream.fileno())
            with pytest.raises(StoreUnavailable) as raised:
                stream.read(count)
        assert str(raised.value).startswith(f"{root}: a/b: Bad file descriptor")

    def test_place_that_a_file_cannot_go_to(self, store: LocalStore) -> None:
        put(store, "a", b"x")
        with store.open("a") as stream, pytest.raises(StoreUnavailable, match="a: Invalid"):
            stream.seek(-10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a file that cannot be read")
@pytest.mark.fault("D5")
def test_real_read_error() -> None:
    """The memory of this process, which has nothing at address 0."""
    store = LocalStore(Path("/proc/self"))
    with store.open("mem") as stream:
        for read in (stream.read, lambda: stream.read(10), lambda: stream.readinto(bytearray(9))):  # type: ignore[attr-defined]
            with pytest.raises(StoreUnavailable, match="/proc/self: mem: Input/output error"):
                read()
    with pytest.raises(StoreUnavailable, match="mem: Input/output error"):
        store.get("mem")
    store.close()


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException) -> Iterator[None]:
    """Let a system call fail as long as the block runs; a failing close closes nevertheless."""
    close = os.close

    def fail(*arguments: Any, **_: object) -> None:
        if call == "close":
            close(*arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        yield


@posix
def test_file_larger_than_the_system_allows(tmp_path: Path) -> None:
    """The limit of a file's size stands in for a full disk: the kernel refuses to write on."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from imaging_db.errors import StoreUnavailable\n"
        "from imaging_db.stores.local import LocalStore\n"
        "from imaging_db.testing.store_actions import keys, put\n"
        "store = LocalStore(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "assert put(store, 'small', bytes(90_000))\n"
        "try:\n"
        "    put(store, 'large', bytes(200_000))\n"
        "except StoreUnavailable as error:\n"
        "    assert keys(store) == ['small']\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path} is full (File too large); free space and rerun\n"
    assert files(tmp_path) == ["small"]


@posix
class TestPermissions:
    @pytest.fixture
    def closed(self) -> Iterator[Path]:
        """A folder that an ordinary user may read but not write to, and we are that user."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "a").mkdir()
            (folder / "a" / "b").write_bytes(b"x")
            (folder / "a").chmod(0o555)
            folder.chmod(0o555)
            with ordinary_user():
                yield folder
            folder.chmod(0o755)
            (folder / "a").chmod(0o755)

    @pytest.mark.fault("D4")
    def test_read_only_folder(self, closed: Path) -> None:
        store = LocalStore(closed)
        calls: list[Callable[[], object]] = [
            store.probe,
            lambda: put(store, "new", b"x"),
            lambda: put(store, "new/folder/key", b"x"),
            lambda: put(store, "a/new", b"x"),
            lambda: store.delete("a/b"),
        ]
        for call in calls:
            with pytest.raises(StoreDenied, match="Permission denied") as raised:
                call()
            assert str(closed) in str(raised.value)
            assert raised.value.exit_code == 2
        store.probe(write=False)
        assert store.get("a/b") == b"x"
        store.close()

    def test_unreadable_object(self, closed: Path) -> None:
        with superuser():
            (closed / "a").chmod(0o755)
            (closed / "a" / "b").chmod(0)
        with pytest.raises(StoreDenied, match="Permission denied"):
            LocalStore(closed).get("a/b")


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Be nobody for a while where the tests run as root, whom no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def superuser() -> Iterator[None]:
    """Be again who runs the tests."""
    effective = os.geteuid()
    os.seteuid(os.getuid())
    try:
        yield
    finally:
        os.seteuid(effective)


class TestDurability:
    def test_flush_syncs_what_was_put(
        self, root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """File by file, and the folders up to the root, where the system cannot do all at once."""
        monkeypatch.setattr(sys, "platform", "freebsd14")
        synced: list[str] = []
        opened: dict[int, str] = {}
        real_open, real_sync = os.open, os.fsync

        def note_open(path: str, *args: int) -> int:
            handle = real_open(path, *args)
            opened[handle] = str(path)
            return handle

        def note_sync(handle: int) -> None:
            synced.append(Path(opened[handle]).relative_to(root).as_posix())
            real_sync(handle)

        put(store, "a/b/one", b"x")
        put(store, "gone", b"x")
        store.delete("gone")
        monkeypatch.setattr(os, "open", note_open)
        monkeypatch.setattr(os, "fsync", note_sync)
        store.flush()
        folders = [] if os.name == "nt" else ["a/b", "a", "."]
        assert synced == ["a/b/one", *folders]
        store.flush()
        assert len(synced) == len(folders) + 1

    def test_flush_after_close_still_syncs(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, "a", b"x")
        store.close()
        error = OSError(errno.EIO, os.strerror(errno.EIO))
        with failing(monkeypatch, "fsync", error), pytest.raises(StoreUnavailable):
            store.flush()

    @pytest.mark.fault("D5")
    def test_failure_is_final(
        self, root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the disk may have lost goes, what was flushed before stays, and no later flush succeeds."""
        put(store, "a/before", b"x")
        store.flush()
        put(store, "a/lost", b"x")
        put(store, "a/before", b"x")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", "freebsd14")
            error = OSError(errno.EIO, os.strerror(errno.EIO))
            with failing(patch, "fsync", error), pytest.raises(StoreUnavailable) as raised:
                store.flush()
        assert "could not be written to disk (Input/output error)" in str(raised.value)
        assert raised.value.transient is False
        assert keys(store) == ["a/before"]
        with pytest.raises(StoreUnavailable, match="could not be written"):
            store.flush()
        again = LocalStore(root)
        assert put(again, "a/lost", b"x") is True
        again.flush()
        again.close()

    def test_rename_where_there_is_nothing_better(
        self, store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither hard links nor a rename that does not replace."""
        monkeypatch.setattr(sys, "platform", "freebsd14")
        with failing(monkeypatch, "link", OSError(errno.EPERM, os.strerror(errno.EPERM))):
            assert put(store, "a", b"x") is True
            assert put(store, "a", b"x") is False
            with pytest.raises(ObjectConflict):
                put(store, "a", b"y")
        assert store.get("a") == b"x"
        assert keys(store) == ["a"]


@posix
def test_close_lets_the_disk_go(root: Path) -> None:
    handles = Path("/proc/self/fd") if Path("/proc/self/fd").is_dir() else Path("/dev/fd")

    def count() -> int:
        return len(list(handles.iterdir()))

    before = count()
    store = LocalStore(root)
    store.probe()
    for number in range(20):
        put_stream(store, f"{number}/a", b"x")
        store.get(f"{number}/a")
    with pytest.raises(StoreUnavailable):
        store.put_stream("short", io.BytesIO(b""), size=1)
    store.flush()
    store.close()
    assert count() == before
