"""imaging-db doctor: is everything there that an upload needs, and is it safe?"""

from __future__ import annotations

import argparse

from imaging_db.cli import output
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
)


def add_commands(commands: Commands) -> None:
    """Add doctor."""
    doctor = add_command(
        commands,
        "doctor",
        run,
        summary="check login, catalog, store and readers",
        description="Check what an upload needs, a line each. What is put into the store to try it is "
        "deleted again.",
    )
    add_login(doctor)
    add_config(doctor)
    add_json(doctor)
    add_debug(doctor)


def run(args: argparse.Namespace) -> int:
    """Print a line for each check; the exit code is that of the worst."""
    from imaging_db.cli.doctor_checks import checks

    found = list(checks(args))
    if args.json:
        output.result_json(found)
    else:
        told = ((one, f"{one.text}; {one.hint}" if one.hint else one.text) for one in found)
        output.table((one.state, one.check, output.printable(text)) for one, text in told)
    return max(one.exit_code for one in found)
