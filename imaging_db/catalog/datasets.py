"""Datasets: finding them, one or many; only those that are ready can be seen."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    bindparam,
    cast,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import aliased

from imaging_db.catalog.expressions import annotated, dataset_condition
from imaging_db.catalog.functions import contains_text
from imaging_db.catalog.tables import AcquisitionRow, AnnotationRow, DatasetRow
from imaging_db.errors import DatasetNotFound, NothingSelected
from imaging_db.model import (
    Acquisition,
    Dataset,
    DatasetQuery,
    DatasetStatus,
    JSONObject,
    UploadType,
)

DatasetOrder = Literal["serial", "acquired_at"]
AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"
AnySelect: TypeAlias = "Select[*tuple[Any, ...]]"

PAGE = 1000
_NEIGHBOURS = 500
_NEAREST = 3

Parent = aliased(DatasetRow)
_Acquired = aliased(AcquisitionRow)  # beside the one that conditions ask for


def select_datasets() -> AnySelect:
    """Return the statement that `to_dataset` reads; without any condition yet."""
    wanted = select(
        DatasetRow.id,
        DatasetRow.dataset_serial,
        DatasetRow.status,
        DatasetRow.frames,
        DatasetRow.description,
        DatasetRow.microscope,
        DatasetRow.date_time,
        Parent.dataset_serial.label("parent_serial"),
        DatasetRow.storage,
        DatasetRow.storage_access,
        DatasetRow.storage_dir,
        DatasetRow.fingerprint,
        DatasetRow.nbr_objects,
        DatasetRow.created_at,
        DatasetRow.published_at,
        _Acquired.codec,
    )
    return wanted.outerjoin_from(DatasetRow, Parent, DatasetRow.parent_id == Parent.id).outerjoin(
        _Acquired, _Acquired.dataset_id == DatasetRow.id
    )


def to_dataset(row: AnyRow) -> Dataset:
    """Return a row of `select_datasets` as a model object."""
    return Dataset(
        serial=row.dataset_serial,
        status=DatasetStatus(row.status),
        upload_type=UploadType.FRAMES if row.frames else UploadType.FILE,
        description=row.description,
        microscope=row.microscope,
        acquired_at=row.date_time,
        parent_serial=row.parent_serial,
        storage=row.storage,
        storage_access=row.storage_access,
        storage_dir=row.storage_dir,
        fingerprint=row.fingerprint,
        nbr_objects=row.nbr_objects,
        created_at=row.created_at,
        published_at=row.published_at,
        codec=row.codec,
    )


# made once, because building a statement costs more than its answer
_BY_ID = select_datasets().where(DatasetRow.id == bindparam("dataset"))
_BY_SERIAL = select_datasets().where(DatasetRow.dataset_serial == bindparam("serial"))


def by_id(connection: Connection, dataset_id: int) -> Dataset:
    """Return a dataset of any status; its row must be there."""
    return to_dataset(connection.execute(_BY_ID, {"dataset": dataset_id}).one())


def ready_row(connection: Connection, serial: str) -> AnyRow:
    """Return the row of a ready dataset, for `to_dataset`.

    Raises
    ------
    DatasetNotFound
        There is none; tells whether an upload is unfinished, or which serials are near.
    """
    row = connection.execute(_BY_SERIAL, {"serial": serial}).one_or_none()
    if row is not None and row.status == DatasetStatus.READY.value:
        return row
    raise _unseen(row) if row is not None else _unknown(connection, serial)


def find_page(
    connection: Connection, query: DatasetQuery, order: DatasetOrder, after: Dataset | None
) -> list[Dataset]:
    """Return up to `PAGE` datasets that come after one, None for the first page.

    By time of acquisition, those without a known time come last.
    """
    wanted = select_datasets().where(*conditions(connection, query))
    if order == "serial":
        return _page(connection, wanted, [DatasetRow.dataset_serial], _serial, after)
    timed = wanted.where(DatasetRow.date_time.is_not(None))
    timeless = wanted.where(DatasetRow.date_time.is_(None))
    page: list[Dataset] = []
    if after is None or after.acquired_at is not None:
        keys = [DatasetRow.date_time, DatasetRow.dataset_serial]
        page = _page(connection, timed, keys, _time_and_serial, after)
        after = None
    if len(page) < PAGE:
        page += _page(connection, timeless, [DatasetRow.dataset_serial], _serial, after)
    return page


def count(connection: Connection, query: DatasetQuery) -> int:
    """Return how many ready datasets a query finds."""
    found = select(DatasetRow.id).outerjoin_from(
        DatasetRow, Parent, DatasetRow.parent_id == Parent.id
    )
    statement = select(func.count()).select_from(
        found.where(*conditions(connection, query)).subquery()
    )
    return int(connection.scalar(statement) or 0)


def conditions(connection: Connection, query: DatasetQuery) -> list[ColumnElement[bool]]:
    """Return a query as conditions on `select_datasets`, every value a bound parameter."""
    found: list[ColumnElement[bool]] = [DatasetRow.status == DatasetStatus.READY.value]
    for column, needle in (
        (DatasetRow.dataset_serial, query.project),
        (DatasetRow.microscope, query.microscope),
        (DatasetRow.description, query.description),
    ):
        if needle is not None:
            found.append(contains_text(column, needle))
    found += _between(query.start_date, query.end_date)
    if query.parent is not None:
        found.append(Parent.dataset_serial == query.parent)
    if query.upload_type is not None:
        found.append(DatasetRow.frames.is_(query.upload_type is UploadType.FRAMES))
    if query.format is not None:
        found.append(_has_acquisition(AcquisitionRow.format == query.format))
    if query.text is not None:
        found.append(_mentions(query.text))
    if query.where is not None:
        found.append(dataset_condition(connection, query.where))
    return found


def acquisition(connection: Connection, serial: str) -> Acquisition:
    """Return what the microscope did.

    Raises
    ------
    DatasetNotFound
        No ready dataset has that serial.
    NothingSelected
        It was uploaded as files.
    """
    dataset = ready_row(connection, serial)
    row = connection.execute(
        select(AcquisitionRow.__table__).where(AcquisitionRow.dataset_id == dataset.id)
    ).one_or_none()
    if row is None:
        raise NothingSelected(f"{serial} holds files, not frames", hint="list its files instead")
    return Acquisition(
        format=row.format or "unknown",
        nbr_frames=row.nbr_frames,
        nbr_channels=row.nbr_channels,
        nbr_slices=row.nbr_slices,
        nbr_timepoints=row.nbr_timepoints,
        nbr_positions=row.nbr_positions,
        height=row.im_height,
        width=row.im_width,
        colors=row.im_colors,
        dtype=row.dtype,
        channel_names=tuple(row.channel_names),
        position_names=tuple(row.position_names),
        pixel_size_x_um=row.pixel_size_x_um,
        pixel_size_y_um=row.pixel_size_y_um,
        z_step_um=row.z_step_um,
        time_interval_s=row.time_interval_s,
        nbr_expected=row.nbr_expected,
        metadata=as_object(row.metadata_json),
    )


def metadata(connection: Connection, serial: str) -> JSONObject:
    """Return what was said of a dataset as a whole when it was uploaded."""
    dataset = ready_row(connection, serial)
    return as_object(
        connection.scalar(select(DatasetRow.metadata_json).where(DatasetRow.id == dataset.id))
    )


def describe(
    connection: Connection, serial: str, *, description: str | None, microscope: str | None
) -> bool:
    """Change what people say of a ready dataset; return True where that differed.

    Raises
    ------
    DatasetNotFound
        No ready dataset has that serial.
    """
    changed = connection.execute(
        update(DatasetRow)
        .where(
            DatasetRow.dataset_serial == serial,
            DatasetRow.status == DatasetStatus.READY.value,
            or_(
                DatasetRow.description.is_distinct_from(description),
                DatasetRow.microscope.is_distinct_from(microscope),
            ),
        )
        .values(description=description, microscope=microscope)
    )
    if not changed.rowcount:
        ready_row(connection, serial)
    return bool(changed.rowcount)


def as_object(value: Any) -> JSONObject:
    """Return stored metadata as an object; imagingDB let any JSON in, such as a list or null."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


