"""Drafts, frames and files for tests of the catalog, with valid values where a test names none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

from imaging_db.catalog import Catalog
from imaging_db.model import (
    Acquisition,
    Claim,
    Dataset,
    DatasetDraft,
    DatasetId,
    FrameCoords,
    JSONObject,
    StoredFile,
    StoredFrame,
    UploadType,
)

SERIAL = "ISP-2018-06-08-15-45-00-0001"
OTHER = "ISP-2018-06-08-15-45-00-0002"


def digest(text: object) -> str:
    """Return a valid SHA-256 that differs wherever ``text`` does."""
    return hashlib.sha256(str(text).encode()).hexdigest()


def acquisition(nbr_frames: int = 1, **values: Any) -> Acquisition:
    """Return what a camera of 2048 x 1024 pixels took."""
    known: dict[str, Any] = {
        "format": "ome_tiff",
        "nbr_frames": nbr_frames,
        "nbr_channels": 1,
        "nbr_slices": 1,
        "nbr_timepoints": 1,
        "nbr_positions": 1,
        "height": 1024,
        "width": 2048,
        "colors": 1,
        "dtype": "uint16",
    }
    return Acquisition(**(known | values))


def draft(serial: str = SERIAL, nbr_objects: int = 1, **values: Any) -> DatasetDraft:
    """Return a dataset of frames about to be uploaded."""
    try:
        acquired_at = DatasetId.parse(serial).acquired_at
    except ValueError:
        acquired_at = datetime(2018, 6, 8, 15, 45, tzinfo=UTC)
    known: dict[str, Any] = {
        "serial": serial,
        "acquired_at": acquired_at,
        "upload_type": UploadType.FRAMES,
        "description": None,
        "microscope": None,
        "parent_serial": None,
        "fingerprint": digest("source"),
        "storage": "local",
        "storage_access": "/data/lab",
        "storage_dir": f"raw_frames/{serial}",
        "nbr_objects": nbr_objects,
        "acquisition": acquisition(nbr_objects),
    }
    return DatasetDraft(**(known | values))


def file_draft(serial: str = SERIAL, nbr_objects: int = 1, **values: Any) -> DatasetDraft:
    """Return a dataset of files about to be uploaded."""
    known: dict[str, Any] = {
        "upload_type": UploadType.FILE,
        "acquisition": None,
        "storage_dir": f"raw_files/{serial}",
    }
    return draft(serial, nbr_objects, **(known | values))


def frame(c: int = 0, z: int = 0, t: int = 0, p: int = 0, **values: Any) -> StoredFrame:
    """Return a frame of the camera of `acquisition`."""
    coords = FrameCoords(c, z, t, p)
    known: dict[str, Any] = {
        "coords": coords,
        "file_name": f"im_c{c:03d}_z{z:03d}_t{t:03d}_p{p:03d}.png",
        "sha256": digest(("pixels", *map(int, coords))),
        "object_sha256": digest(("object", *map(int, coords))),
        "object_size": 3_700_000,
        "codec": "png",
        "width": 2048,
        "height": 1024,
        "colors": 1,
        "dtype": "uint16",
        "channel_name": f"channel {c}",
        "position_name": f"Pos{p}",
        "metadata": {"Exposure-ms": 12.5},
    }
    return StoredFrame(**(known | values))


def grid(channels: int, slices: int, timepoints: int, positions: int) -> list[StoredFrame]:
    """Return every frame of a full acquisition."""
    sizes = (range(channels), range(slices), range(timepoints), range(positions))
    return [frame(*coords) for coords in product(*sizes)]


def file(name: str, metadata: JSONObject | None = None, **values: Any) -> StoredFile:
    """Return a file of ten bytes."""
    known: dict[str, Any] = {"sha256": digest(name), "size": 10, "metadata": metadata or {}}
    return StoredFile(name, **(known | values))


def store(
    catalog: Catalog, frames: Sequence[StoredFrame], serial: str = SERIAL, **values: Any
) -> Dataset:
    """Upload frames and return the dataset, which is ready."""
    claim = catalog.claim(draft(serial, len(frames), **values), token="uploader")
    catalog.add_frames(claim, frames)
    return catalog.publish(claim)


def store_files(
    catalog: Catalog, files: Sequence[StoredFile], serial: str = SERIAL, **values: Any
) -> Dataset:
    """Upload files and return the dataset, which is ready."""
    claim = catalog.claim(file_draft(serial, len(files), **values), token="uploader")
    catalog.add_files(claim, files)
    return catalog.publish(claim)


def age(catalog: Catalog, claim: Claim, seconds: float) -> None:
    """Make a claim's last sign of life ``seconds`` older, as if its owner had been silent since."""
    from datetime import timedelta

    from sqlalchemy import select, update

    from imaging_db.catalog.tables import DatasetRow
    from imaging_db.catalog.transactions import Transactions

    transactions = Transactions(catalog._transactions.settings)
    mine = DatasetRow.id == claim.dataset_id
    beat = transactions.read(
        lambda c: c.execute(select(DatasetRow.claim_heartbeat).where(mine)).scalar_one()
    )
    if beat is None:
        raise ValueError("nobody holds it")
    older = update(DatasetRow).where(mine).values(claim_heartbeat=beat - timedelta(seconds=seconds))
    transactions.write(lambda c: c.execute(older))
    transactions.close()


def coords_of(frames: Iterable[StoredFrame]) -> list[FrameCoords]:
    """Return where frames lie, in their order."""
    return [one.coords for one in frames]
