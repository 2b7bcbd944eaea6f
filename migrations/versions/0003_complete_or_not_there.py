"""Status, claims, stored objects, physical sizes; and the constraints that keep them right.

Revision: 0003, after 0002

Datasets that are there already are complete as far as anyone knows, so they become ready. A recorded
number of frames that is not the number of rows is kept, as the number that was expected.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NAMING = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}
COUNTED = {
    "nbr_slices": "slice_idx",
    "nbr_channels": "channel_idx",
    "nbr_timepoints": "time_idx",
    "nbr_positions": "pos_idx",
}
DTYPES = (
    "'bool', 'uint8', 'uint16', 'uint32', 'int8', 'int16', 'int32', 'float16', 'float32', 'float64'"
)

NEW_COLUMNS: dict[str, dict[str, Any]] = {
    "data_set": {
        "status": sa.String(),
        "fingerprint": sa.String(),
        "claim_token": sa.String(),
        "claim_heartbeat": sa.DateTime(),
        "created_at": sa.DateTime(),
        "published_at": sa.DateTime(),
        "storage": sa.String(),
        "storage_access": sa.String(),
        "storage_dir": sa.String(),
        "nbr_objects": sa.Integer(),
        "metadata_json": JSON,
    },
    "frames_global": {
        "dtype": sa.String(),
        "format": sa.String(),
        "pixel_size_x_um": sa.Float(),
        "pixel_size_y_um": sa.Float(),
        "z_step_um": sa.Float(),
        "time_interval_s": sa.Float(),
        "nbr_expected": sa.Integer(),
        "channel_names": JSON,
        "position_names": JSON,
    },
    "frames": {
        "object_sha256": sa.String(),
        "object_size": sa.BigInteger(),
        "codec": sa.String(),
        "position_name": sa.String(),
        "width": sa.Integer(),
        "height": sa.Integer(),
        "colors": sa.Integer(),
        "dtype": sa.String(),
    },
    "file_global": {"size": sa.BigInteger()},
}

REQUIRED: dict[str, dict[str, Any]] = {
    "data_set": {
        "dataset_serial": sa.String(),
        "frames": sa.Boolean(),
        "status": sa.String(),
        "storage_dir": sa.String(),
        "nbr_objects": sa.Integer(),
        "metadata_json": JSON,
    },
    "frames_global": {
        "nbr_frames": sa.Integer(),
        **{name: sa.Integer() for name in COUNTED},
        "storage_dir": sa.String(),
        "metadata_json": JSON,
        "dataset_id": sa.Integer(),
        "channel_names": JSON,
        "position_names": JSON,
    },
    "frames": {
        "channel_idx": sa.Integer(),
        "slice_idx": sa.Integer(),
        "time_idx": sa.Integer(),
        "pos_idx": sa.Integer(),
        "file_name": sa.String(),
        "metadata_json": JSON,
        "frames_global_id": sa.Integer(),
    },
    "file_global": {
        "storage_dir": sa.String(),
        "file_name": sa.String(),
        "metadata_json": JSON,
        "dataset_id": sa.Integer(),
    },
}

CHECKS = {
    "data_set": {
        "status": "status IN ('pending', 'ready', 'deleting')",
        "claim": "claim_heartbeat IS NULL OR claim_token IS NOT NULL",
        "claim_status": "claim_heartbeat IS NULL OR status <> 'ready'",
        "nbr_objects": "nbr_objects >= 0",
        "fingerprint": "length(fingerprint) = 64 AND fingerprint = lower(fingerprint)",
    },
    "frames_global": {},
    "frames": {
        "sha256": "length(sha256) = 64 AND sha256 = lower(sha256)",
        "object_sha256": "length(object_sha256) = 64 AND object_sha256 = lower(object_sha256)",
        "coords": "channel_idx >= 0 AND slice_idx >= 0 AND time_idx >= 0 AND pos_idx >= 0",
    },
    "file_global": {"sha256": "length(sha256) = 64 AND sha256 = lower(sha256)"},
}

UNIQUE = {
    "data_set": ("uq_data_set_dataset_serial", ["dataset_serial"]),
    "frames_global": ("uq_frames_global_dataset_id", ["dataset_id"]),
    "frames": (
        "uq_frames_coords",
        ["frames_global_id", "pos_idx", "time_idx", "channel_idx", "slice_idx"],
    ),
    "file_global": ("uq_file_global_dataset_id_file_name", ["dataset_id", "file_name"]),
}

CASCADES = {
    "frames_global": ("dataset_id", "data_set"),
    "frames": ("frames_global_id", "frames_global"),
    "file_global": ("dataset_id", "data_set"),
}

INDEXES = {
    "ix_data_set_date_time_dataset_serial": ("data_set", ["date_time", "dataset_serial"]),
    "ix_data_set_parent_id": ("data_set", ["parent_id"]),
    "ix_frames_name_order": (
        "frames",
        ["frames_global_id", "channel_idx", "slice_idx", "time_idx", "pos_idx"],
    ),
}


def upgrade() -> None:
    connection = op.get_bind()
    for table, columns in NEW_COLUMNS.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind))
    _fill_acquisitions(connection)
    _fill_datasets(connection)
    for table in NEW_COLUMNS:
        _constrain(table)
    _widen_frame_ids(connection, "bigint")
    for name, (table, indexed) in INDEXES.items():
        op.create_index(name, table, indexed)


def downgrade() -> None:
    connection = op.get_bind()
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table_name=table)
    _widen_frame_ids(connection, "integer")
    for table in reversed(NEW_COLUMNS):
        _release(connection, table)


def _constrain(table: str) -> None:
    with op.batch_alter_table(table, naming_convention=NAMING) as batch:
        for column, kind in REQUIRED[table].items():
            batch.alter_column(column, existing_type=kind, nullable=False)
        for check, condition in CHECKS[table].items():
            batch.create_check_constraint(op.f(f"ck_{table}_{check}"), condition)
        batch.create_unique_constraint(*UNIQUE[table])
        if table in CASCADES:
            _refer(batch, table, ondelete="CASCADE")


def _release(connection: sa.Connection, table: str) -> None:
    checks = _droppable_checks(connection, table)
    with op.batch_alter_table(table, naming_convention=NAMING) as batch:
        if table in CASCADES:
            _refer(batch, table, ondelete=None)
        batch.drop_constraint(UNIQUE[table][0], type_="unique")
        for check in checks:
            batch.drop_constraint(op.f(check), type_="check")
        for column, kind in REQUIRED[table].items():
            batch.alter_column(column, existing_type=kind, nullable=True)
        for column in NEW_COLUMNS[table]:
            batch.drop_column(column)


def _droppable_checks(connection: sa.Connection, table: str) -> list[str]:
    """Return the names of the checks to drop; SQLAlchemy before 2.1 forgets them when SQLite rebuilds."""
    ours = [f"ck_{table}_{check}" for check in CHECKS[table]]
    if connection.dialect.name == "postgresql":
        return ours
    reflected = sa.Table(table, sa.MetaData(), autoload_with=connection, resolve_fks=False)
    kept = {c.name for c in reflected.constraints if isinstance(c, sa.CheckConstraint)}
    return [check for check in ours if check in kept]


def _refer(batch: Any, table: str, *, ondelete: str | None) -> None:
    column, target = CASCADES[table]
    name = f"{table}_{column}_fkey"
    batch.drop_constraint(name, type_="foreignkey")
    batch.create_foreign_key(name, target, [column], ["id"], ondelete=ondelete)


def _widen_frame_ids(connection: sa.Connection, kind: str) -> None:
    """Give frames 64-bit ids on PostgreSQL; SQLite's have them."""
    if connection.dialect.name != "postgresql":
        return
    new = sa.BigInteger() if kind == "bigint" else sa.Integer()
    op.alter_column("frames", "id", type_=new, existing_nullable=False)
    sequence = connection.scalar(sa.text("SELECT pg_get_serial_sequence('frames', 'id')"))
    if sequence:
        op.execute(f"ALTER SEQUENCE {sequence} AS {kind}")


