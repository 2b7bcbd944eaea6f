"""A store in a folder: each object a file, written beside its place and then given its name."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from imaging_db import failpoints
from imaging_db.errors import (
    ImagingDBError,
    ObjectConflict,
    ObjectNotFound,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
)
from imaging_db.stores.base import Leftover, ObjectInfo, check_key, is_temporary, temporary_name
from imaging_db.stores.filesystem import publish, sync_files, sync_filesystems
from imaging_db.stores.folders import NO_SUCH_NAME, Folders, bad_root, check_windows_name
from imaging_db.stores.local_file import ObjectFile
from imaging_db.stores.local_leftovers import find_temporary, removed, time_of
from imaging_db.stores.stream import CHUNK_BYTES, SourceStream

_CREATE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_READ = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not hang us
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FOLDER_TRIES = 100
_MOST_UNFLUSHED = 10_000


class LocalStore:
    """Keys to files below ``root``.

    A put writes a hidden temporary file in the target's folder and then gives it its name without
    replacing anything (see `imaging_db.stores.filesystem.publish`). Nothing is durable before `flush`,
    which writes out whole file systems on Linux and file by file elsewhere. A file system that fails
    to write is not asked again: what it may have lost is removed and every later flush fails.
    New files honour the umask. No link is followed that leaves the root, no object is a link, and a
    folder that is one is read and written through, but neither listed nor removed from.
    """

    def __init__(self, root: Path) -> None:
        if "\0" in str(root):  # some versions of abspath would cut it there
            raise bad_root(root, "a NUL character")
        self._root = Path(os.path.abspath(root))
        self._folders = Folders(self._root)
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._unflushed: dict[str, bool] = {}
        self._let_go = False
        self._lost: str | None = None

    @property
    def address(self) -> str:
        """Return the absolute path of the folder."""
        return str(self._root)

    def probe(self, *, write: bool = True) -> None:
        """Check that the folder is there and, with ``write``, that files can be put and removed.

        The folder itself is made where only the last part of its path is missing.
        """
        with self._errors("the folder"):
            self._folders.bind(create=write)
            if not write:
                next(iter(self._root.iterdir()), None)
                return
            folder, trial, handle = self._begin("")
            target = os.path.join(folder, temporary_name())
            try:
                _fill(handle, (b"probe",), size=5)
                publish(trial, target)
            finally:
                for path in (trial, target):
                    Path(path).unlink(missing_ok=True)

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` under ``key`` if nothing is there; return False where the same bytes were."""
        return self._create(check_key(key), (data,), memoryview(data).nbytes)

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Put ``size`` bytes of ``stream``, a megabyte at a time; otherwise as `put`."""
        source = SourceStream(stream, size=size, key=check_key(key))
        return self._create(key, source.chunks(sha256=sha256), size)

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``, or raise `ObjectNotFound`."""
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        """Return a stream over the file of ``key``; raises `StoreUnavailable` where the disk fails."""
        with self._errors(check_key(key)):
            path = self._find(key)
            try:
                handle = os.open(path, _READ)
            except (FileNotFoundError, NotADirectoryError) as error:
                self._folders.bind(create=False)
                raise ObjectNotFound(key, self.address) from error
            except OSError as error:
                if path.is_symlink() or not path.is_dir():
                    raise
                raise ObjectNotFound(key, self.address) from error  # Windows: a folder is denied
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise ObjectNotFound(key, self.address)
            return io.BufferedReader(ObjectFile(handle, address=self.address, key=key))

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the size of ``key``; a folder keeps no checksums."""
        with self._errors(check_key(key)):
            try:
                found = self._find(key).lstat()
            except (FileNotFoundError, NotADirectoryError):
                self._folders.bind(create=False)
                return None
            if stat.S_ISLNK(found.st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not stat.S_ISREG(found.st_mode):
            return None
        return ObjectInfo(key, found.st_size, modified=time_of(found))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the files below the folder ``prefix``; holds one folder's names at a time a level."""
        with self._errors(prefix or "the folder"):
            folder = self._folders.find_unlinked(check_key(prefix) if prefix else "")
            self._folders.bind(create=False)
            yield from self._walk(folder, f"{prefix}/" if prefix else "")

    def delete(self, key: str) -> bool:
        """Delete the file of ``key`` and the folders that it leaves empty."""
        with self._errors(check_key(key)):
            path = self._find(key)
            self._folders.find_unlinked(key.rpartition("/")[0])
            try:
                if stat.S_ISDIR(path.lstat().st_mode):
                    return False
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                self._folders.bind(create=False)
                return False
        with self._guard:
            self._unflushed.pop(str(path), None)
        self._remove_empty(key)
        return True

    def now(self) -> datetime:
        """Return the time that a new file gets here: on a network share it is that of the server."""
        with self._errors("the folder"):
            _, trial, handle = self._begin("")
            try:
                return time_of(os.fstat(handle))
            finally:
                os.close(handle)
                os.unlink(trial)

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Yield the temporary files below the folder ``prefix``, those of live runs too."""
        with self._errors(prefix or "the folder"):
            folder = self._folders.find_unlinked(check_key(prefix) if prefix else "")
            self._folders.bind(create=False)
            yield from find_temporary(folder, f"{prefix}/" if prefix else "")

    def discard(self, leftover: Leftover) -> bool:
        """Remove a temporary file and the folders that this leaves empty."""
        directory, _, name = leftover.key.rpartition("/")
        if not is_temporary(name):
            raise UnsafePath(f"{leftover.key!r} is no temporary file")
        with self._errors(leftover.key):
            folder = self._folders.find_unlinked(check_key(directory) if directory else "")
            found = removed(folder / name)
        if found:
            self._remove_empty(leftover.key)
        return found

    def flush(self) -> None:
        """Return once every object put before now survives a power cut.

        Raises
        ------
        StoreUnavailable
            The file system could not write; what was put since the last flush is removed again, and
            every later flush of this store raises too.
        """
        with self._flushing:
            if self._lost is not None:
                raise StoreUnavailable(self._lost, hint="check the disk", transient=False)
            with self._guard:
                unflushed, self._unflushed = self._unflushed, {}
            if not unflushed:
                return
            try:
                if self._let_go or not sync_filesystems(self._folders.devices()):
                    sync_files(filter(os.path.exists, unflushed), root=self._root)
            except OSError as error:
                self._give_up(unflushed, error)
                raise StoreUnavailable(
                    str(self._lost), hint="check the disk", transient=False
                ) from error

    def close(self) -> None:
        """Let go of the folder, so that its disk can be unmounted."""
        with self._flushing:
            self._let_go = self._let_go or bool(self._unflushed)
            self._folders.close()

    def _find(self, key: str) -> Path:
        directory, _, name = key.rpartition("/")
        if os.name == "nt":
            check_windows_name(name)
        return self._folders.find(directory) / name

    def _create(self, key: str, chunks: Iterable[bytes | memoryview], size: int) -> bool:
        directory, _, name = key.rpartition("/")
        if os.name == "nt":
            check_windows_name(name)
        with self._errors(key):
            folder, temporary, handle = self._begin(directory)
            target = os.path.join(folder, name)
            created = False
            try:
                _fill(handle, chunks, size=size)
                failpoints.reach("object.written")
                created = self._publish(key, temporary, target)
                failpoints.reach("object.named")
            finally:
                if not created:
                    with contextlib.suppress(OSError):  # what is left is swept later
                        os.unlink(temporary)
            self._note(target, created=created)
        return created

    def _begin(self, directory: str) -> tuple[str, str, int]:
        """Return folder, path and handle of a new file; a delete may remove the folder meanwhile."""
        for _ in range(_FOLDER_TRIES):
            with contextlib.suppress(FileNotFoundError):
                return self._open_temporary(directory)
            self._folders.forget(directory)
        return self._open_temporary(directory)

    def _open_temporary(self, directory: str) -> tuple[str, str, int]:
        folder = str(self._folders.make(directory))
        temporary = os.path.join(folder, temporary_name())
        return folder, temporary, os.open(temporary, _CREATE, 0o666)

    def _publish(self, key: str, temporary: str, target: str) -> bool:
        try:
            publish(temporary, target)
        except FileExistsError as error:
            if os.path.islink(target):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
            if not os.path.isfile(target) or not _same_bytes(Path(temporary), Path(target)):
                raise ObjectConflict(key, self.address) from error
            return False
        return True

    def _note(self, path: str, *, created: bool) -> None:
        """Remember what to flush; keep that memory small."""
        with self._guard:
            self._unflushed[path] = created or self._unflushed.get(path, False)
            many = len(self._unflushed) >= _MOST_UNFLUSHED
        if many:
            self.flush()

    def _give_up(self, unflushed: dict[str, bool], error: OSError) -> None:
        """Remove what may be lost: its bytes may be gone from the disk though they can be read now."""
        self._lost = f"{self.address} could not be written to disk ({error.strerror or error})"
        for path, created in unflushed.items():
            if created:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _walk(self, folder: Path, start: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(folder) as entries:  # names only: what a folder has may be very much
                names = sorted(_sort_name(entry) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if name.endswith("/"):
                yield from self._walk(folder / name[:-1], start + name)
            elif not is_temporary(name) and _is_key(start + name):
                try:
                    one = os.lstat(os.path.join(folder, name))
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(one.st_mode):
                    yield ObjectInfo(start + name, one.st_size, modified=time_of(one))

    def _remove_empty(self, key: str) -> None:
        while key := key.rpartition("/")[0]:
            try:
                (self._folders.root / key).rmdir()
            except OSError:
                return
            self._folders.forget(key)

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._mapped(what, error) from error

    def _mapped(self, what: str, error: OSError) -> ImagingDBError:
        cause = error.strerror or str(error)
        if error.errno in _FULL:
            return StoreUnavailable(
                f"{self.address} is full ({cause})", hint="free space and rerun", transient=False
            )
        if error.errno in _DENIED:
            path = Path(error.filename or self._root / what)
            path = path.parent if is_temporary(path.name) else path
            return StoreDenied(f"{path}: {cause}", hint="change the permissions of the folder")
        if error.errno == errno.ELOOP:
            return UnsafePath(
                f"{what} in {self.address} is a symbolic link", hint="remove the link, then repair"
            )
        if error.errno in NO_SUCH_NAME:
            return UnsafePath(f"{what!r} cannot be a file name in {self.address} ({cause})")
        if error.errno in (errno.ENOTDIR, errno.EISDIR):
            return ObjectConflict(what, self.address)
        return StoreUnavailable(f"{self.address}: {what}: {cause}")


def _fill(handle: int, chunks: Iterable[bytes | memoryview], *, size: int) -> None:
    """Write everything to ``handle``, check its size and close it."""
    try:
        for chunk in chunks:
            rest = memoryview(chunk).cast("B")
            while rest:
                rest = rest[os.write(handle, rest) :]
        written = os.fstat(handle).st_size
    finally:
        os.close(handle)
    if written != size:
        raise StoreUnavailable(f"{written} bytes were written instead of {size}")


def _same_bytes(first: Path, second: Path) -> bool:
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as other:
        while chunk := one.read(CHUNK_BYTES):
            if chunk != other.read(CHUNK_BYTES):
                return False
    return True


def _sort_name(entry: os.DirEntry[str]) -> str:
    """Return the name as it sorts in a list of keys: a folder by its name and the slash."""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _is_key(key: str) -> bool:
    try:
        check_key(key)
    except UnsafePath:
        return False
    return True
