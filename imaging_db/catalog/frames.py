"""Frames and files: the rows of what a dataset holds, written in batches, read in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, func, null, select, tuple_

from imaging_db.catalog import selections
from imaging_db.catalog.datasets import AnyRow, as_object
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
_LOOKUP = 1000

_ORDER = (FrameRow.channel_idx, FrameRow.slice_idx, FrameRow.time_idx, FrameRow.pos_idx)
_FRAME_COLUMNS = (
    "channel_idx",
    "slice_idx",
    "time_idx",
    "pos_idx",
    "channel_name",
    "file_name",
    "sha256",
    "metadata_json",
    "object_sha256",
    "object_size",
    "codec",
    "position_name",
    "width",
    "height",
    "colors",
    "dtype",
    "frames_global_id",
)
_FILE_COLUMNS = ("storage_dir", "file_name", "sha256", "metadata_json", "size", "dataset_id")


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
    wanted = _distinct(((frame.coords, frame.sha256, frame) for frame in frames), "frame")
    if insert_rows(connection, FrameRow, _FRAME_COLUMNS, _frame_rows(wanted.values(), shared)):
        return
    known = _known_frames(connection, shared.id, list(wanted))
    missing = _missing(wanted, known, lambda frame: frame.sha256, "frame")
    insert_rows(connection, FrameRow, _FRAME_COLUMNS, _frame_rows(missing, shared))


def add_files(
    connection: Connection, dataset_id: int, files: Sequence[StoredFile], *, storage_dir: str
) -> None:
    """Write rows of files; one that is there already with the same content is left as it is.

    Raises
    ------
    Conflict
        A file is there already, or comes twice, with other content; nothing was written.
    """
    wanted = _distinct(((file.name, file.sha256, file) for file in files), "file")
    rows = _file_rows(wanted.values(), dataset_id, storage_dir)
    if insert_rows(connection, FileRow, _FILE_COLUMNS, rows):
        return
    known = _known_files(connection, dataset_id)
    missing = _missing(wanted, known, lambda file: file.sha256, "file")
    insert_rows(connection, FileRow, _FILE_COLUMNS, _file_rows(missing, dataset_id, storage_dir))


def stored_coords(connection: Connection, dataset_id: int) -> dict[FrameCoords, int | None]:
    """Return the size in bytes of the stored object of every frame that has a row."""
    wanted = select(*_ORDER, FrameRow.object_size).where(_of_dataset(connection, dataset_id))
    rows = connection.execute(wanted.order_by(*_ORDER))
    return {FrameCoords(c, z, t, p): size for c, z, t, p, size in rows}


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


def count_frames(connection: Connection, dataset_id: int, selection: FrameSelection) -> int:
    """Return how many frames a selection means."""
    wanted = select(func.count()).select_from(FrameRow)
    wanted = wanted.where(_of_dataset(connection, dataset_id), *selections.conditions(selection))
    return int(connection.scalar(wanted) or 0)


def channels(connection: Connection, dataset_id: int) -> list[tuple[int, str | None]]:
    """Return index and name of every channel that is present, by index."""
    return _labels(connection, dataset_id, FrameRow.channel_idx, FrameRow.channel_name, _ORDER)


def positions(connection: Connection, dataset_id: int) -> list[tuple[int, str | None]]:
    """Return index and name of every position that is present, by index."""
    order = (FrameRow.pos_idx, FrameRow.time_idx, FrameRow.channel_idx, FrameRow.slice_idx)
    return _labels(connection, dataset_id, FrameRow.pos_idx, FrameRow.position_name, order)


def _labels(
    connection: Connection, dataset_id: int, index: Any, name: Any, order: Sequence[Any]
) -> list[tuple[int, str | None]]:
    """Return distinct indices with their names; steps along the database's index, not over every frame."""
    step = select(index, name).order_by(*order).limit(1)
    step = step.where(_of_dataset(connection, dataset_id))
    found: list[tuple[int, str | None]] = []
    row = connection.execute(step).one_or_none()
    while row is not None:
        found.append((row[0], row[1]))
        row = connection.execute(step.where(index > row[0])).one_or_none()
    return found


