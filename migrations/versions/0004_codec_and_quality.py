"""The codec that was asked for, and figures that tell a black, saturated or blurred frame.

Revision: 0004, after 0003

Rows that are there keep NULL: nobody measured them. A table of ten million frames is altered in place;
SQLite would copy it if the checks were those of the table rather than of the new columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

QUALITY = {
    "intensity_min": None,
    "intensity_max": ("intensity", "intensity_min <= intensity_max"),
    "intensity_mean": None,
    "saturated_share": ("saturated_share", "saturated_share >= 0 AND saturated_share <= 1"),
    "focus": ("focus", "focus >= 0"),
}


def upgrade() -> None:
    op.add_column("frames_global", sa.Column("codec", sa.String()))
    for column, check in QUALITY.items():
        condition = f" CONSTRAINT ck_frames_{check[0]} CHECK ({check[1]})" if check else ""
        op.execute(f"ALTER TABLE frames ADD COLUMN {column} FLOAT{condition}")


def downgrade() -> None:
    for column in reversed(QUALITY):
        op.drop_column("frames", column)
    op.drop_column("frames_global", "codec")