def _between(start: date | None, end: date | None) -> list[ColumnElement[bool]]:
    """Return the conditions for acquisition on a day from ``start`` to ``end``, both included."""
    found: list[ColumnElement[bool]] = []
    if start is not None:
        found.append(DatasetRow.date_time >= _midnight(start))
    if end is not None and end < date.max:
        found.append(DatasetRow.date_time < _midnight(end + timedelta(days=1)))
    return found


def _page(
    connection: Connection,
    wanted: AnySelect,
    keys: Sequence[Any],
    key_of: Callable[[Dataset], tuple[Any, ...]],
    after: Dataset | None,
) -> list[Dataset]:
    if after is not None:
        wanted = wanted.where(tuple_(*keys) > tuple_(*key_of(after), types=[k.type for k in keys]))
    rows = connection.execute(wanted.order_by(*keys).limit(PAGE))
    return [to_dataset(row) for row in rows]


def _serial(dataset: Dataset) -> tuple[Any, ...]:
    return (dataset.serial,)


def _time_and_serial(dataset: Dataset) -> tuple[Any, ...]:
    return (dataset.acquired_at, dataset.serial)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _has_acquisition(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        select(AcquisitionRow.id)
        .where(AcquisitionRow.dataset_id == DatasetRow.id, condition)
        .exists()
    )


