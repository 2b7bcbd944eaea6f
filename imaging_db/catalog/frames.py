"""Frames and files: the rows of what a dataset holds, written in batches, read in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, bindparam, func, null, select, tuple_

from imaging_db.catalog import selections
from imaging_db.catalog.columns import Column
from imaging_db.catalog.datasets import AnyRow, as_object
from imaging_db.catalog.frame_rows import ORDER, READ, frame_columns, to_frame
from imaging_db.catalog.labels import Labels, channel_labels, position_labels
from imaging_db.catalog.rows import insert_rows
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FileRow, FrameRow
from imaging_db.errors import Conflict, DatasetNotFound
from imaging_db.model import (
    DatasetStatus,
    FrameCoords,
    FrameSelection,
    StoredFile,
    StoredFrame,
)

PAGE = 5000
STORED_PAGE = 20_000
SizedCoords: TypeAlias = "tuple[int, int, int, int, int | None]"
_LOOKUP = 1000
_TYPES = [column.type for column in ORDER]


def add_frames(connection: Connection, dataset_id: int, frames: Sequence[StoredFrame]) -> None:
    """Write rows of frames; one that is there already with the same pixels is left as it is.

    Raises
    ------
    Conflict
        A frame is there already, or comes twice, with other pixels; nothing was written.
    """
    shared = _shared(connection, dataset_id)
    if shared is None:
        raise Conflict(f"frame {frames[0].coords} has no place in a dataset of files")
    wanted = {frame.coords: frame for frame in frames}
    if len(wanted) != len(frames):
        _check_repeated(((frame.coords, frame.sha256) for frame in frames), "frame")
    if insert_rows(connection, FrameRow, frame_columns(list(wanted.values()), shared)):
        return
    known = _known_frames(connection, shared.id, list(wanted))
    missing = _missing(wanted, known, lambda frame: frame.sha256, "frame")
    insert_rows(connection, FrameRow, frame_columns(missing, shared))


def add_files(
    connection: Connection, dataset_id: int, files: Sequence[StoredFile], *, storage_dir: str
) -> None:
    """Write rows of files; one that is there already with the same content is left as it is.

    Raises
    ------
    Conflict
        A file is there already, or comes twice, with other content; nothing was written.
    """
    wanted = {file.name: file for file in files}
    _check_repeated(((file.name, file.sha256) for file in files), "file")
    columns = _file_columns(list(wanted.values()), dataset_id, storage_dir)
    if insert_rows(connection, FileRow, columns):
        return
    known = _known_files(connection, dataset_id)
    missing = _missing(wanted, known, lambda file: file.sha256, "file")
    insert_rows(connection, FileRow, _file_columns(missing, dataset_id, storage_dir))


def stored_page(
    connection: Connection, dataset_id: int, after: SizedCoords | None
) -> list[SizedCoords]:
    """Return up to `STORED_PAGE` coordinates with the size of the object, in their order, after one."""
    shared = _shared(connection, dataset_id)
    if shared is None:
        return []
    wanted = select(*ORDER, FrameRow.object_size).where(FrameRow.frames_global_id == shared.id)
    if after is not None:
        wanted = wanted.where(tuple_(*ORDER) > tuple_(*after[:4], types=_TYPES))
    rows = connection.execute(wanted.order_by(*ORDER).limit(STORED_PAGE))
    return [(c, z, t, p, size) for c, z, t, p, size in rows]


def stored_names(connection: Connection, dataset_id: int) -> dict[str, int | None]:
    """Return the size in bytes of every file that has a row."""
    rows = connection.execute(
        select(FileRow.file_name, FileRow.size)
        .where(FileRow.dataset_id == dataset_id)
        .order_by(FileRow.file_name)
    )
    return {name: size for name, size in rows}


def count_objects(connection: Connection, dataset_id: int) -> int:
    """Return how many frames and files of a dataset have a row."""
    files = select(func.count()).select_from(FileRow).where(FileRow.dataset_id == dataset_id)
    frames = count_frames(connection, dataset_id, FrameSelection())
    return frames + int(connection.scalar(files) or 0)


def amount(connection: Connection, dataset_id: int) -> tuple[int, int]:
    """Return how many frames and files of a dataset have a row, and the bytes that are recorded of them."""
    of_frames = (
        select(func.sum(FrameRow.object_size))
        .join(AcquisitionRow, FrameRow.frames_global_id == AcquisitionRow.id)
        .where(AcquisitionRow.dataset_id == dataset_id)
    )
    of_files = select(func.sum(FileRow.size)).where(FileRow.dataset_id == dataset_id)
    nbr_bytes = sum(int(connection.scalar(one) or 0) for one in (of_frames, of_files))
    return count_objects(connection, dataset_id), nbr_bytes


def count_frames(connection: Connection, dataset_id: int, selection: FrameSelection) -> int:
    """Return how many frames a selection means."""
    shared = _shared(connection, dataset_id)
    if shared is None:
        return 0
    wanted = select(func.count()).select_from(FrameRow)
    wanted = wanted.where(*selections.conditions(connection, shared.id, selection))
    return int(connection.scalar(wanted) or 0)


def channels(connection: Connection, dataset_id: int) -> Labels:
    """Return index and name of every channel that is present, by index."""
    shared = _shared(connection, dataset_id)
    return [] if shared is None else channel_labels(connection, shared.id)


def positions(connection: Connection, dataset_id: int) -> Labels:
    """Return index and name of every position that is present, by index."""
    shared = _shared(connection, dataset_id)
    return [] if shared is None else position_labels(connection, shared.id)


def frames_page(
    connection: Connection,
    dataset: AnyRow,
    selection: FrameSelection,
    *,
    after: FrameCoords | None,
    with_metadata: bool,
    where: Sequence[ColumnElement[bool]] = (),
) -> list[StoredFrame]:
    """Return up to `PAGE` frames, in the order of their names, that come after one; ``where`` narrows them.

    Raises
    ------
    DatasetNotFound
        The dataset was deleted or replaced since its first page was read.
    """
    check_still_there(connection, dataset)
    shared = _shared(connection, dataset.id)
    if shared is None:
        return []
    metadata = FrameRow.metadata_json if with_metadata else null()
    wanted = select(*ORDER, metadata, *READ).where(
        *selections.conditions(connection, shared.id, selection), *where
    )
    if after is not None:
        wanted = wanted.where(tuple_(*ORDER) > tuple_(*after, types=_TYPES))
    rows = connection.execute(wanted.order_by(*ORDER).limit(PAGE))
    return [to_frame(shared, *row) for row in rows]


def files_page(
    connection: Connection, dataset: AnyRow, after: StoredFile | None
) -> list[StoredFile]:
    """Return up to `PAGE` files by name that come after one; raises as `frames_page` does."""
    check_still_there(connection, dataset)
    statement = select(FileRow.file_name, FileRow.sha256, FileRow.size, FileRow.metadata_json)
    statement = statement.where(FileRow.dataset_id == dataset.id)
    if after is not None:
        statement = statement.where(FileRow.file_name > after.name)
    rows = connection.execute(statement.order_by(FileRow.file_name).limit(PAGE))
    return [
        StoredFile(row.file_name, row.sha256, row.size, as_object(row.metadata_json))
        for row in rows
    ]


_STATE = select(DatasetRow.status, DatasetRow.published_at).where(
    DatasetRow.id == bindparam("dataset")
)


def check_still_there(connection: Connection, dataset: AnyRow) -> None:
    """Refuse to go on reading a dataset that was deleted or replaced meanwhile.

    Without this, the rest of its pages would be empty, and a download would end early as if complete.
    """
    found = connection.execute(_STATE, {"dataset": dataset.id}).one_or_none()
    if found is None or tuple(found) != (DatasetStatus.READY.value, dataset.published_at):
        raise DatasetNotFound(f"{dataset.dataset_serial} was deleted while it was being read")


_SHARED = select(
    AcquisitionRow.id,
    AcquisitionRow.im_width,
    AcquisitionRow.im_height,
    AcquisitionRow.im_colors,
    AcquisitionRow.dtype,
).where(AcquisitionRow.dataset_id == bindparam("dataset"))


def _shared(connection: Connection, dataset_id: int) -> AnyRow | None:
    """Return what the frames of a dataset share, None for one of files."""
    return connection.execute(_SHARED, {"dataset": dataset_id}).one_or_none()


def _file_columns(
    files: Sequence[StoredFile], dataset_id: int, storage_dir: str
) -> dict[str, Column]:
    return {
        "storage_dir": [storage_dir] * len(files),
        "file_name": [file.name for file in files],
        "sha256": [file.sha256 for file in files],
        "metadata_json": [file.metadata for file in files],
        "size": [file.size for file in files],
        "dataset_id": [dataset_id] * len(files),
    }


def _check_repeated(found: Iterable[tuple[Any, str | None]], noun: str) -> None:
    """Let pass what comes twice only if it comes with the same hash."""
    hashes: dict[Any, str | None] = {}
    for name, sha256 in found:
        if hashes.setdefault(name, sha256) != sha256:
            raise Conflict(f"{noun} {name} comes twice, with different content")


def _missing(
    wanted: dict[Any, Any], known: dict[Any, Any], hash_of: Callable[[Any], str | None], noun: str
) -> list[Any]:
    for name in wanted.keys() & known.keys():
        if hash_of(wanted[name]) != known[name]:
            raise Conflict(f"{noun} {name} is there already, with other content")
    return [item for name, item in wanted.items() if name not in known]


def _known_files(connection: Connection, dataset_id: int) -> dict[str, str | None]:
    rows = connection.execute(
        select(FileRow.file_name, FileRow.sha256).where(FileRow.dataset_id == dataset_id)
    )
    return {name: sha256 for name, sha256 in rows}


def _known_frames(
    connection: Connection, acquisition_id: int, coords: Sequence[FrameCoords]
) -> dict[FrameCoords, str | None]:
    known: dict[FrameCoords, str | None] = {}
    for start in range(0, len(coords), _LOOKUP):
        rows = connection.execute(
            select(*ORDER, FrameRow.sha256).where(
                FrameRow.frames_global_id == acquisition_id,
                tuple_(*ORDER).in_([tuple(one) for one in coords[start : start + _LOOKUP]]),
            )
        )
        known |= {FrameCoords(c, z, t, p): sha256 for c, z, t, p, sha256 in rows}
    return known
