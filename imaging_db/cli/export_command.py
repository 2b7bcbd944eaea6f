"""imaging-db export: a dataset, or a selection of it, as other programs open it."""

from __future__ import annotations

import argparse

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
    add_selection,
    add_storage,
    add_where,
    add_workers,
    open_db,
    selection_of,
    where_of,
)
from imaging_db.export.report import OME_ZARR_VERSIONS, TARGETS, ExportReport, Written

DESCRIPTION = """\
Export a dataset, or a selection of its frames, to DEST. Every frame is compared with its recorded
hash, and what was written is read back, before it gets its name: an export that has its name is
complete. The same command run again goes on with what was interrupted."""

EXAMPLES = """\
  imaging-db export ISP-2018-06-08-15-45-00-0001 --to ome-zarr --dest exports
  imaging-db export ISP-2018-06-08-15-45-00-0001 --to ome-zarr -c GFP -t 0:100:5 --dry-run"""


def add_commands(commands: Commands) -> None:
    """Add export."""
    parser = add_command(
        commands,
        "export",
        run,
        summary="write a dataset as OME-Zarr, OME-TIFF or a folder of tif files",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    parser.add_argument("id", metavar="DATASET", help="the dataset id")
    parser.add_argument("--to", required=True, choices=tuple(TARGETS), help="what to write")
    parser.add_argument(
        "--dest",
        default=".",
        metavar="FOLDER",
        help="where to put it; without it the current folder",
    )
    add_selection(parser)
    add_where(parser)
    parser.add_argument(
        "--ome-zarr-version",
        choices=OME_ZARR_VERSIONS,
        default=OME_ZARR_VERSIONS[-1],
        help="of OME-Zarr: 0.5 has few large files (shards), 0.4 is read by older programs; %(default)s",
    )
    parser.add_argument(
        "--fill",
        type=float,
        metavar="VALUE",
        help="the pixels of frames that are missing; without it they are an error",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace another export of that name"
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be written")
    add_login(parser)
    add_config(parser)
    add_storage(parser)
    add_workers(parser)
    add_json(parser)
    add_debug(parser)


def run(args: argparse.Namespace) -> int:
    """Export, print where it lies, and return the exit code."""
    from imaging_db.export import export

    selection = selection_of(args, where=where_of(args))
    with open_db(args) as db:
        report = export(
            db,
            args.id,
            args.dest,
            to=args.to,
            selection=selection,
            fill=args.fill,
            overwrite=args.overwrite,
            ome_zarr_version=args.ome_zarr_version,
            dry_run=args.dry_run,
            workers=args.nbr_workers,
            progress=output.progress(),
        )
    if args.json:
        output.result_json(report)
        return OK
    for text in report.notes:
        output.note(f"{report.serial}: {text}")
    output.result(_told(report))
    return OK


def _told(report: ExportReport) -> str:
    if report.outcome is Written.ALREADY_THERE:
        return f"already there: {report.path}"
    amount = output.count(report.written + report.kept, report.noun)
    if report.outcome is Written.PLANNED:
        return f"would write {amount}: {report.path}"
    kept = f", {report.kept} were there already" if report.kept else ""
    return f"{amount}, {output.size(report.nbr_bytes)}{kept}, verified: {report.path}"
