"""Rows of the original imagingDB, made fit for constraints that it did not have; none is lost.

Revision: 0002, after 0001

What cannot stay where it is (a second dataset of the same serial, a second frame at the same place, rows
that belong to nothing) gets a dataset of its own, whose serial ends in ``~2``, ``~3`` ... and whose objects
are those that it always pointed to. Whatever is done is reported. On an empty database nothing happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SHOWN = 20
COORDS = ("channel_idx", "slice_idx", "time_idx", "pos_idx")
COUNTS = ("nbr_frames", "nbr_slices", "nbr_channels", "nbr_timepoints", "nbr_positions")
FRAME_NAME = re.compile(r"im_c(\d+)_z(\d+)_t(\d+)_p(\d+)")
HASH = re.compile(r"[0-9a-f]{64}")
SERIAL_TIME = re.compile(r"[^-]+-(\d{4}-\d{2}-\d{2}-\d{2}-\d{2}-\d{2})-\d+")

schema = sa.MetaData()
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def _table(name: str, **columns: Any) -> sa.Table:
    key = sa.Column("id", sa.Integer, primary_key=True)
    return sa.Table(name, schema, key, *(sa.Column(n, kind) for n, kind in columns.items()))


data_set = _table(
    "data_set",
    dataset_serial=sa.String,
    description=sa.String,
    microscope=sa.String,
    frames=sa.Boolean,
    date_time=sa.DateTime,
    parent_id=sa.Integer,
)
frames_global = _table(
    "frames_global",
    **dict.fromkeys((*COUNTS, "im_width", "im_height", "im_colors"), sa.Integer),
    bit_depth=sa.String,
    storage_dir=sa.String,
    metadata_json=JSON,
    dataset_id=sa.Integer,
)
frames = _table(
    "frames",
    **dict.fromkeys((*COORDS, "frames_global_id"), sa.Integer),
    file_name=sa.String,
    sha256=sa.String,
    metadata_json=JSON,
)
file_global = _table(
    "file_global",
    storage_dir=sa.String,
    file_name=sa.String,
    sha256=sa.String,
    metadata_json=JSON,
    dataset_id=sa.Integer,
)


def upgrade() -> None:
    connection = op.get_bind()
    steps: tuple[Callable[[sa.Connection], None], ...] = (
        _name_datasets,
        _adopt_acquisitions_and_files,
        _adopt_frames,
        _tell_upload_types,
        _separate_kinds,
        _separate_acquisitions,
        _complete_acquisitions,
        _place_frames,
        _name_files,
        _name_directories,
        _separate_frames,
        _separate_files,
        _name_frames,
        _check_hashes,
        _fill_metadata,
        _fill_times,
        _distinguish_serials,
    )
    for step in steps:
        step(connection)


def downgrade() -> None:
    """Leave the rows as they are: they are valid rows of imagingDB."""


def _name_datasets(connection: sa.Connection) -> None:
    nameless = sa.func.coalesce(data_set.c.dataset_serial, "") == ""
    name = sa.literal("unknown~") + sa.cast(data_set.c.id, sa.String)
    changed = connection.execute(sa.update(data_set).where(nameless).values(dataset_serial=name))
    _note_count(changed.rowcount, "datasets had no serial; they are called unknown~<id>")


def _adopt_acquisitions_and_files(connection: sa.Connection) -> None:
    for table, is_frames in ((frames_global, True), (file_global, False)):
        known = sa.select(data_set.c.id)
        lost = table.c.dataset_id.is_(None) | table.c.dataset_id.not_in(known)
        for row in connection.execute(sa.select(table).where(lost).order_by(table.c.id)).all():
            serial = (row.storage_dir or "").rstrip("/").rpartition("/")[2]
            serial = serial or f"unknown~{table.name}{row.id}"
            owner = _empty_dataset(connection, serial) or _insert(
                connection, data_set, dataset_serial=serial, frames=is_frames
            )
            _move(connection, table, [row.id], dataset_id=owner)
            _note(f"{table.name} {row.id} belonged to no dataset; it belongs to {serial} now")


def _empty_dataset(connection: sa.Connection, serial: str) -> int | None:
    """Return the first dataset of that serial that has neither frames nor files."""
    return connection.scalar(
        sa.select(data_set.c.id)
        .where(data_set.c.dataset_serial == serial, ~_has(frames_global), ~_has(file_global))
        .order_by(data_set.c.id)
        .limit(1)
    )


def _adopt_frames(connection: sa.Connection) -> None:
    known = sa.select(frames_global.c.id)
    lost = frames.c.frames_global_id.is_(None) | frames.c.frames_global_id.not_in(known)
    number = connection.scalar(sa.select(sa.func.count()).select_from(frames).where(lost))
    if not number:
        return
    serial = "unknown~frames"
    owner = _insert(connection, data_set, dataset_serial=serial, frames=True)
    acquisition = _insert(connection, frames_global, dataset_id=owner)
    connection.execute(sa.update(frames).where(lost).values(frames_global_id=acquisition))
    _note_count(number, f"frames belonged to no dataset; they belong to {serial} now")


def _tell_upload_types(connection: sa.Connection) -> None:
    """Set the flag ``frames`` where it says nothing, or something else than the rows do."""
    flag, has_frames, has_files = data_set.c.frames, _has(frames_global), _has(file_global)
    for wrong, value in (
        (has_frames & ~has_files & flag.is_not(True), True),
        (has_files & ~has_frames & flag.is_not(False), False),
        (flag.is_(None), has_frames),
    ):
        changed = connection.execute(sa.update(data_set).where(wrong).values(frames=value))
        _note_count(changed.rowcount, "datasets did not tell rightly whether they hold frames")


def _separate_kinds(connection: sa.Connection) -> None:
    """Give the files of a dataset of frames, or the frames of one of files, a dataset of their own."""
    both = sa.select(data_set).where(_has(frames_global), _has(file_global))
    for dataset in connection.execute(both.order_by(data_set.c.id)).all():
        table = file_global if dataset.frames else frames_global
        owner = _copy(connection, data_set, dataset, frames=not dataset.frames)
        connection.execute(
            sa.update(table).where(table.c.dataset_id == dataset.id).values(dataset_id=owner)
        )
        _note(f"{dataset.dataset_serial} held frames and files; they are two datasets now")


def _separate_acquisitions(connection: sa.Connection) -> None:
    number = _numbered(frames_global, frames_global.c.dataset_id)
    for acquisition in connection.execute(sa.select(number).where(number.c.n > 1)).all():
        dataset = _row(connection, data_set, acquisition.dataset_id)
        owner = _copy(connection, data_set, dataset)
        _move(connection, frames_global, [acquisition.id], dataset_id=owner)
        _note(f"{dataset.dataset_serial} held two acquisitions; they are two datasets now")


def _complete_acquisitions(connection: sa.Connection) -> None:
    bare = sa.select(data_set).where(data_set.c.frames.is_(True), ~_has(frames_global))
    for dataset in connection.execute(bare).all():
        _insert(connection, frames_global, dataset_id=dataset.id)
        _note(f"{dataset.dataset_serial} says that it holds frames, and has none")


def _place_frames(connection: sa.Connection) -> None:
    """Read an index that is missing from the frame's name; where that does not tell, it is 0."""
    placeless = sa.or_(*(frames.c[name].is_(None) | (frames.c[name] < 0) for name in COORDS))
    rows = connection.execute(sa.select(frames).where(placeless)).all()
    for row in rows:
        found = FRAME_NAME.match(row.file_name or "")
        named = [int(text) for text in found.groups()] if found else [0, 0, 0, 0]
        kept = [getattr(row, name) for name in COORDS]
        coords = [
            new if old is None or old < 0 else old for old, new in zip(kept, named, strict=True)
        ]
        values = dict(zip(COORDS, coords, strict=True))
        _move(connection, frames, [row.id], **values)
    _note_count(len(rows), "frames had no index on some axis; it was read from their names, else 0")


