"""The chunks of a PNG: written, and read back with every length and checksum compared.

Source: PNG specification (W3C, third edition), section 5 "Datastream structure" and 11 "Chunk specifications".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The format allows 2^31 - 1 bytes a chunk; there may be many.
_LONGEST_IDAT = 1 << 30
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # grey, grey with alpha, RGB, RGBA
_COLORS = {number: colors for colors, number in _COLOR_TYPES.items()}
_HEADER = struct.Struct(">IIBBBBB")
_PALETTE = 3
_HEADER_AT = 16  # signature, length and kind of the first chunk

Crc32 = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Header:
    """What IHDR says of a picture whose samples have 8 or 16 bits and are not interlaced or indexed."""

    width: int
    height: int
    bits: int
    colors: int

    @property
    def step(self) -> int:
        """The bytes of a pixel."""
        return self.colors * self.bits // 8

    def packed(self) -> bytes:
        """Return the content of IHDR."""
        return _HEADER.pack(self.width, self.height, self.bits, _COLOR_TYPES[self.colors], 0, 0, 0)


def written(header: Header, stream: Iterable[bytes], *, crc32: Crc32, most: int = 0) -> bytes:
    """Return a PNG of a zlib stream that comes in pieces; ``most`` bytes or 1 GiB at most in one chunk."""
    parts = [SIGNATURE, *_chunk(b"IHDR", [header.packed()], crc32)]
    for group in _groups(stream, most or _LONGEST_IDAT):
        parts += _chunk(b"IDAT", group, crc32)
    return b"".join([*parts, *_chunk(b"IEND", [], crc32)])


def _groups(pieces: Iterable[bytes], most: int) -> Iterator[list[memoryview]]:
    """Yield the pieces together as long as they are no more than ``most`` bytes."""
    group: list[memoryview] = []
    room = most
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) > room:
            yield [*group, rest[:room]]
            group, rest, room = [], rest[room:], most
        group.append(rest)
        room -= len(rest)
    yield group


def _chunk(kind: bytes, body: list[bytes] | list[memoryview], crc32: Crc32) -> list[bytes]:
    checksum = crc32(kind)
    for piece in body:
        checksum = crc32(piece, checksum)
    length = sum(len(piece) for piece in body)
    return [struct.pack(">I4s", length, kind), *body, struct.pack(">I", checksum)]


def announced(data: bytes) -> int:
    """Return how many bytes the decoded picture takes, by its header alone; a palette gives RGB.

    Raises
    ------
    ValueError
        The data are cut off before that.
    """
    if len(data) < _HEADER_AT + _HEADER.size:
        raise ValueError("the PNG is cut off")
    width, height, bits, color_type, *_ = _HEADER.unpack_from(data, _HEADER_AT)
    colors = 3 if color_type == _PALETTE else _COLORS.get(color_type, 1)
    return int(width * height * colors * max(1, bits // 8))


def read(data: bytes, *, crc32: Crc32) -> list[tuple[bytes, memoryview]]:
    """Return kind and content of every chunk, from IHDR to IEND.

    Raises
    ------
    ValueError
        The data are no PNG, are cut off, hold more than the PNG, or a checksum differs.
    """
    view = memoryview(data)
    if view[: len(SIGNATURE)] != SIGNATURE:
        raise ValueError("the data do not begin as a PNG")
    chunks: list[tuple[bytes, memoryview]] = []
    at = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if len(view) < at + 12:
            raise ValueError("the PNG is cut off")
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 8 + length
        if len(view) < end + 4:
            raise ValueError(f"the PNG is cut off in chunk {kind!r}")
        if crc32(view[at + 4 : end]) != struct.unpack_from(">I", view, end)[0]:
            raise ValueError(f"the checksum of the PNG's chunk {kind!r} differs")
        chunks.append((kind, view[at + 8 : end]))
        at = end + 4
    if at != len(view):
        raise ValueError("there are bytes behind the PNG's end")
    return chunks


def plain_header(chunks: list[tuple[bytes, memoryview]]) -> Header | None:
    """Return the header of a PNG as we write them; None where it is of another kind, or says more.

    Raises
    ------
    ValueError
        There is no header, or the picture has no pixels.
    """
    kinds = [kind for kind, _ in chunks]
    if kinds[0] != b"IHDR" or len(chunks[0][1]) != _HEADER.size:
        raise ValueError("the PNG has no header")
    width, height, bits, color_type, *ways = _HEADER.unpack(chunks[0][1])
    if not width or not height:
        raise ValueError("the PNG's header says that it has no pixels")
    if set(kinds[1:-1]) != {b"IDAT"} or any(ways):
        return None
    if bits not in (8, 16) or color_type not in _COLORS:
        return None
    return Header(width, height, bits, _COLORS[color_type])
