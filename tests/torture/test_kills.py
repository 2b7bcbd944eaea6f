"""Commands killed at random moments, once or several times in a row, until one is left alone.

The seed is printed; IMAGING_DB_TEST_SEED repeats it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.commands import FORKS
from tests.support.matrix import Injected
from tests.torture.amount import chance, few_or
from tests.torture.bench import COMBINATIONS, WORKERS, Bench, over_every_combination
from tests.torture.works import Collect, Delete, Download, Overwrite, Repair, Upload, Work

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

ROUNDS = few_or(3, 28)
IN_A_ROW = 3
WORKS: tuple[Callable[[Bench], Work], ...] = (
    Upload,
    Overwrite,
    Download,
    Delete,
    Collect,
    Repair,
    lambda bench: Upload(bench, "files"),
)


@pytest.mark.fault("K3")
@over_every_combination
def test_commands_killed_again_and_again_are_finished_by_the_last(
    bench: Bench, injected: Injected, request: pytest.FixtureRequest
) -> None:
    random = chance(request.node.callspec.params["bench"])
    seconds: dict[Callable[[Bench], Work], float] = {}
    makers = random.sample(WORKS, len(WORKS))
    for number in range(ROUNDS):
        make = makers[number % len(makers)]
        if make not in seconds:
            seconds[make] = _seconds(bench, make)
        work = make(bench)
        work.prepare()
        moments = [random.uniform(0, seconds[make]) for _ in range(random.randint(1, IN_A_ROW))]
        told = f"{type(work).__name__} {work.serial} killed after {moments}"
        done = 0
        try:
            for moment in moments:
                found = bench.run(work.line, kill_after=moment)
                told += f"\n{found.code}: {found.told}"
                assert found.code == -9 or found.code == (work.gone if done else 0)
                done += found.code == 0
                injected.add(found.code == -9)
                work.check_meanwhile()
            again = bench.run(work.line)
            told += f"\nagain: {again.code}: {again.told}"
            assert again.code in (0, work.gone)
            work.check_finished()
        except AssertionError as error:
            error.add_note(told)
            raise
    assert bench.unfinished() == []
    assert len(bench.temporaries()) <= injected.count * WORKERS
    before = bench.objects()
    bench.sweep()
    assert bench.objects() == before, "an object had no row"
    assert bench.temporaries() == []


def _seconds(bench: Bench, make: Callable[[Bench], Work]) -> float:
    """How long a work takes that nothing disturbs."""
    work = make(bench)
    work.prepare()
    done = bench.do(work.line)
    work.check_finished()
    return done.seconds


@pytest.mark.fault("K3")
@pytest.mark.parametrize("bench", COMBINATIONS[:1], indirect=True)
def test_a_finished_command_run_again_changes_nothing_and_says_so(bench: Bench) -> None:
    for name in ("frames", "files"):
        work = Upload(bench, name)
        bench.do(work.line)
        before = bench.seen(work.serial), bench.objects()
        assert "1 already there" in bench.do(work.line).stdout
        assert (bench.seen(work.serial), bench.objects()) == before