def frames_page(
    connection: Connection,
    dataset: AnyRow,
    selection: FrameSelection,
    *,
    after: FrameCoords | None,
    with_metadata: bool,
) -> list[StoredFrame]:
    """Return up to `PAGE` frames, in the order of their names, that come after one.

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
    wanted = select(*_ORDER, metadata, *_READ).where(
        FrameRow.frames_global_id == shared.id, *selections.conditions(selection)
    )
    if after is not None:
        wanted = wanted.where(tuple_(*_ORDER) > tuple_(*after, types=_ORDER_TYPES))
    rows = connection.execute(wanted.order_by(*_ORDER).limit(PAGE))
    return [_to_frame(shared, *row) for row in rows]


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


def check_still_there(connection: Connection, dataset: AnyRow) -> None:
    """Refuse to go on reading a dataset that was deleted or replaced meanwhile.

    Without this, the rest of its pages would be empty, and a download would end early as if complete.
    """
    found = connection.execute(
        select(DatasetRow.status, DatasetRow.published_at).where(DatasetRow.id == dataset.id)
    ).one_or_none()
    if found is None or tuple(found) != (DatasetStatus.READY.value, dataset.published_at):
        raise DatasetNotFound(f"{dataset.dataset_serial} was deleted while it was being read")


_ORDER_TYPES = [column.type for column in _ORDER]
_READ = (
    FrameRow.channel_name,
    FrameRow.file_name,
    FrameRow.sha256,
    FrameRow.object_sha256,
    FrameRow.object_size,
    FrameRow.codec,
    FrameRow.position_name,
    FrameRow.width,
    FrameRow.height,
    FrameRow.colors,
    FrameRow.dtype,
)


def _shared(connection: Connection, dataset_id: int) -> AnyRow | None:
    """Return what the frames of a dataset share, None for one of files."""
    return connection.execute(
        select(
            AcquisitionRow.id,
            AcquisitionRow.im_width,
            AcquisitionRow.im_height,
            AcquisitionRow.im_colors,
            AcquisitionRow.dtype,
        ).where(AcquisitionRow.dataset_id == dataset_id)
    ).one_or_none()


def _of_dataset(connection: Connection, dataset_id: int) -> ColumnElement[bool]:
    """Return the condition that a frame is of a dataset.

    With the id itself in it, rather than a join, the database takes both order and frames from an index.
    """
    shared = _shared(connection, dataset_id)
    return false() if shared is None else FrameRow.frames_global_id == shared.id


def _to_frame(
    shared: Any,
    c: int,
    z: int,
    t: int,
    p: int,
    metadata: Any,
    channel_name: str | None,
    file_name: str,
    sha256: str | None,
    object_sha256: str | None,
    object_size: int | None,
    codec: str | None,
    position_name: str | None,
    width: int | None,
    height: int | None,
    colors: int | None,
    dtype: str | None,
) -> StoredFrame:
    """Return a frame from `_ORDER`, its metadata and `_READ`; what is NULL there is its dataset's."""
    return StoredFrame(
        coords=FrameCoords(c, z, t, p),
        file_name=file_name,
        sha256=sha256,
        object_sha256=object_sha256,
        object_size=object_size,
        codec=codec,
        width=shared.im_width if width is None else width,
        height=shared.im_height if height is None else height,
        colors=shared.im_colors if colors is None else colors,
        dtype=shared.dtype if dtype is None else dtype,
        channel_name=channel_name,
        position_name=position_name,
        metadata=as_object(metadata),
    )


def _frame_rows(frames: Iterable[StoredFrame], shared: AnyRow) -> Iterable[tuple[Any, ...]]:
    """Yield values in the order of `_FRAME_COLUMNS`; what all frames share is left to their dataset."""
    for frame in frames:
        yield (
            *frame.coords,
            frame.channel_name,
            frame.file_name,
            frame.sha256,
            frame.metadata,
            frame.object_sha256,
            frame.object_size,
            frame.codec,
            frame.position_name,
            None if frame.width == shared.im_width else frame.width,
            None if frame.height == shared.im_height else frame.height,
            None if frame.colors == shared.im_colors else frame.colors,
            None if frame.dtype == shared.dtype else frame.dtype,
            shared.id,
        )


def _file_rows(
    files: Iterable[StoredFile], dataset_id: int, storage_dir: str
) -> Iterable[tuple[Any, ...]]:
    for file in files:
        yield (storage_dir, file.name, file.sha256, file.metadata, file.size, dataset_id)


def _distinct(found: Iterable[tuple[Any, str | None, Any]], noun: str) -> dict[Any, Any]:
    """Return the items by name; one that comes twice must come with the same hash."""
    items: dict[Any, Any] = {}
    hashes: dict[Any, str | None] = {}
    for name, sha256, item in found:
        if hashes.setdefault(name, sha256) != sha256:
            raise Conflict(f"{noun} {name} comes twice, with different content")
        items[name] = item
    return items


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
            select(*_ORDER, FrameRow.sha256).where(
                FrameRow.frames_global_id == acquisition_id,
                tuple_(*_ORDER).in_([tuple(one) for one in coords[start : start + _LOOKUP]]),
            )
        )
        known |= {FrameCoords(c, z, t, p): sha256 for c, z, t, p, sha256 in rows}
    return known
