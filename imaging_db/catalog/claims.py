"""Claims: the right to write one dataset, from the pending row to the ready one, or to delete it.

Every function runs in one transaction of its caller and may run again after that was lost. Whether a claim
is alive is told by the database's clock alone: computers at microscopes are often minutes off.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Update, bindparam, delete, func, select, update

from imaging_db.catalog import datasets, frames, live_jobs, quality, serials
from imaging_db.catalog.acquisitions import write_acquisition
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import SecondsSince, UtcNow
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FileRow
from imaging_db.errors import (
    CatalogUnavailable,
    ConfigError,
    DatasetBusy,
    DatasetExists,
    IntegrityError,
)
from imaging_db.model import (
    Claim,
    Dataset,
    DatasetDraft,
    DatasetStatus,
    UploadType,
)

STALE_AFTER = 60.0
"""Seconds without a sign of life after which a claim may be taken over."""

_PENDING = DatasetStatus.PENDING.value
_READY = DatasetStatus.READY.value
_DELETING = DatasetStatus.DELETING.value
_CLAIMED = (_PENDING, _DELETING)
_ROWS_A_SECOND = 20_000.0
"""Rows that are counted and compared in a second at the least, on a database that has much to do."""
_ATTEMPTS = 5
_FIRST_CODEC = "png"  # of rows that are older than the choice


def _change(statuses: Sequence[str], **values: Any) -> Update:
    """Return a change of the dataset that is claimed; made once, because building costs more than doing."""
    mine = (DatasetRow.id == bindparam("claimed"), DatasetRow.claim_token == bindparam("owner"))
    return update(DatasetRow).where(*mine, DatasetRow.status.in_(statuses)).values(**values)


_HOLD = _change((_PENDING,), claim_heartbeat=UtcNow())
_RENEW = _change(_CLAIMED, claim_heartbeat=UtcNow())
_RELEASE = _change(_CLAIMED, claim_token=None, claim_heartbeat=None)
_WITHDRAW = _change(_CLAIMED, status=_DELETING, nbr_objects=0, claim_heartbeat=UtcNow())
_PUBLISH = _change((_PENDING,), status=_READY, published_at=UtcNow(), claim_heartbeat=None)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A dataset that no one can see: pending or being deleted, and how far it came.

    ``owner`` is the token of the claim, None where nobody holds one; ``seconds_ago`` is when its owner was
    last heard of, by the database's clock, ``age`` when its row was made; ``stored`` counts the frames or
    files that have a row. ``job`` is the id of the live job that holds it, however long ago that was.
    """

    dataset: Dataset
    owner: str | None
    seconds_ago: float | None
    stored: int
    age: float | None = None
    job: int | None = None


def take(
    connection: Connection,
    draft: DatasetDraft,
    *,
    token: str,
    stale_after: float,
    evict: str | None,
) -> Claim:
    """Return the claim on a new dataset, or on a pending one that nobody alive holds.

    Raises
    ------
    ConfigError
        The parent does not exist, or its upload is not complete.
    DatasetBusy, DatasetExists
        Someone alive holds it; it is ready, or being deleted.
    Conflict
        Its serial is new and differs only by case from another.
    """
    parent_id = _parent_id(connection, draft)
    serials.lock(connection, draft.serial)
    described = _described(draft, token, parent_id)
    for _ in range(_ATTEMPTS):
        if insert_dataset(connection, dataset_serial=draft.serial, **described):
            serials.require_distinct(connection, draft.serial)
            dataset_id = id_of(connection, draft.serial)
            write_acquisition(connection, dataset_id, draft)
            return Claim(dataset_id, draft.serial, token, resumed=False)
        found = locked(connection, DatasetRow.dataset_serial == draft.serial)
        if found is not None:  # else it was deleted just now
            _check_free(connection, found, token, stale_after, evict)
            return _take_over(connection, found, draft, token, parent_id)
    raise CatalogUnavailable(f"{draft.serial} comes and goes", hint="rerun later")


def hold(connection: Connection, claim: Claim) -> None:
    """Renew a claim to upload, and keep others from taking it over until the transaction ends.

    Raises
    ------
    DatasetBusy
        The claim is lost; nothing may be written.
    """
    _fenced(connection, claim, _HOLD)


def renew(connection: Connection, claim: Claim) -> None:
    """Renew a claim, to upload or to delete; otherwise as `hold`."""
    _fenced(connection, claim, _RENEW)


def release(connection: Connection, claim: Claim) -> None:
    """Give a claim back; status and rows stay for the next run. Raises `DatasetBusy` where it is lost."""
    _fenced(connection, claim, _RELEASE)


def withdraw(connection: Connection, claim: Claim) -> None:
    """Make a claim to upload one to delete a row without objects; raises as `renew`: the row is another's."""
    _fenced(connection, claim, _WITHDRAW)


