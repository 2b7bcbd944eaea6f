"""What doctor checks, in its order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from imaging_db.api import ImagingDB
from imaging_db.cli import doctor_network, doctor_places, output
from imaging_db.cli.options import open_db
from imaging_db.codecs import png
from imaging_db.errors import ConfigError, StoreDenied
from imaging_db.readers import registry
from imaging_db.stores.selftest import Check, checked, self_test
from imaging_db.transfer.emptied import check_mounted


def checks(args: argparse.Namespace) -> Iterator[Check]:
    """Yield what every check finds, as soon as it is found."""
    try:
        db = open_db(args)
    except ConfigError as error:
        yield from (Check("settings", "failed", text, exit_code=2) for text in error.problems)
        return
    with db:
        yield Check("settings", "ok", db.settings.origins.get("database", ""))
        yield from doctor_places.modes(args, db.settings)
        yield (catalog := checked("catalog", lambda: _catalog(db)))
        if not catalog.exit_code:
            yield from _mounted(db)
        yield from (store := list(_store(db)))
        yield from doctor_network.database(db.settings.database)
        yield from doctor_network.store(db.settings.store)
        answer = {"catalog": not catalog.exit_code, "store": len(store) > 1}
        yield from doctor_network.clocks(db, **answer)
        yield from doctor_places.disks(db.settings)
        yield from doctor_places.failpoints()
        yield from _readers()


def _catalog(db: ImagingDB) -> Check:
    database = db.settings.database
    if doctor_places.will_be_made(database):
        return Check("catalog", "ok", f"{database.address} will be made by the first upload")
    count = db.catalog.count_datasets()
    return Check("catalog", "ok", f"{database.address}: {output.count(count, 'dataset')}")


def _mounted(db: ImagingDB) -> Iterator[Check]:
    """Yield a failure where the store's folder is bare and the catalog has datasets there."""
    if not doctor_places.will_be_made(db.settings.database):
        try:
            check_mounted(db.catalog, db.settings.store)
        except StoreDenied as error:
            yield Check("store disk", "failed", error.message, error.hint, error.exit_code)


def _store(db: ImagingDB) -> Iterator[Check]:
    settings = db.settings.store
    if settings.storage == "local" and doctor_places.has_no_folder(Path(settings.access)):
        yield Check("store", "ok", f"{settings.access} will be made by the first upload")
        return

    def probe() -> Check:
        db.store.probe()
        return Check("store", "ok", f"{db.store.address} can be written")

    found = checked("store", probe)
    yield found
    if not found.exit_code:
        yield from self_test(db.store)


def _readers() -> Iterator[Check]:
    names = ", ".join(spec.name for spec in registry.specs())
    yield Check("readers", "ok", names)
    yield Check("encoder", "ok", png.encoder())
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    yield Check("python", "ok", f"{version} on {sys.platform}")
