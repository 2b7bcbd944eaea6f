"""The bytes of one source file: positioned reads that many threads may do at once."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from imaging_db.errors import CorruptSource, SourceChanged, UnsupportedFormat

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody writes to must not block the open
)
_LARGEST_READ = 2**30
_HAS_PREAD = hasattr(os, "pread")


class FileBytes:
    """The bytes of one regular file, read by offset.

    With ``keep_open=False`` the file is opened anew for every read, so that a folder of thousands of
    files needs no handle for each; a file that was replaced in between raises `SourceChanged`.

    Raises
    ------
    UnsupportedFormat
        A directory, a pipe, a socket or a device.
    CorruptSource
        Missing, not readable, or empty.
    """

    def __init__(self, path: Path, *, keep_open: bool = True) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = False
        descriptor = _open_regular(path)
        self._identity = _identity(os.fstat(descriptor))
        self.size = self._identity[1]
        self._descriptor: int | None = descriptor
        if not keep_open:
            self.park()

    def park(self) -> None:
        """Close the handle until the next read, and after each read from now on."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def at_hand(self) -> Iterator[FileBytes]:
        """Yield these bytes for several reads in a row: a file that is parked is opened once for all."""
        if self._descriptor is not None:
            yield self
            return
        with self._opened() as descriptor:
            lent = copy(self)
            lent._descriptor = descriptor
            yield lent

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``.

        Raises
        ------
        SourceChanged
            The file has become shorter since it was opened.
        """
        if size <= _LARGEST_READ:
            descriptor = self._descriptor
            if descriptor is not None:  # the usual case, without the cost of a context
                data = self._read_once(descriptor, offset, size)
            else:
                with self._opened() as descriptor:
                    data = self._read_once(descriptor, offset, size)
            if len(data) == size:
                return data
        buffer = bytearray(size)
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def read_up_to(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``, fewer at the end of the file."""
        size = min(size, self.size - offset)
        return self.read(offset, size) if size > 0 else b""

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer`` with the bytes from ``offset``; otherwise as `read`."""
        done = 0
        with self._opened() as descriptor:
            while done < len(buffer):
                piece = buffer[done : done + _LARGEST_READ]
                count = self._read_once_into(descriptor, piece, offset + done)
                if count == 0:
                    raise SourceChanged(self.path, "became shorter while it was being read")
                done += count

    def check_unchanged(self) -> None:
        """Raise `SourceChanged` where size, time or file are others than when it was opened."""
        try:
            now = _identity(self.path.stat())
        except OSError as error:
            raise SourceChanged(self.path, f"is gone: {error.strerror}") from error
        if now != self._identity:
            raise SourceChanged(self.path, "was written to while it was being read")

    def close(self) -> None:
        """Close the handle; closing twice is allowed."""
        self._closed = True
        self.park()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        if self._closed:
            raise ValueError(f"{self.path} was closed")
        if self._descriptor is not None:
            yield self._descriptor
            return
        descriptor = _open_regular(self.path)
        try:
            if _identity(os.fstat(descriptor)) != self._identity:
                raise SourceChanged(self.path, "was replaced or written to while it was being read")
            yield descriptor
        finally:
            os.close(descriptor)

    def _read_once(self, descriptor: int, offset: int, size: int) -> bytes:
        try:
            if _HAS_PREAD:
                return os.pread(descriptor, size, offset)
            with self._lock:  # Windows has no positioned read
                os.lseek(descriptor, offset, os.SEEK_SET)
                return os.read(descriptor, size)
        except OSError as error:
            raise CorruptSource(self.path, f"cannot be read: {error.strerror}") from error

    def _read_once_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        if not hasattr(os, "preadv"):
            data = self._read_once(descriptor, offset, len(buffer))
            buffer[: len(data)] = data
            return len(data)
        try:
            return os.preadv(descriptor, [buffer], offset)
        except OSError as error:
            raise CorruptSource(self.path, f"cannot be read: {error.strerror}") from error


def _open_regular(path: Path) -> int:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedFormat(path, f"is {_kind(status.st_mode)}, not a file")
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise CorruptSource(path, f"cannot be opened: {cause}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        os.close(descriptor)
        raise CorruptSource(path, "is empty (0 bytes)")
    return descriptor


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """Return what tells a file from another; Windows numbers an open file otherwise than a path."""
    return 0 if os.name == "nt" else status.st_ino, status.st_size, status.st_mtime_ns
