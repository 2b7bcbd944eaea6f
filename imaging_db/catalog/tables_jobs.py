"""The tables of ingest jobs: the jobs, their units, and the runners that share these.

A unit has few columns that change and no index of its state as such: four small indexes hold what is
ready, leased, in trouble, and done of late. What is done, nearly everything in the end, is in none that a
claim reads.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from imaging_db.catalog.tables import Base

_OVER = "('complete', 'cancelled')"


def _where(condition: str) -> dict[str, Any]:
    """Return the options of an index of some rows only."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _of_state(state: str, *columns: str) -> Index:
    """Return the index of the units in one state.

    The state is a column of it, too: SQLite, which counts nothing by itself, takes the index of which more
    columns are given, and would look through the key of all units else.
    """
    name = f"ix_ingest_unit_{state}"
    return Index(name, "state", "job_id", *columns, **_where(f"state = '{state}'"))


class JobRow(Base):
    """One ingest job. ``dataset_id`` is NULL once its dataset is deleted; the job stays as history.

    A job that is not over holds the claim on its dataset, with the token ``job/<uuid>``, whether anybody
    works on it or not. ``manual`` says that only a command completes it.
    """

    __tablename__ = "ingest_job"
    __table_args__ = (
        CheckConstraint(
            "state IN ('preparing', 'uploading', 'completing', 'complete', 'cancelling', 'cancelled')",
            name="state",
        ),
        CheckConstraint(f"(finished_at IS NULL) = (state NOT IN {_OVER})", name="finished"),
        CheckConstraint("nbr_units >= 0 AND nbr_frames >= nbr_units", name="counts"),
        CheckConstraint("most_attempts >= 1", name="most_attempts"),
        UniqueConstraint("uuid"),
        Index(
            "uq_ingest_job_live", "dataset_serial", unique=True, **_where(f"state NOT IN {_OVER}")
        ),
        Index(None, "dataset_serial"),
        Index(None, "dataset_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str]
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("data_set.id", ondelete="SET NULL"))
    dataset_serial: Mapped[str]
    state: Mapped[str]
    source: Mapped[dict[str, Any]]
    config: Mapped[dict[str, Any]]
    config_sha256: Mapped[str]
    nbr_units: Mapped[int]
    nbr_frames: Mapped[int]
    most_attempts: Mapped[int]
    origin: Mapped[str]
    manual: Mapped[bool]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RunnerRow(Base):
    """One process that joined a job. ``units_done`` and ``frames_done`` count what it did and still stands.

    They are summed where progress is asked for, instead of a million units. ``claim`` is the last claim:
    its key, by which one whose answer was lost is recognised, and the units that it took.
    """

    __tablename__ = "ingest_runner"
    __table_args__ = (
        CheckConstraint("units_done >= 0 AND frames_done >= units_done", name="done"),
        UniqueConstraint("job_id", "token"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("ingest_job.id", ondelete="CASCADE"))
    token: Mapped[str]
    engine: Mapped[str]
    workers: Mapped[int]
    started_at: Mapped[datetime]
    heartbeat: Mapped[datetime]
    left_at: Mapped[datetime | None]
    units_done: Mapped[int]
    frames_done: Mapped[int]
    claim: Mapped[dict[str, Any] | None]


class UnitRow(Base):
    """One unit: ``nbr_frames`` of the job's frames from ``first_frame``.

    ``attempt`` counts the leases and fences what comes back. ``runner_id`` is who has it, or did it.
    ``alone`` marks one that was in a lease which ran out: it may have killed its runner. The error is the
    last that was met, at ``error_attempt``; NULL in a unit that is done.
    """

    __tablename__ = "ingest_unit"
    __table_args__ = (
        CheckConstraint("state IN ('ready', 'leased', 'done', 'failed')", name="state"),
        CheckConstraint("first_frame >= 0 AND nbr_frames >= 1", name="frames"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name="done"),
        CheckConstraint(
            "state NOT IN ('leased', 'done') OR runner_id IS NOT NULL", name="runner_id"
        ),
        CheckConstraint("state <> 'failed' OR error_kind IS NOT NULL", name="error"),
        _of_state("ready", "alone", "attempt", "ordinal"),
        _of_state("leased", "lease_until"),
        _of_state("done", "done_at"),
        Index(
            "ix_ingest_unit_trouble",
            "state",
            "job_id",
            "ordinal",
            **_where("error_kind IS NOT NULL"),
        ),
        {
            # each unit is written three times: what is left of that is swept as it comes
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 20000,
            },
        },
    )

    job_id: Mapped[int] = mapped_column(
        ForeignKey("ingest_job.id", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_frame: Mapped[int]
    nbr_frames: Mapped[int]
    state: Mapped[str]
    attempt: Mapped[int]
    alone: Mapped[bool]
    runner_id: Mapped[int | None] = mapped_column(ForeignKey("ingest_runner.id"))
    lease_until: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    error_kind: Mapped[str | None]
    error: Mapped[str | None]
    error_attempt: Mapped[int | None]
