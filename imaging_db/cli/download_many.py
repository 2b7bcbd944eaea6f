"""Downloads of one dataset, and of all that a query finds: one folder each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.each_dataset import EachDataset
from imaging_db.cli.exit_codes import OK
from imaging_db.errors import NothingSelected
from imaging_db.model import Expression, FrameSelection, UploadType
from imaging_db.model.expression import Comparison, all_of
from imaging_db.model.fields import field_named

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.transfer import DownloadReport


@dataclass(frozen=True)
class Coming:
    """What a download of one dataset would bring."""

    serial: str
    objects: int
    nbr_bytes: int


def download_one(
    db: ImagingDB, args: argparse.Namespace, serial: str, selection: FrameSelection
) -> DownloadReport:
    """Download one dataset and return the report, after its line was printed."""
    report = db.download(
        serial,
        args.dest,
        selection=selection,
        metadata=args.metadata,
        objects=args.download,
        convert=args.convert,
        workers=args.nbr_workers,
        progress=output.progress(),
    )
    if args.json:
        return report
    for text in report.notes:
        output.note(f"{report.serial}: {text}")
    kept = f", {report.kept} were there already" if report.kept else ""
    amount = f"{output.count(report.written, report.noun)}, {output.size(report.nbr_bytes)}"
    what = f"{amount}{kept}, verified" if args.download else "metadata"
    output.result(f"{what}: {report.folder}")
    return report


def download_each(
    db: ImagingDB, args: argparse.Namespace, selection: FrameSelection, where: Expression
) -> int:
    """Download what fits, of each dataset that has some; a failure of one keeps no other one back.

    Raises
    ------
    NothingSelected, DatasetNotFound
        Nothing fits; there is no dataset of the id that was named as well.
    """
    chosen = _chosen(db, args, selection, where)
    if args.dry_run:
        return foretell(db, args, chosen)
    lacking: list[NothingSelected] = []

    def look(serial: str) -> DownloadReport | None:
        try:
            return download_one(db, args, serial, chosen[serial])
        except NothingSelected as error:
            lacking.append(error)
            return None

    each = EachDataset(db, list(chosen))
    reports = list(each.reports(look))
    if not reports and not each.failed:
        raise lacking[0]
    for error in lacking:
        output.note(error.message)
    if args.json:
        output.result_json(reports)
    return each.exit_code(damaged=False)


def foretell(db: ImagingDB, args: argparse.Namespace, chosen: Mapping[str, FrameSelection]) -> int:
    """Print how many frames and bytes of each dataset would come; nothing is written."""
    from imaging_db.transfer.channels import with_numeric_names

    records: list[Coming] = []
    for serial, selection in chosen.items():
        meant = with_numeric_names(db.catalog, serial, selection)
        number, nbr_bytes = db.catalog.search.amount(serial, meant)
        if number:
            records.append(Coming(serial, number, nbr_bytes))
    if not records:
        raise NothingSelected(f"{', '.join(list(chosen)[:3])}: no frame matches")
    if args.json:
        output.result_json(records)
        return OK
    output.table(
        (one.serial, output.count(one.objects, "object"), output.size(one.nbr_bytes))
        for one in records
    )
    total = output.count(sum(one.objects for one in records), "object")
    size = output.size(sum(one.nbr_bytes for one in records))
    output.result(
        f"{total}, {size}, of {output.count(len(records), 'dataset')} would come to {args.dest}"
    )
    return OK


def _chosen(
    db: ImagingDB, args: argparse.Namespace, selection: FrameSelection, where: Expression
) -> dict[str, FrameSelection]:
    """Return what to download of each dataset that fits; those of files come whole, or not at all."""
    serial = field_named("serial")
    if args.id is not None and serial is not None:
        db.dataset(args.id)
        where = all_of([Comparison(serial, "=", (args.id,)), where])
    chosen: dict[str, FrameSelection] = {}
    for dataset in db.catalog.search.datasets(where):
        if dataset.upload_type is UploadType.FRAMES:
            chosen[dataset.serial] = replace(selection, where=where)
        elif selection.everything:
            chosen[dataset.serial] = selection
    if not chosen:
        raise NothingSelected(f"no frame fits {where}", hint="imaging-db frames tries a query")
    return chosen
