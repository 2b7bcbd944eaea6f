"""The objects of a job beside the rows that its units left: what is missing, and what has no row."""

from __future__ import annotations

from collections.abc import Iterator

from imaging_db.catalog import Catalog
from imaging_db.model import Claim, FrameCoords, UploadType
from imaging_db.model.job import Job
from imaging_db.stores.base import ObjectInfo, Store
from imaging_db.stores.layout import frame_coords, storage_dir


def claim_of(job: Job) -> Claim:
    """Return the claim under which a job writes its dataset."""
    return Claim(job.dataset_id, job.serial, job.token, resumed=True)


def directory_of(job: Job) -> str:
    """Return the prefix of a job's objects."""
    return storage_dir(UploadType.FRAMES, job.serial)


def lost_frames(catalog: Catalog, store: Store, job: Job) -> set[FrameCoords]:
    """Return the frames that have a row and no object of the recorded size; every object is looked at.

    In memory that is packed, unless some are lost.
    """
    known = catalog.stored_coords(claim_of(job))

    def right() -> Iterator[FrameCoords]:
        for coords, found in _objects(store, job):
            if coords is not None and known.get(coords, found.size) in (None, found.size):
                yield coords

    if sum(coords in known for coords in right()) == len(known):
        return set()
    return set(known).difference(right())


def without_row(catalog: Catalog, store: Store, job: Job) -> Iterator[ObjectInfo]:
    """Yield the objects below a job's prefix that no row tells of."""
    known = catalog.stored_coords(claim_of(job))
    for coords, found in _objects(store, job):
        if coords is None or coords not in known:
            yield found


def _objects(store: Store, job: Job) -> Iterator[tuple[FrameCoords | None, ObjectInfo]]:
    directory = directory_of(job)
    for found in store.list(directory):
        yield frame_coords(found.key[len(directory) + 1 :]), found
