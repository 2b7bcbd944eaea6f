"""The files of a dataset as they were uploaded, or its frames as they are stored: what a download gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imaging_db.export.frame_source import FrameSource
from imaging_db.export.plan import ExportPlan
from imaging_db.export.report import ExportOptions, ExportReport, Written
from imaging_db.model import Dataset, FrameSelection
from imaging_db.transfer import DownloadReport, Silent
from imaging_db.transfer.report import Progress

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB


class Files:
    """Exports to ``<dest>/<serial>``, as data_downloader does: each file has its name once it is whole."""

    def __init__(self, options: ExportOptions) -> None:
        """Take options, none of which means anything here: files that are otherwise are replaced."""

    def path(self, plan: ExportPlan, dest: Path) -> Path:
        """Return what the export will be called."""
        return path_of(plan.dataset, dest)

    def check(self, plan: ExportPlan) -> tuple[str, ...]:
        """Return a note where frames are missing: they have no file."""
        return (without_file(plan.nbr_missing),) if plan.nbr_missing else ()

    def write(
        self, plan: ExportPlan, source: FrameSource, dest: Path, *, progress: Progress
    ) -> ExportReport:
        """Return what was written to ``dest``; see `Target.write`."""
        from imaging_db.transfer import Downloader

        downloader = Downloader(
            source.catalog, source.store, source.asked_workers, _Counted(progress)
        )
        return reported(downloader.download(plan.dataset, dest, selection=plan.selection))


def export_files(
    db: ImagingDB,
    dataset: Dataset,
    dest: Path,
    *,
    dry_run: bool,
    selection: FrameSelection | None,
    workers: int | None,
    progress: Progress | None,
) -> ExportReport:
    """Return what was written of a dataset that is files; raises `UsageError` for a selection of frames."""
    if dry_run and (selection is None or selection.everything):
        path, count = path_of(dataset, dest), dataset.nbr_objects
        return ExportReport(dataset.serial, "files", path, Written.PLANNED, count, noun="file")
    report = db.download(
        dataset.serial, dest, selection=selection, workers=workers, progress=progress
    )
    return reported(report)


class _Counted(Silent):
    """Counts for a progress that somebody else starts and ends."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def advance(self, objects: int, nbr_bytes: int) -> None:
        """Count objects and their bytes."""
        self._progress.advance(objects, nbr_bytes)


def without_file(nbr_missing: int) -> str:
    """Return a note on frames that are missing."""
    one = nbr_missing == 1
    return f"{nbr_missing} {'frame is missing, it has' if one else 'frames are missing, they have'} no file"


def path_of(dataset: Dataset, dest: Path) -> Path:
    """Return the folder that a dataset's files go to."""
    return dest / dataset.serial


def reported(report: DownloadReport) -> ExportReport:
    """Return a download as an export."""
    outcome = Written.EXPORTED if report.written else Written.ALREADY_THERE
    return ExportReport(
        report.serial,
        "files",
        report.folder,
        outcome,
        report.written,
        report.kept,
        report.nbr_bytes,
        notes=report.notes,
        noun=report.noun,
    )
