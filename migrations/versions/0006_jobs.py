"""Ingest jobs: a plan cut into units, and the runners that share them.

Revision: 0006, after 0005

A job that is not over holds the claim on its dataset. Going down, these claims are given back: nothing
would be left that could finish or cancel the job.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
OVER = "('complete', 'cancelled')"


def upgrade() -> None:
    create_job()
    create_runner()
    create_unit()


def create_job() -> None:
    op.create_table(
        "ingest_job",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.Integer()),
        sa.Column("dataset_serial", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("source", DOCUMENT, nullable=False),
        sa.Column("config", DOCUMENT, nullable=False),
        sa.Column("config_sha256", sa.String(), nullable=False),
        sa.Column("nbr_units", sa.Integer(), nullable=False),
        sa.Column("nbr_frames", sa.Integer(), nullable=False),
        sa.Column("most_attempts", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime()),
        _check(
            "job",
            "state",
            "state IN ('preparing', 'uploading', 'completing', 'complete', 'cancelling', 'cancelled')",
        ),
        _check("job", "finished", f"(finished_at IS NULL) = (state NOT IN {OVER})"),
        _check("job", "counts", "nbr_units >= 0 AND nbr_frames >= nbr_units"),
        _check("job", "most_attempts", "most_attempts >= 1"),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["data_set.id"],
            name=op.f("ingest_job_dataset_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ingest_job_pkey")),
        sa.UniqueConstraint("uuid", name=op.f("uq_ingest_job_uuid")),
    )
    _index("uq_ingest_job_live", "job", ["dataset_serial"], f"state NOT IN {OVER}", unique=True)
    _index("ix_ingest_job_dataset_serial", "job", ["dataset_serial"])
    _index("ix_ingest_job_dataset_id", "job", ["dataset_id"])


def create_runner() -> None:
    op.create_table(
        "ingest_runner",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("heartbeat", sa.DateTime(), nullable=False),
        sa.Column("left_at", sa.DateTime()),
        sa.Column("units_done", sa.Integer(), nullable=False),
        sa.Column("frames_done", sa.Integer(), nullable=False),
        sa.Column("claim", DOCUMENT),
        _check("runner", "done", "units_done >= 0 AND frames_done >= units_done"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["ingest_job.id"],
            name=op.f("ingest_runner_job_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ingest_runner_pkey")),
        sa.UniqueConstraint("job_id", "token", name=op.f("uq_ingest_runner_job_id_token")),
    )


def create_unit() -> None:
    op.create_table(
        "ingest_unit",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("first_frame", sa.Integer(), nullable=False),
        sa.Column("nbr_frames", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("runner_id", sa.Integer()),
        sa.Column("lease_until", sa.DateTime()),
        sa.Column("done_at", sa.DateTime()),
        sa.Column("error_kind", sa.String()),
        sa.Column("error", sa.String()),
        sa.Column("error_attempt", sa.Integer()),
        _check("unit", "state", "state IN ('ready', 'leased', 'done', 'failed')"),
        _check("unit", "frames", "first_frame >= 0 AND nbr_frames >= 1"),
        _check("unit", "attempt", "attempt >= 0"),
        _check("unit", "lease", "(state = 'leased') = (lease_until IS NOT NULL)"),
        _check("unit", "done", "(state = 'done') = (done_at IS NOT NULL)"),
        _check("unit", "runner_id", "state NOT IN ('leased', 'done') OR runner_id IS NOT NULL"),
        _check("unit", "error", "state <> 'failed' OR error_kind IS NOT NULL"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["ingest_job.id"],
            name=op.f("ingest_unit_job_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["runner_id"], ["ingest_runner.id"], name=op.f("ingest_unit_runner_id_fkey")
        ),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name=op.f("ingest_unit_pkey")),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": 0,
            "autovacuum_vacuum_threshold": 20000,
        },
    )
    of_state = {
        "ready": ["alone", "attempt", "ordinal"],
        "leased": ["lease_until"],
        "done": ["done_at"],
    }
    for state, columns in of_state.items():
        every = ["state", "job_id", *columns]
        _index(f"ix_ingest_unit_{state}", "unit", every, f"state = '{state}'")
    trouble = ["state", "job_id", "ordinal"]
    _index("ix_ingest_unit_trouble", "unit", trouble, "error_kind IS NOT NULL")


def _check(noun: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_ingest_{noun}_{name}"))


def _index(
    name: str, noun: str, columns: list[str], where: str | None = None, *, unique: bool = False
) -> None:
    options: dict[str, Any] = {}
    if where is not None:
        options = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}
    op.create_index(op.f(name), f"ingest_{noun}", columns, unique=unique, **options)


def downgrade() -> None:
    op.drop_table("ingest_unit")
    op.drop_table("ingest_runner")
    op.drop_table("ingest_job")
    op.execute(
        "UPDATE data_set SET claim_token = NULL, claim_heartbeat = NULL "
        "WHERE claim_token LIKE 'job/%' AND status = 'pending'"
    )
