"""Random sequences of everything that can be done to datasets, against a model: a dict of what is there.

Derandomized where little is tortured; with IMAGING_DB_TEST_TORTURE=1 long and different every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from imaging_db.model import sha256_of_bytes
from tests.support.commands import FORKS, Done
from tests.support.golden import golden, tree
from tests.support.matrix import Injected
from tests.torture.amount import FULL, few_or
from tests.torture.bench import Bench, Line, over_every_combination

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

SERIALS = 2
SOURCES = ("frames", "other", "files")
STAGES = (
    "claim.taken",
    "frame.encoded",
    "object.written",
    "object.named",
    "objects.flushed",
    "rows.inserted",
    "catalog.committing",
    "catalog.committed",
    "dataset.complete",
    "dataset.hidden",
    "object.deleted",
    "objects.deleted",
    "file.named",
    "object.repaired",
)
MISSING, INTEGRITY, CONFLICT = 2, 6, 7

which = st.integers(0, SERIALS - 1)
sources = st.sampled_from(SOURCES)
kills = st.none() | st.tuples(st.sampled_from(STAGES), st.integers(1, 4))


class Machine(RuleBasedStateMachine):
    """``there`` is the model: the source whose content each dataset has, None where there is none."""

    def __init__(self, bench: Bench, injected: Injected) -> None:
        super().__init__()
        self.bench = bench
        self.injected = injected
        self.serials = [bench.new() for _ in range(SERIALS)]
        self.there: dict[str, str | None] = dict.fromkeys(self.serials)
        self.damaged: set[str] = set()
        self.told: list[str] = []
        bench.truth("frames")  # without any dataset a collection refuses what it does not know

    @rule(number=which, source=sources, kill=kills, overwrite=st.booleans())
    def upload(
        self, number: int, source: str, kill: tuple[str, int] | None, overwrite: bool
    ) -> None:
        serial = self.serials[number]
        before = self.there[serial]
        more = ["--overwrite"] if overwrite else []
        done = self.run(self.bench.uploading(serial, source, *more), kill)
        if done.code == 0:
            changed = before != source or overwrite
            self.there[serial] = source
            self.damaged -= {serial} if changed else set()
        elif done.code == -9:
            states = {before, source} if before is None or not overwrite else {before, source, None}
            self.there[serial] = self.look(serial, states)
            if self.there[serial] != before or (overwrite and self.there[serial] is None):
                self.damaged.discard(serial)
            elif overwrite and serial in self.damaged and self.is_whole(serial):
                self.damaged.discard(serial)  # it was replaced by itself
        else:
            assert done.code == CONFLICT, done.told
            assert not overwrite, done.told

    @rule(number=which, kill=kills)
    def delete(self, number: int, kill: tuple[str, int] | None) -> None:
        serial = self.serials[number]
        before = self.there[serial]
        done = self.run(self.bench.saying("delete", serial, "--yes"), kill)
        if done.code == -9:
            self.there[serial] = self.look(serial, {before, None})
        else:
            assert done.code in ({0} if before else {0, MISSING}), done.told
            self.there[serial] = None
        if self.there[serial] is None:
            self.damaged.discard(serial)

    @rule(number=which, kill=kills)
    def download(self, number: int, kill: tuple[str, int] | None) -> None:
        serial = self.serials[number]
        source = self.there[serial]
        dest = self.bench.lab.folder / f"machine-{serial[-4:]}-{source}"
        done = self.run(self.bench.downloading(serial, dest), kill)
        if done.code == -9:
            return
        allowed = {MISSING} if source is None else {0}
        if serial in self.damaged:
            allowed = {0, INTEGRITY}  # an earlier download may have left the right file there
        assert done.code in allowed, done.told
        if done.code == 0:
            beside = ("frames_meta.csv", "global_metadata.json")
            found = tree(dest / serial, without=beside)
            assert source is not None
            assert found == self.bench.truth(source)["store"]

    @rule(number=which)
    def damage(self, number: int) -> None:
        serial = self.serials[number]
        source = self.there[serial]
        if source is None or serial in self.damaged:
            return
        truth, store = self.bench.truth(source), self.bench.db.store
        key = truth["dataset"]["storage_dir"].replace("SERIAL", serial) + "/" + min(truth["store"])
        store.delete(key)
        store.put(key, b"rotten", sha256=sha256_of_bytes(b"rotten"))
        self.damaged.add(serial)

    @rule(number=which, kill=kills)
    def repair(self, number: int, kill: tuple[str, int] | None) -> None:
        serial = self.serials[number]
        source = self.there[serial]
        if source is None:
            return
        words = ["repair", serial, "--source", str(self.bench.source(source))]
        done = self.run(self.bench.saying(*words), kill)
        if done.code == 0 or (done.code == -9 and self.is_whole(serial)):
            self.damaged.discard(serial)
        else:
            assert done.code == -9, done.told

    @rule(kill=kills)
    def collect(self, kill: tuple[str, int] | None) -> None:
        done = self.run(self.bench.collecting(), kill)
        assert done.code in (0, -9), done.told
        if done.code == 0:
            assert self.bench.unfinished() == []
            assert self.bench.temporaries() == []

    @rule()
    def check(self) -> None:
        shown = [serial for serial in self.serials if self.there[serial]]
        if shown:
            done = self.run(self.bench.saying("check", *shown, "--read_data"), None)
            assert done.code == (INTEGRITY if self.damaged else 0), done.told

    @invariant()
    def what_can_be_seen_is_whole_and_as_the_model_says(self) -> None:
        for serial, source in self.there.items():
            found = golden(self.bench.db, serial)
            if source is None or found is None:
                assert found is source is None, self.told
                continue
            truth = self.bench.truth(source)
            assert found["objects"] == truth["objects"], self.told
            assert (found["store"] == truth["store"]) == (serial not in self.damaged), self.told

    def run(self, line: Line, kill: tuple[str, int] | None) -> Done:
        """What a command comes to, killed at the N-th arrival at a stage, if it gets there."""
        failpoint = f"{kill[0]}:{kill[1]}:kill" if kill else ""
        done = self.bench.run(line, failpoint=failpoint)
        self.told.append(f"{line[1][:3]} {failpoint}: {done.code}: {done.told.strip()[-200:]}")
        self.injected.add(done.code == -9)
        return done

    def look(self, serial: str, states: set[str | None]) -> str | None:
        """The state that a killed command left, one of those that are allowed."""
        found = golden(self.bench.db, serial)
        for state in states:
            if found is state is None:
                return None
            if found and state and found["objects"] == self.bench.truth(state)["objects"]:
                return state
        raise AssertionError(f"none of {states}: {self.told}")

    def is_whole(self, serial: str) -> bool:
        found, source = golden(self.bench.db, serial), self.there[serial]
        assert found is not None and source is not None, self.told
        return bool(found["store"] == self.bench.truth(source)["store"])

    def teardown(self) -> None:
        """The same commands once more end all that was begun."""
        for serial in self.serials:
            done = self.bench.run(self.bench.uploading(serial, "frames", "--overwrite"))
            assert done.code == 0, (done.told, self.told)
            assert self.bench.seen(serial) == self.bench.truth("frames"), self.told
        self.bench.sweep()
        assert self.bench.temporaries() == []


@contextmanager
def told_on_failure(machines: list[Machine]) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        error.add_note("\n".join(machines[-1].told))
        raise


@pytest.mark.fault("C9")
@over_every_combination
def test_whatever_is_done_in_whatever_order_the_model_holds(
    bench: Bench, injected: Injected
) -> None:
    machines: list[Machine] = []

    def make() -> Machine:
        machines.append(Machine(bench, injected))
        return machines[-1]

    with told_on_failure(machines):
        run_state_machine_as_test(
            make,
            settings=settings(
                max_examples=few_or(2, 9),
                stateful_step_count=few_or(6, 20),
                derandomize=not FULL,
                database=None,
                deadline=None,
                verbosity=Verbosity.quiet,
                suppress_health_check=list(HealthCheck),
            ),
        )
