"""Deletions: out of sight first; the rows go only once the objects are gone.

One run at a time deletes a dataset: it holds a claim, so that a slower one cannot take the objects of what
was uploaded again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, true, update
from sqlalchemy.orm import InstrumentedAttribute, aliased

from imaging_db.catalog import claims, datasets, frames, serials
from imaging_db.catalog.annotations import forget
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import UtcNow
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FileRow, FrameRow
from imaging_db.errors import CatalogUnavailable, Conflict, DatasetExists, DatasetNotFound
from imaging_db.model import Claim, Dataset, DatasetStatus, UploadType

_READY = DatasetStatus.READY.value
_DELETING = DatasetStatus.DELETING.value
_DELETED_AT_ONCE = 20_000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Deletable:
    """A dataset that may be deleted, and what its rows say of its objects: how many, and their bytes."""

    dataset: Dataset
    stored: int
    nbr_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects of no dataset lie: the serial that their folder spells, and the store they are in."""

    serial: str
    upload_type: UploadType
    storage: str
    storage_access: str
    storage_dir: str


def preview(
    connection: Connection,
    serial: str,
    *,
    token: str,
    stale_after: float,
    evict: str | None,
    besides: Collection[str],
) -> Deletable:
    """Return what `begin` would take; raises as it does. ``besides`` are children that will go before."""
    found = _free(connection, serial, token=token, stale_after=stale_after, evict=evict)
    _check_unshared(connection, found, besides)
    stored, nbr_bytes = frames.amount(connection, found.id)
    return Deletable(datasets.by_id(connection, found.id), stored, nbr_bytes)


def begin(
    connection: Connection,
    serial: str,
    *,
    token: str,
    stale_after: float,
    evict: str | None,
    unfinished_only: bool = False,
    shown: Dataset | None = None,
) -> tuple[Dataset, Claim]:
    """Take a dataset out of sight; return it and the claim on its deletion. The same token may repeat.

    Raises
    ------
    DatasetNotFound
        There is none, or not any more the one that was ``shown``.
    DatasetBusy
        Someone alive uploads or deletes it.
    DatasetExists
        It is ready, and ``unfinished_only`` asks for one that is not.
    Conflict
        It is the parent of another, or another one's rows point to the same objects.
    """
    found = _free(connection, serial, token=token, stale_after=stale_after, evict=evict)
    if unfinished_only and found.status == _READY:
        raise DatasetExists(serial, datasets.by_id(connection, found.id))
    if shown is not None and found.published_at != shown.published_at:
        raise _replaced(serial)
    _check_unshared(connection, found)
    connection.execute(
        update(DatasetRow)
        .where(DatasetRow.id == found.id)
        .values(status=_DELETING, claim_token=token, claim_heartbeat=UtcNow())
    )
    return datasets.by_id(connection, found.id), Claim(found.id, serial, token, resumed=False)


def reserve(
    connection: Connection, place: Place, *, token: str, stale_after: float, evict: str | None
) -> Claim:
    """Return a claim on a serial that the catalog does not know: nobody can upload there until `finish`.

    The same token may repeat.

    Raises
    ------
    DatasetBusy
        Someone alive uploads or deletes that serial by now.
    DatasetExists
        The catalog knows it by now.
    Conflict
        A dataset is there whose serial differs only by case.
    """
    serials.lock(connection, place.serial)
    if claims.insert_dataset(
        connection,
        dataset_serial=place.serial,
        frames=place.upload_type is UploadType.FRAMES,
        status=_DELETING,
        claim_token=token,
        claim_heartbeat=UtcNow(),
        storage=place.storage,
        storage_access=place.storage_access,
        storage_dir=place.storage_dir,
        nbr_objects=0,
        metadata_json={},
    ):
        serials.require_distinct(connection, place.serial)
        return Claim(claims.id_of(connection, place.serial), place.serial, token, resumed=False)
    found = claims.locked(connection, DatasetRow.dataset_serial == place.serial)
    if found is None:
        raise CatalogUnavailable(f"{place.serial} comes and goes", hint="rerun later")
    if (
        found.status == _DELETING and found.claim_token == token
    ):  # the answer to its COMMIT was lost
        return Claim(found.id, place.serial, token, resumed=False)
    claims.refuse_others(connection, found, token, stale_after, evict)
    raise DatasetExists(place.serial, datasets.by_id(connection, found.id))


