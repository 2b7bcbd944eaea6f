"""A folder that a download writes to: one run at a time, whole files only, nothing outside."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from imaging_db.errors import DatasetBusy, StoreUnavailable, UnsafePath, UsageError
from imaging_db.stores.base import check_key

_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
_LOCK_NAME = ".imaging_db.lock"


class DownloadFolder:
    """``<dest>/<serial>``, made if it is not there and locked against a second run."""

    def __init__(self, dest: Path, serial: str) -> None:
        self.serial = serial
        self.path = dest.absolute() / check_key(serial)

    @contextmanager
    def locked(self) -> Iterator[DownloadFolder]:
        """Make the folder and hold its lock; the system frees the lock when this process ends.

        Raises
        ------
        DatasetBusy
            Another run downloads into it.
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
            raise UsageError(f"--dest {self.path}: {error.strerror}") from error
        with lock:
            if not _lock(lock):
                raise DatasetBusy(self.serial, "another download", 0)
            try:
                yield self
            finally:
                if sys.platform != "win32":  # while it is held, so that no one else's is removed
                    file.unlink(missing_ok=True)
        if sys.platform == "win32":
            with suppress(PermissionError):  # the next run has it open already
                file.unlink(missing_ok=True)

    def target(self, name: str) -> Path:
        """Return where the object ``name`` belongs; its folders exist then and are no links.

        Raises
        ------
        UnsafePath
            The name, which came from a catalog, would lead elsewhere.
        """
        path = self.path / check_key(name)
        folder = self.path
        for part in name.split("/")[:-1]:
            folder /= part
            if folder.is_symlink():
                raise UnsafePath(f"{folder} is a link, nothing is written through it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path.parent}: {error.strerror}") from error
        return path

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Give a stream to ``<name>.part``; on leaving well it becomes ``name``, otherwise it goes."""
        target = self.target(name)
        part = target.with_name(target.name + ".part")
        try:
            part.unlink(missing_ok=True)
            with part.open("xb") as stream:
                yield stream
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _mapped(error, target) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def write(self, name: str, data: bytes) -> None:
        """Write a whole small file."""
        with self.writing(name) as stream:
            stream.write(data)


def _mapped(error: OSError, target: Path) -> StoreUnavailable | UsageError:
    if error.errno in _FULL:
        return StoreUnavailable(
            f"{target.parent} is full ({error.strerror})", hint="free space and rerun"
        )
    return UsageError(f"{target} cannot be written: {error.strerror}")


def _lock(stream: IO[bytes]) -> bool:
    """Return True once this process alone holds the file's advisory lock."""
    try:
        return _try_lock(stream)
    except OSError:
        return False


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
