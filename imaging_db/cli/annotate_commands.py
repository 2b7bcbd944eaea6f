"""Commands about what people say of datasets: annotate, annotations."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
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
    add_where,
    open_db,
    where_of,
)
from imaging_db.errors import NothingSelected, UsageError
from imaging_db.model import Annotation, AnnotationChange, AnnotationEdit

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB

_OUTCOMES = {"added": "add", "changed": "change", "removed": "remove", "unchanged": "leave"}


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    annotate = add_command(
        commands,
        "annotate",
        annotate_datasets,
        summary="give datasets tags and notes, or take them back",
        description="Give datasets tags (a key) and notes (a key and a value), or take them back. All edits "
        "of a command are made, or none.",
        examples="  imaging-db annotate ISP-2018-06-08-15-45-00-0001 --tag good --note stain=Hoechst\n"
        "  imaging-db annotate --where 'saturated > 0.01' --tag overexposed --dry-run\n"
        "  imaging-db annotate --from_csv notes.csv --dry-run",
    )
    _add_edits(annotate)
    listed = add_command(
        commands,
        "annotations",
        list_annotations,
        summary="the tags and notes of datasets, with who and when",
        examples="  imaging-db annotations\n  imaging-db annotations --csv notes.csv",
    )
    listed.add_argument(
        "id", nargs="*", metavar="DATASET", help="dataset ids; without one, every dataset"
    )
    listed.add_argument("--history", action="store_true", help="also what was changed or removed")
    listed.add_argument(
        "--csv", metavar="FILE", help="write them to this file, which annotate --from_csv reads"
    )
    for parser in (annotate, listed):
        add_login(parser)
        add_config(parser)
        add_json(parser)
        add_debug(parser)


def _add_edits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="*", metavar="DATASET", help="dataset ids")
    add_where(parser)
    parser.add_argument("--tag", action="append", default=[], metavar="KEY", help="add a tag")
    parser.add_argument(
        "--note", action="append", default=[], metavar="KEY=VALUE", help="add or change a note"
    )
    parser.add_argument(
        "--remove", action="append", default=[], metavar="KEY", help="take back a tag or a note"
    )
    parser.add_argument(
        "--author",
        metavar="NAME",
        help="who says so; without it IMAGING_DB_USER, else who is logged in",
    )
    parser.add_argument(
        "--from_csv", metavar="FILE", help="add or change what the rows of a CSV say"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would change and change nothing"
    )


# --- annotate


def annotate_datasets(args: argparse.Namespace) -> int:
    """Make the edits and print what they came to."""
    _check(args)
    with open_db(args) as db:
        changes = _changes(db, args)
    for change in changes:
        if change.before is None and change.after is None:
            output.note(f"{change.serial} has no tag and no note {change.key!r}")
    if args.json:
        records = [output.plain(change) | {"outcome": change.outcome} for change in changes]
        output.result_json(records)
    else:
        _print_changes(changes, args)
    return OK


def _check(args: argparse.Namespace) -> None:
    keys = [*args.tag, *args.note, *args.remove]
    asks = args.where is not None
    if args.from_csv is not None and (args.id or keys or asks):
        raise UsageError("--from_csv goes without dataset ids, --where, --tag, --note and --remove")
    if args.id and asks:
        raise UsageError("name datasets, or ask for them with --where, not both")
    if args.from_csv is None and not ((args.id or asks) and keys):
        raise UsageError("name datasets or --where, and --tag, --note or --remove; or --from_csv")


def _changes(db: ImagingDB, args: argparse.Namespace) -> list[AnnotationChange]:
    known = db.annotations
    if args.from_csv is not None:
        return known.import_csv(args.from_csv, author=args.author, dry_run=args.dry_run)
    _edits("any", args)  # what cannot be kept is told before anything is looked for
    edits = [edit for serial in _serials(db, args) for edit in _edits(serial, args)]
    return known.edit(edits, author=args.author, dry_run=args.dry_run)


def _serials(db: ImagingDB, args: argparse.Namespace) -> list[str]:
    if args.where is None:
        return list(dict.fromkeys(args.id))
    found = [dataset.serial for dataset in db.datasets(where=where_of(args))]
    if not found:
        raise NothingSelected("no dataset fits --where", hint="query_data --where tells which do")
    return found


def _edits(serial: str, args: argparse.Namespace) -> list[AnnotationEdit]:
    tags = [AnnotationEdit(serial, key) for key in args.tag]
    notes = [AnnotationEdit(serial, *_pair(text)) for text in args.note]
    return [*tags, *notes, *(AnnotationEdit(serial, key, removes=True) for key in args.remove)]


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--note {text!r} has no value; write KEY=VALUE, or --tag {text!r}")
    return key, value


def _print_changes(changes: Sequence[AnnotationChange], args: argparse.Namespace) -> None:
    for change in changes:
        if change.outcome != "unchanged":
            done = f"would {_OUTCOMES[change.outcome]}" if args.dry_run else change.outcome
            output.result(f"{change.serial}: {done} {_told(change)}")
    if args.from_csv is not None or len(changes) > 1:
        counted = Counter(change.outcome for change in changes)
        output.result(", ".join(f"{counted[name]} {name}" for name in _OUTCOMES if counted[name]))
    elif changes[0].outcome == "unchanged" and changes[0].after is not None:
        output.result(f"{changes[0].serial}: has {_told(changes[0])} already")


def _told(change: AnnotationChange) -> str:
    """Return ``stain=Hoechst (was DAPI)``; a tag is its key alone."""
    said = change.after or change.before
    text = change.key if said is None else _spelled(said)
    if change.outcome != "changed" or change.before is None:
        return text
    was = "a tag" if change.before.value is None else change.before.value
    return f"{text} (was {was})"


def _spelled(one: Annotation) -> str:
    return one.key if one.value is None else f"{one.key}={one.value}"


# --- annotations


def list_annotations(args: argparse.Namespace) -> int:
    """Print tags and notes, or write them to a CSV."""
    serials = list(dict.fromkeys(args.id))
    with open_db(args) as db:
        known = db.annotations
        if args.csv is not None:
            nbr = known.export_csv(args.csv, serials or None, history=args.history)
            _print_written(nbr, args)
            return OK
        found = _found(db, serials, history=args.history)
    if args.json:
        output.result_json(found)
    elif not found:
        output.result("nothing is said" + (" of them" if serials else " of any dataset"))
    else:
        output.table(_rows(found))
    return OK


def _print_written(nbr: int, args: argparse.Namespace) -> None:
    if args.json:
        output.result_json({"file": args.csv, "rows": nbr})
    else:
        output.result(f"{output.count(nbr, 'row')} written to {args.csv}")


def _found(db: ImagingDB, serials: Sequence[str], *, history: bool) -> list[Annotation]:
    known = db.annotations
    if not serials:
        return known.all(history=history)
    look = known.history if history else known.of
    return [one for serial in serials for one in look(serial)]


def _rows(found: Iterable[Annotation]) -> Iterable[tuple[object, ...]]:
    for one in found:
        said = f"{one.created_at:%Y-%m-%d %H:%M} {one.author}"
        if one.removed_at is not None:
            said += f", until {one.removed_at:%Y-%m-%d %H:%M} {one.removed_by}"
        yield one.serial, said, _spelled(one)
