"""Chunks of a precomputed volume that lie compressed in a folder, as CloudVolume leaves them there.

On a web server or in a bucket the compression of a chunk is told by a header; in a folder CloudVolume tells
it by a suffix, which tensorstore does not look for. The chunks of a box are unpacked into memory, for
tensorstore to decode them there.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

from imaging_db.errors import CorruptSource
from imaging_db.readers.grid.grid import Range
from imaging_db.readers.grid.volumes_extras import require
from imaging_db.readers.grid.volumes_precomputed_info import Info, Scale

_SUFFIXES = (".gz", ".br")
_LOOKED_AT = 100


class PackedChunks:
    """The chunks of one scale in a folder, compressed or not."""

    def __init__(self, root: Path, info: Info, scale: Scale, *, optional: bool) -> None:
        self._root, self._info, self._scale = root, info, scale
        self._optional = optional

    @classmethod
    def of(
        cls, place: Path | str, info: Info, scale: Scale, *, optional: bool
    ) -> PackedChunks | None:
        """Return the chunks where they are compressed, None where tensorstore finds them by itself.

        With ``optional`` a chunk may be absent.
        """
        if not isinstance(place, Path) or scale.sharded or not (place / scale.key).is_dir():
            return None
        with os.scandir(place / scale.key) as entries:
            names = [entry.name for entry in islice(entries, _LOOKED_AT)]
        # where an absent chunk is 0, one that is there under another name must not be
        packed = optional or any(name.endswith(_SUFFIXES) for name in names)
        return cls(place, info, scale, optional=optional) if packed else None

    def unpacked(self, ranges: Mapping[str, Range]) -> Any:
        """Return tensorstore's memory with the chunks that a part of the volume lies in.

        Raises
        ------
        CorruptSource
            A chunk is absent.
        """
        kvstore = require("tensorstore").KvStore.open({"driver": "memory"}).result()
        kvstore.write("info", self._info.content).result()
        for name in self.names(ranges):
            key = f"{self._scale.key}/{name}"
            content = self._content(key)
            if content is not None:
                kvstore.write(key, content).result()
        return kvstore

    def names(self, ranges: Mapping[str, Range]) -> Iterator[str]:
        """Yield the names of the chunks that a part of the volume lies in."""
        cells = (
            list(_cells(ranges[axis], self._scale.extent[axis], step))
            for axis, step in zip("xyz", self._scale.chunk, strict=True)
        )
        for x, y, z in product(*cells):
            yield "_".join(f"{start}-{stop}" for start, stop in (x, y, z))

    def _content(self, key: str) -> bytes | None:
        plain = self._root / key
        if plain.is_file():
            return plain.read_bytes()
        for suffix in _SUFFIXES:
            packed = plain.with_name(plain.name + suffix)
            if packed.is_file():
                return _unpacked(packed.read_bytes(), suffix)
        if self._optional:
            return None
        raise CorruptSource(plain, "is absent, also with .gz and .br")


def _unpacked(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.decompress(content)
    import imagecodecs

    return bytes(imagecodecs.brotli_decode(content))


def _cells(wanted: Range, extent: Range, step: int) -> Iterator[Range]:
    """Yield the chunks on one axis; they begin where the volume does, and end with it."""
    start = wanted[0] - (wanted[0] - extent[0]) % step
    while start < wanted[1]:
        yield start, min(start + step, extent[1])
        start += step
