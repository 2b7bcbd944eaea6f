"""Commands that take away: delete, gc, unfinished."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import timedelta
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
    open_db,
)
from imaging_db.cli.question import agreed, can_ask
from imaging_db.errors import ImagingDBError, Interrupted, UsageError
from imaging_db.model import DatasetStatus

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.catalog import Unfinished
    from imaging_db.transfer.collected import CollectReport, Found
    from imaging_db.transfer.remove import DeleteReport

_SOME_FAILED = 3
_DECLINED = UsageError.exit_code
_LONGEST = timedelta(days=36_525)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_WHY = {
    "upload": "an upload that nobody goes on with",
    "deletion": "a deletion that stopped",
    "unknown": "a dataset that this catalog does not know",
    "extra": "without a row",
    "leftover": "left by a killed run",
}

DELETE = """\
Delete datasets, finished or not: each goes out of sight first, then its objects go, then its rows.
Shows what would go and asks. A deletion that was interrupted is finished by the same command. A
parent can be deleted only together with its children, or after them. A dataset is deleted from the
store that it was uploaded to; where that has nothing of it, nothing is deleted: see --objects_lost."""
DELETE_EXAMPLES = """\
  imaging-db delete ISP-2018-06-08-15-45-00-0001 --dry-run
  imaging-db delete ISP-2018-06-08-15-45-00-0001 ISP-2018-06-08-15-45-00-0002 --yes"""
GC = """\
Collect what killed runs left in the store that uploads go to: uploads that nobody goes on with,
deletions that stopped, temporary files. Nothing of a live run is touched, and nothing that is younger
than --older_than, by the clock of the store. Objects without a row, and folders of datasets that this
catalog does not know, are listed and stay: another catalog may need them. With --unknown they go, too."""
GC_EXAMPLES = """\
  imaging-db gc --dry-run
  imaging-db gc --older_than 12h
  imaging-db gc --unknown"""
UNFINISHED = """\
List the datasets that cannot be seen: uploads and deletions that are at work or that stopped, how
far they came, who holds them, and what to do next."""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    delete = add_command(
        commands,
        "delete",
        delete_datasets,
        summary="delete datasets, after asking",
        description=DELETE,
        examples=DELETE_EXAMPLES,
    )
    delete.add_argument("id", nargs="+", metavar="DATASET", help="the dataset ids")
    delete.add_argument(
        "--objects_lost",
        action="store_true",
        help="the objects are gone for good, with their disk say: delete the rows alone",
    )
    _add_caution(delete, yes="delete without asking; needed where there is no terminal to ask at")
    collect = add_command(
        commands,
        "gc",
        collect_garbage,
        summary="collect what killed runs left in the store",
        description=GC,
        examples=GC_EXAMPLES,
    )
    collect.add_argument(
        "--older_than",
        type=duration,
        metavar="TIME",
        help="how old something has to be: 7d (if you do not say), 12h, 30m, 0",
    )
    collect.add_argument(
        "--unknown",
        action="store_true",
        help="also what this catalog has no rows of, after asking; no other catalog may use the store",
    )
    _add_caution(
        collect, yes="do not ask about --unknown; needed where there is no terminal to ask at"
    )
    unfinished = add_command(
        commands,
        "unfinished",
        list_unfinished,
        summary="uploads and deletions that are at work or stopped",
        description=UNFINISHED,
    )
    add_storage(delete)
    add_storage(collect)
    for parser in (delete, collect, unfinished):
        add_login(parser)
        add_config(parser)
        add_json(parser)
        add_debug(parser)


def _add_caution(parser: argparse.ArgumentParser, *, yes: str) -> None:
    parser.add_argument("--yes", action="store_true", help=yes)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would go and change nothing"
    )


def duration(text: str) -> timedelta:
    """Return a time such as 7d, 12h, 30m or 0; argparse turns the error into a usage message."""
    found = re.fullmatch(r"([0-9]{1,6}) ?([smhdw]?)", text.strip())
    if found is None or (not found[2] and int(found[1])):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 7d, 12h, 30m or 0")
    length = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if length > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is too long; 100 years are the most")
    return length


def _require_answer(args: argparse.Namespace) -> None:
    if not (args.yes or args.dry_run or can_ask()):
        raise UsageError("there is no terminal to ask at", hint="say --yes, or look with --dry-run")


# --- delete


def delete_datasets(args: argparse.Namespace) -> int:
    """Show what goes, ask, delete; 3 if some could not be deleted and the others are gone."""
    _require_answer(args)
    serials = list(dict.fromkeys(args.id))
    codes: set[int] = set()
    with open_db(args) as db:
        _ = db.catalog  # where that cannot be opened, it is told once
        doomed = _previewed(db, serials, codes, lost=args.objects_lost)
        if args.dry_run:
            done = doomed
        elif not doomed or args.yes or agreed(_question(doomed)):
            done = _deleted(db, doomed, codes, args)
        else:
            output.note("nothing was deleted")
            return _DECLINED
    _print_deletions(args, done, nbr_failed=len(serials) - len(done))
    if not codes:
        return OK
    return codes.pop() if len(codes) == 1 and not done else _SOME_FAILED


def _previewed(
    db: ImagingDB, serials: Sequence[str], codes: set[int], *, lost: bool
) -> list[DeleteReport]:
    """Return what would go, children before their parents; tell what cannot.

    Where a child cannot go, its parent cannot either: then the others are looked at again.
    """
    found: dict[str, DeleteReport] = {}
    for serial in serials:
        try:
            found[serial] = db.delete(
                serial, dry_run=True, besides=frozenset(serials), objects_lost=lost
            )
        except ImagingDBError as error:
            _tell(error, serial, codes)
    if len(found) < len(serials):
        return _previewed(db, list(found), codes, lost=lost)

    def depth(one: DeleteReport) -> int:
        parent = found.get(one.parent_serial or "")
        return 0 if parent is None else 1 + depth(parent)

    return sorted(found.values(), key=depth, reverse=True)


def _deleted(
    db: ImagingDB, doomed: Sequence[DeleteReport], codes: set[int], args: argparse.Namespace
) -> list[DeleteReport]:
    done = []
    for one in doomed:
        try:
            report = db.delete(
                one.serial,
                shown=one,
                objects_lost=args.objects_lost,
                progress=output.progress(),
            )
        except Interrupted:
            raise
        except ImagingDBError as error:
            _tell(error, one.serial, codes)
            continue
        done.append(report)
        if not args.json:
            output.result(f"deleted {report.serial}: {_amount(report.objects, report.nbr_bytes)}")
    return done


def _tell(error: ImagingDBError, serial: str, codes: set[int]) -> None:
    output.errors(error, where=serial)
    codes.add(error.exit_code)


def _question(doomed: Sequence[DeleteReport]) -> list[str]:
    lines = [_would_go(one) for one in doomed]
    which = "this dataset" if len(doomed) == 1 else f"these {len(doomed)} datasets"
    return [*lines, f"delete {which}? It cannot be undone."]


def _would_go(one: DeleteReport) -> str:
    status = "" if one.status is DatasetStatus.READY else f", {one.status.value}"
    rows = output.count(one.stored, one.noun)
    amount = f"{rows}, {output.size(one.nbr_bytes)}"
    if one.objects != one.stored:  # other programs, and killed runs, leave things there
        amount = f"{rows}, {_amount(one.objects, one.nbr_bytes)} in the store"
    return f"{one.serial}: {amount}{status}"


def _print_deletions(
    args: argparse.Namespace, done: Sequence[DeleteReport], *, nbr_failed: int
) -> None:
    if args.json:
        output.result_json(done)
        return
    if args.dry_run:
        for one in done:
            output.result(f"would delete {_would_go(one)}")
    elif len(args.id) > 1:
        failed = f", {nbr_failed} failed" if nbr_failed else ""
        output.result(f"{len(done)} deleted{failed}")


# --- gc


def collect_garbage(args: argparse.Namespace) -> int:
    """Collect and print what went; ask before anything goes that another catalog may know."""
    if args.unknown:
        _require_answer(args)
    listed: list[Found] = []

    def told(found: Found) -> None:
        if args.json:
            listed.append(found)
        else:
            output.result(f"{'would remove' if args.dry_run else 'removed'} {_line(found)}")

    with open_db(args) as db:
        unknown = args.unknown and (args.yes or args.dry_run or _agreed_to_unknown(db, args))
        report = db.collect(
            older_than=args.older_than, dry_run=args.dry_run, unknown=unknown, told=told
        )
    for error in report.failures:
        output.errors(error)
    if args.json:
        output.result_json(output.plain(report) | {"found": output.plain(listed)})
    else:
        _print_collected(report, () if unknown else report.unconfirmed)
    codes = {error.exit_code for error in report.failures}
    return OK if not codes else codes.pop() if len(codes) == 1 else _SOME_FAILED


def _agreed_to_unknown(db: ImagingDB, args: argparse.Namespace) -> bool:
    """Show what another catalog may know; return True where it may go."""
    found = db.collect(older_than=args.older_than, dry_run=True, unknown=True).unconfirmed
    if not found:
        return False
    lines = [_line(one) for one in found]
    return agreed([*lines, "remove them? Another catalog that uses this store may need them."])


def _print_collected(report: CollectReport, kept: Sequence[Found]) -> None:
    would = "would " if report.dry_run else ""
    for text in report.in_use:
        output.note(f"{text}; left alone")
    for found in kept:
        output.result(f"{'would keep' if would else 'kept'} {_line(found)}")
    text = f"{would}remove{'' if would else 'd'} {_amount(report.objects, report.nbr_bytes)}"
    if report.datasets:
        text += f"; {output.count(report.datasets, 'unfinished dataset')}"
    if kept:
        objects, nbr_bytes = sum(one.objects for one in kept), sum(one.nbr_bytes for one in kept)
        of = f"{_amount(objects, nbr_bytes)} that another catalog may know"
        text += f"; {'would keep' if would else 'kept'} {of}: they go only with --unknown"
    output.result(text)


def _line(found: Found) -> str:
    folder = found.where.endswith("/")
    amount = _amount(found.objects, found.nbr_bytes) if folder else output.size(found.nbr_bytes)
    return f"{found.where}: {amount}; {_WHY[found.kind.value]}"


# --- unfinished


def list_unfinished(args: argparse.Namespace) -> int:
    """Print every dataset that cannot be seen."""
    with open_db(args) as db:
        found = [_told(one) for one in db.unfinished()]
    if args.json:
        output.result_json(found)
    elif not found:
        output.result("nothing is unfinished")
    else:
        output.table(
            (one["id"], one["status"], one["stored_of"], one["held_by"], one["next"])
            for one in found
        )
    return OK


def _told(one: Unfinished) -> dict[str, object]:
    from imaging_db.transfer.collect import is_live
    from imaging_db.transfer.report import noun_of

    dataset, live = one.dataset, is_live(one)
    return {
        "id": dataset.serial,
        "status": dataset.status.value,
        "stored": one.stored,
        "nbr_objects": dataset.nbr_objects,
        "stored_of": f"{one.stored} of {output.count(dataset.nbr_objects, noun_of(dataset))}",
        "held_by": _holder(one, live=live),
        "seconds_ago": one.seconds_ago,
        "live": live,
        "next": _next(one, live=live),
    }


def _holder(one: Unfinished, *, live: bool) -> str:
    from imaging_db.transfer.run_token import is_dead, owner_name

    if one.job is not None:
        return f"job {one.job}"
    if one.owner is None or one.seconds_ago is None:
        return "nobody"
    heard = f"{owner_name(one.owner)}, heard of {_ago(one.seconds_ago)}"
    return f"{heard}, dead" if is_dead(one.owner) else heard if live else f"{heard}, silent"


def _ago(seconds: float) -> str:
    for name, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{max(0.0, seconds):.0f} s ago"


def _next(one: Unfinished, *, live: bool) -> str:
    if one.job is not None:
        return f"imaging-db ingest join {one.job}, or ingest cancel {one.job}"
    if live:
        return "wait for it"
    if one.dataset.status is DatasetStatus.DELETING:
        return f"imaging-db delete {one.dataset.serial}"
    return f"rerun its upload, or imaging-db delete {one.dataset.serial}"


def _amount(objects: int, nbr_bytes: int) -> str:
    return f"{output.count(objects, 'object')}, {output.size(nbr_bytes)}"
