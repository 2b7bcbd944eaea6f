"""The tables: imagingDB's four with its names, and the columns and constraints that we add.

Only alembic changes a database (``migrations/``); a test compares its result with these classes. The
hash columns hold 64 lower-case hex digits. ``storage_dir`` of ``frames_global`` and ``file_global``
repeats ``data_set.storage_dir``: queries that were written for imagingDB look for it there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from imaging_db.catalog.types import (
    BIG_KEY,
    BigWhole,
    CleanText,
    Document,
    Real,
    UTCDateTime,
    Whole,
)

NAMING = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


def _hash_check(column: str) -> CheckConstraint:
    """Return the CHECK that ``column`` is NULL or looks like a hash.

    A test of every digit would make bulk inserts into SQLite half as fast.
    """
    return CheckConstraint(f"length({column}) = 64 AND {column} = lower({column})", name=column)


class Base(DeclarativeBase):
    """Root of the tables; plain annotations map to the types of `imaging_db.catalog.types`."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: Whole(),
        str: CleanText(),
        float: Real(),
        bool: Boolean(),
        datetime: UTCDateTime(),
        dict[str, Any]: Document(),
        list[Any]: Document(),
    }


class DatasetRow(Base):
    """One dataset. ``frames`` tells the upload type: true for frames, false for files.

    A claim, to upload or to delete, is alive while ``claim_heartbeat`` is set. ``claim_token`` outlives it
    in a ready row, as the mark of the run that published: it answers whether a COMMIT without an answer
    had happened.
    """

    __tablename__ = "data_set"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'ready', 'deleting')", name="status"),
        CheckConstraint("claim_heartbeat IS NULL OR claim_token IS NOT NULL", name="claim"),
        CheckConstraint("claim_heartbeat IS NULL OR status <> 'ready'", name="claim_status"),
        CheckConstraint("nbr_objects >= 0", name="nbr_objects"),
        _hash_check("fingerprint"),
        UniqueConstraint("dataset_serial"),
        Index(None, "date_time", "dataset_serial"),
        Index(None, "parent_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_serial: Mapped[str]
    description: Mapped[str | None]
    microscope: Mapped[str | None]
    frames: Mapped[bool]
    date_time: Mapped[datetime | None]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("data_set.id"))
    status: Mapped[str]
    fingerprint: Mapped[str | None]
    claim_token: Mapped[str | None]
    claim_heartbeat: Mapped[datetime | None]
    created_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    storage: Mapped[str | None]
    storage_access: Mapped[str | None]
    storage_dir: Mapped[str]
    nbr_objects: Mapped[int]
    metadata_json: Mapped[dict[str, Any]]


class AcquisitionRow(Base):
    """What the microscope did: one row for a dataset of frames.

    ``bit_depth`` is imagingDB's word for ``dtype``. Sizes are NULL where frames differ in them, physical
    sizes where the source does not tell. ``codec`` is the one that was asked for, NULL in rows that are
    older than the choice; what each frame has is in its own row.
    """

    __tablename__ = "frames_global"
    __table_args__ = (UniqueConstraint("dataset_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    nbr_frames: Mapped[int]
    im_width: Mapped[int | None]
    im_height: Mapped[int | None]
    nbr_slices: Mapped[int]
    nbr_channels: Mapped[int]
    im_colors: Mapped[int | None]
    nbr_timepoints: Mapped[int]
    nbr_positions: Mapped[int]
    bit_depth: Mapped[str | None]
    storage_dir: Mapped[str]
    metadata_json: Mapped[dict[str, Any]]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("data_set.id", ondelete="CASCADE"))
    dtype: Mapped[str | None]
    format: Mapped[str | None]
    pixel_size_x_um: Mapped[float | None]
    pixel_size_y_um: Mapped[float | None]
    z_step_um: Mapped[float | None]
    time_interval_s: Mapped[float | None]
    nbr_expected: Mapped[int | None]
    channel_names: Mapped[list[Any]]
    position_names: Mapped[list[Any]]
    codec: Mapped[str | None]


class FrameRow(Base):
    """One frame. ``sha256`` is of the pixels, ``object_sha256`` of the stored bytes.

    ``width``, ``height``, ``colors`` and ``dtype`` are NULL where they are the acquisition's. The last eight
    columns are its quality, all NULL where nothing was measured; see `imaging_db.model.FrameQuality`.
    ``is_repeat`` tells that a frame before it, in the order of the names, has the same pixels.
    """

    __tablename__ = "frames"
    __table_args__ = (
        _hash_check("sha256"),
        _hash_check("object_sha256"),
        CheckConstraint(
            "channel_idx >= 0 AND slice_idx >= 0 AND time_idx >= 0 AND pos_idx >= 0", name="coords"
        ),
        CheckConstraint("intensity_min <= intensity_max", name="intensity"),
        CheckConstraint("saturated_share >= 0 AND saturated_share <= 1", name="saturated_share"),
        CheckConstraint("focus >= 0", name="focus"),
        UniqueConstraint(
            "frames_global_id",
            "pos_idx",
            "time_idx",
            "channel_idx",
            "slice_idx",
            name="uq_frames_coords",
        ),
        # the order of the object names, which is the order in which frames are listed and paged
        Index(
            "ix_frames_name_order",
            "frames_global_id",
            "channel_idx",
            "slice_idx",
            "time_idx",
            "pos_idx",
        ),
    )

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    channel_idx: Mapped[int]
    slice_idx: Mapped[int]
    time_idx: Mapped[int]
    pos_idx: Mapped[int]
    channel_name: Mapped[str | None]
    file_name: Mapped[str]
    sha256: Mapped[str | None]
    metadata_json: Mapped[dict[str, Any]]
    frames_global_id: Mapped[int] = mapped_column(
        ForeignKey("frames_global.id", ondelete="CASCADE")
    )
    object_sha256: Mapped[str | None]
    object_size: Mapped[int | None] = mapped_column(BigWhole())
    codec: Mapped[str | None]
    position_name: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    colors: Mapped[int | None]
    dtype: Mapped[str | None]
    intensity_min: Mapped[float | None]
    intensity_max: Mapped[float | None]
    intensity_mean: Mapped[float | None]
    saturated_share: Mapped[float | None]
    focus: Mapped[float | None]
    intensity_p01: Mapped[float | None]
    intensity_p99: Mapped[float | None]
    is_repeat: Mapped[bool | None]


class FileRow(Base):
    """One file of a dataset that is stored as it is; ``file_name`` is its path inside the dataset."""

    __tablename__ = "file_global"
    __table_args__ = (_hash_check("sha256"), UniqueConstraint("dataset_id", "file_name"))

    id: Mapped[int] = mapped_column(primary_key=True)
    storage_dir: Mapped[str]
    file_name: Mapped[str]
    sha256: Mapped[str | None]
    metadata_json: Mapped[dict[str, Any]]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("data_set.id", ondelete="CASCADE"))
    size: Mapped[int | None] = mapped_column(BigWhole())


class AnnotationRow(Base):
    """A tag, or a note with a value, that someone gave a dataset; what was taken back stays as history."""

    __tablename__ = "annotation"
    __table_args__ = (
        CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed"),
        Index(
            "uq_annotation_now",
            "dataset_serial",
            "key",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(None, "dataset_serial"),
        Index(None, "key"),  # without the value: an index of PostgreSQL holds 2.7 kB a row
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_serial: Mapped[str]
    key: Mapped[str]
    value: Mapped[str | None]
    author: Mapped[str]
    created_at: Mapped[datetime]
    removed_by: Mapped[str | None]
    removed_at: Mapped[datetime | None]