def _fill_acquisitions(connection: sa.Connection) -> None:
    """Fill in what the frames tell: how many there are, on which axes, and their channels' names."""
    connection.execute(
        sa.text(
            "UPDATE frames_global SET dtype = bit_depth, channel_names = '[]', position_names = '[]'"
        )
    )
    connection.execute(
        sa.text(f"UPDATE frames_global SET dtype = NULL WHERE dtype NOT IN ({DTYPES})")  # noqa: S608
    )
    counts = ", ".join(f"count(DISTINCT f.{column}) AS {name}" for name, column in COUNTED.items())
    rows = connection.execute(
        sa.text(
            f"SELECT g.id, g.nbr_frames AS recorded, d.dataset_serial, count(f.id) AS found, {counts} "  # noqa: S608
            "FROM frames_global g JOIN data_set d ON d.id = g.dataset_id "
            "LEFT JOIN frames f ON f.frames_global_id = g.id "
            "GROUP BY g.id, g.nbr_frames, d.dataset_serial ORDER BY g.id"
        )
    ).all()
    for row in rows:
        _fill_counts(connection, row)
    _fill_channels(connection)


def _fill_counts(connection: sa.Connection, row: Any) -> None:
    columns = ("id", "nbr_frames", "nbr_expected", *COUNTED)
    target = sa.table("frames_global", *(sa.column(name) for name in columns))
    values: dict[str, Any] = {
        name: sa.func.coalesce(target.c[name], getattr(row, name)) for name in COUNTED
    }
    values["nbr_frames"] = row.found
    if row.recorded is not None and row.recorded != row.found:
        values["nbr_expected"] = row.recorded
        _note(f"{row.dataset_serial} should have {row.recorded} frames and has {row.found}")
    connection.execute(sa.update(target).where(target.c.id == row.id).values(**values))