def _name_files(connection: sa.Connection) -> None:
    """Fill in file names, which the generation of 2018 kept in ``metadata_json.file_origin``."""
    nameless = sa.func.coalesce(file_global.c.file_name, "") == ""
    statement = sa.select(file_global, data_set.c.dataset_serial).join(
        data_set, data_set.c.id == file_global.c.dataset_id
    )
    rows = connection.execute(statement.where(nameless)).all()
    for row in rows:
        stored = row.metadata_json if isinstance(row.metadata_json, dict) else {}
        origin = str(stored.get("file_origin") or "").replace("\\", "/").rstrip("/")
        name = origin.rpartition("/")[2]
        if not name:
            _note(
                f"{row.dataset_serial}: nothing tells its file's name; it is called by its serial"
            )
        _move(connection, file_global, [row.id], file_name=name or row.dataset_serial)
    _note_count(len(rows), "files had no name; it was taken from where they came from")


def _name_directories(connection: sa.Connection) -> None:
    """Fill in storage folders: one of imagingDB's own migrations had emptied them."""
    for table, top in ((frames_global, "raw_frames/"), (file_global, "raw_files/")):
        serial = (
            sa.select(data_set.c.dataset_serial)
            .where(data_set.c.id == table.c.dataset_id)
            .scalar_subquery()
        )
        empty = sa.func.coalesce(table.c.storage_dir, "") == ""
        changed = connection.execute(
            sa.update(table).where(empty).values(storage_dir=sa.literal(top) + serial)
        )
        _note_count(changed.rowcount, f"rows of {table.name} had no folder; it is {top}<serial>")


