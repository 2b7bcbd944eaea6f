"""imaging-db: everything under one name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from imaging_db.cli import (
    annotate_commands,
    catalog_commands,
    check_commands,
    data_downloader,
    data_uploader,
    demo,
    doctor,
    export_command,
    frames_command,
    ingest_boss,
    ingest_commands,
    inspect_commands,
    keep_commands,
    publish_command,
    qc_command,
    query_data,
    template_command,
    verify_command,
)
from imaging_db.cli.entry import make_parser
from imaging_db.cli.entry import run as run_command
from imaging_db.cli.exit_codes import epilog
from imaging_db.cli.options import add_command

DESCRIPTION = """\
An imaging database: upload microscopy as frames, query it, get any selection back, byte-exact.
Without a login and a config it keeps everything in one folder of yours; no server is needed."""

EXAMPLES = """\
  imaging-db demo
  imaging-db upload --csv files_for_upload.csv --dry-run
  imaging-db show ISP-2018-06-08-15-45-00-0001
  imaging-db upload --help"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of imaging-db with all its commands."""
    parser = make_parser("imaging-db", DESCRIPTION, epilog(EXAMPLES))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in (
        ("upload", data_uploader),
        ("download", data_downloader),
        ("query", query_data),
    ):
        command = add_command(
            commands,
            name,
            module.run,
            summary=(module.__doc__ or "").partition(": ")[2].rstrip("."),
            description=module.DESCRIPTION,
            examples=module.EXAMPLES,
        )
        module.add_arguments(command)
    demo.add_commands(commands)
    frames_command.add_commands(commands)
    inspect_commands.add_commands(commands)
    qc_command.add_commands(commands)
    verify_command.add_commands(commands)
    check_commands.add_commands(commands)
    keep_commands.add_commands(commands)
    annotate_commands.add_commands(commands)
    template_command.add_commands(commands)
    catalog_commands.add_commands(commands)
    ingest_commands.add_commands(commands)
    export_command.add_commands(commands)
    publish_command.add_commands(commands)
    doctor.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    return run_command(build_parser(), ingest_boss.with_action(words))


if __name__ == "__main__":
    raise SystemExit(main())
