"""Damage to files: where one can be cut, and which bytes of it are worth flipping."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tifffile

_HOW_OFTEN = {"header": 4, "tags": 12, "strips": 5, "text": 10, "values": 2, "pixels": 5, "any": 2}
"""How often a byte of each part is flipped, relative to each other."""


@dataclass(frozen=True)
class Damage:
    """One damage: ``cut`` to so many bytes, or the byte at ``place`` changed by ``mask``."""

    kind: str
    place: int
    mask: int = 0
    part: str = ""

    def __str__(self) -> str:
        if self.kind == "cut":
            return f"cut at {self.place}"
        return f"flip {self.place} ^ 0x{self.mask:02x} ({self.part})"

    def of(self, data: bytes) -> bytes:
        """The bytes, damaged."""
        if self.kind == "cut":
            return data[: self.place]
        changed = bytearray(data)
        changed[self.place] ^= self.mask
        return bytes(changed)


@dataclass
class Parts:
    """Which bytes of a file hold what; ``frames`` tell the bytes of each page's pixels."""

    spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    frames: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, part: str, start: int, size: int) -> None:
        if size > 0:
            self.spans.setdefault(part, []).append((start, start + size))

    def frame_at(self, place: int) -> int | None:
        """The page whose pixels hold a byte, None for a byte that is no pixel's."""
        for page, spans in self.frames.items():
            if any(start <= place < end for start, end in spans):
                return page
        return None


def cuts(size: int, points: int) -> Iterator[Damage]:
    """Cut at equal distances, never at the end."""
    for place in sorted({size * n // (points + 1) for n in range(1, points + 1)}):
        if place < size:
            yield Damage("cut", place)


def flips(path: Path, points: int, seed: str) -> Iterator[Damage]:
    """Flip one bit, or all bits of a byte, in places that are chosen by what they hold."""
    chance = random.Random(seed)
    spans = {"any": [(0, path.stat().st_size)], **parts_of(path).spans}
    names = [name for name in _HOW_OFTEN if name in spans]
    for number in range(points):
        if number < len(names):  # each kind at least once
            part = names[number]
        else:
            part = chance.choices(names, [_HOW_OFTEN[name] for name in names])[0]
        start, end = chance.choice(spans[part])
        mask = 0xFF if chance.random() < 0.2 else 1 << chance.randrange(8)
        yield Damage("flip", chance.randrange(start, end), mask, part)


def every_bit(path: Path, most: int) -> Iterator[Damage]:
    """Flip each bit of header, lists of tags, and short texts, of the first ``most`` bytes of each."""
    spans = parts_of(path).spans
    for part in ("header", "tags", "strips", "text"):
        left = most
        for start, end in spans.get(part, []):
            for place in range(start, min(end, start + left)):
                yield from (Damage("flip", place, 1 << bit, part) for bit in range(8))
            left -= min(end - start, left)


def parts_of(path: Path) -> Parts:
    """What the bytes of a TIFF file hold, as tifffile sees it; of any other file, text."""
    parts = Parts()
    head = path.read_bytes()[:4]
    if head[:2] not in (b"II", b"MM"):
        parts.add("text", 0, path.stat().st_size)
        return parts
    with tifffile.TiffFile(path) as file:
        parts.add("header", 0, 40 if file.pages[0].offset >= 40 else 8)  # type: ignore[union-attr]
        for number, page in enumerate(file.pages):
            assert isinstance(page, tifffile.TiffPage)
            _add_page(parts, file, page, number)
        _add_hidden_planes(parts, file)
    size = path.stat().st_size
    for part, found in parts.spans.items():
        parts.spans[part] = [(start, min(end, size)) for start, end in found if start < size]
    return parts


def _add_page(parts: Parts, file: tifffile.TiffFile, page: tifffile.TiffPage, number: int) -> None:
    tiff = file.tiff
    entries = tiff.tagnosize + len(page.tags) * tiff.tagsize
    parts.add("tags", page.offset, entries + tiff.offsetsize)
    for tag in page.tags.values():
        size = tag.valuebytecount
        if size <= tiff.tagoffsetthreshold:
            continue
        if tag.code in (273, 279, 324, 325):
            parts.add("strips", tag.valueoffset, size)
        else:
            parts.add("text" if size > 16 else "values", tag.valueoffset, size)
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        parts.add("pixels", start, size)
        parts.frames.setdefault(number, []).append((start, start + size))


def _add_hidden_planes(parts: Parts, file: tifffile.TiffFile) -> None:
    """ImageJ lists one page and stores all of them behind each other."""
    first = file.pages[0]
    assert isinstance(first, tifffile.TiffPage)
    planes = int((file.imagej_metadata or {}).get("images", 1))
    if len(file.pages) == 1 and planes > 1 and first.compression == 1:
        start = first.dataoffsets[0]
        parts.frames = {
            n: [(start + n * first.nbytes, start + (n + 1) * first.nbytes)] for n in range(planes)
        }
        parts.add("pixels", start, planes * first.nbytes)
