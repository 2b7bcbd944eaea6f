"""What the tests of repair share."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from imaging_db import ImagingDB
from imaging_db.codecs import decode_frame
from imaging_db.model import sha256_of_bytes
from imaging_db.transfer.repair import RepairReport
from imaging_db.transfer.report import Silent
from tests.support.commands import Commands, commands  # noqa: F401 - a fixture
from tests.support.lab import Lab
from tests.support.rot import (
    everything,
    keys_of,
    overwrite,
    sql,
)


def repair(lab: Lab, **options: Any) -> RepairReport:
    with ImagingDB(lab.settings) as db:
        return db.repair(lab.serial(), **options)


def check_whole(lab: Lab, wanted: dict[str, str]) -> None:
    """Every object is as it was, and every hash agrees."""
    assert everything(lab) == wanted
    with ImagingDB(lab.settings) as db:
        assert db.check(lab.serial(), read_data=True).wrong == 0


def age(lab: Lab) -> None:
    """Let the first frame have been encoded by another program."""
    with ImagingDB(lab.settings) as db:
        key = keys_of(db, lab.serial())[0]
        stream = io.BytesIO()
        Image.fromarray(decode_frame(db.store.get(key))).save(stream, "png", compress_level=0)
        overwrite(db.store, key, stream.getvalue())
    sql(
        lab,
        "UPDATE frames SET object_sha256 = :hash, object_size = :size WHERE file_name = :name",
        hash=sha256_of_bytes(stream.getvalue()),
        size=len(stream.getvalue()),
        name=key.rpartition("/")[2],
    )


class AtFirst(Silent):
    """Does something once the first object was read."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def advance(self, objects: int, nbr_bytes: int) -> None:
        what, self.what = self.what, lambda: None
        what()
