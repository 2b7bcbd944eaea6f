"""OME-Zarr: one image, or one for each position, with smaller copies, in versions 0.4 and 0.5."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imaging_db import __version__
from imaging_db.api.extras import require
from imaging_db.errors import Conflict, ImagingDBError, UsageError
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.journal import Journal
from imaging_db.export.ome_zarr_attributes import origin_attributes, unknown_sizes
from imaging_db.export.ome_zarr_blocks import Blocks, Done
from imaging_db.export.ome_zarr_groups import make_groups
from imaging_db.export.ome_zarr_layout import Block, Layout
from imaging_db.export.ome_zarr_series import write_series
from imaging_db.export.ome_zarr_there import ThereAlready
from imaging_db.export.part import Part, in_the_way
from imaging_db.export.plan import ExportPlan
from imaging_db.export.report import OME_ZARR_VERSIONS, ExportOptions, ExportReport, Written
from imaging_db.model import FrameCoords, StoredFrame
from imaging_db.transfer.pool import pooled, worker_count
from imaging_db.transfer.report import Progress

_COPIES = 6  # of a block: read, smaller, encoded, read back, to spare
_ATTRIBUTES = {"0.4": ".zattrs", "0.5": "zarr.json"}
_JOURNAL = "journal"


class OmeZarr:
    """Writes OME-Zarr: level 0 holds exactly the pixels of the frames."""

    def __init__(self, options: ExportOptions) -> None:
        if options.ome_zarr_version not in OME_ZARR_VERSIONS:
            raise UsageError(
                f"--ome-zarr-version {options.ome_zarr_version} is not written",
                hint=f"known: {', '.join(OME_ZARR_VERSIONS)}",
            )
        self._options = options

    def path(self, plan: ExportPlan, dest: Path) -> Path:
        """Return ``dest/<serial>.ome.zarr``."""
        return dest.absolute() / _name(plan)

    def check(self, plan: ExportPlan) -> tuple[str, ...]:
        """Return notes on what cannot be said; raises `UsageError` where frames differ or are missing."""
        plan.require_alike()
        plan.require_complete(self._options.fill)
        notes = [unknown_sizes(plan)]
        if plan.nbr_missing:
            fill = self._options.fill
            frames = "frame is" if plan.nbr_missing == 1 else "frames are"
            notes.append(f"{plan.nbr_missing} missing {frames} filled with {fill:g}")
        if plan.colors not in (None, 1):
            notes.append("each sample of a colour is a channel")
        return tuple(note for note in notes if note)

    def write(
        self, plan: ExportPlan, source: FrameSource, dest: Path, *, progress: Progress
    ) -> ExportReport:
        """Return what was written; see `imaging_db.export.exporter.Target`."""
        require("zarr", "export")
        path = self.path(plan, dest)
        made_of = self._made_of(plan)
        part = Part(dest, _name(plan), {**made_of, "program": __version__})
        if path.exists():
            if self._is_there(path, plan, made_of, source):
                part.tidy()
                progress.advance(plan.nbr_frames, 0)
                there = Written.ALREADY_THERE
                return ExportReport(plan.serial, "ome-zarr", path, there, kept=plan.nbr_frames)
            if not self._options.overwrite:
                raise in_the_way(path)
        with part.locked():
            run = _Run(plan, source, part, self._options, progress)
            run.write(origin_attributes(plan, made_of))
            part.finish(overwrite=self._options.overwrite)
        return ExportReport(
            plan.serial,
            "ome-zarr",
            path,
            Written.EXPORTED,
            written=run.written,
            kept=run.kept,
            nbr_bytes=run.nbr_bytes,
        )

    def _made_of(self, plan: ExportPlan) -> dict[str, object]:
        """Return what makes two exports the same."""
        fill = self._options.fill
        return {
            "fingerprint": plan.fingerprint,
            "ome_zarr_version": self._options.ome_zarr_version,
            # as text: JSON has no NaN, and NaN is not even equal to itself
            "fill": repr(float(fill)) if plan.nbr_missing and fill is not None else None,
        }

    def _is_there(
        self, path: Path, plan: ExportPlan, made_of: dict[str, object], source: FrameSource
    ) -> bool:
        """Return True where a folder is this very export, every pixel compared.

        Raises
        ------
        Conflict
            It was, and has been damaged since; ``overwrite`` replaces it.
        """
        if not self._is_ours(path, plan, made_of):
            return False
        layout, options = Layout.of(plan, sharded=self._sharded), self._options
        there = ThereAlready(path, plan, layout, source, options.fill, options.ome_zarr_version)
        if not there.says_the_same():
            return False
        workers = worker_count(source.workers, frame_bytes=layout.block_bytes, copies=_COPIES)
        if there.has_the_pixels(workers=workers):
            return True
        if not options.overwrite:
            raise Conflict(
                f"{path} exists already, and reads otherwise than it was written",
                hint="replace it with --overwrite, and check the disk",
            )
        return False

    @property
    def _sharded(self) -> bool:
        return self._options.ome_zarr_version != "0.4"

    def _is_ours(self, path: Path, plan: ExportPlan, made_of: dict[str, object]) -> bool:
        """Return True for an export of the same frames."""
        version = self._options.ome_zarr_version
        try:
            found = json.loads((path / _ATTRIBUTES[version]).read_bytes())
        except (OSError, ValueError):
            return False
        try:
            attributes = found if version == "0.4" else found.get("attributes", {})
            origin = attributes.get("imaging_db", {})
        except AttributeError:  # JSON, but no object
            return False
        return bool(origin.get("serial") == plan.serial and origin.get("export") == made_of)


@dataclass
class _Run:
    """One run that writes, or goes on writing, the blocks of all positions."""

    plan: ExportPlan
    source: FrameSource
    part: Part
    options: ExportOptions
    progress: Progress
    written: int = 0
    kept: int = 0
    nbr_bytes: int = 0
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(self.part.path / _JOURNAL)

    def write(self, origin: dict[str, object]) -> None:
        """Write every block; return once all of them are there and were read back."""
        version = self.options.ome_zarr_version
        layout = Layout.of(self.plan, sharded=version != "0.4")
        _sweep(self.part.content)
        images = self._images(layout, origin)
        if len(images) > 1:
            series = self.part.content / "OME"
            write_series(series, self.plan, self.source, options=self.options)
        workers = worker_count(self.source.workers, frame_bytes=layout.block_bytes, copies=_COPIES)
        blocks = Blocks(
            self.plan,
            layout,
            self.source,
            images,
            self.part.target,
            self.options.fill,
            self.journal,
            self.journal.read(),
            -(-self.source.workers // workers),
        )
        found = pooled(blocks.write, self._items(layout), workers=workers, unread=self._took)
        with self.journal.opened(), closing(found) as results:
            for done in results:
                self._took(done)

    def _images(self, layout: Layout, origin: dict[str, object]) -> list[list[Any]]:
        """Return the arrays, begun anew where a power cut took their texts."""
        folder, version = self.part.content, self.options.ome_zarr_version
        try:
            return make_groups(folder, self.plan, layout, version=version, origin=origin)
        except ImagingDBError:  # a usage error is a ValueError, too
            raise
        except (KeyError, TypeError, ValueError):
            shutil.rmtree(folder)
            return make_groups(folder, self.plan, layout, version=version, origin=origin)

    def _items(self, layout: Layout) -> Iterator[tuple[Block, dict[FrameCoords, StoredFrame]]]:
        for place, position in enumerate(self.plan.positions.indices):
            rows = self.source.rows(position)
            for block in layout.blocks(place):
                yield block, rows

    def _took(self, done: Done) -> None:
        self.written += done.written
        self.kept += done.kept
        self.nbr_bytes += done.nbr_bytes
        self.progress.advance(done.written + done.kept, done.nbr_bytes)


def _name(plan: ExportPlan) -> str:
    return f"{plan.serial}.ome.zarr"


def _sweep(folder: Path) -> None:
    """Remove the temporary files that zarr left where a run was killed."""
    for leftover in folder.rglob("*.partial"):
        leftover.unlink()
