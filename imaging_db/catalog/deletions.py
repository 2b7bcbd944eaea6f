"""Deletions: out of sight first; the rows go only once the objects are gone.

One run at a time deletes a dataset: it holds a claim, so that a slower one cannot take the objects of what
was uploaded again meanwhile.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.orm import aliased

from imaging_db.catalog import claims, datasets
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import UtcNow
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FileRow, FrameRow
from imaging_db.errors import Conflict, DatasetNotFound
from imaging_db.model import Claim, Dataset, DatasetStatus

_DELETING = DatasetStatus.DELETING.value
_DELETED_AT_ONCE = 20_000


def begin(
    connection: Connection, serial: str, *, token: str, stale_after: float, evict: str | None
) -> tuple[Dataset, Claim]:
    """Take a dataset out of sight; return it and the claim on its deletion. The same token may repeat.

    Raises
    ------
    DatasetNotFound
        There is none.
    DatasetBusy
        Someone alive uploads or deletes it.
    Conflict
        It is the parent of another, or another one's rows point to the same objects.
    """
    found = claims.locked(connection, DatasetRow.dataset_serial == serial)
    if found is None:
        datasets.ready_row(connection, serial)  # raises, with the serials that are near
        raise DatasetNotFound(f"there is no dataset {serial!r}")
    claims.refuse_others(found, token, stale_after, evict)
    _check_unshared(connection, found)
    connection.execute(
        update(DatasetRow)
        .where(DatasetRow.id == found.id)
        .values(status=_DELETING, claim_token=token, claim_heartbeat=UtcNow())
    )
    return datasets.by_id(connection, found.id), Claim(found.id, serial, token, resumed=False)


def finish(connection: Connection, claim: Claim) -> bool:
    """Delete rows of a dataset whose deletion is claimed; return True once none is left.

    At most `_DELETED_AT_ONCE` rows go in one transaction, so that no one waits long for it.

    Raises
    ------
    DatasetBusy
        The claim is lost.
    Conflict
        The claim is one to upload: its deletion was never begun.
    """
    found = claims.locked(connection, DatasetRow.dataset_serial == claim.serial)
    if found is None:
        return True
    if found.claim_token == claim.token and found.status != _DELETING:
        raise Conflict(f"{claim.serial} is {found.status}", hint="begin its deletion first")
    claims.renew(connection, claim)
    if _delete_some(connection, found.id):
        return False
    connection.execute(delete(DatasetRow).where(DatasetRow.id == found.id))
    return True


def _check_unshared(connection: Connection, found: AnyRow) -> None:
    child = aliased(DatasetRow)
    children = connection.scalars(
        select(child.dataset_serial).where(child.parent_id == found.id).order_by(child.id).limit(3)
    ).all()
    if children:
        raise Conflict(
            f"{found.dataset_serial} is the parent of {', '.join(children)}",
            hint="it cannot be taken away while they exist",
        )
    sharing = connection.scalars(
        select(child.dataset_serial)
        .where(
            child.storage_dir == found.storage_dir,
            child.storage.is_not_distinct_from(found.storage),
            child.storage_access.is_not_distinct_from(found.storage_access),
            child.id != found.id,
        )
        .limit(3)
    ).all()
    if sharing:
        raise Conflict(
            f"{found.dataset_serial} has the same objects as {', '.join(sharing)}",
            hint="deleting one would damage the other",
        )


def _delete_some(connection: Connection, dataset_id: int) -> bool:
    """Delete some frames or files of a dataset; return False where none was left."""
    acquisition = select(AcquisitionRow.id).where(AcquisitionRow.dataset_id == dataset_id)
    some_frames = (
        select(FrameRow.id)
        .where(FrameRow.frames_global_id == acquisition.scalar_subquery())
        .limit(_DELETED_AT_ONCE)
    )
    some_files = select(FileRow.id).where(FileRow.dataset_id == dataset_id).limit(_DELETED_AT_ONCE)
    gone = connection.execute(delete(FrameRow).where(FrameRow.id.in_(some_frames))).rowcount
    gone += connection.execute(delete(FileRow).where(FileRow.id.in_(some_files))).rowcount
    return gone > 0