def publish(connection: Connection, claim: Claim) -> Dataset | None:
    """Make a dataset visible and return it, if every object that was announced has a row.

    None says that this took too long for one transaction: the next call goes on with it.

    Raises
    ------
    IntegrityError
        The counts differ; it stays pending.
    DatasetBusy
        The claim is lost.
    """
    found = locked(connection, DatasetRow.id == claim.dataset_id)
    if found is not None and found.status == _READY and found.claim_token == claim.token:
        return datasets.by_id(
            connection, claim.dataset_id
        )  # done; the answer to its COMMIT was lost
    hold(connection, claim)
    stored = frames.count_objects(connection, claim.dataset_id)
    if found is None or stored != found.nbr_objects:
        raise IntegrityError(
            f"{claim.serial} has {stored} of {found.nbr_objects if found else 0} objects",
            hint="rerun the upload",
        )
    if not quality.mark_repeats(connection, claim.dataset_id):
        return None
    _fenced(connection, claim, _PUBLISH)
    return datasets.by_id(connection, claim.dataset_id)


def seconds_to_publish(nbr_objects: int) -> float:
    """Return how much longer than other transactions publishing so many objects may take."""
    return nbr_objects / _ROWS_A_SECOND


def unfinished(connection: Connection) -> list[Unfinished]:
    """Return every dataset that is not ready, by serial."""
    statement = datasets.select_datasets().add_columns(
        DatasetRow.claim_token,
        SecondsSince(DatasetRow.claim_heartbeat).label("seconds_ago"),
        SecondsSince(DatasetRow.created_at).label("age"),
    )
    rows = connection.execute(
        statement.where(DatasetRow.status != _READY).order_by(DatasetRow.dataset_serial)
    ).all()
    jobs = live_jobs.numbers(connection)
    return [
        Unfinished(
            datasets.to_dataset(row),
            None if row.seconds_ago is None else row.claim_token,
            row.seconds_ago,
            frames.count_objects(connection, row.id),
            row.age,
            jobs.get(row.claim_token),
        )
        for row in rows
    ]


def locked(connection: Connection, which: Any) -> AnyRow | None:
    """Return a dataset's row and keep it from changing until the transaction ends."""
    return connection.execute(
        select(DatasetRow.__table__, SecondsSince(DatasetRow.claim_heartbeat).label("seconds_ago"))
        .where(which)
        .with_for_update()
    ).one_or_none()


def alive(found: AnyRow, stale_after: float) -> bool:
    """Return True where a claim's owner was heard of; a heartbeat far ahead is of a clock since set back."""
    return found.claim_heartbeat is not None and abs(found.seconds_ago) < stale_after


def refuse_others(
    connection: Connection, found: AnyRow, token: str, stale_after: float, evict: str | None
) -> None:
    """Raise `DatasetBusy` where someone alive holds a row, and is neither ``token`` nor ``evict``.

    A job that is not over holds its dataset even while nobody works on it.
    """
    if found.claim_token in (token, evict):
        return
    job = live_jobs.number_of(connection, found.claim_token)
    if job is not None:
        raise live_jobs.busy(found.dataset_serial, job)
    if alive(found, stale_after):
        raise _busy(found.dataset_serial, found.status, found.claim_token, found.seconds_ago)


def _busy(serial: str, status: str, owner: str, seconds_ago: float) -> DatasetBusy:
    busy = DatasetBusy(serial, owner, max(0.0, seconds_ago))
    if status == _DELETING:
        busy.message = busy.message.replace("is being uploaded by", "is being deleted by", 1)
    return busy


def _parent_id(connection: Connection, draft: DatasetDraft) -> int | None:
    """Return the parent's id, and keep it from being deleted until the transaction ends."""
    if draft.parent_serial is None:
        return None
    row = connection.execute(
        select(DatasetRow.id, DatasetRow.status)
        .where(DatasetRow.dataset_serial == draft.parent_serial)
        .with_for_update(read=True)
    ).one_or_none()
    if row is not None and row.status == _READY:
        return int(row.id)
    why = "does not exist" if row is None else f"is not complete ({row.status})"
    raise ConfigError(
        f"{draft.serial}: parent_dataset_id: {draft.parent_serial} {why}",
        hint="upload the parent first",
    )


def _insert_of(dialect: str) -> Any:
    """Return the INSERT that knows ON CONFLICT; the other database's module is not imported."""
    return importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert


def insert_dataset(connection: Connection, **values: Any) -> bool:
    """Insert the row of a new dataset; return False where its serial is taken."""
    insert = _insert_of(connection.dialect.name)
    result = connection.execute(
        insert(DatasetRow.__table__)
        .values(**values, created_at=UtcNow())
        .on_conflict_do_nothing(index_elements=["dataset_serial"])
    )
    return bool(result.rowcount)


