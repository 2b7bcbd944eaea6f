"""imaging-db ingest: large ingests as durable jobs that many computers join."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from imaging_db.cli import ingest_boss, ingest_look, ingest_work
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
    add_storage,
    whole_number,
)
from imaging_db.config.settings import CODECS
from imaging_db.model.job import LEASE_SECONDS, MOST_ATTEMPTS, MOST_FRAMES

ENGINES = (
    "threads",
    "local",
    "dask",
    "slurm",
    "mpi",
    "serial",
    "htcondor",
    "lsf",
    "moab",
    "oar",
    "pbs",
    "sge",
)

CREATE = """\
Create a job: a configuration of the Boss ingest client (v0.1 or v0.2) or of our own, a folder of tiles
with --pattern, a Zarr, HDF5 or precomputed volume, or any acquisition that can be uploaded. Everything is
checked first, and some frames are read. The same command again gives the same job, and finishes what was
interrupted. Nothing is uploaded before someone joins the job."""
CREATE_EXAMPLES = """\
  imaging-db ingest create ingest.json --dry-run
  imaging-db ingest create tiles/ --pattern '{z}/{row}_{col}.png' --serial EM-2026-11-20-09-30-00-0001"""
JOIN = """\
Work on a job until nothing is left: claims units, puts their frames into the store, writes their rows.
As many computers as you like may join at any time; the last one completes the job, and the dataset can
be seen. Ctrl-C finishes what is at work and leaves, a second one leaves at once; others go on."""
JOIN_EXAMPLES = """\
  imaging-db ingest join 3
  imaging-db ingest join 3 --engine local -p 8
  imaging-db ingest join 3 --scheduler tcp://head:8786"""
STATUS = """\
Tell how far a job is: units by state, frames, rate, time left, who works on it, and why units failed.
Without a job it tells of all that are not over."""
CANCEL = """\
Cancel a job: nothing is committed any more; when the leases of lost runners have run out, objects
without a row are swept from the store. Frames that have a row stay, unless you say --purge; nobody can
see them. Again, it finishes what was interrupted, or has nothing to do."""
BOSS = """\
The command line of the Boss ingest client: imaging-db ingest CONFIG creates a job and joins it, with -j it
joins one, with -c and -j it cancels one."""


def add_commands(commands: Commands) -> None:
    """Add ingest with its actions."""
    ingest = commands.add_parser(
        "ingest", help="large ingests as durable jobs that many computers join"
    )
    actions = ingest.add_subparsers(metavar="ACTION", required=True)
    _add_create(actions)
    _add_join(actions)
    _add_looking(actions)
    _add_ending(actions)
    _add_boss(actions)


def _action(
    actions: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str = "",
    examples: str = "",
) -> argparse.ArgumentParser:
    parser = add_command(
        actions, name, run, summary=summary, description=description, examples=examples
    )
    add_login(parser)
    add_config(parser)
    add_storage(parser)
    add_json(parser)
    add_debug(parser)
    return parser


def _add_create(actions: Commands) -> None:
    create = _action(
        actions,
        "create",
        ingest_work.create,
        summary="check a source and create the job",
        description=CREATE,
        examples=CREATE_EXAMPLES,
    )
    create.add_argument(
        "source", metavar="SOURCE", help="configuration, folder, volume, acquisition"
    )
    create.add_argument(
        "--serial", metavar="ID", help="id of the dataset; without it as the configuration says"
    )
    create.add_argument(
        "--description", metavar="TEXT", help="what people should know of the dataset"
    )
    create.add_argument(
        "--pattern",
        metavar="P",
        help="names of the files of a folder of tiles, such as '{z}/{row}_{col}.png'",
    )
    create.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what a volume does not tell itself, such as data_name=raw; may be repeated",
    )
    create.add_argument("--codec", choices=CODECS, help="how frames are kept, as for an upload")
    create.add_argument(
        "--unit_frames",
        type=whole_number,
        default=MOST_FRAMES,
        metavar="N",
        help=f"frames of one unit at most; {MOST_FRAMES} without it, and never more than 64 MiB of pixels",
    )
    create.add_argument(
        "--attempts",
        type=_tries,
        default=MOST_ATTEMPTS,
        metavar="N",
        help=f"how often a unit is tried before it is given up; {MOST_ATTEMPTS} without it",
    )
    create.add_argument(
        "--manual_complete", action="store_true", help="complete it only by ingest complete"
    )
    create.add_argument("--dry-run", action="store_true", help="check everything and write nothing")


