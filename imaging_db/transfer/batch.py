"""All rows of a CSV: everything is planned before a byte moves, then each row by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from imaging_db.config import Manifest, ManifestRow
from imaging_db.errors import (
    ConfigError,
    DatasetNotFound,
    ImagingDBError,
    Interrupted,
    UnexpectedError,
    used_up,
)
from imaging_db.transfer.compare import kept_otherwise
from imaging_db.transfer.plan import Planner, UploadPlan
from imaging_db.transfer.report import Outcome, UploadReport
from imaging_db.transfer.upload import Uploader

Planned = UploadPlan | UploadReport
_log = logging.getLogger(__name__)


def plan_rows(manifest: Manifest, planner: Planner) -> Iterator[Planned]:
    """Yield for each row its plan, or the report of its refusal."""
    for row in manifest.rows:
        yield _plan_row(planner, row, manifest.where(row))


def _plan_row(planner: Planner, row: ManifestRow, where: str) -> Planned:
    try:
        return planner.plan(row, where)
    except ImagingDBError as error:
        return UploadReport(str(row.serial), where, Outcome.FAILED, error=error)
    except Exception as error:  # noqa: BLE001 - a bug in one row must not stop the others
        return UploadReport(str(row.serial), where, Outcome.FAILED, error=_bug(error))


def check_parents(manifest: Manifest, find: Callable[[str], object | None]) -> None:
    """Refuse a CSV that names a parent which is neither in the catalog nor in the CSV.

    ``find`` returns None for an id that the catalog does not have.

    Raises
    ------
    ConfigError
        A line for every such row.
    """
    rows = {str(row.serial) for row in manifest.rows}
    problems = [
        f"{manifest.path}:{row.line}: parent_dataset_id: {row.parent_serial} does not exist"
        for row in manifest.rows
        if row.parent_serial and row.parent_serial not in rows and find(row.parent_serial) is None
    ]
    if problems:
        raise ConfigError(problems)


def upload_rows(
    planned: Sequence[Planned], uploader: Uploader, *, told: Callable[[UploadReport], None]
) -> list[UploadReport]:
    """Return a report for every row; a row that fails neither stops nor damages another.

    ``told`` hears each report as soon as it is known: the refusals first, before any byte moves.

    Raises
    ------
    Interrupted
        After the row that was being written was left as it should be.
    """
    for item in planned:
        if isinstance(item, UploadReport):
            told(item)
    reports: list[UploadReport] = []
    for item in planned:
        if isinstance(item, UploadPlan):
            report = _upload_row(item, uploader)
            told(report)
            reports.append(report)
        else:
            reports.append(item)
    return reports


def _upload_row(plan: UploadPlan, uploader: Uploader) -> UploadReport:
    failed = UploadReport(plan.draft.serial, plan.where, Outcome.FAILED, plan.draft.nbr_objects)
    try:
        return _with_codec(uploader.upload(plan), plan, uploader)
    except Interrupted:
        raise
    except ImagingDBError as error:
        return replace(failed, error=error)
    except Exception as error:  # noqa: BLE001 - a bug in one row must not stop the others
        return replace(failed, error=_bug(error))


def _with_codec(report: UploadReport, plan: UploadPlan, uploader: Uploader) -> UploadReport:
    """Who asked for one codec must hear that a dataset which is there already has another."""
    if report.outcome is not Outcome.ALREADY_THERE:
        return report
    try:
        notes = kept_otherwise(uploader.catalog.dataset(report.serial), plan)
    except DatasetNotFound:  # another run has deleted it since
        return report
    return replace(report, notes=(*report.notes, *notes))


def _bug(error: Exception) -> ImagingDBError:
    found = used_up(error)
    if found is not None:
        return found
    _log.error("a bug in imaging_db", exc_info=error)
    bug = UnexpectedError(f"{type(error).__name__}: {error}", hint="please report the lines above")
    bug.__cause__ = error
    return bug
