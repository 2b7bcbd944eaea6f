"""data_uploader: every row of a CSV becomes a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.entry import make_parser
from imaging_db.cli.entry import run as run_command
from imaging_db.cli.exit_codes import OK, epilog
from imaging_db.cli.options import (
    add_config,
    add_debug,
    add_json,
    add_login,
    add_workers,
    open_db,
    size,
    whole_number,
)
from imaging_db.config import Problems, read_manifest
from imaging_db.config.settings import CODECS
from imaging_db.errors import ConfigError

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.transfer import UploadReport

DESCRIPTION = """\
Upload every row of a CSV as a dataset: split into frames that are stored without loss, as PNG if
you name no other codec, or as the files they are. Everything is checked before anything starts. A
dataset can be seen once it is complete; the same command run again finishes what was interrupted.

The CSV has the columns dataset_id, file_name, and if you like description, positions,
parent_dataset_id. A dataset_id is <ID>-YYYY-MM-DD-HH-MM-SS-<SSSS>."""

EXAMPLES = """\
  data_uploader --csv files_for_upload.csv --dry-run
  data_uploader --csv files_for_upload.csv --login db_credentials.json --config config.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an upload."""
    parser.add_argument("--csv", required=True, metavar="FILE", help="the datasets, a row each")
    add_login(parser)
    add_config(parser)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace datasets that exist with other content; says what it removed",
    )
    parser.add_argument(
        "--codec",
        choices=CODECS,
        help="how frames are kept, all without loss: png (read by every program), jxl (JPEG XL, a fifth "
        "to a quarter smaller) or tiff; without it as frames_codec in the config says",
    )
    parser.add_argument(
        "--max_frame_bytes",
        type=size,
        metavar="SIZE",
        help="refuse frames that are larger, such as 500MB or 4GiB; without it as in the config, or 2 GiB",
    )
    parser.add_argument(
        "--max_frames",
        type=whole_number,
        metavar="N",
        help="refuse sources with more frames; without it as in the config, or 10 million",
    )
    add_workers(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done and write nothing"
    )
    add_json(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Upload, print a line a row and a summary, and return the exit code."""
    with _checked_db(args) as db:
        if args.dry_run:
            from imaging_db.cli.upload_plan import show_plan

            return show_plan(db, args)
        reports = db.upload(
            args.csv,
            workers=args.nbr_workers,
            overwrite=args.overwrite,
            progress=output.progress(),
            told=_error_line if args.json else _line,
        )
    if args.json:
        output.result_json(reports)
    else:
        output.result(summary(reports))
    return exit_code(reports)


def _checked_db(args: argparse.Namespace) -> ImagingDB:
    """Return the database, after login, config and CSV were read: all their mistakes are told at once."""
    problems = Problems()
    db = problems.collect(lambda: open_db(args))
    if db is None:
        problems.collect(lambda: read_manifest(args.csv))
    problems.stop()
    if db is None:  # its failure left a problem
        raise ConfigError("settings could not be read")
    return db


def _line(report: UploadReport) -> None:
    _error_line(report)
    if report.error is not None:
        return
    for text in report.notes:
        output.note(f"{report.serial}: {text}")
    output.result(f"{report.outcome.value} {report.serial}: {_amount(report)}")


def _error_line(report: UploadReport) -> None:
    if report.error is not None:
        output.errors(report.error, where=report.where)


def _amount(report: UploadReport) -> str:
    parts = [f"{output.count(report.nbr_objects, report.noun)}, {output.size(report.raw_bytes)}"]
    if report.stored_bytes:
        parts.append(f"{output.size(report.stored_bytes)} stored in {report.seconds:.1f} s")
    if report.reused:
        parts.append(f"{report.reused} from an earlier run")
    if report.removed:
        parts.append(f"{output.count(report.removed, 'old object')} removed")
    return ", ".join(parts)


def summary(reports: Sequence[UploadReport]) -> str:
    """Return ``12 uploaded, 1 failed, 2 already there``."""
    outcomes = [report.outcome.value for report in reports]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))


def exit_code(reports: Sequence[UploadReport]) -> int:
    """Return 0 if no row failed, the code of the failure if all rows share it, 3 otherwise."""
    codes = {report.error.exit_code if report.error else OK for report in reports}
    return codes.pop() if len(codes) == 1 else 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = make_parser("data_uploader", DESCRIPTION, epilog(EXAMPLES))
    add_arguments(parser)
    return run_command(parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
