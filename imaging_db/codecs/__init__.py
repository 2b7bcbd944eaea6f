"""Frame codecs: a 2-D array to stored bytes and back, exactly."""

from imaging_db.codecs.announced import MOST_BYTES
from imaging_db.codecs.frames import (
    DEFAULT_CODEC,
    EncodedFrame,
    check_codec,
    codec_for,
    codec_of,
    decode_frame,
    encode_frame,
    holds,
    suffix_of,
)

__all__ = [
    "DEFAULT_CODEC",
    "EncodedFrame",
    "MOST_BYTES",
    "check_codec",
    "codec_for",
    "codec_of",
    "decode_frame",
    "encode_frame",
    "holds",
    "suffix_of",
]
