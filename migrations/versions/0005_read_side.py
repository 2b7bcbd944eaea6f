"""Percentiles, repeated frames, and what people say of datasets.

Revision: 0005, after 0004

Rows that are there keep NULL until ``imaging-db qc --backfill`` measures them. Annotations name the id of
their dataset rather than its row: a dataset that is replaced with ``--overwrite`` keeps them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

QUALITY = {"intensity_p01": "FLOAT", "intensity_p99": "FLOAT", "is_repeat": "BOOLEAN"}
_NOW = sa.text("removed_at IS NULL")


def upgrade() -> None:
    for column, kind in QUALITY.items():
        op.execute(f"ALTER TABLE frames ADD COLUMN {column} {kind}")
    op.create_table(
        "annotation",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("dataset_serial", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String()),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("removed_by", sa.String()),
        sa.Column("removed_at", sa.DateTime()),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (removed_by IS NULL)", name=op.f("ck_annotation_removed")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("annotation_pkey")),
    )
    op.create_index(
        "uq_annotation_now",
        "annotation",
        ["dataset_serial", "key"],
        unique=True,
        sqlite_where=_NOW,
        postgresql_where=_NOW,
    )
    op.create_index(op.f("ix_annotation_dataset_serial"), "annotation", ["dataset_serial"])
    op.create_index(op.f("ix_annotation_key"), "annotation", ["key"])


def downgrade() -> None:
    op.drop_table("annotation")
    for column in reversed(QUALITY):
        op.drop_column("frames", column)
