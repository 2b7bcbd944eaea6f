"""The one place where what tifffile and imagecodecs raise becomes an error of ours."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging_db.errors import CorruptSource, ImagingDBError, UnsupportedFormat

# Keeps tifffile's remarks off the terminal, whatever handler the program has set up at the root; what
# they warn of is checked here by itself.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False

_NOT_AVAILABLE = (NotImplementedError, KeyError, ImportError)
_DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # imagecodecs' errors, RecursionError
    TypeError,
    ValueError,  # TiffFileError, UnicodeDecodeError
    struct.error,
)
_LONGEST = 160


@contextmanager
def refusing(path: Path, *, page: int | None = None) -> Iterator[None]:
    """Turn foreign exceptions into `CorruptSource` or `UnsupportedFormat` that name file and page.

    Both libraries raise at least ten types on damaged files, some of them (``TypeError``,
    ``ZeroDivisionError``) by accident.
    """
    try:
        yield
    except ImagingDBError:
        raise
    except _NOT_AVAILABLE as error:
        raise UnsupportedFormat(path, f"cannot be decoded: {_cause(error)}", page=page) from error
    except _DAMAGED as error:
        if "requires the 'imagecodecs' package" in str(error) or "not supported" in str(error):
            cause = f"cannot be decoded: {_cause(error)}"
            raise UnsupportedFormat(path, cause, page=page) from error
        raise CorruptSource(path, f"is damaged: {_cause(error)}", page=page) from error


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no more is known"
    return f"{type(error).__name__}: {text[:_LONGEST]}"