def _add_join(actions: Commands) -> None:
    join = _action(
        actions,
        "join",
        ingest_work.join,
        summary="work on a job until nothing is left",
        description=JOIN,
        examples=JOIN_EXAMPLES,
    )
    _add_job(join)
    join.add_argument(
        "-p", "--nbr_workers", type=whole_number, metavar="N", help="workers; one a core without it"
    )
    join.add_argument(
        "--engine",
        choices=ENGINES,
        default=None,
        help="who works: threads of this process without it",
    )
    join.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="an existing Dask scheduler, or the file that names it",
    )
    join.add_argument(
        "--engine_option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the engine, such as queue=short for slurm; may be repeated",
    )
    join.add_argument(
        "--lease",
        type=_lease,
        default=int(LEASE_SECONDS),
        metavar="SECONDS",
        help=f"after how long others take over from a runner that is not heard of; {LEASE_SECONDS:.0f} without it",
    )
    join.add_argument(
        "--manual_complete", action="store_true", help="do not complete the job when it is done"
    )
    join.add_argument(
        "--dry-run",
        action="store_true",
        help="print the script of a batch system's job, join nothing",
    )


def _add_looking(actions: Commands) -> None:
    status = _action(
        actions, "status", ingest_look.status, summary="how far a job is", description=STATUS
    )
    _add_job(status, nargs="?")
    status.add_argument(
        "--watch", action="store_true", help="tell again every two seconds until it is over"
    )
    listed = _action(actions, "list", ingest_look.list_jobs, summary="list the jobs, oldest first")
    listed.add_argument("--all", action="store_true", help="also those that are over")


def _add_ending(actions: Commands) -> None:
    retry = _action(actions, "retry", ingest_work.retry, summary="let failed units wait again")
    _add_job(retry)
    complete = _action(
        actions,
        "complete",
        ingest_work.complete,
        summary="look at every object and make the dataset visible",
    )
    _add_job(complete)
    cancel = _action(
        actions,
        "cancel",
        ingest_work.cancel,
        summary="cancel a job, after asking",
        description=CANCEL,
    )
    _add_job(cancel)
    cancel.add_argument(
        "--purge", action="store_true", help="remove also the frames that have a row"
    )
    cancel.add_argument(
        "--yes", action="store_true", help="do not ask; needed where there is no terminal"
    )


def _tries(text: str) -> int:
    return _at_most(1_000_000, text)


def _lease(text: str) -> int:
    return _at_most(30 * 86400, text)  # longer, and nobody would take over from a lost runner


def _at_most(most: int, text: str) -> int:
    if (number := whole_number(text)) > most:
        raise argparse.ArgumentTypeError(f"{text} is more than {most}")
    return number


def _add_job(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    parser.add_argument(
        "job", nargs=nargs, metavar="JOB", help="its number, its uuid, or the id of its dataset"
    )


def _add_boss(actions: Commands) -> None:
    boss = _action(
        actions,
        ingest_boss.NAME,
        ingest_boss.run,
        summary="the flags of the Boss ingest client: imaging-db ingest CONFIG [-j JOB] ...",
        description=BOSS,
    )
    boss.add_argument(
        "config_file", nargs="?", type=Path, metavar="CONFIG", help="the configuration"
    )
    boss.add_argument("-j", "--job-id", metavar="JOB", help="join this job instead of creating one")
    boss.add_argument("-c", "--cancel", action="store_true", help="cancel the job of -j")
    boss.add_argument("-p", "--processes_nb", type=whole_number, metavar="N", help="as join -p")
    boss.add_argument(
        "-a", "--api-token", metavar="FILE", help="there are no tokens here: the file of the login"
    )
    boss.add_argument("-f", "--force", action="store_true", help="do not ask")
    boss.add_argument(
        "-m",
        "--manual-complete",
        action="store_true",
        help="do not complete the job when it is done",
    )
    boss.add_argument(
        "-r", "--ramp_seconds", metavar="S", help="taken and not needed: workers start at once"
    )
    boss.add_argument("-l", "--log-file", metavar="FILE", help="write remarks there, too")
    boss.add_argument(
        "-v",
        "--log-level",
        choices=("critical", "error", "warning", "info", "debug"),
        default="warning",
        help="which remarks",
    )
