"""Two to eight commands at once on one dataset: one whole state after the other, never a mixture."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
from collections.abc import Callable, Sequence

import pytest

from tests.support.aged import age_claim
from tests.support.commands import FORKS, Done
from tests.support.golden import golden, tree
from tests.support.matrix import Injected
from tests.torture.amount import chance, few_or
from tests.torture.bench import (
    Bench,
    Line,
    check_told,
    over_both_databases_and_stores,
    over_every_combination,
)
from tests.torture.history import (
    Event,
    Step,
    deleted,
    events_told,
    explained,
    perhaps_deleted,
    replaced,
    saw,
    uploaded,
)
from tests.torture.works import Download

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

ROUNDS = few_or(2, 10)
MOST = 8
SOURCES = ("frames", "other")
BUSY, CONFLICT, NOT_FOUND, DAMAGED, REPLACED = 8, 7, 2, 6, 5


def at_once(bench: Bench, lines: Sequence[Line]) -> list[Done]:
    """What commands come to that all start at the same moment."""
    started = [
        bench.commands.start(command, argv, cwd=bench.lab.folder, held=True)
        for command, argv in lines
    ]
    bench.commands.release(started)
    return [one.wait() for one in started]


def told(done: Sequence[Done]) -> str:
    return "\n".join(f"{one.code}: {one.told}" for one in done)


def check_codes(done: Sequence[Done], *allowed: int) -> None:
    """Each ended in a way that is foreseen, and told so."""
    assert {one.code for one in done} <= set(allowed), told(done)
    for one in done:
        if one.code:
            check_told(one, code=one.code)


@pytest.mark.fault("C1")
@over_every_combination
def test_one_source_uploaded_many_times_at_once_is_one_dataset(
    bench: Bench, injected: Injected
) -> None:
    for number, name in zip(range(ROUNDS), itertools.cycle(("frames", "files"))):
        serial = bench.new()
        done = at_once(bench, [bench.uploading(serial, name)] * (2 + number % (MOST - 1)))
        check_codes(done, 0, BUSY)
        assert any(one.code == 0 for one in done), told(done)
        assert bench.seen(serial) == bench.truth(name), told(done)
        assert bench.do(bench.uploading(serial, name)).stdout.endswith("1 already there\n")
        injected.add(len(done))
    assert bench.unfinished() == []


@pytest.mark.fault("C2")
@over_every_combination
def test_two_sources_uploaded_at_once_under_one_id_never_mix(
    bench: Bench, injected: Injected
) -> None:
    for number in range(ROUNDS):
        serial = bench.new()
        count = 2 + number % (MOST - 1)
        names = [SOURCES[turn % 2] for turn in range(count)]
        done = at_once(bench, [bench.uploading(serial, name) for name in names])
        check_codes(done, 0, CONFLICT, BUSY)
        winners = {name for name, one in zip(names, done, strict=True) if one.code == 0}
        assert len(winners) == 1, told(done)
        assert bench.seen(serial) == bench.truth(winners.pop()), told(done)
        injected.add(count)
    assert bench.unfinished() == []


@pytest.mark.fault("C3")
@over_both_databases_and_stores
def test_downloads_to_one_folder_take_turns(bench: Bench, injected: Injected) -> None:
    for _ in range(ROUNDS):
        work = Download(bench)
        work.prepare()
        done = at_once(bench, [work.line] * 4)
        check_codes(done, 0, BUSY)
        assert any(one.code == 0 for one in done), told(done)
        work.check_finished()
        injected.add(len(done))


@pytest.mark.fault("C4", "C5", "C9")
@over_every_combination
def test_every_command_sees_one_whole_state_in_an_order_that_explains_all(
    bench: Bench, injected: Injected, request: pytest.FixtureRequest
) -> None:
    """Uploads, replacements, downloads, deletions and collections at once; each tells a true story."""
    choose = chance(request.node.name)
    for number in range(ROUNDS + 1):
        serial = bench.new()
        before = choose.choice([None, *SOURCES])
        if before is not None:
            bench.do(bench.uploading(serial, before))
        kinds = [_kind(choose, turn) for turn in range(choose.randint(3, 6))]
        lines = [_line(bench, serial, kind, turn) for turn, kind in enumerate(kinds)]
        done = at_once(bench, lines)
        events = [
            _event(bench, serial, kind, turn, one)
            for turn, (kind, one) in enumerate(zip(kinds, done, strict=True))
        ]
        final = bench.seen(serial)
        state = next((name for name in SOURCES if final == bench.truth(name)), None)
        assert final is None or state is not None, told(done)
        end = max(one.ended for one in done)
        events.append(Event(end, end + 1, saw(state), f"is {state} in the end"))
        history = f"round {number}, first {before}:\n{events_told(events)}"
        assert explained(events, before), history
        _finish(bench, serial, history)
        injected.add(len(done))
        for folder in bench.lab.folder.glob("race-*"):
            shutil.rmtree(folder)
    assert bench.unfinished() == []


KINDS = ("upload", "upload", "overwrite", "download", "download", "delete", "gc", "verify")


def _kind(choose: random.Random, turn: int) -> str:
    kind = "download" if turn == 0 else choose.choice(KINDS)
    return f"{kind} {choose.choice(SOURCES)}" if kind in ("upload", "overwrite") else kind


def _line(bench: Bench, serial: str, kind: str, turn: int) -> Line:
    what, _, name = kind.partition(" ")
    makers: dict[str, Callable[[], Line]] = {
        "upload": lambda: bench.uploading(serial, name),
        "overwrite": lambda: bench.uploading(serial, name, "--overwrite"),
        "download": lambda: bench.downloading(serial, bench.lab.folder / f"race-{turn}"),
        "delete": lambda: bench.saying("delete", serial, "--yes"),
        "gc": lambda: bench.saying("gc", "--older_than", "0", "--yes"),
        "verify": lambda: bench.saying("verify", serial),
    }
    return makers[what]()


def _event(bench: Bench, serial: str, kind: str, turn: int, done: Done) -> Event:
    """What the result of a command tells; a command that was refused tells little."""
    what, _, name = kind.partition(" ")
    steps: tuple[Step, ...] = ()
    if what in ("download", "verify"):
        gone = {"download": REPLACED, "verify": DAMAGED}[what]  # meanwhile
        assert done.code in (0, NOT_FOUND, gone), done.told
        steps = saw(None) if done.code == NOT_FOUND else ()
        if what == "download" and done.code == 0:
            steps = saw(_downloaded(bench, serial, turn))
    elif what == "delete":
        check_codes([done], 0, NOT_FOUND, BUSY)
        steps = {0: deleted(*SOURCES)}.get(done.code, ())
    elif what == "gc":
        check_codes([done], 0)
    else:
        check_codes([done], 0, CONFLICT, BUSY)
        made = uploaded(name) if what == "upload" else replaced(name, *SOURCES)
        lost = perhaps_deleted(*SOURCES) if what == "overwrite" else ()
        steps = made if done.code == 0 else lost
    return Event(done.began, done.ended, steps, f"{kind}: {done.code} {done.told.strip()[-160:]}")


def _downloaded(bench: Bench, serial: str, turn: int) -> str:
    """The source whose objects lie in a folder, all of them and no others."""
    beside = ("frames_meta.csv", "global_metadata.json")
    found = tree(bench.lab.folder / f"race-{turn}" / serial, without=beside)
    for name in SOURCES:
        if found == bench.truth(name)["store"]:
            return name
    raise AssertionError(f"a mixture: {sorted(found)}")


def _finish(bench: Bench, serial: str, history: str) -> None:
    """Whatever the race came to, one more command makes it what is wanted."""
    done = bench.run(bench.uploading(serial, "frames", "--overwrite"))
    assert done.code == 0, f"{history}\n{done.told}"
    assert bench.seen(serial) == bench.truth("frames"), history


@pytest.mark.fault("C7")
@over_both_databases_and_stores
@pytest.mark.parametrize(
    ("stage", "successor"),
    [
        ("claim.taken:1", "other"),
        ("object.named:2", "other"),
        ("object.named:2", "frames"),
        ("dataset.complete:1", "other"),
    ],
)
def test_an_owner_that_was_thought_dead_damages_nothing(
    bench: Bench, stage: str, successor: str, injected: Injected
) -> None:
    """It is stopped until its claim is old; another run takes over and publishes; then it wakes up."""
    serial = bench.new()
    command, argv = bench.uploading(serial, "frames")
    failpoint = f"{stage}:stall=0.1"
    sleeper = bench.commands.start(command, argv, cwd=bench.lab.folder, failpoint=failpoint)
    sleeper.await_stall()
    sleeper.send(signal.SIGSTOP)
    age_claim(bench.lab.settings.database, serial)
    other = bench.run(bench.uploading(serial, successor, "--overwrite"))
    assert other.code == 0, other.told
    sleeper.send(signal.SIGCONT)
    done = sleeper.wait()
    check_codes([done], BUSY, CONFLICT)
    found = golden(bench.db, serial)
    assert found is not None, f"the dataset of the other is gone: {done.told}"
    assert found["objects"] == bench.truth(successor)["objects"]
    bench.sweep()  # what the first had put beside it has no row
    assert bench.seen(serial) == bench.truth(successor), done.told
    assert bench.unfinished() == []
    injected.add()
