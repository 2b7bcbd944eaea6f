"""Commands that compare the catalog with the store, and mend: check, repair."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.each_dataset import EachDataset, add_common, add_ids, tell_failures
from imaging_db.cli.options import Commands, add_command, open_db
from imaging_db.errors import StoreDenied, StoreUnavailable, UsageError

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB
    from imaging_db.catalog import Unfinished
    from imaging_db.config import StoreSettings
    from imaging_db.transfer.check import CheckReport, StoreReport
    from imaging_db.transfer.repair import RepairReport

_ORPHANS_TOLD = 20
_COLLECT = "imaging-db gc --dry-run tells what would go"
_ROWS_FIRST = "they may be those of the missing rows: get the rows back before you collect anything"

CHECK = """\
Compare the catalog with the store: objects that are missing, of another size than recorded, or
without a row; rows that are not as announced. Nothing is changed. It looks at names and sizes;
--read_data reads every object and compares its hashes, too."""
REPAIR = """\
Read datasets back and put back what is missing or damaged: from a second store with the same keys,
or from what they were uploaded from. Only what has the recorded hash is taken, and what is right is
never touched. Run again, it finishes what was interrupted."""
REPAIR_EXAMPLES = """\
  imaging-db repair ISP-2018-06-08-15-45-00-0001 --source /data/raw/stack.tif --dry-run
  imaging-db repair ISP-2018-06-08-15-45-00-0001 --from_storage s3 --from_storage_access backup"""


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    check = add_command(
        commands,
        "check",
        check_datasets,
        summary="compare the catalog with the store",
        description=CHECK,
    )
    add_ids(check)
    check.add_argument("--read_data", action="store_true", help="compare every hash, too")
    add_common(check)
    _add_repair(commands)


def _add_repair(commands: Commands) -> None:
    repair = add_command(
        commands,
        "repair",
        repair_datasets,
        summary="put back what is missing or damaged",
        description=REPAIR,
        examples=REPAIR_EXAMPLES,
    )
    repair.add_argument("id", nargs="+", metavar="DATASET", help="the dataset ids")
    repair.add_argument(
        "--source", metavar="PATH", help="what the dataset was uploaded from; read as --config says"
    )
    repair.add_argument(
        "--from_storage", metavar="KIND", help="a second store with the same keys: local or s3"
    )
    repair.add_argument("--from_storage_access", metavar="WHERE", help="its folder, or its bucket")
    repair.add_argument(
        "--dry-run", action="store_true", help="tell what could be repaired, change nothing"
    )
    add_common(repair)


# --- check


def check_datasets(args: argparse.Namespace) -> int:
    """Compare datasets or all of them with the store; 6 if anything is missing or damaged."""
    reports: list[CheckReport] = []
    with open_db(args) as db:

        def look(serial: str) -> CheckReport:
            return db.check(
                serial,
                read_data=args.read_data,
                workers=args.nbr_workers,
                progress=output.progress(),
            )

        each = EachDataset(db, args.id)
        for report in each.reports(look):
            reports.append(report)
            _print_checked(report, quiet=args.json)
        beside = None if args.id else _beside(db, each)
    if args.json:
        output.result_json({"datasets": reports, "store": beside})
    else:
        _print_beside(beside)
        output.result(_checked(reports, each.failed))
    return each.exit_code(damaged=any(report.wrong for report in reports))


def _beside(db: ImagingDB, each: EachDataset) -> StoreReport | None:
    """Return what else there is; every dataset may be elsewhere, so that nobody needs this store."""
    try:
        return None if db.store.address in each.away else db.check_store()
    except (StoreDenied, StoreUnavailable) as error:
        output.note(f"only datasets were looked at: {error.message}")
        return None


def _checked(reports: list[CheckReport], failed: int) -> str:
    if not reports and not failed:
        return "there is no dataset to check"
    wrong = sum(bool(report.wrong) for report in reports)
    checked = f"{output.count(len(reports), 'dataset')} checked"
    out_of_reach = f", {failed} could not be" if failed else ""
    if not reports:
        return f"{checked}{out_of_reach}"
    found = f"{wrong} not as recorded" if wrong else "all as recorded"
    return f"{checked}, {found}{out_of_reach}"


def _print_beside(beside: StoreReport | None) -> None:
    """Print what is no error: what is unfinished, and what no dataset knows."""
    if beside is None:
        return
    for one in beside.unfinished:
        output.note(_unfinished(one))
    for orphan in beside.orphans[:_ORPHANS_TOLD]:
        amount = f"{output.count(orphan.objects, 'object')}, {output.size(orphan.nbr_bytes)}"
        output.note(f"{orphan.folder}/ is of no dataset of this catalog: {amount}; {_COLLECT}")
    untold = len(beside.orphans) - _ORPHANS_TOLD
    if untold > 0:
        output.note(f"{untold} more folders in {beside.store} are of no dataset of this catalog")
    if beside.leftovers:
        amount = (
            f"{output.count(beside.leftovers, 'leftover')}, {output.size(beside.leftover_bytes)}"
        )
        output.note(
            f"{beside.store} holds {amount}, of runs that were killed or are at work; {_COLLECT}"
        )


def _unfinished(one: Unfinished) -> str:
    from imaging_db.model import DatasetStatus
    from imaging_db.transfer.run_token import owner_name

    serial, whole = one.dataset.serial, one.dataset.nbr_objects
    if one.dataset.status is DatasetStatus.DELETING:
        return (
            f"{serial} is being deleted, or was when a run stopped; imaging-db delete finishes it"
        )
    owner = f", held by {owner_name(one.owner)}" if one.owner else ""
    how = "upload it again to finish it, or imaging-db delete it"
    return f"{serial} is unfinished: {one.stored} of {whole} objects are stored{owner}; {how}"


def _print_checked(report: CheckReport, *, quiet: bool) -> None:
    tell_failures(report)
    if quiet:
        return
    if report.extra:
        output.note(
            f"{report.serial}: {output.count(report.extra, 'object')} below its prefix without a row, "
            f"such as {report.extras[0]}; {_ROWS_FIRST if report.rows_missing else _COLLECT}"
        )
    amount = output.count(report.objects, report.noun)
    if report.wrong:
        wrong = output.count(report.wrong, "fault")
        output.result(f"{report.serial}: {amount}, {wrong}")
        return
    unrecorded = f", {report.unrecorded} without a recorded hash" if report.unrecorded else ""
    how = "every hash agrees" if report.read else "all there, in their size"
    output.result(f"{report.serial}: {amount}, {how}{unrecorded}")


# --- repair


def repair_datasets(args: argparse.Namespace) -> int:
    """Put back what is missing or damaged; 6 if something is left."""
    if args.source is not None and len(set(args.id)) > 1:
        raise UsageError("--source belongs to one dataset", hint="repair them one by one")
    second = _second_store(args)
    reports: list[RepairReport] = []
    with open_db(args) as db:

        def look(serial: str) -> RepairReport:
            return db.repair(
                serial,
                source=args.source,
                second=second,
                dry_run=args.dry_run,
                workers=args.nbr_workers,
                progress=output.progress(),
            )

        each = EachDataset(db, args.id)
        for report in each.reports(look):
            reports.append(report)
            _print_repaired(report, quiet=args.json)
    if args.json:
        output.result_json(reports)
    return each.exit_code(damaged=any(_is_damaged(report) for report in reports))


def _second_store(args: argparse.Namespace) -> StoreSettings | None:
    from imaging_db.config import load_settings

    named = (args.from_storage, args.from_storage_access)
    if None in named:
        if named != (None, None):
            raise UsageError("--from_storage and --from_storage_access belong together")
        return None
    return load_settings(
        args.login, args.config, storage=args.from_storage, storage_access=args.from_storage_access
    ).store


def _is_damaged(report: RepairReport) -> bool:
    return bool(report.wrong) or (report.dry_run and report.repaired > 0)


def _print_repaired(report: RepairReport, *, quiet: bool) -> None:
    tell_failures(report)
    if quiet:
        return
    amount = output.count(report.checked, report.noun)
    if not report.repaired and not report.wrong:
        output.result(f"{report.serial}: {amount}, nothing to repair")
        return
    done = "could be repaired, nothing was changed" if report.dry_run else "repaired"
    again = f", {report.reencoded} of them encoded anew" if report.reencoded else ""
    left = f", {report.wrong} could not be" if report.wrong else ""
    output.result(f"{report.serial}: {report.repaired} of {amount} {done}{again}{left}")
