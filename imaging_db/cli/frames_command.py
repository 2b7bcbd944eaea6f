"""imaging-db frames: the frames of all datasets that a query finds."""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
    add_where,
    open_db,
    where_of,
    whole_number,
)
from imaging_db.config.csv_text import guarded
from imaging_db.errors import UsageError
from imaging_db.model import FrameCoords, clean_json

if TYPE_CHECKING:
    from imaging_db.api.frame_search import FrameSearch
    from imaging_db.catalog.search import Place
    from imaging_db.model.fields import Field

DESCRIPTION = """\
List the frames that a query finds, a line each, in all datasets, ordered by dataset id, channel,
slice, timepoint and position. Nothing is printed where there are none."""

EXAMPLES = """\
  imaging-db frames --where 'channel = GFP and z = mid'
  imaging-db frames --where 'meta.Exposure-ms > 50' --columns serial,name,meta.Exposure-ms --csv
  imaging-db frames --where 'saturated > 0.01' --count"""

_CURSOR = re.compile(r"(.+)/c(\d{1,10})z(\d{1,10})t(\d{1,10})p(\d{1,10})", re.ASCII)
_ALIGNED = 1000
Rows = Iterable[list[Any]]


def add_commands(commands: Commands) -> None:
    """Add frames."""
    parser = add_command(
        commands,
        "frames",
        run,
        summary="list the frames of all datasets that a query finds",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    add_where(parser, required=True)
    parser.add_argument(
        "--columns",
        metavar="FIELD,...",
        help="what to print of each frame: names of fields as in queries, such as serial,z,meta.Gain",
    )
    parser.add_argument("--limit", type=whole_number, metavar="N", help="at most so many")
    parser.add_argument(
        "--after", type=_cursor, metavar="PLACE", help="go on behind a place that --limit told"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--count", action="store_true", help="print only how many there are")
    form.add_argument("--csv", action="store_true", help="print them as CSV")
    form.add_argument("--parquet", metavar="FILE", help="write them to a Parquet file")
    add_json(parser)
    add_login(parser)
    add_config(parser)
    add_debug(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is found and return the exit code."""
    from imaging_db.api.frame_search import COLUMNS

    where = where_of(args)
    if where is None:
        raise UsageError("--where is missing")
    if args.json and (args.csv or args.parquet):
        raise UsageError("--json, --csv and --parquet contradict each other")
    if args.parquet == "":
        raise UsageError("--parquet: names no file", hint="such as frames.parquet")
    columns = COLUMNS if args.columns is None else _columns(args.columns)
    with open_db(args) as db:
        found = db.frames(where)
        if args.count:
            _count(args, found)
            return OK
        last: list[Place] = []
        _write(args, columns)(columns, _limited(args, found, columns, last))
    for place in last:
        output.finish()
        c, z, t, p = place.coords
        output.note(f"there are more; go on with --after {place.serial}/c{c}z{z}t{t}p{p}")
    return OK


def _count(args: argparse.Namespace, found: FrameSearch) -> None:
    if args.limit is not None or args.after is not None:
        raise UsageError("--count counts all of them: --limit and --after mean nothing")
    if args.json:
        output.result_json({"frames": len(found)})
    else:
        output.result(str(len(found)))


def _limited(
    args: argparse.Namespace, found: FrameSearch, columns: tuple[str, ...], last: list[Place]
) -> Rows:
    """Yield rows up to the limit; put the place of the last one into ``last`` if there are more."""
    most = None if args.limit is None else args.limit + 1
    place: Place | None = None
    for number, (here, row) in enumerate(found.records(columns, after=args.after, limit=most)):
        if number == args.limit and place is not None:
            last.append(place)
            return
        yield row
        place = here


def _columns(text: str) -> tuple[str, ...]:
    """Return names of fields, each once."""
    from imaging_db.model.expression_parser import parse_field

    known: dict[Field, str] = {}
    for name in _split(str(clean_json(text))):
        field = parse_field(name, option="--columns")
        if field in known:
            raise UsageError(f"--columns: {name!r} is {known[field]!r}, which is named already")
        known[field] = name
    if not known:
        raise UsageError("--columns: names no field", hint="such as serial,z,meta.Gain")
    return tuple(known.values())


def _split(text: str) -> Iterator[str]:
    """Yield names between commas; a quoted part of a path may hold commas."""
    for name in re.findall(r"""(?:[^,"']|"(?:\\.|[^"])*"|'(?:\\.|[^'])*'|["'])+""", text):
        yield name.strip()


def _cursor(text: str) -> Place:
    from imaging_db.catalog.search import Place

    shape = _CURSOR.fullmatch(text)
    if shape is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no place such as ID/c0z1t0p3")
    c, z, t, p = map(int, shape.groups()[1:])
    if max(c, z, t, p) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no place of a frame")
    return Place(shape[1], FrameCoords(c, z, t, p))


# --- forms


def _write(
    args: argparse.Namespace, columns: tuple[str, ...]
) -> Callable[[tuple[str, ...], Rows], None]:
    if args.parquet is not None:
        return lambda names, rows: _to_parquet(Path(args.parquet), names, rows)
    if args.json:
        return _to_json
    return _to_csv if args.csv else _to_lines


def _to_lines(columns: tuple[str, ...], rows: Rows) -> None:
    """Print rows in columns as wide as the first thousand need."""
    texts = ([output.printable(_text(value)) for value in row] for row in rows)
    first = list(islice(texts, _ALIGNED))
    if not first:
        return
    widths = [max(map(len, column)) for column in zip(columns, *first, strict=True)]
    for row in chain([list(columns)], first, texts):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        output.result("  ".join(cells).rstrip())


def _to_csv(columns: tuple[str, ...], rows: Rows) -> None:
    """Print CSV of which a spreadsheet runs nothing."""
    for row in chain([list(columns)], rows):
        line: list[str] = []
        cells = (guarded(_text(value)) for value in row)
        csv.writer(_Into(line), lineterminator="").writerow(cells)
        output.result_text(line[0])


class _Into:
    """Takes what a CSV writer writes."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _to_json(columns: tuple[str, ...], rows: Rows) -> None:
    """Print a list of objects, one a line, as they come."""
    before = "["
    for row in rows:
        record = dict(zip(columns, map(output.plain, row), strict=True))
        output.result_text(f"{before}{json.dumps(record)}")
        before = ","
    output.result_text("[]" if before == "[" else "]")


def _to_parquet(path: Path, columns: tuple[str, ...], rows: Rows) -> None:
    from imaging_db.api.frame_table import write_parquet

    number = write_parquet(path, columns, rows)
    output.result(f"{output.count(number, 'frame')}: {path}")


def _text(value: Any) -> str:
    """Return a value as text; nothing for what is not known."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(output.plain(value))
