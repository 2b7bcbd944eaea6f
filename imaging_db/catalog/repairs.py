"""Repairs: a ready dataset is kept from being deleted or replaced while objects of it are put back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import Connection, bindparam, select, update

from imaging_db.catalog import deletions
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FrameRow
from imaging_db.model import Dataset, StoredFrame

Recorded: TypeAlias = "Mapping[str, str | None]"
"""The SHA-256 that is recorded of the stored bytes of frames, by name."""
PutBack: TypeAlias = Callable[[Recorded, float], Sequence[StoredFrame]]
"""Puts objects back and returns the frames whose rows have to change; may be called more than once.

It begins no object after the second of `time.monotonic` that it is given.
"""

HELD_SECONDS = 5.0
"""How long a transaction may put objects back: others wait for it, and it is cut after some more seconds."""

_ACQUISITION = (
    select(AcquisitionRow.id)
    .join(DatasetRow, AcquisitionRow.dataset_id == DatasetRow.id)
    .where(DatasetRow.dataset_serial == bindparam("serial"))
)
_CHANGE = (
    update(FrameRow)
    .where(
        FrameRow.frames_global_id == bindparam("acquisition"),
        FrameRow.channel_idx == bindparam("c"),
        FrameRow.slice_idx == bindparam("z"),
        FrameRow.time_idx == bindparam("t"),
        FrameRow.pos_idx == bindparam("p"),
    )
    .values(
        object_sha256=bindparam("new_sha256"),
        object_size=bindparam("new_size"),
        codec=bindparam("new_codec"),
    )
)


def mend(connection: Connection, dataset: Dataset, names: Sequence[str], put_back: PutBack) -> None:
    """Call ``put_back`` while the dataset stays what it is, and write what its objects are now.

    Two repairs of one dataset, and a repair and a deletion, wait for each other. What waiting took is
    taken off the time that ``put_back`` has.

    Raises
    ------
    DatasetNotFound
        It was deleted or replaced meanwhile; nothing was called.
    """
    until = time.monotonic() + HELD_SECONDS

    def work() -> None:
        acquisition = connection.scalar(_ACQUISITION, {"serial": dataset.serial})
        changed = put_back(_recorded(connection, acquisition, names), until)
        if changed:
            connection.execute(_CHANGE, [_values(acquisition, frame) for frame in changed])

    deletions.while_ready(connection, dataset, work)


def _recorded(
    connection: Connection, acquisition: int | None, names: Sequence[str]
) -> dict[str, str | None]:
    if acquisition is None:
        return {}
    rows = connection.execute(
        select(FrameRow.file_name, FrameRow.object_sha256).where(
            FrameRow.frames_global_id == acquisition, FrameRow.file_name.in_(list(names))
        )
    )
    return {name: sha256 for name, sha256 in rows}


def _values(acquisition: int | None, frame: StoredFrame) -> dict[str, object]:
    c, z, t, p = frame.coords
    return {
        "acquisition": acquisition,
        "c": c,
        "z": z,
        "t": t,
        "p": p,
        "new_sha256": frame.object_sha256,
        "new_size": frame.object_size,
        "new_codec": frame.codec,
    }
