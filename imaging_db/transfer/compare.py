"""Is a source what a dataset holds already? Told by content, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from imaging_db.catalog import Catalog
from imaging_db.codecs import DEFAULT_CODEC
from imaging_db.model import (
    Dataset,
    FrameSelection,
    SourceFile,
    SourceFrame,
    UploadType,
    sha256_of_pixels,
)
from imaging_db.transfer.plan import UploadPlan
from imaging_db.transfer.pool import pooled
from imaging_db.transfer.store_object import sha256_of_file


def same_content(catalog: Catalog, existing: Dataset, plan: UploadPlan, *, workers: int) -> bool:
    """Return True where the plan's source has exactly the frames or files of a ready dataset.

    Compares the SHA-256 of every frame's pixels, or every file's bytes; stops at the first difference.
    """
    draft = plan.draft
    if existing.upload_type is not draft.upload_type or existing.nbr_objects != draft.nbr_objects:
        return False
    if draft.upload_type is UploadType.FILE:
        return _same_files(catalog, existing, plan, workers)
    return _same_frames(catalog, existing, plan, workers)


def kept_otherwise(existing: Dataset, plan: UploadPlan) -> tuple[str, ...]:
    """Return a note where a dataset that is there is kept with another codec than the plan asks for."""
    asked = plan.draft.codec
    unusual = plan.draft.fingerprint != plan.mark
    kept = existing.codec or (DEFAULT_CODEC if unusual else asked)
    same = asked == kept or existing.fingerprint == plan.draft.fingerprint
    if same or asked is None or existing.upload_type is not UploadType.FRAMES:
        return ()
    return (f"it is kept as {kept}, not as {asked}, and stays so as long as its pixels are these",)


def read_all(plan: UploadPlan, *, workers: int) -> None:
    """Read every frame or file of a source once, before what is there is given up for it.

    Raises
    ------
    ReaderError
        Something cannot be read.
    """
    if plan.reader is None:
        with closing(pooled(_hash_of, plan.files, workers=workers)) as results:
            for _ in results:
                pass
        return
    with plan.open() as reader:

        def read(frame: SourceFrame) -> int:
            return int(reader.read(frame).nbytes)

        with closing(pooled(read, reader.frames(), workers=workers)) as sizes:
            for _ in sizes:
                pass


def _hash_of(file: SourceFile) -> tuple[str, str]:
    return file.name, sha256_of_file(file.path)


def _same_files(catalog: Catalog, existing: Dataset, plan: UploadPlan, workers: int) -> bool:
    stored = {file.name: file.sha256 for file in catalog.files(existing.serial)}
    if set(stored) != {file.name for file in plan.files}:
        return False
    hashes = pooled(_hash_of, plan.files, workers=workers)
    with closing(hashes):
        return all(stored[name] == sha256 for name, sha256 in hashes)


def _same_frames(catalog: Catalog, existing: Dataset, plan: UploadPlan, workers: int) -> bool:
    everything = FrameSelection()
    rows = catalog.frames(existing.serial, everything, with_metadata=False)
    stored = {row.coords: row.sha256 for row in rows}
    with plan.open() as reader:

        def hashed(frame: SourceFrame) -> bool:
            return stored.get(frame.coords) == sha256_of_pixels(reader.read(frame))

        frames: Iterator[SourceFrame] = reader.frames()
        with closing(pooled(hashed, frames, workers=workers)) as results:
            return all(results)
