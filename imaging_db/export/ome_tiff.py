"""OME-TIFF: one file a dataset, an Image for each position, as Bio-Formats, ImageJ and tifffile read it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db import __version__
from imaging_db.errors import IntegrityError, ReaderError, UsageError
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.in_order import in_order
from imaging_db.export.ome_document import ome_file
from imaging_db.export.ome_xml import OmeFile, ome_xml, pixel_type
from imaging_db.export.part import Part, in_the_way
from imaging_db.export.plan import ExportPlan
from imaging_db.export.report import ExportOptions, ExportReport, Written
from imaging_db.export.tiff_pages import (
    PageLayout,
    PageWriter,
    needs_big,
    read_description,
    read_hashes,
)
from imaging_db.model import FrameCoords, StoredFrame, sha256_of_pixels
from imaging_db.transfer.report import Progress

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIX = ".ome.tif"
_NO_UUID = str(uuid.UUID(int=0))


@dataclass(frozen=True, slots=True)
class _Page:
    """One page before it is written; ``frame`` is None for a hole."""

    coords: FrameCoords
    frame: StoredFrame | None


@dataclass(frozen=True, slots=True)
class _Encoded:
    strips: list[bytes]
    sha256: str
    nbr_bytes: int
    is_frame: bool


class OmeTiff:
    """Exports to ``<dest>/<serial>.ome.tif``: slices fastest, then channels, then timepoints.

    A killed run goes on after its last whole page. The same dataset and selection give the same bytes.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def path(self, plan: ExportPlan, dest: Path) -> Path:
        """Return what the export will be called."""
        return dest / f"{plan.serial}{SUFFIX}"

    def check(self, plan: ExportPlan) -> tuple[str, ...]:
        """Return notes on what the format cannot say; raises `UsageError` where it cannot hold the plan."""
        shape = plan.require_alike()
        plan.require_complete(self._options.fill)
        if pixel_type(shape.dtype) is None:
            raise UsageError(
                f"{plan.serial}: OME-TIFF has no pixels of type {shape.dtype}",
                hint="export --to ome-zarr",
            )
        notes = ["pixels of type bool are written as uint8, 0 and 1"]
        return tuple(notes if shape.dtype == "bool" else ())

    def write(
        self, plan: ExportPlan, source: FrameSource, dest: Path, *, progress: Progress
    ) -> ExportReport:
        """Return what was written to ``dest``; see `Target.write`."""
        description = _identified(ome_file(plan, source, f"{plan.serial}{SUFFIX}", self._options))
        work = _Work(plan, source, self._options, progress, description)
        path = self.path(plan, dest).absolute()
        digest = hashlib.sha256(description).hexdigest()
        fill = None if self._options.fill is None else repr(float(self._options.fill))
        identity = {"to": "ome-tiff", "description": digest}
        part = Part(dest, path.name, {**identity, "fill": fill if plan.nbr_missing else None})
        if path.exists() and work.is_there(path):
            part.tidy()
            there = Written.ALREADY_THERE
            return ExportReport(plan.serial, "ome-tiff", path, there, kept=plan.nbr_frames)
        if path.exists() and not self._options.overwrite:
            raise in_the_way(path)
        with part.locked():
            report = work.write(part)
            part.finish(overwrite=self._options.overwrite)
            part.path.joinpath(_JOURNAL).unlink()
        return replace(report, path=path)


_JOURNAL = "pages"


@dataclass(frozen=True)
class _Work:
    """One file while it is written, or compared with what is there."""

    plan: ExportPlan
    source: FrameSource
    options: ExportOptions
    progress: Progress
    description: bytes

    @property
    def layout(self) -> PageLayout:
        plan, shape = self.plan, self.plan.require_alike()
        samples = (shape.colors,) if shape.colors > 1 else ()
        nbr_pages = plan.nbr_frames + plan.nbr_missing
        x, y = plan.pixel_size_x_um, plan.pixel_size_y_um
        return PageLayout(
            (shape.height, shape.width, *samples),
            shape.dtype,
            big=needs_big(nbr_pages, page_bytes=shape.nbr_bytes, description=len(self.description)),
            pixel_size_um=(x, y) if x and y else None,
        )

    def write(self, part: Part) -> ExportReport:
        """Write the file under its temporary name, read it back and compare."""
        journal = part.path / _JOURNAL
        written = nbr_bytes = 0
        with PageWriter(
            part.content,
            journal,
            self.layout,
            description=self.description,
            software=f"imaging_db {__version__}",
        ) as writer:
            kept = self._frames_among_first(len(writer.hashes))
            self.progress.advance(kept, 0)
            for page in self._encoded(len(writer.hashes)):
                writer.write(page.strips, page.sha256)
                written += page.is_frame
                nbr_bytes += page.nbr_bytes * page.is_frame
                self.progress.advance(int(page.is_frame), page.nbr_bytes)
            hashes = writer.hashes
        if not self._reads_back(part.content, hashes):
            journal.unlink()  # so that the next run begins anew
            raise IntegrityError(
                f"{part.content} reads back otherwise than it was written",
                hint="test the disk and the memory of this computer, and rerun",
            )
        return ExportReport(
            self.plan.serial, "ome-tiff", part.target, Written.EXPORTED, written, kept, nbr_bytes
        )

    def _encoded(self, first: int) -> Iterator[_Encoded]:
        """Yield the pages from number ``first`` on, in their order."""
        pages = (page for number, page in enumerate(self._pages()) if number >= first)
        with closing(in_order(self._encode, pages, workers=self.source.workers)) as found:
            yield from found

    def _pages(self) -> Iterator[_Page]:
        for position in self.plan.positions.indices:
            rows = self.source.rows(position)
            for coords in self.plan.coords(position):
                yield _Page(coords, rows.get(coords))

    def _frames_among_first(self, count: int) -> int:
        pages = zip(range(count), self._pages(), strict=False)
        return sum(page.frame is not None for _, page in pages)

    def _encode(self, page: _Page) -> _Encoded:
        layout = self.layout
        pixels = self._hole() if page.frame is None else self.source.read(page.frame)
        pixels = pixels.reshape(layout.shape)
        known = page.frame.sha256 if page.frame is not None else None
        sha256 = known or sha256_of_pixels(pixels)
        return _Encoded(layout.encode(pixels), sha256, pixels.nbytes, page.frame is not None)

    def _hole(self) -> npt.NDArray[Any]:
        import numpy as np

        return np.full(self.layout.shape, self.options.fill, self.layout.dtype)

    def is_there(self, path: Path) -> bool:
        """Return True where a file is this very export, every pixel compared."""
        return read_description(path).encode() == self.description and self._reads_back(
            path, self._expected()
        )

    def _expected(self) -> Iterator[str | None]:
        """Yield the hash of every page; None where none was recorded, which nothing equals."""
        hole = sha256_of_pixels(self._hole()) if self.plan.nbr_missing else None
        for page in self._pages():
            yield hole if page.frame is None else page.frame.sha256

    def _reads_back(self, path: Path, hashes: Iterable[str | None]) -> bool:
        found = read_hashes(path, dtype=self.layout.dtype, workers=self.source.workers)
        with closing(found):
            try:
                return all(a is not None and a == b for a, b in zip_longest(hashes, found))
            except ReaderError:
                return False


def _identified(file: OmeFile) -> bytes:
    """Return the OME-XML with a UUID that follows from all that it says: the same export, the same bytes."""
    content = hashlib.sha256(ome_xml(replace(file, uuid=_NO_UUID))).hexdigest()
    return ome_xml(replace(file, uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, content))))