def _fill_channels(connection: sa.Connection) -> None:
    rows = connection.execute(
        sa.text(
            "SELECT frames_global_id, channel_idx, min(channel_name) FROM frames "
            "GROUP BY frames_global_id, channel_idx ORDER BY frames_global_id, channel_idx"
        )
    )
    names: dict[int, list[str | None]] = {}
    for acquisition, _, name in rows:
        names.setdefault(acquisition, []).append(name)
    target = sa.table("frames_global", sa.column("id"), sa.column("channel_names", JSON))
    for acquisition, found in names.items():
        connection.execute(
            sa.update(target).where(target.c.id == acquisition).values(channel_names=found)
        )


def _fill_datasets(connection: sa.Connection) -> None:
    for table in ("frames_global", "file_global"):
        connection.execute(
            sa.text(
                f"UPDATE data_set SET storage_dir = (SELECT min(o.storage_dir) FROM {table} o "  # noqa: S608
                "WHERE o.dataset_id = data_set.id) WHERE storage_dir IS NULL"
            )
        )
    connection.execute(
        sa.text(
            "UPDATE data_set SET storage_dir = 'raw_files/' || dataset_serial WHERE storage_dir IS NULL"
        )
    )
    connection.execute(
        sa.text(
            "UPDATE data_set SET status = 'ready', metadata_json = '{}', nbr_objects = "
            "(SELECT count(*) FROM file_global o WHERE o.dataset_id = data_set.id) + "
            "(SELECT coalesce(sum(g.nbr_frames), 0) FROM frames_global g "
            "WHERE g.dataset_id = data_set.id)"
        )
    )
    empty = connection.scalars(
        sa.text("SELECT dataset_serial FROM data_set WHERE nbr_objects = 0 ORDER BY dataset_serial")
    ).all()
    for serial in empty:
        _note(f"{serial} has neither frames nor files")


def _note(line: str) -> None:
    config = op.get_context().config
    if config is not None:
        config.attributes.setdefault("report", []).append(line)
