"""What file systems do differently: giving a file its final name, names, long paths, durability."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import time
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from imaging_db.stores.keylock import KeyLocks

_NO_LINKS = {
    errno.EPERM,  # FAT and exFAT on Linux
    errno.EOPNOTSUPP,
    errno.ENOTSUP,  # some SMB servers, FAT on macOS
    errno.ENOSYS,
    errno.EACCES,  # Android's shared storage, some FUSE
    errno.EINVAL,
    errno.EMLINK,
    errno.EXDEV,
}
_NO_RENAME_FLAGS = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_RENAME_NOREPLACE = 1  # linux/fs.h
_RENAME_EXCL = 4  # sys/stdio.h of macOS
_AT_FDCWD = -100
_WINDOWS_RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789¹²³"
}
_LOCKED_BY_SCANNER = {5, 32}  # ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION
_same_target = KeyLocks()


class Way(Enum):
    """How a file got its name without replacing another."""

    LINK = "a hard link"
    RENAME = "a rename that does not replace"
    LOOK = "looking before a rename"


def publish(temporary: str | Path, target: str | Path) -> Way:
    """Give ``temporary`` its final name at once and return how; `FileExistsError` where it is taken.

    A hard link, then the temporary name is removed: atomic, and it never replaces. Without hard links
    (FAT, exFAT, some shares; always on Windows) a rename that does not replace. Where the system has
    neither, looking and renaming under a lock of this process: two processes that put one key there
    at the same instant are kept apart by the catalog's claim only.
    """
    if os.name == "nt":
        _rename_on_windows(Path(temporary), Path(target))
        return Way.RENAME
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_new(temporary, target)
    with contextlib.suppress(OSError):  # the object is there; the name left over is swept later
        os.unlink(temporary)
    return Way.LINK


def _rename_new(temporary: str | Path, target: str | Path) -> Way:
    code = _rename_flagged(os.fsencode(temporary), os.fsencode(target))
    if code == 0:
        return Way.RENAME
    if code not in _NO_RENAME_FLAGS:
        raise OSError(code, os.strerror(code), str(target))
    with _same_target.hold(str(target)):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.rename(temporary, target)
    return Way.LOOK


def _rename_flagged(source: bytes, target: bytes) -> int:
    """Rename without replacing; return 0 or the error number, ENOSYS where the system has no such."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        done = libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE)
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        done = libc.renamex_np(source, target, _RENAME_EXCL)
    else:
        return errno.ENOSYS
    return 0 if done == 0 else ctypes.get_errno()


def _rename_on_windows(temporary: Path, target: Path) -> None:
    """Rename; Windows refuses by itself where the target exists. A virus scanner may hold the file."""
    for pause in (0.01, 0.05, 0.2, 0.5, None):
        try:
            temporary.rename(target)
        except PermissionError as error:
            if pause is None or getattr(error, "winerror", None) not in _LOCKED_BY_SCANNER:
                raise
            time.sleep(pause)
        else:
            return


def windows_problem(name: str) -> str | None:
    """Return why Windows cannot keep ``name`` as a file name, None where it can."""
    if any(char in '<>:"|?*' for char in name):
        return 'has one of < > : " | ? *'
    if name.endswith((" ", ".")):
        return "ends with a space or a dot"
    if name.split(".")[0].rstrip(" ").upper() in _WINDOWS_RESERVED:
        return "is reserved by Windows"
    return None


def extended_path(path: str) -> str:
    r"""Return an absolute Windows path in its ``\\?\`` form, which has no limit of 260 characters."""
    if path.startswith("\\\\?\\"):
        return path
    return f"\\\\?\\UNC\\{path[2:]}" if path.startswith("\\\\") else f"\\\\?\\{path}"


def sync_filesystems(folders: Iterable[int]) -> bool:
    """Write everything of the file systems of these open folders to disk; False where that is unknown.

    Linux's ``syncfs`` only; it reports a lost write once to each folder opened before (Linux 5.8).
    """
    opened = tuple(folders)
    if sys.platform != "linux" or not opened:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        return False
    for folder in opened:
        if libc.syncfs(folder) != 0:
            code = ctypes.get_errno()
            if code == errno.ENOSYS:
                return False
            raise OSError(code, os.strerror(code))
    return True


def sync_files(files: Iterable[str | Path], *, root: Path) -> None:
    """Write each file and, where the system can, each folder up to ``root`` to disk, one by one."""
    folders: set[Path] = set()
    for file in map(Path, files):
        _sync(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        folders.update(parent for parent in file.parents if parent.is_relative_to(root))
    if (
        os.name != "nt"
    ):  # Windows has no handle to sync a folder by; its journal keeps names in order
        for folder in sorted(folders, reverse=True):
            _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # fsync alone leaves bytes in the drive's cache
        else:
            os.fsync(handle)
    finally:
        os.close(handle)
