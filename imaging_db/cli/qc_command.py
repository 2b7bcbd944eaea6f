"""The command that tells how good the frames are: qc."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.each_dataset import EachDataset, add_common, tell_failures
from imaging_db.cli.options import Commands, add_command, add_selection, open_db, selection_of
from imaging_db.cli.qc_output import Looked, as_record, print_csv, print_table
from imaging_db.errors import NothingSelected, UsageError
from imaging_db.model import UploadType

if TYPE_CHECKING:
    import pandas as pd

    from imaging_db.api import DatasetView, ImagingDB

_DESCRIPTION = """\
Tell how good the frames are, by what was measured of their pixels as they were uploaded: a row a
channel, and the frames that are suspicious, with the rule that each broke. No pixel is read, but for
--sheet, and for --backfill, which measures what older versions uploaded and can be run again."""
_EXAMPLES = """\
  imaging-db qc ISP-2018-06-08-15-45-00-0001
  imaging-db qc ISP-2018-06-08-15-45-00-0001 -c GFP --frames --csv > quality.csv
  imaging-db qc ISP-2018-06-08-15-45-00-0001 --plots figures --sheet sheet.png
  imaging-db qc --all --backfill"""


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    qc = add_command(
        commands,
        "qc",
        look_at_quality,
        summary="how good the frames are, and which are suspicious",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    qc.add_argument("id", nargs="*", metavar="DATASET", help="dataset ids")
    qc.add_argument("--all", action="store_true", help="every dataset of frames")
    add_selection(qc)
    qc.add_argument("--frames", action="store_true", help="a line for each frame, too")
    qc.add_argument("--csv", action="store_true", help="print the table as CSV")
    qc.add_argument(
        "--plots",
        metavar="FOLDER",
        type=Path,
        help="write pictures of grey values, focus and saturation along the acquisition there",
    )
    qc.add_argument(
        "--sheet",
        metavar="FILE.png",
        type=Path,
        help="write a contact sheet of one dataset: thumbnails of a sample of its frames",
    )
    qc.add_argument(
        "--backfill", action="store_true", help="first measure the frames that have no figures yet"
    )
    add_common(qc)


def look_at_quality(args: argparse.Namespace) -> int:
    """Tell the quality of datasets; 6 if an object that was to be read is missing or damaged."""
    _check(args)
    looked: list[Looked] = []
    damaged, count = False, 0
    with open_db(args) as db:
        each = EachDataset(db, args.id)
        found = each.reports(lambda serial: _look(db, serial, args))
        for one in filter(None, found):
            if one.backfill is not None:
                tell_failures(one.backfill)
                damaged = damaged or bool(one.backfill.wrong)
            if args.json:
                looked.append(one)
            else:
                show = print_csv if args.csv else print_table
                show(one, frames=args.frames, first=not count)
            count += 1
    if args.json:
        output.result_json([as_record(one, frames=args.frames) for one in looked])
    elif not count and not each.failed:
        output.note("nothing is selected of any dataset of frames")
    return each.exit_code(damaged=damaged)


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is begun."""
    if bool(args.id) == args.all:
        raise UsageError("qc needs the ids of datasets, or --all", hint="give one of the two")
    if args.json and args.csv:
        raise UsageError("--json and --csv contradict each other", hint="give one of the two")
    if args.sheet and (args.all or len(set(args.id)) > 1):
        raise UsageError("--sheet is of one dataset", hint="name one")
    if args.sheet and args.sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet {args.sheet}: a contact sheet is a PNG", hint="end it in .png")
    if args.plots:
        from imaging_db.api.extras import require

        require("matplotlib.figure", "figures")
    selection_of(args)


def _look(db: ImagingDB, serial: str, args: argparse.Namespace) -> Looked | None:
    """Return what is told of one dataset; None where nothing is selected of one that was not named."""
    from imaging_db.api.quality import channel_table
    from imaging_db.transfer.channels import absent

    view = db.dataset(serial)
    frames = view.frames(
        args.channels, slices=args.slices, timepoints=args.times, positions=args.positions
    )
    if not len(frames):
        if args.all:
            return None
        raise _nothing(view)
    for text in () if args.all else absent(db.catalog, serial, frames.selection):
        output.note(f"{serial}: there is no {text}")
    report = None
    if args.backfill:
        report = db.backfill(
            serial,
            selection=frames.selection,
            workers=args.nbr_workers,
            progress=output.progress(),
        )
    table = frames.quality()
    written = _written(view, table, args)
    return Looked(serial, table, channel_table(table), report, written)


def _nothing(view: DatasetView) -> NothingSelected:
    files = view.dataset.upload_type is UploadType.FILE
    why = "holds files, and only frames have figures" if files else "has no frame that matches"
    return NothingSelected(f"{view.dataset.serial} {why}")


def _written(view: DatasetView, table: pd.DataFrame, args: argparse.Namespace) -> tuple[Path, ...]:
    """Write the pictures that were asked for; return where they lie."""
    from imaging_db.transfer.whole_file import write_whole

    serial, pictures = view.dataset.serial, {}
    if args.plots:
        from imaging_db.export.quality_plot import quality_plots

        for name, picture in quality_plots(serial, table, view.acquisition).items():
            pictures[args.plots / f"{serial}_{name}.png"] = picture
    if args.sheet:
        from imaging_db.export.contact_sheet import contact_sheet

        pictures[args.sheet] = contact_sheet(view, table)
    for path, picture in pictures.items():
        _make_folder(path.parent)
        write_whole(path, picture)
    return tuple(pictures)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made: {error.strerror}", hint="name another folder"
        ) from error
