"""Frame codecs: a 2-D array to stored bytes and back, exactly."""

from imaging_db.codecs.frames import (
    EncodedFrame,
    codec_for,
    decode_frame,
    encode_frame,
    suffix_of,
)

__all__ = ["EncodedFrame", "codec_for", "decode_frame", "encode_frame", "suffix_of"]
