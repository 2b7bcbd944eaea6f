"""A store's self-test: what uploads rely on, tried on objects that are deleted again."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from imaging_db.errors import (
    ChecksumMismatch,
    ImagingDBError,
    ObjectConflict,
    ObjectNotFound,
    StoreUnavailable,
)
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import Store, temporary_name
from imaging_db.stores.filesystem import Way, publish, sync_filesystems
from imaging_db.stores.layout import SELFTEST_FOLDER
from imaging_db.stores.local import LocalStore

if TYPE_CHECKING:
    from imaging_db.stores.s3_client import S3Traits

FOLDER = SELFTEST_FOLDER
_LONG_AGO = timedelta(days=1)

_CONTENT, _OTHER = b"imaging_db tries this store", b"imaging_db tries it again  "


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found: ``ok``, ``note``, ``warning`` or ``failed``, and what to do about it.

    ``exit_code`` is what the finding asks for: 0 but for what failed.
    """

    check: str
    state: str
    text: str
    hint: str = ""
    exit_code: int = 0


@runtime_checkable
class _Server(Protocol):
    """A store that asks its server what it can do."""

    def traits(self) -> S3Traits: ...


class _Broken(Exception):
    """A store did what it must not; the text says what."""


def self_test(store: Store) -> list[Check]:
    """Return what came of putting, reading, listing and deleting in ``store``.

    Everything that was put is deleted again, after Ctrl-C too.
    """
    key = f"{FOLDER}/{secrets.token_hex(8)}/object"
    tried: list[tuple[str, Callable[[], Check]]] = [
        ("put", lambda: _put(store, key)),
        ("never replaces", lambda: _never_replaces(store, key)),
        ("checksums", lambda: _checksums(store, key)),
        ("read back", lambda: _read_back(store, key)),
        ("listing", lambda: _listing(store, key)),
        ("durable", lambda: _durable(store)),
        ("delete", lambda: _delete(store, key)),
    ]
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(_remove, store, key)
        with contextlib.suppress(ImagingDBError):  # what fails here fails below, and is told there
            _sweep(store)
        found: list[Check] = []
        for name, trial in tried:
            found.append(checked(name, trial))
            if name == "put" and found[-1].exit_code:
                break  # nothing is there to try the rest on
    return found


def checked(name: str, trial: Callable[[], Check]) -> Check:
    """Return what ``trial`` finds, or its failure as a check that failed."""
    try:
        return trial()
    except _Broken as broken:
        return Check(name, "failed", str(broken), "keep nothing in this store", 6)
    except ImagingDBError as error:
        return Check(name, "failed", error.message, error.hint, error.exit_code)


def _put(store: Store, key: str) -> Check:
    sha256 = sha256_of_bytes(_CONTENT)
    if not store.put(key, _CONTENT, sha256=sha256):
        raise _Broken("it says that a new object had been there before")
    if store.put(key, _CONTENT, sha256=sha256):
        raise _Broken("it took the same object for a new one the second time")
    return Check("put", "ok", f"an object of {len(_CONTENT)} bytes")


def _never_replaces(store: Store, key: str) -> Check:
    name = "never replaces"
    try:
        store.put(key, _OTHER, sha256=sha256_of_bytes(_OTHER))
    except ObjectConflict:
        pass
    else:
        raise _Broken("other content was taken under a key that has an object")
    if isinstance(store, LocalStore):
        return _way(Path(store.address))
    if isinstance(store, _Server) and not store.traits().conditional:
        return Check(
            name,
            "warning",
            "the server ignores or refuses If-None-Match: puts look first",
            "safe within one process; of two that put one key at once only the catalog's claim keeps one",
        )
    told = "by the server (If-None-Match)" if isinstance(store, _Server) else "other content"
    return Check(name, "ok", f"refused {told}")


