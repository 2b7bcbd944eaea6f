"""Frames to stored bytes and back: lossless, or refused."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from imaging_db.codecs import jxl, png, tiff
from imaging_db.codecs.announced import MOST_BYTES
from imaging_db.errors import IntegrityError, SchemaOutOfDate, UsageError
from imaging_db.model import sha256_of_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

DEFAULT_CODEC = "png"
_CODECS: dict[str, ModuleType] = {"png": png, "jxl": jxl, "tiff": tiff}
# What the libraries raise on damaged bytes, some of it by accident; imagecodecs' errors are RuntimeErrors.
_DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_EXACT = "tiff"  # what the preferred codec cannot hold


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """The bytes of one frame as they will be stored, their SHA-256, and how they were made."""

    data: bytes
    sha256: str
    codec: str
    suffix: str


def check_codec(name: str) -> None:
    """Let pass a codec that frames can be encoded with on this computer.

    Raises
    ------
    UsageError
        No codec has that name, or the library that it needs was built without it.
    """
    if name not in _CODECS:
        raise UsageError(f"unknown codec {name!r}", hint=f"known: {', '.join(_CODECS)}")
    if name == "jxl" and not jxl.available():
        raise _without_jxl("frames cannot be kept as jxl")


@lru_cache(maxsize=256)  # a dataset asks for every frame, and has one answer as a rule
def codec_for(dtype: str, shape: tuple[int, ...], *, preferred: str = DEFAULT_CODEC) -> str:
    """Return the name of the codec that keeps such frames exactly: the preferred one, else TIFF.

    Raises
    ------
    UsageError
        No codec holds them; the message names the type.
    """
    for name in (preferred, _EXACT):
        if _CODECS[name].holds(dtype, shape):
            return name
    raise UsageError(f"frames of type {dtype} and shape {shape} cannot be kept exactly")


def holds(codec: str, dtype: str, shape: tuple[int, ...]) -> bool:
    """Return True where a codec keeps frames of this type and shape ``(Y, X)`` or ``(Y, X, S)`` exactly."""
    return bool(_CODECS[codec].holds(dtype, shape))


def suffix_of(codec: str) -> str:
    """Return the file suffix of a codec, such as ``.png``."""
    return str(_CODECS[codec].SUFFIX)


def encode_frame(pixels: npt.NDArray[Any], *, codec: str = DEFAULT_CODEC) -> EncodedFrame:
    """Return the stored form of a frame ``(Y, X)`` or ``(Y, X, S)``; deterministic."""
    name = codec_for(pixels.dtype.name, pixels.shape, preferred=codec)
    data = _CODECS[name].encode(pixels)
    return EncodedFrame(data, sha256_of_bytes(data), name, suffix_of(name))


def decode_frame(
    data: bytes,
    *,
    dtype: str | None = None,
    codec: str | None = None,
    where: str = "object",
    most_bytes: int = MOST_BYTES,
) -> npt.NDArray[Any]:
    """Return the pixels of a stored frame; which codec wrote it is seen from its first bytes.

    ``dtype`` is the frame's recorded type: bool is stored as uint8 and given back as bool. ``codec`` is
    the recorded one, None where none was. ``most_bytes`` is how much the pixels may take: what announces
    more is refused before memory is taken.

    Raises
    ------
    IntegrityError
        Neither PNG, JPEG XL nor TIFF, damaged, or too large; the message names ``where``.
    SchemaOutOfDate
        The recorded codec is one that only a newer version knows.
    """
    if codec is not None and codec not in _CODECS:
        raise SchemaOutOfDate(
            f"{where} is kept as {codec!r}; this version of imaging_db knows {', '.join(_CODECS)}",
            hint="update imaging_db, or download it as it is stored",
        )
    try:
        pixels: npt.NDArray[Any] = _CODECS[codec_of(data)].decode(data, most_bytes=most_bytes)
    except _DAMAGED as error:
        raise IntegrityError(f"{where} cannot be decoded: {error}") from error
    except ImportError as error:
        raise _without_jxl(f"{where} is a JPEG XL") from error
    return pixels.astype(bool) if dtype == "bool" and pixels.dtype.name == "uint8" else pixels


def codec_of(data: bytes) -> str:
    """Return the codec that a frame's first bytes name; what is none of the others may be a TIFF."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    return "jxl" if jxl.recognises(data) else "tiff"


def _without_jxl(what: str) -> UsageError:
    return UsageError(
        f"{what}: imagecodecs was built without JPEG XL here", hint="install its wheel with pip"
    )
