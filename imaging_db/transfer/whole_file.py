"""One small file for the user, whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging_db.errors import Conflict, StoreUnavailable, UsageError
from imaging_db.stores.base import temporary_name

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def require_free(path: Path, data: bytes) -> None:
    """Let pass a place where no file is, or the same. Raises `Conflict` where someone may have filled it in."""
    try:
        same = path.is_file() and path.read_bytes() == data
    except OSError:
        same = False
    if not same and (path.exists() or path.is_symlink()):
        raise Conflict(
            f"{path} is there already, and is another", hint="take it away, or name another folder"
        )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place, then give it its name; a file that had that name before is replaced.

    What is no file stays: a folder, a pipe, and a link, which may lead to ``/dev/stdout``.

    Raises
    ------
    StoreUnavailable
        The disk is full.
    UsageError
        The file cannot be written for another reason.
    """
    part = path.parent / temporary_name()
    try:
        with written_to(path):
            if not path.name or path.is_symlink() or (path.exists() and not path.is_file()):
                raise UsageError(
                    f"{path} is no file that can be replaced", hint="name another file"
                )
            part.write_bytes(data)
            part.replace(path)
    finally:
        with suppress(OSError):  # as where the folder is a file
            part.unlink()


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Tell a full disk (5) and a file that cannot be written (2) as such, instead of as an `OSError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreUnavailable(
                f"{path.parent} is full ({error.strerror})", hint="free space and rerun"
            ) from error
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", hint="name another file"
        ) from error
