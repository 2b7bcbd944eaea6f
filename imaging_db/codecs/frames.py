"""Frames to stored bytes and back: lossless, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from imaging_db.codecs import png, tiff
from imaging_db.errors import IntegrityError, UsageError
from imaging_db.model import sha256_of_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

_CODECS: dict[str, ModuleType] = {"png": png, "tiff": tiff}


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """The bytes of one frame as they will be stored, their SHA-256, and how they were made."""

    data: bytes
    sha256: str
    codec: str
    suffix: str


def codec_for(dtype: str, shape: tuple[int, ...], *, preferred: str = "png") -> str:
    """Return the name of the codec that keeps such frames exactly: the preferred one, else TIFF.

    Raises
    ------
    UsageError
        No codec holds them; the message names the type.
    """
    for name in (preferred, "tiff"):
        if _CODECS[name].holds(dtype, shape):
            return name
    raise UsageError(f"frames of type {dtype} and shape {shape} cannot be kept exactly")


def suffix_of(codec: str) -> str:
    """Return the file suffix of a codec, such as ``.png``."""
    return str(_CODECS[codec].SUFFIX)


def encode_frame(pixels: npt.NDArray[Any], *, codec: str = "png") -> EncodedFrame:
    """Return the stored form of a frame ``(Y, X)`` or ``(Y, X, S)``; deterministic."""
    name = codec_for(pixels.dtype.name, pixels.shape, preferred=codec)
    data = _CODECS[name].encode(pixels)
    return EncodedFrame(data, sha256_of_bytes(data), name, suffix_of(name))


def decode_frame(
    data: bytes, *, dtype: str | None = None, where: str = "object"
) -> npt.NDArray[Any]:
    """Return the pixels of a stored frame; which codec wrote it is seen from its first bytes.

    ``dtype`` is the frame's recorded type: bool is stored as uint8 and given back as bool.

    Raises
    ------
    IntegrityError
        Neither PNG nor TIFF, or damaged; the message names ``where``.
    """
    codec = png if data[:8] == b"\x89PNG\r\n\x1a\n" else tiff
    try:
        pixels: npt.NDArray[Any] = codec.decode(data)
    except (ValueError, RuntimeError, TypeError, IndexError, KeyError, MemoryError) as error:
        raise IntegrityError(f"{where} cannot be decoded: {error}") from error
    return pixels.astype(bool) if dtype == "bool" and pixels.dtype.name == "uint8" else pixels