def _separate_frames(connection: sa.Connection) -> None:
    """Give frames that lie where another frame lies a dataset of their own."""
    places = (frames.c.frames_global_id, *(frames.c[name] for name in COORDS))
    number = _numbered(frames, *places, keep=(frames.c.frames_global_id,))
    surplus = (
        sa.select(number.c.frames_global_id, number.c.n, sa.func.count().label("size"))
        .where(number.c.n > 1)
        .group_by(number.c.frames_global_id, number.c.n)
        .order_by(number.c.frames_global_id, number.c.n)
    )
    groups = connection.execute(surplus).all()
    moves = [  # all of them before the first is moved, which would change the numbers
        connection.scalars(
            sa.select(number.c.id).where(
                number.c.n == group.n, number.c.frames_global_id == group.frames_global_id
            )
        ).all()
        for group in groups
    ]
    for group, ids in zip(groups, moves, strict=True):
        acquisition = _row(connection, frames_global, group.frames_global_id)
        dataset = _row(connection, data_set, acquisition.dataset_id)
        unknown: dict[str, Any] = dict.fromkeys(COUNTS)
        owner = _copy(connection, data_set, dataset)
        target = _copy(connection, frames_global, acquisition, dataset_id=owner, **unknown)
        _move(connection, frames, ids, frames_global_id=target)
        _move(connection, frames_global, [acquisition.id], nbr_frames=None)
        _note(
            f"{dataset.dataset_serial}: {group.size} frames lie where another frame lies; "
            "they are in a dataset of their own now"
        )


def _separate_files(connection: sa.Connection) -> None:
    columns = (file_global.c.dataset_id, file_global.c.file_name)
    number = _numbered(file_global, *columns)
    for file in connection.execute(sa.select(number).where(number.c.n > 1)).all():
        dataset = _row(connection, data_set, file.dataset_id)
        owner = _copy(connection, data_set, dataset)
        _move(connection, file_global, [file.id], dataset_id=owner)
        _note(f"{dataset.dataset_serial} held {file.file_name} twice; they are two datasets now")


def _name_frames(connection: sa.Connection) -> None:
    nameless = sa.func.coalesce(frames.c.file_name, "") == ""
    rows = connection.execute(sa.select(frames).where(nameless)).all()
    for row in rows:
        c, z, t, p = (getattr(row, name) for name in COORDS)
        name = f"im_c{c:03d}_z{z:03d}_t{t:03d}_p{p:03d}.png"
        _move(connection, frames, [row.id], file_name=name)
    _note_count(len(rows), "frames had no file name; it follows from their indices")


