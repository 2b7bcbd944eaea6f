"""Jobs: a persisted plan cut into units, the runners that share them, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from imaging_db.model.frame import StoredFrame
from imaging_db.model.json_value import JSONObject

MOST_FRAMES = 256
"""Frames that one unit has at most."""
MOST_BYTES = 64 * 2**20
"""Bytes of pixels that one unit has at most, unless one frame alone has more."""
MOST_ATTEMPTS = 5
"""How often a unit is tried before it is left as failed, its cause kept."""
LEASE_SECONDS = 120.0
"""How long a unit stays with a runner that is not heard of, by the database's clock."""


class JobState(str, Enum):
    """``preparing``: units are being written. ``uploading``: runners may join. ``completing``: every unit is
    done, objects are compared. ``complete``: the dataset can be seen. ``cancelling``: nothing is committed
    any more, what has no row is swept. ``cancelled``: swept.
    """

    PREPARING = "preparing"
    UPLOADING = "uploading"
    COMPLETING = "completing"
    COMPLETE = "complete"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Return True where nothing will change any more."""
        return self in (JobState.COMPLETE, JobState.CANCELLED)


class UnitState(str, Enum):
    """``ready``: waits for a runner. ``leased``: with one. ``done``: its rows are written. ``failed``: given up."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """Some frames of a job, the work of one task: ``count`` of them from ``first``, in the reader's order."""

    ordinal: int
    first: int
    count: int

    @property
    def stop(self) -> int:
        """Return the index behind the last frame."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt at a unit, held by one runner; ``attempt`` counts from 1 and fences what is committed."""

    unit: Unit
    attempt: int


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job that is about to be created.

    ``source`` is all that a worker needs to open the frames: reader, path, settings. ``config_sha256`` tells
    whether the same job was created before; ``config`` is what the user wrote. ``origin`` names host and process.
    """

    uuid: str
    source: JSONObject
    config: JSONObject
    config_sha256: str
    nbr_units: int
    nbr_frames: int
    origin: str
    most_attempts: int = MOST_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the catalog keeps it; times are aware, in UTC. ``dataset_id`` is its dataset's row."""

    id: int
    uuid: str
    serial: str
    dataset_id: int
    state: JobState
    source: JSONObject
    config: JSONObject
    config_sha256: str
    nbr_units: int
    nbr_frames: int
    most_attempts: int
    origin: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def token(self) -> str:
        """Return the token with which the job claims its dataset."""
        return job_token(self.uuid)


def job_token(uuid: str) -> str:
    """Return the token with which a job of that uuid claims its dataset."""
    return f"job/{uuid}"


@dataclass(frozen=True, slots=True)
class Runner:
    """One process that joined a job. ``token`` names host, process and start, so that a dead one is recognised.

    ``seconds_ago`` is when it was last heard of, by the database's clock; None once it has left.
    """

    id: int
    job_id: int
    token: str
    engine: str
    workers: int
    started_at: datetime
    seconds_ago: float | None
    units_done: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit did not come to an end: the kind of error, its message, and the attempt that met it.

    ``state`` is ``failed`` where it is given up, ``ready`` or ``leased`` where it will be tried again.
    """

    unit: Unit
    attempt: int
    state: UnitState
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What a worker made of a unit: the rows of its frames, all in the store, or why not.

    ``kind`` and ``message`` are of the error, empty where there was none. ``temporary`` tells that the unit
    is not to blame: the store did not answer.
    """

    lease: Lease
    frames: tuple[StoredFrame, ...] = ()
    raw_bytes: int = 0
    kind: str = ""
    message: str = ""
    temporary: bool = False

    @property
    def is_done(self) -> bool:
        """Return True where every frame of the unit is in the store."""
        return not self.kind


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job came: units by state, frames that have a row, and the runners that are alive."""

    units: dict[UnitState, int] = field(default_factory=dict)
    frames_done: int = 0
    units_recently_done: int = 0
    recent_seconds: float = 0.0
    runners: tuple[Runner, ...] = ()

    def count(self, state: UnitState) -> int:
        """Return how many units are in a state."""
        return self.units.get(state, 0)
