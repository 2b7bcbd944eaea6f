"""The beginning of a JPEG XL: how large the picture is, known without the decoder.

Source: ISO/IEC 18181-1, annex D (image header), and 18181-2, section 9 (boxes).
"""

from __future__ import annotations

import struct

_CODESTREAM = b"\xff\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
# A choice of two bits: what is added to how many bits.
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
_WHOLE_BITS = ((8, 0), (10, 0), (12, 0), (1, 6))
_FLOAT_BITS = ((32, 0), (16, 0), (24, 0), (1, 6))
_MORE_CHANNELS = ((0, 0), (1, 0), (2, 4), (1, 12))


def announced(data: bytes) -> int:
    """Return the least number of bytes that the decoded picture takes: it may be grey or in colour.

    Raises
    ------
    ValueError
        The header is cut off, or is that of an animation or of a picture with a preview, which no frame is.
    """
    bits = _Bits(_codestream(data))
    height, width = _size(bits)
    if bits.take(1):  # all else is as usual: 8 bits, no more channels
        return height * width
    if bits.take(1):
        bits.take(3)  # orientation
        if bits.take(1):
            _size(bits)  # how large it wants to be shown
        if bits.take(1) or bits.take(1):
            raise ValueError("the JPEG XL has a preview or is an animation")
    if bits.take(1):
        depth = bits.choice(_FLOAT_BITS)
        bits.take(4)
    else:
        depth = bits.choice(_WHOLE_BITS)
    bits.take(1)
    channels = 1 + bits.choice(_MORE_CHANNELS)
    return height * width * channels * -(-depth // 8)


class _Bits:
    """Bits of bytes, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, number: int) -> int:
        if number > self._left:
            raise ValueError("the JPEG XL is cut off in its header")
        found = self._value & ((1 << number) - 1)
        self._value >>= number
        self._left -= number
        return found

    def choice(self, ways: tuple[tuple[int, int], ...]) -> int:
        least, number = ways[self.take(2)]
        return least + self.take(number)


def _size(bits: _Bits) -> tuple[int, int]:
    eighths = bits.take(1)
    height = _side(bits, eighths)
    ratio = bits.take(3)
    if not ratio:
        return height, _side(bits, eighths)
    over, under = _RATIOS[ratio]
    return height, height * over // under


def _side(bits: _Bits, eighths: int) -> int:
    return 8 * (1 + bits.take(5)) if eighths else bits.choice(_SIDE)


def _codestream(data: bytes) -> bytes:
    """Return the first bytes of the codestream, behind its mark, bare or in the first box that holds it."""
    at = 0
    while not data.startswith(_CODESTREAM, at):
        if len(data) < at + 16:
            raise ValueError("the JPEG XL is cut off before its header")
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        if kind in (b"jxlc", b"jxlp"):
            at = start + (4 if kind == b"jxlp" else 0)
            if not data.startswith(_CODESTREAM, at):
                raise ValueError("the JPEG XL has no header")
        elif length < 8:
            raise ValueError("the JPEG XL has no header")
        else:
            at += length
    return data[at + 2 : at + 66]
