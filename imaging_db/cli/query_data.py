"""query_data: which datasets there are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date

from imaging_db.cli import output
from imaging_db.cli.entry import make_parser
from imaging_db.cli.entry import run as run_command
from imaging_db.cli.exit_codes import OK, epilog
from imaging_db.cli.options import (
    add_config,
    add_debug,
    add_json,
    add_login,
    add_where,
    open_db,
    where_of,
)
from imaging_db.errors import UsageError
from imaging_db.model import Dataset, DatasetQuery, UploadType

DESCRIPTION = """\
List the datasets that match every condition. Texts match as substrings, without regard to case."""

EXAMPLES = """\
  query_data
  query_data --project_id ISP --start_date 2018-06-01 --end_date 2018-06-30
  query_data --text mitosis --json
  query_data --where 'channel = GFP and pixel_size < 0.2'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the conditions of a query."""
    add_login(parser)
    add_config(parser)
    parser.add_argument("--project_id", metavar="TEXT", help="in the dataset id")
    parser.add_argument("--microscope", metavar="TEXT", help="in the microscope's name")
    parser.add_argument("--description", metavar="TEXT", help="in the description")
    parser.add_argument(
        "--start_date", type=_day, metavar="YYYY-MM-DD", help="acquired on or after"
    )
    parser.add_argument("--end_date", type=_day, metavar="YYYY-MM-DD", help="acquired on or before")
    parser.add_argument("--parent", metavar="DATASET", help="children of this dataset")
    parser.add_argument("--format", metavar="READER", help="read by this reader, such as ome_tiff")
    parser.add_argument(
        "--upload_type", choices=[item.value for item in UploadType], help="frames or files"
    )
    parser.add_argument(
        "--text",
        metavar="TEXT",
        help="anywhere: id, description, microscope, channels, metadata, tags, notes",
    )
    add_where(parser)
    parser.add_argument("--long", action="store_true", help="print more than the id")
    add_json(parser)
    add_debug(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print how many datasets match, and a line each; return the exit code."""
    query = _query(args)
    with open_db(args) as db:
        found = list(db.datasets(query))
    if args.json:
        output.result_json(found)
        return OK
    output.result(f"{len(found)} dataset{'' if len(found) == 1 else 's'}")
    if args.long and found:
        output.table([("", *_HEADER), *((i, *_cells(d)) for i, d in enumerate(found))])
        return OK
    for index, dataset in enumerate(found):
        output.result(f"{index} {dataset.serial}")
    return OK


_HEADER = ("dataset id", "type", "objects", "microscope", "description")


def _cells(dataset: Dataset) -> tuple[object, ...]:
    return (
        dataset.serial,
        dataset.upload_type.value,
        dataset.nbr_objects,
        dataset.microscope or "",
        dataset.description or "",
    )


def _query(args: argparse.Namespace) -> DatasetQuery:
    if args.start_date and args.end_date and args.start_date > args.end_date:
        raise UsageError(f"--start_date {args.start_date} lies after --end_date {args.end_date}")
    return DatasetQuery(
        project=args.project_id,
        microscope=args.microscope,
        description=args.description,
        start_date=args.start_date,
        end_date=args.end_date,
        parent=args.parent,
        format=args.format,
        upload_type=UploadType(args.upload_type) if args.upload_type else None,
        text=args.text,
        where=where_of(args),
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2018-06-30") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = make_parser("query_data", DESCRIPTION, epilog(EXAMPLES))
    add_arguments(parser)
    return run_command(parser, argv)


if __name__ == "__main__":
    raise SystemExit(main())
