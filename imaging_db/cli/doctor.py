"""imaging-db doctor: is everything there that an upload needs, and is it safe?"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging_db.api import ImagingDB
from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
    open_db,
)
from imaging_db.codecs import png
from imaging_db.config import find_login
from imaging_db.errors import ConfigError, ImagingDBError
from imaging_db.readers import registry

_LITTLE_SPACE = 10 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: ``ok``, ``warning`` or ``failed``, and the exit code it asks for."""

    check: str
    state: str
    text: str
    exit_code: int = OK


def add_commands(commands: Commands) -> None:
    """Add doctor."""
    doctor = add_command(commands, "doctor", run, summary="check login, catalog, store and readers")
    add_login(doctor)
    add_config(doctor)
    add_json(doctor)
    add_debug(doctor)


def run(args: argparse.Namespace) -> int:
    """Print a line for each check; the exit code is that of the worst."""
    findings = list(_findings(args))
    if args.json:
        output.result_json(findings)
    else:
        output.table((f.state, f.check, output.printable(f.text)) for f in findings)
    return max(finding.exit_code for finding in findings)


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    try:
        db = open_db(args)
    except ConfigError as error:
        yield from (Finding("settings", "failed", text, 2) for text in error.problems)
        return
    with db:
        yield Finding("settings", "ok", db.settings.origins.get("database", ""))
        yield _login_mode(args)
        yield _checked("catalog", lambda: _catalog(db))
        yield _checked("store", lambda: _store(db))
        yield _free_space(db)
        yield from _readers()


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ImagingDBError as error:
        return Finding(name, "failed", str(error), error.exit_code)


def _login_mode(args: argparse.Namespace) -> Finding:
    path = find_login(args.login).path
    if path is None:
        return Finding("login", "ok", "none needed for the embedded catalog")
    mode = path.stat().st_mode
    if (
        os.name == "posix"
        and mode & (stat.S_IRWXG | stat.S_IRWXO)
        and "password" in path.read_text()
    ):
        return Finding("login", "warning", f"{path} can be read by others; chmod 600 it")
    return Finding("login", "ok", str(path))


def _catalog(db: ImagingDB) -> Finding:
    database = db.settings.database
    if database.is_sqlite and not Path(database.dbname).exists():
        return Finding("catalog", "ok", f"{database.address} will be made by the first upload")
    count = sum(1 for _ in db.datasets())
    return Finding("catalog", "ok", f"{database.address}: {output.count(count, 'dataset')}")


def _store(db: ImagingDB) -> Finding:
    settings = db.settings.store
    if (
        db.settings.origins.get("store") == "embedded default"
        and not Path(settings.access).exists()
    ):
        return Finding("store", "ok", f"{settings.access} will be made by the first upload")
    db.store.probe()
    return Finding("store", "ok", f"{db.store.address} can be written")


def _free_space(db: ImagingDB) -> Finding:
    settings = db.settings.store
    if settings.storage != "local":
        return Finding("space", "ok", "not known for this store")
    folder = Path(settings.access)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.exists():  # a drive that is gone
        return Finding("space", "warning", f"{settings.access} is not there")
    free = shutil.disk_usage(folder).free
    state = "ok" if free > _LITTLE_SPACE else "warning"
    return Finding("space", state, f"{output.size(free)} free below {folder}")


def _readers() -> Iterator[Finding]:
    names = ", ".join(spec.name for spec in registry.specs())
    yield Finding("readers", "ok", names)
    yield Finding("encoder", "ok", png.encoder())
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    yield Finding("python", "ok", f"{version} on {sys.platform}")
