"""Frames of a download in another codec than that in which they are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from imaging_db.codecs import codec_of, decode_frame, encode_frame, holds, suffix_of
from imaging_db.errors import IntegrityError, UsageError
from imaging_db.model import StoredFrame, sha256_of_pixels
from imaging_db.transfer.fetch import decode_checked, pixel_bytes

CONVERSIONS = ("png",)


def check_conversion(codec: str | None) -> None:
    """Let pass what a download can convert frames to; None leaves them as they are stored.

    Raises
    ------
    UsageError
        It can not.
    """
    if codec is not None and codec not in CONVERSIONS:
        known = ", ".join(CONVERSIONS)
        raise UsageError(f"frames cannot be converted to {codec!r}", hint=f"known: {known}")


def is_kept_as(frame: StoredFrame, codec: str) -> bool:
    """Return True where a frame is stored so already; rows of the original record only the name."""
    return frame.file_name.endswith(suffix_of(codec))


def converted(frame: StoredFrame, codec: str | None) -> StoredFrame:
    """Return a frame as it will lie in the folder: the frame itself where it comes as it is stored.

    Of one that is converted only the pixels are known beforehand: hash and size of the stored object
    are not those of the file.
    """
    if codec is None or is_kept_as(frame, codec) or not _fits(frame, codec):
        return frame
    name = str(PurePosixPath(frame.file_name).with_suffix(suffix_of(codec)))
    return replace(frame, file_name=name, codec=codec, object_sha256=None, object_size=None)


def convert(data: bytes, frame: StoredFrame, *, codec: str, key: str) -> bytes:
    """Return a stored frame in another codec, after its pixels were compared with their hash.

    Raises
    ------
    IntegrityError
        They differ from the record.
    """
    return encode_frame(decode_checked(data, frame, key=key), codec=codec).data


def is_converted(path: Path, frame: StoredFrame) -> bool:
    """Return True where a file, not a link, has the pixels of a frame in the codec that it is to have."""
    if frame.sha256 is None or path.is_symlink() or not path.is_file():
        return False
    try:
        data = path.read_bytes()
        most = pixel_bytes(frame)
        pixels = decode_frame(data, dtype=frame.dtype, where=str(path), most_bytes=most)
    except (IntegrityError, OSError):
        return False
    return codec_of(data) == frame.codec and sha256_of_pixels(pixels) == frame.sha256


def _fits(frame: StoredFrame, codec: str) -> bool:
    if frame.dtype is None or frame.height is None or frame.width is None:
        return False
    return holds(codec, frame.dtype, (frame.height, frame.width, frame.colors or 1))
