"""What a dataset is in full: its rows and its bytes, in a form that two datasets of one source share.

Equality with what an undisturbed run made is what every fault is judged by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from imaging_db import ImagingDB
from imaging_db.catalog import Catalog
from imaging_db.errors import DatasetNotFound
from imaging_db.model import Dataset, UploadType, sha256_of_bytes

Golden: TypeAlias = dict[str, Any]
"""The rows of a dataset, its objects' hashes as recorded, and as they lie in the store."""

_OWN = ("created_at", "published_at")


def golden(db: ImagingDB, serial: str) -> Golden | None:
    """Everything of a dataset but its serial and its times, None where it cannot be seen."""
    with Catalog.open(db.settings.database) as catalog:
        try:
            dataset = catalog.dataset(serial)
        except DatasetNotFound:
            return None
        rows = _rows(catalog, dataset)
    store = db.store_of(dataset)
    found = {info.key: info.size for info in store.list(dataset.storage_dir)}
    told = {"dataset": asdict(dataset), "objects": rows}
    text = json.dumps(told, default=str, sort_keys=True).replace(serial, "SERIAL")
    plain: Golden = json.loads(text)
    for name in _OWN:
        del plain["dataset"][name]
    directory = f"{dataset.storage_dir}/"
    plain["sizes"] = {key.removeprefix(directory): size for key, size in found.items()}
    plain["store"] = {key.removeprefix(directory): sha256_of_bytes(store.get(key)) for key in found}
    return plain


def check_whole(dump: Golden) -> None:
    """Every row has its object with the bytes that it tells of, and nothing else lies there."""
    recorded = {
        one["file_name" if "file_name" in one else "name"]: one for one in dump["objects"]["rows"]
    }
    assert len(recorded) == len(dump["objects"]["rows"]) == dump["dataset"]["nbr_objects"]
    assert set(recorded) == set(dump["store"])
    for name, one in recorded.items():
        assert dump["store"][name] == one.get("object_sha256", one["sha256"]), name
        assert dump["sizes"][name] == one.get("object_size", one.get("size")), name


def unfinished(db: ImagingDB) -> list[str]:
    """The serials of what is pending or being deleted."""
    with Catalog.open(db.settings.database) as catalog:
        return [found.dataset.serial for found in catalog.pending()]


def tree(folder: Path, *, without: Iterable[str] = ()) -> dict[str, str]:
    """The hashes of all files below a folder, by their relative names."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {
        name: sha256_of_bytes(path.read_bytes())
        for name, path in sorted(found.items())
        if name not in set(without)
    }


def _rows(catalog: Catalog, dataset: Dataset) -> dict[str, Any]:
    if dataset.upload_type is UploadType.FILE:
        return {"rows": [asdict(file) for file in catalog.files(dataset.serial)]}
    return {
        "acquisition": asdict(catalog.acquisition(dataset.serial)),
        "rows": [asdict(frame) for frame in catalog.frames(dataset.serial)],
    }
