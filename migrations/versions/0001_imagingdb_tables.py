"""The four tables of imagingDB, made from nothing or from either of its generations.

Revision: 0001, after nothing

The original made its tables itself, beside its own migrations, so what a database holds is looked up
rather than believed. The generation of 2018 calls ``storage_dir`` ``s3_dir`` and lacks hashes and file
names. Nothing that is there is changed but for that name.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


KEY = {"id": sa.Integer}
COUNTS = ("nbr_slices", "nbr_channels", "im_colors", "nbr_timepoints", "nbr_positions")
INDICES = ("channel_idx", "slice_idx", "time_idx", "pos_idx")

TABLES: dict[str, dict[str, Any]] = {
    "data_set": KEY
    | dict.fromkeys(("dataset_serial", "description", "microscope"), sa.String)
    | {"frames": sa.Boolean, "date_time": sa.DateTime, "parent_id": sa.Integer},
    "frames_global": KEY
    | dict.fromkeys(("nbr_frames", "im_width", "im_height", *COUNTS), sa.Integer)
    | dict.fromkeys(("bit_depth", "storage_dir"), sa.String)
    | {"metadata_json": JSON, "dataset_id": sa.Integer},
    "frames": KEY
    | dict.fromkeys(INDICES, sa.Integer)
    | dict.fromkeys(("channel_name", "file_name", "sha256"), sa.String)
    | {"metadata_json": JSON, "frames_global_id": sa.Integer},
    "file_global": KEY
    | dict.fromkeys(("storage_dir", "file_name", "sha256"), sa.String)
    | {"metadata_json": JSON, "dataset_id": sa.Integer},
}

REFERENCES = {
    "data_set": ("parent_id", "data_set"),
    "frames_global": ("dataset_id", "data_set"),
    "frames": ("frames_global_id", "frames_global"),
    "file_global": ("dataset_id", "data_set"),
}


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for name, kinds in TABLES.items():
        columns = [sa.Column(column, kind) for column, kind in kinds.items()]
        if name in there:
            _complete(name, columns)
        else:
            _create(name, columns)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(name)


def _create(name: str, columns: list[sa.Column[Any]]) -> None:
    column, target = REFERENCES[name]
    op.create_table(
        name,
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"{name}_pkey"),
        sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"{name}_{column}_fkey"),
    )


def _complete(name: str, columns: list[sa.Column[Any]]) -> None:
    """Add what a table of an early generation lacks."""
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)}
    if "s3_dir" in there and "storage_dir" not in there:
        with op.batch_alter_table(name) as table:
            table.alter_column("s3_dir", new_column_name="storage_dir", existing_type=sa.String())
        there.add("storage_dir")
        _note(f"{name}.s3_dir is now called storage_dir")
    missing = [column for column in columns if column.name not in there]
    for column in missing:
        op.add_column(name, column)
    if missing:
        _note(f"{name} has new columns: {', '.join(column.name for column in missing)}")


def _note(line: str) -> None:
    config = op.get_context().config
    if config is not None:
        config.attributes.setdefault("report", []).append(line)
