"""Runners as rows: the processes that joined a job, what they did, and when they were last heard of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, null, or_, select, update

from imaging_db.catalog import job_rows
from imaging_db.catalog.datasets import AnyRow
from imaging_db.catalog.functions import SecondsSince, UtcNow
from imaging_db.catalog.tables_jobs import RunnerRow, UnitRow
from imaging_db.catalog.units import IS_LEASED
from imaging_db.errors import Conflict
from imaging_db.model.job import LEASE_SECONDS, Runner

_WRITES_UNTIL = "writes_until"
_AGO = SecondsSince(RunnerRow.heartbeat).label("seconds_ago")
_AGE = SecondsSince(RunnerRow.started_at).label("age")
_ALL = select(RunnerRow.__table__, _AGO, _AGE).where(RunnerRow.job_id == bindparam("job"))
_THIS = RunnerRow.id == bindparam("runner")
_LOCKED = select(RunnerRow.claim).where(_THIS).with_for_update()
_BEAT = update(RunnerRow).where(_THIS).values(heartbeat=UtcNow())
_NOTE = _BEAT.values(claim=bindparam("noted"))
_FORGET = _BEAT.values(claim=null())
_COUNT = _BEAT.values(
    units_done=RunnerRow.units_done + bindparam("units"),
    frames_done=RunnerRow.frames_done + bindparam("frames"),
)
_DISCOUNT = (
    update(RunnerRow)
    .where(_THIS)
    .values(
        units_done=RunnerRow.units_done - bindparam("units"),
        frames_done=RunnerRow.frames_done - bindparam("frames"),
    )
)
_CUT_OFF = (
    update(RunnerRow)
    .where(_THIS, RunnerRow.engine.not_in(("threads", "serial")))  # these end with their process
    .values(claim=bindparam("noted"))
)
_LEAVE = update(RunnerRow).where(_THIS).values(left_at=func.coalesce(RunnerRow.left_at, UtcNow()))


class _Computer(NamedTuple):
    """A computer as the token of a run tells it; ``boot`` is empty where the system does not tell."""

    name: str
    boot: str


def to_runner(row: AnyRow) -> Runner:
    """Return a row as a model object."""
    return Runner(
        id=row.id,
        job_id=row.job_id,
        token=row.token,
        engine=row.engine,
        workers=row.workers,
        started_at=row.started_at,
        seconds_ago=None if row.left_at is not None else row.seconds_ago,
        units_done=row.units_done,
    )


def join(connection: Connection, job_id: int, *, token: str, engine: str, workers: int) -> Runner:
    """Return the runner of a token, new or come back.

    Raises
    ------
    JobOver
        The job is complete, cancelled, or being cancelled.
    Conflict
        The catalog is a SQLite file, which another computer works with.
    """
    job = job_rows.held(connection, job_id)
    job_rows.require_going_on(job)
    runners = every(connection, job_id)
    if connection.dialect.name == "sqlite":
        _require_one_computer(job, runners, token)
    present = {"engine": engine, "workers": workers, "left_at": None, "heartbeat": UtcNow()}
    if any(row.token == token for row in runners):
        known = (RunnerRow.job_id == job_id, RunnerRow.token == token)
        connection.execute(update(RunnerRow).where(*known).values(**present))
    else:
        counts = {"units_done": 0, "frames_done": 0}
        connection.execute(
            insert(RunnerRow).values(
                job_id=job_id, token=token, started_at=UtcNow(), **present, **counts
            )
        )
    (found,) = (row for row in every(connection, job_id) if row.token == token)
    return to_runner(found)


def every(connection: Connection, job_id: int) -> Sequence[AnyRow]:
    """Return the rows of every runner that a job ever had, with ``seconds_ago`` and ``age`` in seconds."""
    return connection.execute(_ALL, {"job": job_id}).all()


def is_alive(row: AnyRow) -> bool:
    """Return True where a runner has not left and was heard of; far ahead is a clock since set back."""
    return row.left_at is None and abs(row.seconds_ago) < LEASE_SECONDS


def dead(connection: Connection, job_id: int, is_dead: Callable[[str], bool]) -> list[int]:
    """Return the ids of runners, those who have not left or have units still, that are dead."""
    leasing = select(UnitRow.runner_id).where(UnitRow.job_id == job_id, IS_LEASED)
    suspects = select(RunnerRow.id, RunnerRow.token).where(
        RunnerRow.job_id == job_id, or_(RunnerRow.left_at.is_(None), RunnerRow.id.in_(leasing))
    )
    return [row.id for row in connection.execute(suspects) if is_dead(row.token)]


def locked(connection: Connection, runner_id: int) -> AnyRow:
    """Return what a runner claimed last; whatever it does else waits until the transaction ends."""
    return connection.execute(_LOCKED, {"runner": runner_id}).one()


def beat(connection: Connection, runner_id: int) -> None:
    """Note that a runner was heard of."""
    connection.execute(_BEAT, {"runner": runner_id})


def note_claim(connection: Connection, runner_id: int, claim: dict[str, Any] | None) -> None:
    """Note that a runner was heard of, and what it claimed last."""
    if claim is None:
        connection.execute(_FORGET, {"runner": runner_id})
    else:
        connection.execute(_NOTE, {"runner": runner_id, "noted": claim})


def note_cut_off(connection: Connection, runner_id: int, until: datetime) -> None:
    """Note until when workers may write that have outlived their runner; nothing where they cannot have."""
    connection.execute(_CUT_OFF, {"runner": runner_id, "noted": {_WRITES_UNTIL: until.isoformat()}})


def cut_off(connection: Connection, job_id: int) -> list[datetime]:
    """Return until when workers may write that have outlived a runner of a job, one moment for each."""
    claims = (row.claim or {} for row in every(connection, job_id))
    return [datetime.fromisoformat(one[_WRITES_UNTIL]) for one in claims if _WRITES_UNTIL in one]


def count_done(connection: Connection, runner_id: int, units: int, frames: int) -> None:
    """Note that a runner was heard of, and did so many units more."""
    connection.execute(_COUNT, {"runner": runner_id, "units": units, "frames": frames})


def discount(connection: Connection, runner_id: int, units: int, frames: int) -> None:
    """Note that units which a runner had done have to be done again."""
    connection.execute(_DISCOUNT, {"runner": runner_id, "units": units, "frames": frames})


def leave(connection: Connection, runner_id: int) -> None:
    """Note that a runner has left."""
    connection.execute(_LEAVE, {"runner": runner_id})


def _require_one_computer(job: AnyRow, runners: Sequence[AnyRow], token: str) -> None:
    """Let pass the computer that works with the file: two would damage it, over a network they see no locks.

    The one that created the job is known by its name alone, too: it may have been started again since.
    """
    here, origin = _computer(token), _computer(job.origin)
    alive = [_computer(row.token) for row in runners if is_alive(row)]
    known = here.name == origin.name or _is_same(here, origin)
    if known and all(_is_same(here, other) for other in alive):
        return
    other = next((one for one in alive if not _is_same(here, one)), origin)
    raise Conflict(
        f"job {job.id} runs on {other.name}: a SQLite catalog serves one computer",
        hint="joining from another needs PostgreSQL",
    )


def _computer(token: str) -> _Computer:
    """Return the computer of a token ``host@boot.namespace/...``: containers on one share its boot."""
    host = token.partition("/")[0]
    name, told, boot = host.rpartition("@")
    return _Computer(name, boot.partition(".")[0]) if told else _Computer(host, "")


def _is_same(one: _Computer, other: _Computer) -> bool:
    return one.boot == other.boot if one.boot and other.boot else one.name == other.name
