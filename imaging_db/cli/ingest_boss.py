"""The flags of the Boss ingest client, for those who have them in their fingers and scripts."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from imaging_db.cli import ingest_work, output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.question import agreed, can_ask
from imaging_db.errors import ConfigError, UsageError

NAME = "boss"
_ACTIONS = ("create", "join", "status", "list", "retry", "complete", "cancel", NAME, "-h", "--help")


def with_action(argv: Sequence[str]) -> list[str]:
    """Return the words of a command line, ``ingest CONFIG -j 3`` as ``ingest boss CONFIG -j 3``."""
    words = list(argv)
    if (
        words[:1] == ["ingest"]
        and len(words) > 1
        and words[1] not in _ACTIONS
        and _is_boss(words[1])
    ):
        words.insert(1, NAME)
    return words


def _is_boss(word: str) -> bool:
    return word.startswith("-") or word.lower().endswith(".json")


def run(args: argparse.Namespace) -> int:
    """Create and join, join, or cancel, as the flags say."""
    _take_login(args)
    _log(args)
    args.yes, args.purge = args.force, False
    if args.cancel:
        if args.job_id is None:
            raise UsageError("-c needs the job to cancel", hint="say -j JOB")
        args.job = args.job_id
        return ingest_work.cancel(args)
    if args.job_id is None:
        return _create_and_join(args)
    args.job = args.job_id
    return _join(args) if _agreed(args, f"Resume job {args.job_id}?") else _left(args.job_id)


def _create_and_join(args: argparse.Namespace) -> int:
    if args.config_file is None:
        raise UsageError("a configuration is needed", hint="or -j JOB to join one that exists")
    found = Path(args.config_file)
    args.source = str(found)
    for name in ("serial", "description", "pattern"):
        setattr(args, name, None)
    from imaging_db.model.job import MOST_ATTEMPTS, MOST_FRAMES

    args.set, args.unit_frames, args.attempts = [], MOST_FRAMES, MOST_ATTEMPTS
    args.dry_run, args.codec = False, None
    if not (args.force or can_ask()):  # before anything is created
        raise _nobody_to_ask()
    job = ingest_work.created(args, is_result=False) or ""
    if not _agreed(args, f"Do you want to start uploading job {job} now?"):
        return _left(job)
    args.job = job
    return _join(args)


def _join(args: argparse.Namespace) -> int:
    from imaging_db.model.job import LEASE_SECONDS

    args.nbr_workers, args.engine, args.scheduler = args.processes_nb, None, None
    args.engine_option, args.lease, args.dry_run = [], LEASE_SECONDS, False
    return ingest_work.join(args)


def _agreed(args: argparse.Namespace, question: str) -> bool:
    if args.force:
        return True
    if not can_ask():
        raise _nobody_to_ask()
    return agreed([question])


def _nobody_to_ask() -> UsageError:
    return UsageError("there is no terminal to ask at", hint="say -f")


def _left(job: str) -> int:
    output.note(f"job {job} waits; imaging-db ingest join {job} goes on with it")
    return OK


def _take_login(args: argparse.Namespace) -> None:
    if args.api_token is None:
        return
    if not Path(args.api_token).is_file():
        raise ConfigError(
            "-a: there are no API tokens here, and no file of that name",
            hint="name the file of the database login, or set IMAGING_DB_LOGIN",
        )
    args.login = args.login or args.api_token


def _log(args: argparse.Namespace) -> None:
    level = logging.getLevelNamesMapping()[args.log_level.upper()]
    logging.getLogger().setLevel(level)
    if args.log_file is None:
        return
    try:
        target = logging.FileHandler(args.log_file, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"-l {args.log_file}: {error.strerror}") from error
    target.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(message)s"))
    logging.getLogger().addHandler(target)
