"""Exports: a dataset, or a selection of it, written as other programs read it.

from imaging_db.export import export

with ImagingDB.connect() as db:
    export(db, "ISP-2018-06-08-15-45-00-0001", "exports", to="ome-zarr")
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from imaging_db.errors import (
    IntegrityError,
    Interrupted,
    UnknownPlugin,
    UsageError,
)
from imaging_db.export.files import export_files
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.plan import ExportPlan, make_plan
from imaging_db.export.report import TARGETS, ExportOptions, ExportReport, Written
from imaging_db.model import FrameSelection, UploadType
from imaging_db.transfer.report import Progress, Silent

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB

__all__ = ["ExportOptions", "ExportReport", "Target", "Written", "export", "open_target"]


class Target(Protocol):
    """A format to export to.

    Nothing may have its final name before all of it was written and compared with the recorded hashes.
    What an earlier, interrupted run wrote of the same plan is kept where its content is known to be right.
    ``progress.advance(frames, pixel_bytes)`` is called from one thread; `export` starts and ends it.
    """

    def __init__(self, options: ExportOptions) -> None: ...

    def path(self, plan: ExportPlan, dest: Path) -> Path:
        """Return what the export will be called."""

    def check(self, plan: ExportPlan) -> tuple[str, ...]:
        """Return notes on what the format cannot say; raises `UsageError` where it cannot hold the plan."""

    def write(
        self, plan: ExportPlan, source: FrameSource, dest: Path, *, progress: Progress
    ) -> ExportReport:
        """Return what was written to ``dest``; ``seconds`` and the notes of `check` are added later.

        Raises
        ------
        IntegrityError
            A frame is missing or damaged; nothing has its final name.
        Conflict
            Another export has that name.
        StoreUnavailable
            The disk is full.
        FolderBusy
            Another run writes there.
        """


def export(
    db: ImagingDB,
    serial: str,
    dest: Path | str,
    *,
    to: str = "ome-zarr",
    selection: FrameSelection | None = None,
    fill: float | None = None,
    overwrite: bool = False,
    ome_zarr_version: str = "0.5",
    dry_run: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Return what was written of a dataset below the folder ``dest``; rerunning resumes.

    Every frame is compared with its recorded hashes, and what was written is read back, before it gets its
    name. ``to`` is one of ``ome-zarr``, ``ome-tiff``, ``tif-folder``, ``files``.

    Raises
    ------
    DatasetNotFound, NothingSelected
        There is no such dataset, or no such frame in it.
    UsageError
        The format cannot hold what was selected: frames that differ, or are missing without a ``fill``.
    ConfigError
        A library that the format needs is not installed.
    IntegrityError
        A frame is missing or damaged; nothing has its final name.
    Conflict
        Another export has that name, and ``overwrite`` was not said.
    Interrupted
        The user stopped it; run again, it goes on.
    """
    options = ExportOptions(fill, overwrite, ome_zarr_version)
    target = open_target(to, options)
    _require_name(Path(dest))
    dataset = db.catalog.dataset(serial)
    if dataset.upload_type is UploadType.FILE and to == "files":
        return export_files(
            db,
            dataset,
            Path(dest),
            dry_run=dry_run,
            selection=selection,
            workers=workers,
            progress=progress,
        )
    if dataset.upload_type is UploadType.FILE:
        raise UsageError(
            f"{serial} holds files, not frames: they have no axes to export",
            hint="take them as they are: --to files",
        )
    plan = make_plan(db.catalog, dataset, selection)
    notes = target.check(plan)
    path = target.path(plan, Path(dest))
    _require_name(path)
    about: dict[str, Any] = {"sizes": plan.sizes, "dtype": plan.dtype}
    if dry_run:
        planned = ExportReport(serial, to, path, Written.PLANNED, plan.nbr_frames, notes=notes)
        return replace(planned, **about)
    store = db.store_of(dataset)
    store.probe(write=False)
    source = FrameSource(db.catalog, store, plan, workers)
    started = time.monotonic()
    with _told(source, path, progress or Silent()) as told:
        report = target.write(plan, source, Path(dest), progress=told)
    seconds = time.monotonic() - started
    return replace(report, seconds=seconds, notes=(*notes, *report.notes), **about)


def open_target(name: str, options: ExportOptions) -> Target:
    """Return the format of that name; `UnknownPlugin` names those that exist."""
    if name not in TARGETS:
        raise UnknownPlugin("export format", name, tuple(TARGETS))
    module, _, kind = TARGETS[name].partition(":")
    target: Target = getattr(import_module(module), kind)(options)
    return target


def _require_name(path: Path) -> None:
    """Let pass what can be the name of a file here; raises `UsageError` for others."""
    try:
        path.is_symlink()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--dest {path}: {getattr(error, 'strerror', None) or error}",
            hint="name a folder that you may write to",
        ) from error


@contextmanager
def _told(source: FrameSource, path: Path, progress: Progress) -> Iterator[Progress]:
    """Start and end the progress; tell a stop as such, and damage from a dataset that was replaced."""
    plan = source.plan
    progress.start(plan.serial, plan.nbr_frames)
    try:
        yield progress
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"interrupted: {path} is not complete and has no name yet; rerun to continue",
            signal_number=getattr(stop, "signal_number", 2),
        ) from stop
    except IntegrityError:
        source.require_unchanged()  # or it was replaced, or deleted, and is not damaged
        raise
    finally:
        progress.finish()
