"""imaging-db publish: datasets with what an archive asks to know of them, in one folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
    add_storage,
    add_workers,
    open_db,
)
from imaging_db.errors import Conflict, UsageError

if TYPE_CHECKING:
    from imaging_db.export.publish import PublishReport

DESCRIPTION = """\
Put datasets into one folder as the BioImage Archive and others take them: OME-TIFF or OME-Zarr, the
REMBI fields, a file list, an RO-Crate, a SHA-256 of every file, and MISSING.md, which lists what the
archive still wants to know. The folder is there once it is complete. Say what is missing in a file
(--template writes one), and run the command again: the images stay."""

EXAMPLES = """\
  imaging-db publish ISP-2018-06-08-15-45-00-0001 --template study.json
  imaging-db publish ISP-2018-06-08-15-45-00-0001 --dest pack --metadata study.json"""

_FORMATS = ("ome-tiff", "ome-zarr")


def add_commands(commands: Commands) -> None:
    """Add publish."""
    parser = add_command(
        commands,
        "publish",
        run,
        summary="make a pack for an archive: images, REMBI, file list, RO-Crate, checksums",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    parser.add_argument("id", nargs="*", metavar="DATASET", help="dataset ids")
    parser.add_argument("--dest", metavar="FOLDER", help="the pack, a folder of its own")
    parser.add_argument(
        "--as",
        dest="to",
        choices=_FORMATS,
        default=_FORMATS[0],
        help="how to write the images; %(default)s",
    )
    parser.add_argument(
        "--metadata", metavar="FILE", help="what is known of the study, JSON or CSV (.csv)"
    )
    parser.add_argument(
        "--template",
        metavar="FILE",
        help="write such a file to fill in, with what the catalog knows, and nothing else",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="write nothing, and fail, while something that the archive requires is missing",
    )
    parser.add_argument(
        "--fill",
        type=float,
        metavar="VALUE",
        help="the pixels of frames that are missing; without it they are an error",
    )
    add_login(parser)
    add_config(parser)
    add_storage(parser)
    add_workers(parser)
    add_json(parser)
    add_debug(parser)


def run(args: argparse.Namespace) -> int:
    """Make the pack, or the template, and return the exit code."""
    if args.template is not None:
        return _write_template(args)
    if not args.id or args.dest is None:
        raise UsageError("publish needs datasets, and --dest for the pack")
    from imaging_db.export.publish import publish

    with open_db(args) as db:
        report = publish(
            db,
            args.id,
            args.dest,
            to=args.to,
            metadata=args.metadata,
            strict=args.strict,
            fill=args.fill,
            workers=args.nbr_workers,
            progress=output.progress(),
        )
    if args.json:
        output.result_json(report)
        return OK
    _tell(report)
    return OK


def _tell(report: PublishReport) -> None:
    for image in report.images:
        for text in image.notes:
            output.note(f"{image.serial}: {text}")
    required = sum(item.required for item in report.missing)
    recommended = len(report.missing) - required
    if report.missing:
        output.note(
            f"{output.count(required, 'required field')} and {output.count(recommended, 'recommended one')} "
            f"are missing for the BioImage Archive: {report.path / 'MISSING.md'}"
        )
    amount = (
        f"{output.count(len(report.images), 'dataset')}, {output.count(report.nbr_files, 'file')}"
    )
    output.result(f"{report.outcome.value}: {amount}: {report.path}")


def _write_template(args: argparse.Namespace) -> int:
    from imaging_db.export.publish import known_metadata
    from imaging_db.export.rembi_file import template

    path = Path(args.template)
    if path.exists():
        raise Conflict(f"{path} exists already", hint="name another file")
    known = {}
    if args.id:
        with open_db(args) as db:
            known = known_metadata(db, args.id)
    text = template(known, as_csv=path.suffix.lower() == ".csv")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--template {path} cannot be written: {error.strerror}") from error
    output.result(f"written: {path}")
    return OK
