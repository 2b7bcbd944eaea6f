"""What a job left behind, as it lies in the catalog and in the store, whether it can be seen or not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from imaging_db import ImagingDB
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FrameRow
from imaging_db.catalog.tables_jobs import UnitRow
from imaging_db.catalog.transactions import Transactions
from imaging_db.codecs import decode_frame
from imaging_db.model import sha256_of_bytes, sha256_of_pixels
from tests.support.lab import Lab
from tests.support.tile_folder import SERIAL

DIRECTORY = f"raw_frames/{SERIAL}"


def frame_rows(lab: Lab) -> dict[tuple[int, ...], Any]:
    """The row of every frame, by its coordinates; two of one would not pass."""
    query = (
        select(FrameRow.__table__)
        .join(AcquisitionRow, AcquisitionRow.id == FrameRow.frames_global_id)
        .join(DatasetRow, DatasetRow.id == AcquisitionRow.dataset_id)
        .where(DatasetRow.dataset_serial == SERIAL)
    )
    rows = _read(lab, query)
    found = {(row.channel_idx, row.slice_idx, row.time_idx, row.pos_idx): row for row in rows}
    assert len(found) == len(rows)
    return found


def unit_rows(lab: Lab, job: str) -> list[Any]:
    """The rows of a job's units, by ordinal."""
    query = select(UnitRow.__table__).where(UnitRow.job_id == int(job)).order_by(UnitRow.ordinal)
    return _read(lab, query)


def objects(lab: Lab) -> set[str]:
    """The name of every object below the dataset's prefix."""
    with ImagingDB(lab.settings) as db:
        return {one.key.removeprefix(f"{DIRECTORY}/") for one in db.store.list(DIRECTORY)}


def check_objects(lab: Lab, hashes: dict[tuple[int, ...], str]) -> None:
    """The rows are of exactly these frames, and each has its object: the recorded bytes, the right pixels."""
    rows = frame_rows(lab)
    assert {coords: row.sha256 for coords, row in rows.items()} == hashes
    with ImagingDB(lab.settings) as db:
        for coords, row in rows.items():
            data = db.store.get(f"{DIRECTORY}/{row.file_name}")
            assert (len(data), sha256_of_bytes(data)) == (row.object_size, row.object_sha256)
            assert sha256_of_pixels(decode_frame(data, dtype="uint8")) == hashes[coords]


def without_row(lab: Lab) -> set[str]:
    """The objects that no row tells of."""
    return objects(lab) - {row.file_name for row in frame_rows(lab).values()}


def _read(lab: Lab, query: Any) -> list[Any]:
    transactions = Transactions(lab.settings.database)

    def work(connection: Connection) -> list[Any]:
        return list(connection.execute(query))

    try:
        return transactions.read(work)
    finally:
        transactions.close()
