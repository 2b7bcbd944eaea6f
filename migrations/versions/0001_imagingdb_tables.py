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


def _tables() -> dict[str, list[sa.Column[Any]]]:
    whole, words = sa.Integer, sa.String
    return {
        "data_set": [
            sa.Column("id", whole, primary_key=True),
            sa.Column("dataset_serial", words),
            sa.Column("description", words),
            sa.Column("microscope", words),
            sa.Column("frames", sa.Boolean),
            sa.Column("date_time", sa.DateTime),
            sa.Column("parent_id", whole),
        ],
        "frames_global": [
            sa.Column("id", whole, primary_key=True),
            sa.Column("nbr_frames", whole),
            sa.Column("im_width", whole),
            sa.Column("im_height", whole),
            sa.Column("nbr_slices", whole),
            sa.Column("nbr_channels", whole),
            sa.Column("im_colors", whole),
            sa.Column("nbr_timepoints", whole),
            sa.Column("nbr_positions", whole),
            sa.Column("bit_depth", words),
            sa.Column("storage_dir", words),
            sa.Column("metadata_json", JSON),
            sa.Column("dataset_id", whole),
        ],
        "frames": [
            sa.Column("id", whole, primary_key=True),
            sa.Column("channel_idx", whole),
            sa.Column("slice_idx", whole),
            sa.Column("time_idx", whole),
            sa.Column("pos_idx", whole),
            sa.Column("channel_name", words),
            sa.Column("file_name", words),
            sa.Column("sha256", words),
            sa.Column("metadata_json", JSON),
            sa.Column("frames_global_id", whole),
        ],
        "file_global": [
            sa.Column("id", whole, primary_key=True),
            sa.Column("storage_dir", words),
            sa.Column("file_name", words),
            sa.Column("sha256", words),
            sa.Column("metadata_json", JSON),
            sa.Column("dataset_id", whole),
        ],
    }


REFERENCES = {
    "data_set": ("parent_id", "data_set"),
    "frames_global": ("dataset_id", "data_set"),
    "frames": ("frames_global_id", "frames_global"),
    "file_global": ("dataset_id", "data_set"),
}


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for name, columns in _tables().items():
        if name in there:
            _complete(name, columns)
        else:
            _create(name, columns)


def downgrade() -> None:
    for name in reversed(_tables()):
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