def while_ready(connection: Connection, dataset: Dataset, work: Callable[[], None]) -> None:
    """Call ``work`` while a ready dataset can be neither deleted nor replaced; maybe more than once.

    Raises
    ------
    DatasetNotFound
        It is not any more what it was; nothing was called.
    """
    found = claims.locked(connection, DatasetRow.dataset_serial == dataset.serial)
    same = found is not None and found.status == _READY
    if not same or found.published_at != dataset.published_at:  # type: ignore[union-attr]
        raise _replaced(dataset.serial)
    work()


def finish(connection: Connection, claim: Claim, *, with_annotations: bool = False) -> bool:
    """Delete rows of a dataset whose deletion is claimed; return True once none is left.

    At most `_DELETED_AT_ONCE` rows go in one transaction, so that no one waits long for it. The last takes
    the dataset's own, and ``with_annotations`` what people said of it.

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
    if with_annotations:
        forget(connection, claim.serial)
    return True


def _free(
    connection: Connection, serial: str, *, token: str, stale_after: float, evict: str | None
) -> AnyRow:
    """Return the row of a dataset that nobody alive holds, and keep it from changing."""
    found = claims.locked(connection, DatasetRow.dataset_serial == serial)
    if found is None:
        datasets.ready_row(connection, serial)  # raises, with the serials that are near
        raise DatasetNotFound(f"there is no dataset {serial!r}")
    claims.refuse_others(connection, found, token, stale_after, evict)
    return found


def _replaced(serial: str) -> DatasetNotFound:
    return DatasetNotFound(f"{serial} was deleted or replaced meanwhile")


def _check_unshared(
    connection: Connection, found: AnyRow, besides: Collection[str] = frozenset()
) -> None:
    if found.status == _DELETING and not found.nbr_objects:
        return  # a reservation: only its row goes
    if not found.storage_dir.strip("/"):
        raise Conflict(
            f"the row of {found.dataset_serial} names no folder of the store",
            hint="it would be everything: restore the catalog from a backup",
        )
    _check_childless(connection, found, besides)
    sharing = _named(
        connection, found, func.rtrim(DatasetRow.storage_dir, "/") == found.storage_dir.rstrip("/")
    )
    if sharing:
        raise Conflict(
            f"{found.dataset_serial} has the same objects as {', '.join(sharing)}",
            hint="deleting one would damage the other",
        )
    nested = _named(connection, found, _is_nested(found.storage_dir.rstrip("/")))
    if nested:
        raise Conflict(
            f"the folder {found.storage_dir} of {found.dataset_serial} lies around or inside that of "
            f"{', '.join(nested)}",
            hint="deleting one would damage the other",
        )


def _check_childless(connection: Connection, found: AnyRow, besides: Collection[str]) -> None:
    child = aliased(DatasetRow)
    known = connection.scalars(
        select(child.dataset_serial)
        .where(child.parent_id == found.id)
        .order_by(child.id)
        .limit(_NAMED + 1 + len(besides))
    )
    children = [serial for serial in known if serial not in besides]
    if children:
        more = " and others" if len(children) > _NAMED else ""
        which = "that one" if len(children) == 1 else "those"
        raise Conflict(
            f"{found.dataset_serial} is the parent of {', '.join(children[:_NAMED])}{more}",
            hint=f"delete {which} first, or name all in one command",
        )


def _named(connection: Connection, found: AnyRow, lies: ColumnElement[bool]) -> Sequence[str]:
    """Return some other datasets, maybe of the same store, whose folders lie so."""
    return connection.scalars(
        select(DatasetRow.dataset_serial)
        .where(
            lies,
            _same_or_unknown(DatasetRow.storage, found.storage),
            _same_or_unknown(DatasetRow.storage_access, found.storage_access),
            DatasetRow.id != found.id,
        )
        .order_by(DatasetRow.id)
        .limit(_NAMED)
    ).all()


def _is_nested(directory: str) -> ColumnElement[bool]:
    """A folder inside another: no LIKE, because names hold its wildcards."""
    other = func.rtrim(DatasetRow.storage_dir, "/") + "/"
    inside = func.substr(DatasetRow.storage_dir, 1, len(directory) + 1) == f"{directory}/"
    return or_(inside, func.substr(f"{directory}/", 1, func.length(other)) == other)


def _same_or_unknown(
    column: InstrumentedAttribute[str | None], known: str | None
) -> ColumnElement[bool]:
    """Rows of imagingDB do not say in which store they are."""
    return true() if known is None else or_(column.is_(None), column == known)


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
