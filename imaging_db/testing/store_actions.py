"""Doing things to a store, and the keys to do them with; shared by the suites."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from imaging_db.errors import ObjectConflict
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import Store

_T = TypeVar("_T")

THREADS = 16

ODD_NAMES = (
    "two words",
    " spaces around ",
    'it\'s "quoted"',
    "100%",
    "%2e%2e",
    "a+b&c=d",
    "#hash",
    "what?",
    "[ab]*",
    "-leading-dash",
    "~tilde",
    "..hidden..",
    "semi;colon,comma",
    "<angle>|pipe",
    "$(dollar)`tick`",
    "@at!bang",
    "GFP \N{GREEK SMALL LETTER ALPHA}-tubulin \N{MICRO SIGN}m",
    "\N{MICROSCOPE}",
    "\u65e5\u672c\u8a9e.png",
)

FORBIDDEN_KEYS = (
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\\b",
    "C:/a",
    "c:a",
    "a\x00b",
    "a\nb",
    "a\x7f",
    "a/" + "x" * 256,
    "/".join(["x" * 100] * 11),
    "lone \ud800 surrogate",
)

SORTED_KEYS = ("a-b", "a-b/x", "a.c", "a/b", "a/b-c", "a/b/c", "a0", "b", "\u00e9", "\U0001f52c")


def put(store: Store, key: str, data: bytes) -> bool:
    """Put ``data`` with its checksum; what `Store.put` returns."""
    return store.put(key, data, sha256=sha256_of_bytes(data))


def put_stream(store: Store, key: str, data: bytes, *, with_sum: bool = True) -> bool:
    """Put ``data`` as a stream; what `Store.put_stream` returns."""
    sha256 = sha256_of_bytes(data) if with_sum else None
    return store.put_stream(key, io.BytesIO(data), size=len(data), sha256=sha256)


def keys(store: Store, prefix: str = "") -> Sequence[str]:
    """Return the keys below ``prefix`` as the store lists them."""
    return [found.key for found in store.list(prefix)]


def all_at_once(call: Callable[[int], _T], *, threads: int = THREADS) -> Sequence[_T | Exception]:
    """Return what ``call(0)``, ``call(1)``, ... gave or raised, all begun at the same moment."""
    start = threading.Barrier(threads)

    def run(number: int) -> _T | Exception:
        start.wait()
        try:
            return call(number)
        except ObjectConflict as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


class InterruptedStream(io.BytesIO):
    """A stream that does something when its second megabyte is asked for."""

    def __init__(self, data: bytes, then: Callable[[], object]) -> None:
        super().__init__(data)
        self._then = then

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        if self.tell() >= 2**20:
            self._then()
        return super().read(size)


def raising(error: BaseException) -> Callable[[], object]:
    """Return a function that raises ``error``."""

    def then() -> object:
        raise error

    return then