def _way(root: Path) -> Check:
    """Tell how a file gets its name on the file system of ``root``."""
    name = "never replaces"
    first, second, target = (str(root / temporary_name()) for _ in range(3))
    try:
        for path in (first, second):
            with Path(path).open("xb") as stream:
                stream.write(_CONTENT)
        way = publish(first, target)
        with contextlib.suppress(FileExistsError):
            publish(second, target)
            raise _Broken("a file replaced another of its name")
    except OSError as error:
        raise StoreUnavailable(
            f"{root}: {error.strerror or error}", hint="check the disk"
        ) from error
    finally:
        for path in (first, second, target):
            Path(path).unlink(missing_ok=True)
    if way is Way.LOOK:
        return Check(
            name,
            "warning",
            f"files get their names by {way.value}: this file system has nothing better",
            "of two processes that put one key at once only the catalog's claim keeps one",
        )
    return Check(name, "ok", f"files get their names by {way.value}")


def _checksums(store: Store, key: str) -> Check:
    name = "checksums"
    if isinstance(store, LocalStore):
        return Check(
            name, "ok", "compared when objects are read; a folder has no server that could"
        )
    if isinstance(store, _Server):
        if store.traits().checksums:
            return Check(
                name, "ok", "the server refuses bytes that do not have the SHA-256 sent along"
            )
        return Check(
            name,
            "warning",
            "the server keeps bytes that do not have the SHA-256 sent along",
            "damage on the way is found by 'imaging-db verify' only; run it after uploads",
        )
    try:
        store.put(f"{key}.damaged", _CONTENT, sha256=sha256_of_bytes(_OTHER))
    except ChecksumMismatch:
        return Check(name, "ok", "bytes that do not have the SHA-256 sent along are refused")
    finally:
        store.delete(f"{key}.damaged")
    return Check(name, "note", "not compared on arrival", "run 'imaging-db verify' after uploads")


def _read_back(store: Store, key: str) -> Check:
    found = store.stat(key)
    with store.open(key) as stream:
        streamed = stream.read()
    if store.get(key) != _CONTENT or streamed != _CONTENT:
        raise _Broken("what is read is not what was put")
    if found is None or found.size != len(_CONTENT):
        raise _Broken("it tells another size than the object has")
    return Check("read back", "ok", "equal")


def _listing(store: Store, key: str) -> Check:
    listed = {item.key: item.size for item in store.list(key.rpartition("/")[0])}
    if listed != {key: len(_CONTENT)}:
        raise _Broken("a list does not show what was put, and only that")
    return Check("listing", "ok", "shows what was put")


def _durable(store: Store) -> Check:
    store.flush()
    if not isinstance(store, LocalStore):
        return Check("durable", "ok", "a put is answered once it is")
    if os.name == "nt":
        return Check("durable", "ok", "file by file")
    folder = os.open(store.address, os.O_RDONLY)
    try:
        at_once = sync_filesystems((folder,))
    except OSError as error:
        raise StoreUnavailable(
            f"{store.address} cannot be written to disk ({error.strerror})", hint="check the disk"
        ) from error
    finally:
        os.close(folder)
    return Check("durable", "ok", "by syncfs" if at_once else "file by file, with fsync")


def _delete(store: Store, key: str) -> Check:
    if not store.delete(key):
        raise _Broken("it says that an object which is there could not be deleted")
    if store.stat(key) is not None or _listed(store, key):
        raise _Broken("what was deleted is still there")
    try:
        store.get(key)
    except ObjectNotFound:
        return Check("delete", "ok", "the object is gone")
    raise _Broken("what was deleted can still be read")


def _listed(store: Store, key: str) -> bool:
    return next(iter(store.list(key.rpartition("/")[0])), None) is not None


def _sweep(store: Store) -> None:
    """Remove what killed self-tests left; one that runs now is younger."""
    oldest_kept = store.now() - _LONG_AGO
    for left in list(store.list(FOLDER)):
        if left.modified is not None and left.modified < oldest_kept:
            store.delete(left.key)


def _remove(store: Store, key: str) -> None:
    """Remove what a self-test left that broke off; a store that fails at that has failed before."""
    with contextlib.suppress(ImagingDBError):
        for left in list(store.list(key.rpartition("/")[0])):
            store.delete(left.key)
