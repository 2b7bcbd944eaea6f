"""Synthetic acquisitions on disk, made once and kept: what a microscope would have left there."""

from __future__ import annotations

import math
import os
import shutil
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import mmwriter
from benchmarks.mmwriter import Coords, Sizes
from benchmarks.scratch import scratch
from benchmarks.synth import frame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Frames = Iterable[npt.NDArray[np.uint16]]

_LARGEST_FILE = 4_200_000_000  # Micro-Manager's classic TIFF: offsets of 32 bits
_VERSION = 1  # another number makes acquisitions of earlier versions be made again


@dataclass(frozen=True, slots=True)
class Synthetic:
    """An acquisition of ``frames`` square uint16 frames in one of the formats of `KINDS`.

    ``micro_manager`` is an OME-TIFF as Micro-Manager writes it, one file a position with 3 KB of JSON on
    every page; ``ome_tiff`` one as tifffile does; ``tif_folder`` a TIFF file a frame; ``hyperstack`` one
    ImageJ file, big-endian, all planes behind one page.
    """

    kind: str
    frames: int = 200
    side: int = 1024
    content: str = "dim"

    @property
    def sizes(self) -> Sizes:
        """Two channels and five slices where the number of frames allows, positions to keep files small."""
        positions = _least_divisor(self.frames, math.ceil(self.raw_bytes / _LARGEST_FILE))
        left = self.frames // positions
        channels = 2 if left % 2 == 0 else 1
        slices = 5 if left // channels % 5 == 0 else 1
        return Sizes(channels, slices, left // channels // slices, positions, self.side)

    @property
    def raw_bytes(self) -> int:
        """The bytes of its pixels: what MB/s are counted in."""
        return self.frames * self.side * self.side * 2

    @property
    def coords(self) -> list[Coords]:
        """Channel, slice, timepoint and position of every frame, in the order of acquisition."""
        sizes = self.sizes
        return [place for p in range(sizes.positions) for place in sizes.coords(p)]

    def pixels(self, number: int) -> npt.NDArray[np.uint16]:
        """Return frame ``number`` in the order of acquisition."""
        return frame(self.content, (self.side, self.side), seed=number)

    def path(self) -> Path:
        """Return the file or folder, made if it is not there yet."""
        name = f"{self.kind}_{self.frames}x{self.side}_{self.content}_v{_VERSION}"
        target = scratch() / "acquisitions" / name
        if not target.exists():
            part = target.with_name(f"{name}.{os.getpid()}.part")
            part.mkdir(parents=True)
            KINDS[self.kind](self, part)
            try:
                part.rename(target)
            except OSError:  # another process was faster
                shutil.rmtree(part)
        inside = list(target.iterdir())
        return inside[0] if len(inside) == 1 else target

    def warm(self) -> Path:
        """Return the file or folder after reading it once: it is in the file cache if that has room."""
        path = self.path()
        for file in [path] if path.is_file() else sorted(path.iterdir()):
            with file.open("rb", buffering=0) as source:
                while source.read(1 << 24):
                    pass
        return path

    def remove(self) -> None:
        """Remove it from disk."""
        path = self.path()
        root = scratch() / "acquisitions"
        shutil.rmtree(path if path.parent == root else path.parent)


def stream(acquisition: Synthetic, numbers: Sequence[int]) -> Iterator[npt.NDArray[np.uint16]]:
    """Give these frames in order, made by all cores, a few at a time."""
    cores = os.cpu_count() or 1
    acquisition.pixels(0)  # scene and noise are made once, before threads ask for them
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[npt.NDArray[np.uint16]]] = deque()
        for number in numbers:
            waiting.append(pool.submit(acquisition.pixels, number))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _micro_manager(acquisition: Synthetic, folder: Path) -> None:
    sizes = acquisition.sizes
    each = acquisition.frames // sizes.positions
    for position in range(sizes.positions):
        frames = stream(acquisition, range(position * each, (position + 1) * each))
        path = folder / mmwriter.file_name(position)
        mmwriter.write_position(path, position, sizes, frames)


def _ome_tiff(acquisition: Synthetic, folder: Path) -> None:
    import tifffile

    sizes = acquisition.sizes
    timepoints = sizes.timepoints * sizes.positions
    shape = (timepoints, sizes.slices, sizes.channels, sizes.side, sizes.side)
    names = [f"Ch{c}" for c in range(sizes.channels)]
    told = {
        "axes": "TZCYX",
        "Channel": {"Name": names},
        "PhysicalSizeX": 0.325,
        "PhysicalSizeY": 0.325,
    }
    tifffile.imwrite(
        folder / "acquisition.ome.tif",
        stream(acquisition, range(acquisition.frames)),
        shape=shape,
        dtype="uint16",
        bigtiff=acquisition.raw_bytes > _LARGEST_FILE,
        metadata=told,
        photometric="minisblack",
    )


def _tif_folder(acquisition: Synthetic, folder: Path) -> None:
    import tifffile

    frames = stream(acquisition, range(acquisition.frames))
    for (c, z, t, p), pixels in zip(acquisition.coords, frames, strict=True):
        name = f"img_Ch{c}_t{t:03d}_p{p:03d}_z{z:03d}.tif"
        tifffile.imwrite(folder / name, pixels, metadata=None)


def _hyperstack(acquisition: Synthetic, folder: Path) -> None:
    """Write what ImageJ's TiffEncoder writes: one page, big-endian, all planes in a row behind it."""
    sizes = acquisition.sizes
    side = sizes.side
    told = f"ImageJ=1.54f\nimages={acquisition.frames}\nchannels={sizes.channels}\nslices={sizes.slices}\n"
    frames = sizes.timepoints * sizes.positions
    text = f"{told}frames={frames}\nhyperstack=true\nmode=grayscale\nloop=false\n".encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    fixed = {254: (4, 0), 256: (4, side), 257: (4, side), 258: (3, 16), 262: (3, 1), 277: (3, 1),
             278: (4, side), 279: (4, side * side * 2)}  # fmt: skip
    behind = 8 + 2 + 12 * (len(fixed) + 2) + 4
    entries = {code: (kind, 1, value) for code, (kind, value) in fixed.items()}
    entries |= {270: (2, len(text), behind), 273: (4, 1, behind + len(text))}
    with (folder / "hyperstack.tif").open("wb") as out:
        out.write(struct.pack(">2sHIH", b"MM", 42, 8, len(entries)))
        for code, (kind, count, value) in sorted(entries.items()):
            shifted = value << 16 if kind == 3 else value  # a short lies in the first two bytes
            out.write(struct.pack(">HHII", code, kind, count, shifted))
        out.write(bytes(4) + text)
        for pixels in stream(acquisition, range(acquisition.frames)):
            out.write(pixels.astype(">u2").tobytes())


def _least_divisor(number: int, least: int) -> int:
    """Return the smallest divisor of ``number`` that is not below ``least``."""
    return next(n for n in range(max(1, least), number + 1) if number % n == 0)


KINDS: dict[str, Callable[[Synthetic, Path], None]] = {
    "micro_manager": _micro_manager,
    "ome_tiff": _ome_tiff,
    "tif_folder": _tif_folder,
    "hyperstack": _hyperstack,
}
