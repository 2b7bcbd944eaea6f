"""data_downloader: a dataset, or a selection of its frames, into a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from imaging_db.cli import output
from imaging_db.cli.download_many import download_each, download_one, foretell
from imaging_db.cli.entry import make_parser
from imaging_db.cli.entry import run as run_command
from imaging_db.cli.exit_codes import OK, epilog
from imaging_db.cli.options import (
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
from imaging_db.errors import UsageError

DESCRIPTION = """\
Download a dataset, or a selection of its frames, to DEST/<dataset id>/. Every object is compared
with its recorded hash; what is there already with the right content is kept, so the same command
run again finishes what was interrupted. Beside the frames lie global_metadata.json and
frames_meta.csv. With --where it downloads what a query finds, of as many datasets as it finds."""

EXAMPLES = """\
  data_downloader --id ISP-2018-06-08-15-45-00-0001 --dest downloads
  data_downloader --id ISP-2018-06-08-15-45-00-0001 --dest downloads -c GFP DAPI -z 0:20:2 -t 0 -p 1 3
  data_downloader --where 'channel = GFP and z = mid' --dest downloads --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a download."""
    parser.add_argument("--id", metavar="DATASET", help="the dataset id; needed without --where")
    add_where(parser)
    parser.add_argument("--dest", required=True, metavar="FOLDER", help="where to put it")
    add_login(parser)
    add_config(parser)
    add_storage(parser)
    add_selection(parser)
    parser.add_argument(
        "--metadata",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write global_metadata.json and frames_meta.csv",
    )
    parser.add_argument(
        "--download",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write the frames or files themselves",
    )
    parser.add_argument(
        "--convert",
        choices=("png",),
        help="write frames that are stored otherwise as PNG, where it holds them without loss; without "
        "this option every frame comes as it is stored",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would come, write nothing"
    )
    add_workers(parser)
    add_json(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Download, print where it lies, and return the exit code."""
    if not args.metadata and not args.download:
        raise UsageError("--no-metadata with --no-download leaves nothing to do")
    where = where_of(args)
    if args.id is None and where is None:
        raise UsageError("name a dataset with --id, or ask for some with --where")
    selection = selection_of(args)
    with open_db(args) as db:
        if where is not None:
            return download_each(db, args, selection, where)
        if args.dry_run:
            return foretell(db, args, {args.id: selection})
        report = download_one(db, args, args.id, selection)
    if args.json:
        output.result_json(report)
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = make_parser("data_downloader", DESCRIPTION, epilog(EXAMPLES))
    add_arguments(parser)
    return run_command(parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
