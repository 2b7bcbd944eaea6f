"""Every stage of every kind of work, stopped at its first, second, middle and last arrival.

The command is killed, meets an error, or is told to stop; then what can be seen is the old state or the new
one, as the stage demands, and the same command once more gives what an undisturbed run gives.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from imaging_db import failpoints
from tests.support.commands import FORKS, Done
from tests.support.matrix import Injected
from tests.torture.amount import thinned
from tests.torture.bench import COMBINATIONS, WORKERS, Bench
from tests.torture.ingest_works import IngestCancel, IngestCreate, IngestJoin
from tests.torture.works import Collect, Delete, Download, Overwrite, Repair, Upload, Work

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

SHARE = 48
"""One case of so many is tried where little is tortured."""
STALL = 0.2
LATE = 2.0
"""Seconds that a command may take to stop after it was told to, once what it was stalled by is over."""

WORKS: dict[str, Callable[[Bench], Work]] = {
    "upload of frames": Upload,
    "upload of files": lambda bench: Upload(bench, "files"),
    "overwrite of frames": Overwrite,
    "overwrite of files": lambda bench: Overwrite(bench, "files", "others"),
    "download of frames": Download,
    "download of a channel": lambda bench: Download(bench, ("-c", "1")),
    "download of files": lambda bench: Download(bench, name="files"),
    "delete": Delete,
    "gc": Collect,
    "repair": Repair,
    "ingest create": IngestCreate,
    "ingest join": IngestJoin,
    "ingest cancel": IngestCancel,
}
ACTIONS = ("kill", "raise", "SIGTERM", "SIGINT")


@dataclass(frozen=True)
class Case:
    """What happens at which arrival at a stage; ``place`` is where that is in an undisturbed run."""

    stage: str
    arrival: int
    place: int
    action: str

    @property
    def options(self) -> dict[str, Any]:
        """How the command is run."""
        what = self.action if self.action in ("kill", "raise") else f"stall={STALL}"
        options: dict[str, Any] = {"failpoint": f"{self.stage}:{self.arrival}:{what}"}
        if self.action.startswith("SIG"):
            options["signal_at_stall"] = getattr(signal, self.action)
        return options

    @property
    def code(self) -> int:
        """The exit code that the action leads to."""
        return {"kill": -9, "raise": 1, "SIGTERM": 143, "SIGINT": 130}[self.action]


def cases(stages: tuple[str, ...]) -> Iterator[Case]:
    """Every action at the first, second, middle and last arrival at each stage of an undisturbed run."""
    number = 0
    for stage in dict.fromkeys(stages):
        places = [place for place, name in enumerate(stages) if name == stage]
        count = len(places)
        for arrival in sorted({1, min(2, count), (count + 1) // 2, count}):
            for turn in range(len(ACTIONS)):  # so that every fourth case has every action
                yield Case(stage, arrival, places[arrival - 1], ACTIONS[(turn + number) % 4])
            number += 1


def undisturbed(bench: Bench, name: str) -> Done:
    """A run of a work that tells the stages it passes."""
    work = WORKS[name](bench)
    work.prepare()
    done = bench.do(work.line, stages=True)
    work.check_finished()
    return done


def works_on_benches() -> list[Any]:
    """Every work with every combination; where little is tortured, each with every second one."""
    stopped = pytest.mark.fault("K1", "K4", "K5", "K9")
    cut_off = pytest.mark.fault("K4", "K6", "K9")
    return [
        pytest.param(bench, name, marks=cut_off if name.startswith("download") else stopped)
        for turn, name in enumerate(WORKS)
        for bench in thinned(COMBINATIONS, 2, offset=turn)
    ]


@pytest.mark.parametrize(("bench", "name"), works_on_benches(), indirect=["bench"])
def test_a_command_that_stops_at_any_stage_is_finished_by_the_same_command(
    bench: Bench, name: str, injected: Injected, request: pytest.FixtureRequest
) -> None:
    stages = undisturbed(bench, name).stages
    known = list(cases(stages))
    turn = COMBINATIONS.index(request.node.callspec.params["bench"]) * 5 + list(WORKS).index(name)
    for case in thinned(known, SHARE, offset=turn, at_length=8):
        work = WORKS[name](bench)
        work.prepare()
        disturb(bench, work, case, stages)
        injected.add()
    check_left_over(bench, injected.count)


def disturb(bench: Bench, work: Work, case: Case, stages: tuple[str, ...]) -> None:
    """One fault, what can be seen then, and the same command again."""
    before = len(bench.temporaries())
    done = bench.run(work.line, **case.options)
    told = f"{case}: {done.code}: {done.told}"
    try:
        work.check_told(done, stage=case.stage, code=case.code)
        if done.stalled is not None:
            assert done.ended - done.stalled < STALL + LATE, "it did not stop"
        if case.action != "kill":
            assert len(bench.temporaries()) <= before, "it left a temporary file"
        work.check_disturbed(stages, case.place)
        again = bench.run(work.line)
        told += f"\nagain: {again.code}: {again.told}"
        assert again.code in (0, work.gone), "it was not finished"
        work.check_finished()
    except AssertionError as error:
        error.add_note(told)
        raise


def check_left_over(bench: Bench, faults: int) -> None:
    """Nothing pending, no object without a row, and temporary files of killed runs only."""
    assert bench.unfinished() == []
    assert len(bench.temporaries()) <= faults * WORKERS
    before = bench.objects()
    bench.sweep()
    assert bench.objects() == before, "an object had no row"
    assert bench.temporaries() == []


def test_every_stage_has_a_case(bench: Bench) -> None:
    met = {stage for name in WORKS for stage in undisturbed(bench, name).stages}
    assert met == set(failpoints.STAGES)