def _check_hashes(connection: sa.Connection) -> None:
    """Take away what is no SHA-256; it stays in the row's metadata."""
    for table in (frames, file_global):
        text = table.c.sha256
        odd = (sa.func.length(text) != 64) | (sa.func.ltrim(text, "0123456789abcdef") != "")
        rows = connection.execute(sa.select(table).where(text.is_not(None), odd)).all()
        for row in rows:
            repaired = row.sha256.strip().lower()
            values: dict[str, Any] = {"sha256": repaired if HASH.fullmatch(repaired) else None}
            if values["sha256"] is None and repaired:
                stored = row.metadata_json if isinstance(row.metadata_json, dict) else {}
                values["metadata_json"] = {**stored, "imagingDB_sha256": row.sha256}
            _move(connection, table, [row.id], **values)
        _note_count(
            len(rows), f"hashes in {table.name} were none; see imagingDB_sha256 in metadata_json"
        )


def _fill_metadata(connection: sa.Connection) -> None:
    for table in (frames_global, frames, file_global):
        empty = table.c.metadata_json.is_(None) | (
            sa.cast(table.c.metadata_json, sa.Text) == json.dumps(None)
        )
        connection.execute(sa.update(table).where(empty).values(metadata_json={}))


def _fill_times(connection: sa.Connection) -> None:
    rows = connection.execute(sa.select(data_set).where(data_set.c.date_time.is_(None))).all()
    for row in rows:
        found = SERIAL_TIME.match(row.dataset_serial)
        try:
            time = datetime.strptime(found[1], "%Y-%m-%d-%H-%M-%S") if found else None
        except ValueError:
            time = None
        if time is not None:
            _move(connection, data_set, [row.id], date_time=time)


def _distinguish_serials(connection: sa.Connection) -> None:
    """Leave a serial to its first dataset; the others get one of their own."""
    serial = data_set.c.dataset_serial
    shared = sa.select(serial).group_by(serial).having(sa.func.count() > 1).order_by(serial)
    taken = set(connection.scalars(sa.select(serial)))
    for name in connection.scalars(shared).all():
        ids = connection.scalars(
            sa.select(data_set.c.id).where(serial == name).order_by(data_set.c.id)
        ).all()
        fresh = []
        for number in ids[1:]:
            new = next(
                f"{name}~{n}" for n in range(2, len(taken) + 3) if f"{name}~{n}" not in taken
            )
            taken.add(new)
            fresh.append(new)
            _move(connection, data_set, [number], dataset_serial=new)
        _note(f"{name} was the serial of {len(ids)} datasets; the others are {_some(fresh)} now")


def _has(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.exists().where(table.c.dataset_id == data_set.c.id)


def _numbered(table: sa.Table, *same: Any, keep: tuple[Any, ...] | None = None) -> sa.Subquery:
    """Return the rows with ``n``, 1 for the first (by id) of those that are the same, 2 for the next."""
    order = sa.func.row_number().over(partition_by=same, order_by=table.c.id)
    columns = table.c if keep is None else (table.c.id, *keep)
    return sa.select(*columns, order.label("n")).subquery()


def _row(connection: sa.Connection, table: sa.Table, number: int) -> Any:
    return connection.execute(sa.select(table).where(table.c.id == number)).one()


def _insert(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
    if key is None:
        raise RuntimeError(f"{table.name} gave no key")
    return int(key[0])


def _copy(connection: sa.Connection, table: sa.Table, row: Any, **changes: Any) -> int:
    values = {name: value for name, value in row._mapping.items() if name != "id"}
    return _insert(connection, table, **(values | changes))


def _move(connection: sa.Connection, table: sa.Table, ids: Iterable[int], **values: Any) -> None:
    """Change rows by their ids, in portions that every database takes."""
    numbers = list(ids)
    for start in range(0, len(numbers), 1000):
        part = table.c.id.in_(numbers[start : start + 1000])
        connection.execute(sa.update(table).where(part).values(**values))


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _note_count(number: int, words: str) -> None:
    if number > 0:
        _note(f"{number} {words}")


def _note(line: str) -> None:
    config = op.get_context().config
    if config is not None:
        config.attributes.setdefault("report", []).append(line)
