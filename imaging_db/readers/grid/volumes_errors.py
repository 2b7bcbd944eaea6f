"""The one place where what h5py, zarr, fsspec and tensorstore raise becomes an error of ours."""

from __future__ import annotations

import errno
import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from imaging_db.errors import CorruptSource, ImagingDBError, StoreUnavailable, used_up

_FOREIGN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)
# Of aiohttp and botocore, which come with fsspec's file systems and are not imported here.
_BY_NAME = {
    "ClientConnectionError",
    "ConnectionError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "HTTPClientError",
    "ServerTimeoutError",
}
# What tensorstore writes before a message where trying again may help (the codes of abseil's status).
_BY_CODE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")
# A share that went away: the files are there once it is back.
_BY_NUMBER = {
    getattr(errno, name)
    for name in ("ESTALE", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENOTCONN")
    if hasattr(errno, name)
}
_LONGEST = 160


@contextmanager
def refusing(place: object, *, what: str = "") -> Iterator[None]:
    """Turn foreign exceptions into `CorruptSource`, or `StoreUnavailable` where they may pass by themselves.

    ``place`` is the file or address, ``what`` names the dataset or part that was read.
    """
    try:
        yield
    except ImagingDBError:
        raise
    except _FOREIGN as error:
        raise _ours(error, str(place), what) from error


def _ours(error: Exception, place: str, what: str) -> ImagingDBError:
    short = used_up(error)
    if short is not None:
        return short
    said = f"{what}: " if what else ""
    if _may_pass(error):
        return StoreUnavailable(
            f"{place}: {said}does not answer: {cause_of(error)}", hint="rerun later"
        )
    if isinstance(error, FileNotFoundError):
        return CorruptSource(place, f"{said}does not exist")
    return CorruptSource(place, f"{said}cannot be read: {cause_of(error)}")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return True
    if _BY_NAME & {kind.__name__ for kind in type(error).__mro__}:
        return True
    return str(error).startswith(_BY_CODE)


def cause_of(error: BaseException) -> str:
    """Return what a foreign exception says, on one line of bounded length."""
    text = " ".join(str(error).split()) or "no more is known"
    return f"{type(error).__name__}: {text[:_LONGEST]}"
