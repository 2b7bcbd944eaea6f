"""The plan of an upload, as --dry-run prints it."""

from __future__ import annotations

import argparse
from typing import Any

from imaging_db.api import ImagingDB
from imaging_db.cli import output
from imaging_db.cli.data_uploader import exit_code
from imaging_db.transfer import Outcome, UploadPlan, UploadReport
from imaging_db.transfer.batch import Planned
from imaging_db.transfer.compare import kept_otherwise


def show_plan(db: ImagingDB, args: argparse.Namespace) -> int:
    """Print what an upload would do; nothing is written, not even an empty catalog."""
    planned = list(db.plan(args.csv))
    records = [_record(db, item, overwrite=args.overwrite) for item in planned]
    for item in planned:
        if isinstance(item, UploadReport) and item.error is not None:
            output.errors(item.error, where=item.where)
    if args.json:
        output.result_json(records)
    else:
        for record in records:
            _print(record)
        output.result("nothing was written")
    return exit_code(
        [item if isinstance(item, UploadReport) else _planned(item) for item in planned]
    )


def _planned(plan: UploadPlan) -> UploadReport:
    return UploadReport(plan.draft.serial, plan.where, Outcome.PLANNED)


def _record(db: ImagingDB, item: Planned, *, overwrite: bool) -> dict[str, Any]:
    if isinstance(item, UploadReport):
        return {"dataset_id": item.serial, "action": "refuse", "error": output.plain(item.error)}
    draft = item.draft
    found = db.find(draft.serial)
    if found is None:
        action = "upload"
    elif found.fingerprint == draft.fingerprint:
        action = "nothing, it is there already"
    else:
        action = "compare with what is there; other content is refused without --overwrite"
        if overwrite:
            action = f"compare, and replace the {found.nbr_objects} objects there if they differ"
    acquisition = output.plain(draft.acquisition) if draft.acquisition else None
    if acquisition:
        del acquisition["metadata"]
    return {
        "dataset_id": draft.serial,
        "action": action,
        "source": str(item.source),
        "format": item.reader or "file",
        "nbr_objects": draft.nbr_objects,
        "raw_bytes": item.raw_bytes,
        "codec": draft.codec,
        "store": f"{draft.storage}:{draft.storage_access}",
        "storage_dir": draft.storage_dir,
        "acquisition": acquisition,
        "notes": [*item.notes, *(kept_otherwise(found, item) if found else ())],
    }


def _print(record: dict[str, Any]) -> None:
    output.result(f"{record['dataset_id']}: {record['action']}")
    if record["action"] == "refuse":
        return
    output.result(f"  from  {record['source']} ({record['format']})")
    output.result(f"  to    {record['store']} {record['storage_dir']}/")
    noun = "frame" if record["acquisition"] else "file"
    amount = output.count(record["nbr_objects"], noun)
    kept = f", kept as {record['codec']}" if record["codec"] else ""
    output.result(f"  {amount}, {output.size(record['raw_bytes'])}{kept}")
    found = record["acquisition"]
    if found:
        output.result(
            f"  {output.count(found['nbr_channels'], 'channel')}, "
            f"{output.count(found['nbr_slices'], 'slice')}, "
            f"{output.count(found['nbr_timepoints'], 'timepoint')}, "
            f"{output.count(found['nbr_positions'], 'position')} of "
            f"{found['width']} x {found['height']} {found['dtype']}"
        )
    for text in record["notes"]:
        output.note(f"{record['dataset_id']}: {text}")
