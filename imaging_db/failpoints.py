"""Named stages of the work, where a test can kill the process, raise an error or stall.

They prove the promise: whatever happens at any of them, nothing partial can be seen, and the same command
once more finishes the work. Nothing is armed unless ``IMAGING_DB_FAILPOINT`` says so, and a stage that is
reached then costs one call of an empty function. ::

    IMAGING_DB_FAILPOINT=object.named:3:kill      data_uploader --csv files.csv    # the third object
    IMAGING_DB_FAILPOINT=catalog.committing:2+:raise                               # from the second on
    IMAGING_DB_FAILPOINT=object.written:stall=5,catalog.committed:kill             # several

``python -m imaging_db.failpoints`` lists the stages.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imaging_db.errors import UsageError

VARIABLE = "IMAGING_DB_FAILPOINT"

STAGES = {
    "claim.taken": "upload: the dataset is claimed, nothing is stored",
    "source.opened": "upload: the source is open, nothing is read",
    "frame.read": "upload: the pixels of a frame are in memory",
    "frame.encoded": "upload: a frame is encoded, nothing is written",
    "object.written": "store: the bytes lie in a temporary file, or are about to be sent",
    "object.named": "store: an object has its name, or the server has answered",
    "objects.flushing": "upload: what was stored is about to be made durable",
    "objects.flushed": "upload: what was stored survives a power cut, it has no row",
    "rows.inserted": "catalog: rows of objects are written, not committed",
    "catalog.committing": "catalog: a transaction that writes is about to be committed",
    "catalog.committed": "catalog: a transaction is committed, nobody has heard of it",
    "dataset.complete": "upload: every object has its row, the dataset is not published",
    "dataset.published": "upload: the dataset can be seen, nothing is printed",
    "folder.locked": "download: the folder is ours, nothing is written",
    "object.fetched": "download: the bytes of an object are in memory and verified",
    "file.written": "download: the bytes lie in a temporary file",
    "file.named": "download: a file has its name",
    "dataset.hidden": "delete: the dataset cannot be seen any more, its objects are there",
    "object.deleted": "delete, gc, repair: one object is gone",
    "object.repaired": "repair: right objects are back and survive a power cut, no row has heard of it",
    "job.created": "ingest: a job has its row and its dataset, no unit is written",
    "units.added": "ingest: some units are written, runners may not claim them yet",
    "units.claimed": "ingest: a runner has the lease of units, none is at work",
    "units.committed": "ingest: rows of units are written, the runner has not heard of it",
    "job.completing": "ingest: every unit is done, no object was looked at",
    "job.complete": "ingest: the dataset can be seen, nothing is printed",
    "job.cancelling": "ingest: nothing is committed any more, nothing is swept",
    "job.cancelled": "ingest: everything without a row is swept, nothing is printed",
    "objects.deleted": "delete: all objects are gone, the rows are there",
}


def _pass(stage: str) -> None:
    """Nothing is armed."""


reach: Callable[[str], None] = _pass
"""Call as ``failpoints.reach(stage)`` where a stage is reached."""


@dataclass
class Fault:
    """What happens at which arrival at a stage; counts the arrivals, from many threads."""

    stage: str
    action: str
    first: int = 1
    lasting: bool = False
    seconds: float = 3600.0
    _arrivals: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def meet(self, stage: str) -> None:
        """Do what was asked for, if this is the arrival that was meant."""
        if stage != self.stage:
            return
        number = next(self._arrivals)
        if number != self.first and not (self.lasting and number > self.first):
            return
        if self.action == "kill":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        if self.action == "stall":
            time.sleep(self.seconds)
            return
        raise RuntimeError(f"failpoint {self.stage}")


def arm(text: str | None = None) -> None:
    """Arm what ``text`` says, or ``IMAGING_DB_FAILPOINT``; nothing where that is empty.

    Raises
    ------
    UsageError
        It cannot be read, or there is no such stage.
    """
    global reach
    text = os.environ.get(VARIABLE, "") if text is None else text
    faults = [_parsed(part.strip()) for part in text.split(",") if part.strip()]

    def meet(stage: str) -> None:
        for fault in faults:
            fault.meet(stage)

    reach = meet if faults else _pass


def _parsed(text: str) -> Fault:
    stage, *rest = text.split(":")
    if stage not in STAGES:
        raise UsageError(
            f"{VARIABLE}: there is no stage {stage!r}", hint="python -m imaging_db.failpoints"
        )
    arrival = rest.pop(0) if len(rest) == 2 else "1"
    number = arrival.removesuffix("+")
    action, _, seconds = rest[0].partition("=") if len(rest) == 1 else ("", "", "")
    readable = number.isdecimal() and seconds.replace(".", "", 1).isdecimal() | (not seconds)
    if action not in ("kill", "raise", "stall") or not readable or int(number) < 1:
        raise UsageError(
            f"{VARIABLE}: {text!r} cannot be read",
            hint="write stage[:number[+]]:kill, :raise or :stall[=seconds]",
        )
    return Fault(stage, action, int(number), arrival.endswith("+"), float(seconds or 3600))


if __name__ == "__main__":
    for name, meaning in STAGES.items():
        sys.stdout.write(f"{name:20} {meaning}\n")