def _mentions(text: str) -> ColumnElement[bool]:
    """Return the condition that a dataset mentions ``text``; JSON is searched as JSON spells it."""
    spelled = json.dumps(text, ensure_ascii=False)[1:-1]
    return or_(
        contains_text(DatasetRow.dataset_serial, text),
        contains_text(DatasetRow.description, text),
        contains_text(DatasetRow.microscope, text),
        contains_text(cast(DatasetRow.metadata_json, String), spelled),
        _has_acquisition(
            or_(
                contains_text(cast(AcquisitionRow.channel_names, String), spelled),
                contains_text(cast(AcquisitionRow.metadata_json, String), spelled),
            )
        ),
        annotated(
            or_(contains_text(AnnotationRow.key, text), contains_text(AnnotationRow.value, text))
        ),
    )


def _unseen(row: AnyRow) -> DatasetNotFound:
    if row.status == DatasetStatus.DELETING.value:
        return DatasetNotFound(
            f"{row.dataset_serial} is being deleted", hint="repeat the deletion to finish it"
        )
    since = f" since {row.created_at:%Y-%m-%d %H:%M} UTC" if row.created_at else ""
    return DatasetNotFound(
        f"{row.dataset_serial} is pending{since}: its upload has not finished",
        hint="rerun the upload to finish it",
    )


def _unknown(connection: Connection, serial: str) -> DatasetNotFound:
    near = difflib.get_close_matches(serial, _neighbours(connection, serial), n=_NEAREST)
    hint = f"did you mean {' or '.join(near)}?" if near else "query_data lists those that are there"
    return DatasetNotFound(f"there is no dataset {serial!r}", nearest=near, hint=hint)


def _neighbours(connection: Connection, serial: str) -> list[str]:
    """Return the ready serials around one in their order; all of them in a small catalog."""
    column = DatasetRow.dataset_serial
    ready = select(column).where(DatasetRow.status == DatasetStatus.READY.value)
    before = ready.where(column < serial).order_by(column.desc()).limit(_NEIGHBOURS)
    after = ready.where(column > serial).order_by(column).limit(_NEIGHBOURS)
    return [*connection.scalars(before), *connection.scalars(after)]
