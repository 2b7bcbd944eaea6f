"""Serials: a new one must differ from every other by more than case.

On Windows and macOS both would have one folder. Those of an original imagingDB may differ by case alone
and stay as they are, so no unique index can say this.
"""

from __future__ import annotations

import zlib

from sqlalchemy import Connection, func, literal, select

from imaging_db.catalog.functions import FoldedASCII
from imaging_db.catalog.tables import DatasetRow
from imaging_db.catalog.types import CleanText
from imaging_db.errors import Conflict

_LOCK = 0x73657269  # "seri": one advisory lock for each folded serial, beside the migrations' single one


def lock(connection: Connection, serial: str) -> None:
    """Keep others from making a serial that folds to the same, until the transaction ends.

    SQLite needs no lock: it has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        folded = zlib.crc32(serial.lower().encode(errors="replace")) - 2**31  # a signed 32-bit key
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK, folded)))


def require_distinct(connection: Connection, serial: str) -> None:
    """Let pass a serial that no other one resembles but for case; call `lock` before.

    Raises
    ------
    Conflict
        There is such a one, whatever its status.
    """
    text = literal(serial, CleanText())
    existing = connection.scalar(
        select(DatasetRow.dataset_serial)
        .where(
            FoldedASCII(DatasetRow.dataset_serial) == FoldedASCII(text),
            DatasetRow.dataset_serial != text,
        )
        .order_by(DatasetRow.id)
        .limit(1)
    )
    if existing is not None:
        raise Conflict(f"{serial} differs only by case from {existing}", hint="choose another id")
