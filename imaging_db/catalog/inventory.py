"""The inventory of a dataset: which objects its rows promise, and whether the rows agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from imaging_db.catalog import frames
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.frames import check_still_there
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FileRow, FrameRow
from imaging_db.model import DatasetStatus, FrameSelection

PAGE = 50_000

_AXES = (
    (FrameRow.channel_idx, AcquisitionRow.nbr_channels, "channels"),
    (FrameRow.slice_idx, AcquisitionRow.nbr_slices, "slices"),
    (FrameRow.time_idx, AcquisitionRow.nbr_timepoints, "timepoints"),
    (FrameRow.pos_idx, AcquisitionRow.nbr_positions, "positions"),
)


class Promised(NamedTuple):
    """An object that a row promises: its name inside the dataset, its size in bytes where one is recorded."""

    name: str
    size: int | None


def promised_page(
    connection: Connection, dataset: AnyRow, after: Promised | None
) -> list[Promised]:
    """Return up to `PAGE` objects in the code point order of their names, as stores list them, after one.

    Raises
    ------
    DatasetNotFound
        The dataset was deleted or replaced since its first page was read.
    """
    check_still_there(connection, dataset)
    wanted, name = _names(dataset), _name_column(dataset)
    order = name.collate("C" if connection.dialect.name == "postgresql" else "BINARY")
    if after is not None:
        wanted = wanted.where(order > after.name)
    rows = connection.execute(wanted.order_by(order).limit(PAGE))
    return [Promised(name, size) for name, size in rows]


def contradictions(connection: Connection, dataset: AnyRow) -> list[str]:
    """Return what the rows of a ready dataset say against each other; the count is not looked at.

    Each goes on after the serial: ``has no row of its acquisition``.
    """
    found = [*_of_parent(connection, dataset), *_of_files(connection, dataset)]
    if dataset.frames:
        found += _of_acquisition(connection, dataset)
    return found


def count_promised(connection: Connection, dataset: AnyRow) -> int:
    """Return how many rows of its own kind a dataset has."""
    return int(connection.scalar(select(func.count()).select_from(_names(dataset).subquery())) or 0)


def _name_column(dataset: AnyRow) -> Any:
    return FrameRow.file_name if dataset.frames else FileRow.file_name


def _names(dataset: AnyRow) -> Any:
    if not dataset.frames:
        return select(FileRow.file_name, FileRow.size).where(FileRow.dataset_id == dataset.id)
    acquisition = select(AcquisitionRow.id).where(AcquisitionRow.dataset_id == dataset.id)
    return select(FrameRow.file_name, FrameRow.object_size).where(
        FrameRow.frames_global_id == acquisition.scalar_subquery()
    )


def _of_parent(connection: Connection, dataset: AnyRow) -> Iterator[str]:
    """Foreign keys are kept by the database, unless somebody wrote to it without them."""
    parent = connection.scalar(select(DatasetRow.parent_id).where(DatasetRow.id == dataset.id))
    if parent is None:
        return
    row = connection.execute(
        select(DatasetRow.dataset_serial, DatasetRow.status).where(DatasetRow.id == parent)
    ).one_or_none()
    if row is None:
        yield "names a parent that is not in the catalog"
    elif row.status != DatasetStatus.READY.value:
        yield f"names a parent that is {row.status}, {row.dataset_serial}"


def _of_files(connection: Connection, dataset: AnyRow) -> Iterator[str]:
    if not dataset.frames:
        count = frames.count_frames(connection, dataset.id, FrameSelection())
        if count:
            yield f"holds files, and the catalog has {count} rows of frames for it"
        return
    statement = select(func.count()).select_from(FileRow).where(FileRow.dataset_id == dataset.id)
    count = int(connection.scalar(statement) or 0)
    if count:
        yield f"holds frames, and the catalog has {count} rows of files for it"


def _of_acquisition(connection: Connection, dataset: AnyRow) -> Iterator[str]:
    announced: Sequence[Any] = [number for _, number, _ in _AXES]
    row = connection.execute(
        select(AcquisitionRow.id, AcquisitionRow.nbr_frames, *announced).where(
            AcquisitionRow.dataset_id == dataset.id
        )
    ).one_or_none()
    if row is None:
        yield "has no row of its acquisition"
        return
    if dataset.fingerprint is None:  # imagingDB itself wrote sizes that its frames do not keep to
        return
    acquisition_id, nbr_frames, *numbers = row
    if nbr_frames != dataset.nbr_objects:
        yield f"announces {dataset.nbr_objects} frames, its acquisition {nbr_frames}"
    present = connection.execute(
        select(*(func.count(axis.distinct()) for axis, _, _ in _AXES)).where(
            FrameRow.frames_global_id == acquisition_id
        )
    ).one()
    for (_, _, noun), number, there in zip(_AXES, numbers, present, strict=True):
        if there > number:
            yield f"has frames in {there} {noun}, its acquisition announces {number}"