def _described(draft: DatasetDraft, token: str, parent_id: int | None) -> dict[str, Any]:
    return {
        "description": draft.description,
        "microscope": draft.microscope,
        "frames": draft.upload_type is UploadType.FRAMES,
        "date_time": draft.acquired_at,
        "parent_id": parent_id,
        "status": _PENDING,
        "fingerprint": draft.fingerprint,
        "claim_token": token,
        "claim_heartbeat": UtcNow(),
        "storage": draft.storage,
        "storage_access": draft.storage_access,
        "storage_dir": draft.storage_dir,
        "nbr_objects": draft.nbr_objects,
        "metadata_json": draft.metadata,
    }


def id_of(connection: Connection, serial: str) -> int:
    """Return the id of a dataset whose row is there."""
    found = connection.scalar(select(DatasetRow.id).where(DatasetRow.dataset_serial == serial))
    return int(found or 0)


def _check_free(
    connection: Connection, found: AnyRow, token: str, stale_after: float, evict: str | None
) -> None:
    refuse_others(connection, found, token, stale_after, evict)
    if found.status == _PENDING:
        return
    exists = DatasetExists(found.dataset_serial, datasets.by_id(connection, found.id))
    if found.status == _DELETING:
        exists.message = f"{found.dataset_serial} is being deleted, or was when a run stopped"
        exists.hint = "finish that with imaging-db delete, or upload with --overwrite"
    raise exists


def _take_over(
    connection: Connection, found: AnyRow, draft: DatasetDraft, token: str, parent_id: int | None
) -> Claim:
    """Make a pending dataset ours; rows of the same source stay, those of another go.

    Where no row stays, nothing tells whose objects may lie in the store: the caller has to remove them.
    """
    resumed = _same_plan(connection, found, draft) and _has_rows(connection, found.id)
    if not resumed:
        _clear(connection, found.id)
    connection.execute(
        update(DatasetRow)
        .where(DatasetRow.id == found.id)
        .values(**_described(draft, token, parent_id))
    )
    write_acquisition(connection, found.id, draft)
    return Claim(found.id, found.dataset_serial, token, resumed=resumed, cleared=not resumed)


def _same_plan(connection: Connection, found: AnyRow, draft: DatasetDraft) -> bool:
    """Return True where the rows that are there are rows of this draft: same source, same place, same form."""
    there = (
        found.fingerprint,
        found.storage,
        found.storage_access,
        found.storage_dir,
        found.nbr_objects,
        found.frames,
    )
    wanted = (
        draft.fingerprint,
        draft.storage,
        draft.storage_access,
        draft.storage_dir,
        draft.nbr_objects,
        draft.upload_type is UploadType.FRAMES,
    )
    return there == wanted and _same_form(connection, found.id, draft)


def _same_form(connection: Connection, dataset_id: int, draft: DatasetDraft) -> bool:
    acquisition = draft.acquisition
    row = connection.execute(
        select(
            AcquisitionRow.im_height,
            AcquisitionRow.im_width,
            AcquisitionRow.im_colors,
            AcquisitionRow.dtype,
            func.coalesce(AcquisitionRow.codec, _FIRST_CODEC),
        ).where(AcquisitionRow.dataset_id == dataset_id)
    ).one_or_none()
    if row is None or acquisition is None:
        return row is None and acquisition is None
    return tuple(row) == (
        acquisition.height,
        acquisition.width,
        acquisition.colors,
        acquisition.dtype,
        draft.codec or _FIRST_CODEC,
    )


def _has_rows(connection: Connection, dataset_id: int) -> bool:
    return frames.count_objects(connection, dataset_id) > 0


def _clear(connection: Connection, dataset_id: int) -> None:
    connection.execute(delete(AcquisitionRow).where(AcquisitionRow.dataset_id == dataset_id))
    connection.execute(delete(FileRow).where(FileRow.dataset_id == dataset_id))


def _fenced(connection: Connection, claim: Claim, change: Update) -> None:
    """Change a dataset only while the claim is ours, so that no owner of the past can write."""
    changed = connection.execute(change, {"claimed": claim.dataset_id, "owner": claim.token})
    if not changed.rowcount:
        raise _lost(connection, claim)


def _lost(connection: Connection, claim: Claim) -> DatasetBusy:
    """Return what became of a dataset whose claim is another's now."""
    row = connection.execute(
        select(
            DatasetRow.status, DatasetRow.claim_token, SecondsSince(DatasetRow.claim_heartbeat)
        ).where(DatasetRow.dataset_serial == claim.serial)
    ).one_or_none()
    status, owner, seconds_ago = row or (None, None, None)
    busy = DatasetBusy(claim.serial, owner or "another run", seconds_ago or 0.0)
    became = {None: "was deleted by another run", _READY: "was uploaded by another run"}
    busy.message = f"{claim.serial} {became.get(status, 'was taken over by another run')} meanwhile"
    busy.hint = "rerun later"
    return busy
