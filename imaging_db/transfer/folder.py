"""A folder that a download writes to: one run at a time, whole files only, nothing outside."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from imaging_db import failpoints
from imaging_db.errors import FolderBusy, StoreUnavailable, UnsafePath, UsageError
from imaging_db.stores.base import check_key, is_temporary, temporary_name
from imaging_db.stores.filesystem import windows_problem

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_LOCK_NAME = f".imaging_db-{'0' * 16}.part"  # of the form that no object can have
_log = logging.getLogger(__name__)


class DownloadFolder:
    """``<dest>/<serial>``, made if it is not there and locked against a second run.

    A file has its name only once all its bytes were written and compared with their hash. Nothing is
    forced to disk, as by any copying: after a power cut the same command, run again, compares every file
    with its hash and fetches what was lost.
    """

    def __init__(self, dest: Path, serial: str) -> None:
        self.path = dest.absolute() / check_key(serial)

    @contextmanager
    def locked(self) -> Iterator[DownloadFolder]:
        """Make the folder and hold its lock; the system frees the lock when this process ends.

        Raises
        ------
        FolderBusy
            Another run writes to it.
        UsageError
            It cannot be made.
        UnsafePath
            It is a link.
        """
        if self.path.is_symlink():
            raise UnsafePath(f"{self.path} is a link, nothing is written through it")
        file = self.path / _LOCK_NAME
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = file.open("ab")
        except OSError as error:
            raise UsageError(
                f"--dest {self.path}: {error.strerror}", hint="name a folder that you may write to"
            ) from error
        with lock:
            if not _lock(lock):
                raise FolderBusy(self.path)
            self._sweep()
            failpoints.reach("folder.locked")
            try:
                yield self
            finally:
                if sys.platform != "win32":  # while it is held, so that no one else's is removed
                    file.unlink(missing_ok=True)
        if sys.platform == "win32":
            with suppress(PermissionError):  # the next run has it open already
                file.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a killed run was writing: whoever holds the lock is alone here."""
        for folder, _, names in os.walk(self.path):
            for name in names:
                if is_temporary(name) and name != _LOCK_NAME:
                    with suppress(OSError):
                        Path(folder, name).unlink()

    def target(self, name: str) -> Path:
        """Return where the object ``name`` belongs; its folders exist then and are no links.

        Raises
        ------
        UnsafePath
            The name, which came from a catalog, would lead elsewhere.
        """
        path = self.path / check_key(name)
        if sys.platform == "win32" and any(map(windows_problem, name.split("/"))):
            raise UnsafePath(f"{name!r} is no name for a file on Windows")
        folder = self.path
        for part in name.split("/")[:-1]:
            folder /= part
            if folder.is_symlink():
                raise UnsafePath(f"{folder} is a link, nothing is written through it")
        if folder is not self.path:
            with _mapped(path):
                folder.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Give a stream to a temporary file beside ``name``; on leaving well it becomes ``name``.

        Raises
        ------
        StoreUnavailable
            The disk is full.
        UsageError
            The file cannot be written for another reason.
        """
        target = self.target(name)
        part = target.with_name(temporary_name())
        try:
            with _mapped(target):
                stream = io.BufferedWriter(_PartFile(part, target), 2**20)
            with stream:
                yield stream
            _name(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file that is in memory; raises as `writing` does."""
        target = self.target(name)
        part = target.with_name(temporary_name())
        try:
            with _mapped(target), io.FileIO(part, "xb") as stream:
                rest = memoryview(data)
                while rest:
                    rest = rest[stream.write(rest) :]
            _name(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _name(part: Path, target: Path) -> None:
    """Give a whole file its name."""
    failpoints.reach("file.written")
    with _mapped(target):
        part.replace(target)
    failpoints.reach("file.named")


class _PartFile(io.FileIO):
    """A new file whose errors on writing are told as the destination's, and no other's."""

    def __init__(self, part: Path, target: Path) -> None:
        super().__init__(part, "xb")
        self._target = target

    def write(self, data: Any, /) -> int:
        """Write bytes and return how many."""
        with _mapped(self._target):
            return super().write(data)


@contextmanager
def _mapped(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreUnavailable(
                f"{target.parent} is full ({error.strerror})", hint="free space and rerun"
            ) from error
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", hint="name another folder, and rerun"
        ) from error


def _lock(stream: IO[bytes]) -> bool:
    """Return True once this process alone holds the file's advisory lock, or where there are none."""
    try:
        return _try_lock(stream)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        _log.warning(
            "this folder cannot be locked (%s); do not download to it twice", error.strerror
        )
        return True


if sys.platform == "win32":
    import msvcrt

    def _try_lock(stream: IO[bytes]) -> bool:
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        return True
else:
    import fcntl

    def _try_lock(stream: IO[bytes]) -> bool:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(stream.fileno()).st_nlink > 0  # not one that its last owner unlinked
