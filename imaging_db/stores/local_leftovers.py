"""What killed runs left in a folder: temporary files, which no listing shows."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imaging_db.errors import UnsafePath
from imaging_db.stores.base import Leftover, check_key, is_temporary
from imaging_db.stores.layout import own_folders

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def find_temporary(folder: Path, start: str) -> Iterator[Leftover]:
    """Yield the temporary files below ``folder``, by name; links are not followed.

    ``start`` is what their keys begin with. Where it is empty, ``folder`` is the root of a store, and of
    the folders in it only those are looked into that this program writes to.

    A folder that may not be looked into is told and passed over: nothing of ours lies in it.
    """
    for entry in _entries(folder, is_root=not start):
        if entry.is_dir(follow_symlinks=False):
            if _may_hold_ours(start + entry.name):
                yield from find_temporary(folder / entry.name, f"{start}{entry.name}/")
        elif is_temporary(entry.name) and entry.is_file(follow_symlinks=False):
            try:
                one = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Leftover(start + entry.name, one.st_size, modified=time_of(one))


def removed(path: Path) -> bool:
    """Return True once a temporary file is removed, False where no such file is there."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def time_of(found: os.stat_result) -> datetime:
    """Return when a file was last written to; the ends of time where its system tells nonsense."""
    try:
        return _EPOCH + timedelta(seconds=found.st_mtime)
    except OverflowError:
        return (datetime.max if found.st_mtime > 0 else datetime.min).replace(tzinfo=UTC)


def _entries(folder: Path, *, is_root: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        if is_root:
            raise
        _log.warning("%s cannot be looked into: %s", folder, error.strerror)
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile
        pass
    return []


def _may_hold_ours(directory: str) -> bool:
    if "/" not in directory and directory not in own_folders():
        return False
    try:
        check_key(directory)
    except UnsafePath:
        return False
    return True
