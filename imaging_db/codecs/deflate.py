"""DEFLATE: what PNG needs of it, from the fastest library that is installed.

ISA-L (the package ``isal``) where it is, else the standard library's zlib: other bytes, the same pixels.
What repeats itself goes to libdeflate, which comes with imagecodecs: both others miss most repetitions at
the settings that are fast for camera noise.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

# 258 bytes from two bits is the most that DEFLATE gives back (zlib's technical notes): 1032 for one.
_MOST_EXPANSION = 1032
_CLEARED_BYTES = 64  # enough for a loop over whole vectors
_LONGEST_START = 1024  # the code tables before the first byte are much shorter


@dataclass(frozen=True, slots=True)
class Deflate:
    """A module with zlib's calls, and the arguments of its ``compressobj``.

    ``noise`` is fast where only the frequencies of the bytes matter; ``matches`` looks for repetitions.
    """

    module: ModuleType
    noise: tuple[int, ...]
    matches: tuple[int, ...]

    def noise_stream(self) -> Any:
        """Return a compressor for camera noise, with ``compress(data)`` and ``flush()``."""
        return self.module.compressobj(*self.noise)

    def matching_stream(self) -> Any:
        """Return a compressor that looks for repetitions."""
        return self.module.compressobj(*self.matches)

    def at_once(self, data: Any, *, repeats: bool) -> bytes:
        """Return the stream of a few bytes, without the cost of a compressor where that can be."""
        settings = self.matches if repeats else self.noise
        if len(settings) == 1:
            return bytes(self.module.compress(data, *settings))
        stream = self.module.compressobj(*settings)
        return bytes(stream.compress(data) + stream.flush())

    def crc32(self, data: Any, before: int = 0) -> int:
        """Return the CRC of these bytes after others with the CRC ``before``."""
        return int(self.module.crc32(data, before))

    def first_byte(self, data: Any) -> int:
        """Return the first byte that a zlib stream holds, 0 where it does not begin as one."""
        try:
            return int.from_bytes(self.module.decompressobj().decompress(data[:_LONGEST_START], 1))
        except self.module.error:
            return 0

    def inflate(self, data: Any, *, size: int) -> bytes:
        """Return the ``size`` bytes that a zlib stream holds, its checksum compared; never more.

        Raises
        ------
        ValueError
            The stream is damaged, ends early, or does not hold exactly that many bytes.
        """
        if size > _MOST_EXPANSION * len(data):
            raise ValueError(f"{len(data)} compressed bytes cannot hold {size} bytes")
        stream = self.module.decompressobj()
        try:
            found: bytes = stream.decompress(data, size + 1)
        except self.module.error as error:
            raise ValueError(f"the compressed pixels are damaged: {error}") from error
        if len(found) != size or not stream.eof or stream.unused_data:
            raise ValueError("the compressed pixels are not as many as the header says")
        return found


@cache
def standard() -> Deflate:
    """Return zlib of the standard library: runs only for noise, which is twice as fast as matches."""
    level, method, window, memory = 1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL
    runs_only = (level, method, window, memory, zlib.Z_RLE)
    return Deflate(zlib, noise=runs_only, matches=(level,))


@cache
def installed() -> Deflate:
    """Return ISA-L where it is installed, else the standard library's zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return standard()
    return Deflate(isal_zlib, noise=(1,), matches=(3,))


def clear_vectors() -> None:
    """Leave the processor's vector registers as SHA-256 wants them, for what a thread does next.

    ISA-L returns with their upper halves in use, and OpenSSL's SHA instructions then take a third longer
    (measured on an AMD EPYC) until code ran that clears them, as any vector loop of numpy does.
    """
    import numpy as np

    np.zeros(_CLEARED_BYTES, np.uint8).max()


def deflate_repeats(data: Any, *, level: int) -> bytes:
    """Return a zlib stream of these bytes, made at once by libdeflate, ``level`` 1 (fast) to 12 (small)."""
    import imagecodecs

    return bytes(imagecodecs.deflate_encode(data, level, raw=False))
