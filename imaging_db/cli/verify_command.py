"""The command that reads back: verify."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.each_dataset import EachDataset, add_common, add_ids, tell_failures
from imaging_db.cli.options import Commands, add_command, open_db
from imaging_db.errors import UsageError

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.transfer import VerifyReport
    from imaging_db.transfer.sample import Sample
    from imaging_db.transfer.verify_journal import VerifyJournal

_DESCRIPTION = """\
Read datasets back and compare every hash: of the stored bytes, and of the decoded pixels. Nothing
is changed. With --journal an interrupted run goes on where it was, and a finished one is not
repeated; what was not as recorded is read again."""
_EXAMPLES = """\
  imaging-db verify ISP-2018-06-08-15-45-00-0001
  imaging-db verify --journal verified.jsonl
  imaging-db verify --sample 1%"""

_MOST_DIGITS = 18  # of a seed


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    verify = add_command(
        commands,
        "verify",
        verify_datasets,
        summary="read everything back and compare every hash",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    add_ids(verify)
    verify.add_argument(
        "--sample",
        metavar="N",
        help="a random sample of each dataset: 100 objects, or 10%% of them",
    )
    verify.add_argument(
        "--seed", type=_seed, metavar="NUMBER", help="the same sample again, as it was printed"
    )
    verify.add_argument(
        "--journal", metavar="FILE", help="what was verified; another run with it goes on there"
    )
    add_common(verify)


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        shown = text if len(text) <= _MOST_DIGITS else f"{text[:_MOST_DIGITS]}..."
        raise argparse.ArgumentTypeError(
            f"{shown!r} is not a whole number of up to {_MOST_DIGITS} digits"
        )
    return int(text)


def verify_datasets(args: argparse.Namespace) -> int:
    """Verify datasets or all of them; 6 if anything is missing or damaged."""
    if args.seed is not None and args.sample is None:
        raise UsageError("--seed means nothing without --sample")
    reports: list[VerifyReport] = []
    with ExitStack() as stack:
        db = stack.enter_context(open_db(args))
        sample, journal = _what_to_read(db, args, stack)

        def look(serial: str) -> VerifyReport:
            return db.verify(
                serial,
                sample=sample,
                journal=journal,
                workers=args.nbr_workers,
                progress=output.progress(),
            )

        each = EachDataset(db, args.id, all_over=lambda: journal is not None and journal.lost)
        for report in each.reports(look):
            reports.append(report)
            _print_verified(report, quiet=args.json)
    if args.json:
        output.result_json(reports)
    elif not each.failed:
        _sum_up(reports, journal)
    return each.exit_code(damaged=any(report.wrong for report in reports))


def _what_to_read(
    db: ImagingDB, args: argparse.Namespace, stack: ExitStack
) -> tuple[Sample | None, VerifyJournal | None]:
    from imaging_db.transfer.sample import Sample
    from imaging_db.transfer.verify_journal import VerifyJournal

    if args.journal is None:
        chosen = None if args.sample is None else Sample.parse(args.sample, seed=args.seed)
        return chosen, None
    if args.sample is not None:
        Sample.parse(args.sample)
    address = db.catalog.address
    journal = VerifyJournal.open(args.journal, catalog=address, sample=args.sample, seed=args.seed)
    stack.enter_context(journal)
    return journal.sample, journal


def _print_verified(report: VerifyReport, *, quiet: bool) -> None:
    tell_failures(report)
    if quiet:
        return
    amount = output.count(report.checked, report.noun)
    if report.sample is not None:
        amount = f"{report.checked} of {output.count(report.total, report.noun)}"
    chosen = "" if report.sample is None else f", a random sample (seed {report.seed})"
    if report.wrong:
        output.result(f"{report.serial}: {report.wrong} of {amount} are not as recorded{chosen}")
        return
    unrecorded = f", {report.unrecorded} without a recorded hash" if report.unrecorded else ""
    earlier = f", {report.earlier} of them by an earlier run" if report.earlier else ""
    size = output.size(report.nbr_bytes)
    output.result(
        f"{report.serial}: {amount}, {size}, every hash agrees{unrecorded}{earlier}{chosen}"
    )


def _sum_up(reports: list[VerifyReport], journal: VerifyJournal | None) -> None:
    if not reports:
        output.result("there is no dataset to verify")
    elif journal is not None and all(r.earlier == r.checked and not r.wrong for r in reports):
        output.result(
            f"everything was verified already, as {journal.path} says; a new journal begins anew"
        )
