"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from imaging_db.cli.exit_codes import epilog
from imaging_db.config.sizes import size_in_bytes
from imaging_db.model import FrameSelection

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.model import Expression


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str = "",
    examples: str = "",
) -> argparse.ArgumentParser:
    """Return the parser of one command of imaging-db, whose work ``run`` does."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add --debug."""
    parser.add_argument("--debug", action="store_true", help="show a traceback with every error")


def add_login(parser: argparse.ArgumentParser) -> None:
    """Add --login."""
    parser.add_argument(
        "--login",
        metavar="FILE",
        help="database login (JSON); without it IMAGING_DB_LOGIN, ./db_credentials.json, the user's "
        "config folder, and at last an embedded SQLite file",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="what is uploaded and where to (JSON); looked for as --login is, with IMAGING_DB_CONFIG",
    )


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Add --storage and --storage_access."""
    parser.add_argument(
        "--storage",
        metavar="KIND",
        help="where the bytes are: local, s3 or a plugin; without it as the dataset was uploaded",
    )
    parser.add_argument(
        "--storage_access", metavar="WHERE", help="the folder for local, the bucket for s3"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --nbr_workers."""
    parser.add_argument(
        "--nbr_workers",
        type=whole_number,
        metavar="N",
        help="number of threads; without it one a core to encode, 32 to talk to S3",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_where(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add --where."""
    parser.add_argument(
        "--where",
        required=required,
        metavar="QUERY",
        help="what is asked of frames and datasets, as in 'channel = GFP and z = mid'; "
        "docs/queries.md tells the language",
    )


def where_of(args: argparse.Namespace) -> Expression | None:
    """Return what --where asks, None without it. Raises `UsageError` where it cannot be read."""
    if args.where is None:
        return None
    from imaging_db.model import parse_expression

    return parse_expression(args.where, option="--where")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add --channels, --slices, --times and --positions."""
    axis = "indices from 0 and ranges, as in 0 4 or 0:100:5 (the end is not part of it)"
    parser.add_argument(
        "-c", "--channels", nargs="+", metavar="C", help="channels, all by name or all by index"
    )
    parser.add_argument("-z", "--slices", nargs="+", metavar="Z", help=f"slices: {axis}")
    parser.add_argument("-t", "--times", nargs="+", metavar="T", help="timepoints, likewise")
    parser.add_argument("-p", "--positions", nargs="+", metavar="P", help="positions, likewise")


def selection_of(args: argparse.Namespace, *, where: Expression | None = None) -> FrameSelection:
    """Return the frames that are selected. Raises `UsageError` where a word cannot be read."""
    return FrameSelection.from_text(
        args.channels,
        slices=args.slices,
        timepoints=args.times,
        positions=args.positions,
        where=where,
    )


def whole_number(text: str) -> int:
    """Return a whole number from 1; argparse turns the error into a usage message."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def size(text: str) -> int:
    """Return a number of bytes, also written as ``2 GiB``; otherwise as `whole_number`."""
    try:
        return size_in_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def open_db(args: argparse.Namespace) -> ImagingDB:
    """Return the database that the options of a command name."""
    from imaging_db.api import ImagingDB

    return ImagingDB.connect(
        login=args.login,
        config=getattr(args, "config", None),
        storage=getattr(args, "storage", None),
        storage_access=getattr(args, "storage_access", None),
        codec=getattr(args, "codec", None),
        max_frame_bytes=getattr(args, "max_frame_bytes", None),
        max_frames=getattr(args, "max_frames", None),
    )
