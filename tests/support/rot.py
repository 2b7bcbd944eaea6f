"""Objects that rot in a store, and catalogs that somebody edits by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import text

from imaging_db import ImagingDB
from imaging_db.catalog.transactions import Transactions
from imaging_db.config import StoreSettings
from imaging_db.model import UploadType, sha256_of_bytes
from imaging_db.stores.base import Store
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.lab import Lab

KINDS = ("flip", "cut", "zero", "delete", "swap")
"""How an object rots; to swap it puts another valid picture into its place."""
SEEN_BY_SIZE = ("cut", "delete")


def rotten(data: bytes, kind: str, other: bytes) -> bytes | None:
    """What becomes of the bytes of an object, None where it is gone."""
    half = len(data) // 2
    return {
        "flip": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        "cut": data[:half],
        "zero": bytes(len(data)),
        "delete": None,
        "swap": other,
    }[kind]


def rot(lab: Lab, kinds: tuple[str, ...] = KINDS, *, number: int = 1) -> dict[str, str]:
    """Let the first objects of a dataset rot, each in another way; return the key for each way."""
    with ImagingDB(lab.settings) as db:
        store, keys = db.store, keys_of(db, lab.serial(number))
        other = store.get(keys[-1])
        for key, kind in zip(keys, kinds, strict=False):
            overwrite(store, key, rotten(store.get(key), kind, other))
        return dict(zip(kinds, keys, strict=False))


def overwrite(store: Store, key: str, data: bytes | None) -> None:
    """Do what no store does by itself: put other bytes into an object's place, or none."""
    store.delete(key)
    if data is not None:
        store.put(key, data, sha256=sha256_of_bytes(data))


def keys_of(db: ImagingDB, serial: str) -> list[str]:
    """The keys of a dataset's objects, in their order."""
    return [found.key for found in db.store.list(db.catalog.dataset(serial).storage_dir)]


def sql(lab: Lab, statement: str, **values: Any) -> None:
    """Edit the catalog behind its back."""
    transactions = Transactions(lab.settings.database)
    try:
        transactions.write(lambda connection: connection.execute(text(statement), values))
    finally:
        transactions.close()


def second_store(lab: Lab) -> StoreSettings:
    """A folder with a copy of every object of a lab."""
    folder = lab.folder / "second"
    with ImagingDB(lab.settings) as db:
        for found in db.store.list(""):
            path = folder / found.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(db.store.get(found.key))
    return StoreSettings("local", str(folder))


def everything(lab: Lab) -> dict[str, str]:
    """The hash of every object."""
    with ImagingDB(lab.settings) as db:
        return {found.key: sha256_of_bytes(db.store.get(found.key)) for found in db.store.list("")}


def with_stack(lab: Lab, **sizes: int) -> Path:
    """The source of an uploaded stack of eight frames, which repeat nothing; dataset number 1."""
    source = lab.folder / "stack.tif"
    imagej_stack(source, **sizes)
    lab.upload_one(source)
    return source


def with_files(lab: Lab) -> tuple[Lab, Path]:
    """A lab that stores files as they are, and the folder that was uploaded as dataset number 1."""
    lab = lab.config(upload_type=UploadType.FILE)
    folder = lab.folder / "raw"
    for number, name in enumerate(
        ("a.bin", "b.bin", "sub/c.bin", "sub/d.bin", "sub/e.bin", "z.txt")
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pixels(4000 + number, dtype="uint8", seed=number).tobytes())
    lab.upload_one(folder)
    return lab, folder
