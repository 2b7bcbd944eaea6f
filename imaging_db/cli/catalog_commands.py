"""imaging-db db: the schema of the catalog, looked at and brought up to date."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import Commands, add_command, add_debug, add_json, add_login
from imaging_db.config import DatabaseSettings, load_settings
from imaging_db.errors import UsageError

_INDEXING = 3600.0  # seconds; some millions of frames take minutes
UPGRADE = """\
Bring the catalog to the schema of this program, in one transaction: an empty database gets its
tables, one of an older version or of the original imagingDB is changed in place and keeps every
row. Prints what it found and changed; --dry-run does it all and takes it back."""

INDEX = """\
Index a path into metadata, such as meta.Exposure-ms: queries that compare it with a number or a
text find its frames without reading the others. Without a path it lists those that are indexed.
An index takes space, and a little time of every upload. While it is made, uploads wait."""


def add_commands(commands: Commands) -> None:
    """Add db with its actions."""
    db = commands.add_parser("db", help="the catalog's schema: upgrade, current, check")
    actions = db.add_subparsers(metavar="ACTION", required=True)
    upgrade = _action(
        actions,
        "upgrade",
        run_upgrade,
        summary="bring the catalog up to date",
        description=UPGRADE,
    )
    upgrade.add_argument(
        "--dry-run", action="store_true", help="tell what would change, change nothing"
    )
    _action(actions, "current", run_current, summary="which schema the catalog has")
    summary = "compare the catalog's tables with what they should be"
    _action(actions, "check", run_check, summary=summary)
    index = _action(
        actions,
        "index",
        run_index,
        summary="index a path into metadata, so that queries of it get fast",
        description=INDEX,
    )
    index.add_argument("path", nargs="?", metavar="PATH", help="such as meta.Exposure-ms")
    index.add_argument("--drop", action="store_true", help="drop the index of this path")


def _action(
    actions: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str = "",
) -> argparse.ArgumentParser:
    parser = add_command(actions, name, run, summary=summary, description=description)
    add_login(parser)
    add_json(parser)
    add_debug(parser)
    return parser


def _database(args: argparse.Namespace) -> DatabaseSettings:
    return load_settings(args.login).database


def run_upgrade(args: argparse.Namespace) -> int:
    """Upgrade the catalog and print what was found and changed."""
    from imaging_db.catalog import schema

    database = _database(args)
    report = schema.upgrade(database, dry_run=args.dry_run)
    if args.json:
        output.result_json(report)
        return OK
    found = report.found
    output.result(f"{database.address}: found {found.state.value}{_revision(found.revision)}")
    for change in report.changes:
        output.result(f"  {change}")
    if found.state is schema.SchemaState.CURRENT:
        output.result("nothing to do")
    elif args.dry_run:
        output.result(f"it would become {found.head}; nothing was changed")
    else:
        output.result(f"it is {found.head} now")
    return OK


def run_current(args: argparse.Namespace) -> int:
    """Print which schema the catalog has."""
    from imaging_db.catalog import schema

    database = _database(args)
    found = schema.current(database)
    if args.json:
        output.result_json(found)
        return OK
    output.result(
        f"{database.address}: {found.state.value}{_revision(found.revision)}; this program's is {found.head}"
    )
    return OK


def run_check(args: argparse.Namespace) -> int:
    """Print how the catalog's tables differ from the models; 6 if they do."""
    from imaging_db.catalog import schema

    differences = schema.check(_database(args))
    if args.json:
        output.result_json(differences)
    for difference in () if args.json else differences or ("the tables are as they should be",):
        output.result(difference)
    return 6 if differences else OK


def run_index(args: argparse.Namespace) -> int:
    """Make, drop or list indexes of metadata."""
    from imaging_db.catalog import Catalog

    if args.path is None and args.drop:
        raise UsageError("--drop needs the path whose index is to go")
    with Catalog.open(_database(args), patience=_INDEXING) as catalog:
        indexes = catalog.json_indexes
        done = True
        if args.path is not None:
            done = indexes.drop(args.path) if args.drop else indexes.make(args.path)
        paths = indexes.paths()
    if args.json:
        output.result_json({"changed": done and args.path is not None, "indexed": paths})
        return OK
    if args.path is None:
        for path in paths:
            output.result(path)
        return OK
    was = "there is no index of" if args.drop else "indexed already:"
    now = "dropped the index of" if args.drop else "indexed"
    output.result(f"{now if done else was} {args.path}")
    return OK


def _revision(revision: str | None) -> str:
    return f" ({revision})" if revision else ""
