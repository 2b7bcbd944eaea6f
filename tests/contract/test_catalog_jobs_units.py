"""How runners share the units of a job: claimed, renewed, committed, given back, and taken from the dead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import update

from imaging_db.catalog import Catalog
from imaging_db.catalog.tables_jobs import JobRow, RunnerRow
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import Conflict, JobOver
from imaging_db.model import FrameCoords, FrameQuality
from imaging_db.model.job import Failure, Job, JobState, Lease, Unit, UnitResult, UnitState
from tests.support.catalog_rows import digest, draft, frame
from tests.support.job_rows import (
    HERE,
    all_done,
    created,
    done,
    emptied,
    failed,
    job_draft,
    joined,
    kept_open,
    ordinals,
    progress,
    rows,
    run_out,
    token,
    units,
    work_off,
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """One open catalog of each kind for the tests of this file."""
    with kept_open(request, tmp_path_factory.mktemp("shared")) as opened:
        yield opened


@pytest.fixture
def catalog(shared: Catalog) -> Catalog:
    """An open catalog without rows, once of each kind."""
    return emptied(shared)


# --- joining


def test_a_runner_that_joins_is_seen(catalog: Catalog) -> None:
    job = created(catalog)
    mine = token()
    runner = catalog.jobs.join(job, token=mine, engine="dask", workers=7)
    assert (runner.job_id, runner.token, runner.engine, runner.workers) == (job.id, mine, "dask", 7)
    assert runner.seconds_ago is not None and abs(runner.seconds_ago) < 10
    (seen,) = catalog.jobs.progress(job).runners
    assert replace(seen, seconds_ago=None) == replace(runner, seconds_ago=None)


def test_a_runner_that_left_or_is_silent_is_not_seen(catalog: Catalog) -> None:
    job = created(catalog)
    staying, leaving, silent = (joined(catalog, job) for _ in range(3))
    for _ in range(2):
        catalog.jobs.leave(leaving)
    run_out(catalog, silent)
    assert [one.id for one in catalog.jobs.progress(job).runners] == [staying.id]
    again = catalog.jobs.join(job, token=leaving.token, engine="serial", workers=1)
    assert again.id == leaving.id
    assert {one.id for one in catalog.jobs.progress(job).runners} == {staying.id, leaving.id}


def test_a_complete_job_is_not_joined(catalog: Catalog) -> None:
    job = created(catalog, 1)
    work_off(catalog, job)
    catalog.jobs.begin_completing(job)
    joined(catalog, job)  # it may be reopened yet
    catalog.jobs.finish(job)
    with pytest.raises(JobOver, match="is complete"):
        joined(catalog, job)


@pytest.mark.parametrize(
    "other",
    [
        "scope-pc@1a2b3c4d.99",  # another namespace, such as a container
        "3f2a77@1a2b3c4d.99",  # a container with a name of its own
        "scope-pc@ffffffff.1",  # the same computer, started again
    ],
)
def test_a_computer_may_join_its_own_job_over_sqlite(
    sqlite_catalog_settings: DatabaseSettings, other: str
) -> None:
    with Catalog.open(sqlite_catalog_settings) as catalog:
        job = created(catalog)
        assert joined(catalog, job, other).token.startswith(other)


def test_another_computer_needs_postgresql(catalog: Catalog) -> None:
    job = created(catalog)
    if not catalog._transactions.settings.is_sqlite:
        assert joined(catalog, job, "node7@ffffffff.1").job_id == job.id
        return
    words = r"runs on scope-pc: a SQLite catalog serves one computer; joining from another needs"
    for host in ("node7@ffffffff.1", "node7"):
        with pytest.raises(Conflict, match=words):
            joined(catalog, job, host)


def test_over_sqlite_a_live_runner_keeps_other_computers_out(
    sqlite_catalog_settings: DatabaseSettings,
) -> None:
    """Of the same name, too: it is known by its boot. Once it left, or is silent, it keeps nobody out."""
    other = "scope-pc@ffffffff.1"
    with Catalog.open(sqlite_catalog_settings) as catalog:
        job = created(catalog)
        leaving, silent = joined(catalog, job), joined(catalog, job)
        run_out(catalog, silent)
        with pytest.raises(Conflict, match="runs on scope-pc"):
            joined(catalog, job, other)
        catalog.jobs.leave(leaving)
        assert joined(catalog, job, other).job_id == job.id
        with pytest.raises(Conflict, match="runs on scope-pc"):
            joined(catalog, job, HERE)


def test_where_a_system_tells_no_boot_names_are_compared(
    sqlite_catalog_settings: DatabaseSettings,
) -> None:
    with Catalog.open(sqlite_catalog_settings) as catalog:
        job = catalog.jobs.find(str(created(catalog, origin=token("mac.local")).id))
        joined(catalog, job, "mac.local")
        joined(catalog, job, "mac.local")
        with pytest.raises(Conflict, match=r"runs on mac.local"):
            joined(catalog, job, "mac2.local")


# --- claiming


def test_units_are_claimed_once_and_in_order(catalog: Catalog) -> None:
    job = created(catalog, 5)
    one, two = joined(catalog, job), joined(catalog, job)
    assert ordinals(catalog.jobs.claim(one, 2)) == [0, 1]
    assert ordinals(catalog.jobs.claim(two, 2)) == [2, 3]
    assert ordinals(catalog.jobs.claim(one, 9)) == [4]
    assert catalog.jobs.claim(two, 9) == []
    assert progress(catalog, job).units == {UnitState.LEASED: 5}


@pytest.mark.parametrize("state", [JobState.PREPARING, JobState.COMPLETING])
def test_nothing_is_claimed_of_a_job_that_is_not_uploading(
    catalog: Catalog, state: JobState
) -> None:
    job = created(catalog, 2)
    runner = joined(catalog, job)
    change = update(JobRow).where(JobRow.id == job.id).values(state=state.value)
    catalog._transactions.write(lambda c: c.execute(change))
    assert catalog.jobs.claim(runner, 2) == []
    assert catalog.jobs.renew(runner) is state


def test_no_more_is_claimed_than_was_asked_for(catalog: Catalog) -> None:
    job = created(catalog, 2)
    runner = joined(catalog, job)
    assert catalog.jobs.claim(runner, 0) == []
    assert catalog.jobs.claim(runner, -1) == []
    assert len(catalog.jobs.claim(runner, 1)) == 1


def test_the_least_tried_come_first(catalog: Catalog) -> None:
    job = created(catalog, 4)
    runner = joined(catalog, job)
    first = catalog.jobs.claim(runner, 2)
    catalog.jobs.commit(runner, [failed(lease) for lease in first])
    again = catalog.jobs.claim(runner, 9)
    assert ordinals(again) == [2, 3, 0, 1]
    assert [lease.attempt for lease in again] == [1, 1, 2, 2]


def test_what_is_given_back_is_as_if_never_claimed(catalog: Catalog) -> None:
    job = created(catalog, 4)
    one, two = joined(catalog, job), joined(catalog, job)
    leases = catalog.jobs.claim(one, 3)
    kept = catalog.jobs.claim(two, 1)
    assert catalog.jobs.release(one) == 3
    assert catalog.jobs.release(one) == 0
    assert progress(catalog, job).units == {UnitState.READY: 3, UnitState.LEASED: 1}
    assert catalog.jobs.commit(one, all_done(leases)) == set()
    assert catalog.jobs.claim(one, 9) == leases
    assert catalog.jobs.commit(two, all_done(kept)) == {3}


# --- leases that run out


def test_a_lease_that_ran_out_is_taken_over_by_itself(catalog: Catalog) -> None:
    """A unit that kills its runner must not take others with it: never again is it leased with any."""
    job = created(catalog, 6)
    dead, alive = joined(catalog, job), joined(catalog, job)
    catalog.jobs.claim(dead, 2)
    run_out(catalog, dead)
    suspects = [catalog.jobs.claim(alive, 9) for _ in range(2)]
    assert sorted(map(ordinals, suspects)) == [[0], [1]]
    assert {leases[0].attempt for leases in suspects} == {2}
    assert ordinals(catalog.jobs.claim(alive, 9)) == [2, 3, 4, 5]
    catalog.jobs.commit(alive, [failed(leases[0]) for leases in suspects])
    catalog.jobs.release(alive)
    assert [len(catalog.jobs.claim(alive, 9)) for _ in range(3)] == [1, 1, 4]


def test_a_silent_runner_that_wakes_up_counts_while_nobody_took_over(catalog: Catalog) -> None:
    job = created(catalog, 3)
    sleeper, other = joined(catalog, job), joined(catalog, job)
    first, second, third = catalog.jobs.claim(sleeper, 3)
    run_out(catalog, sleeper)
    (taken,) = catalog.jobs.claim(other, 1)
    assert taken == Lease(first.unit, 2)
    assert catalog.jobs.commit(sleeper, all_done([first, second])) == {1}
    assert catalog.jobs.renew(sleeper) is JobState.UPLOADING
    assert catalog.jobs.claim(other, 9) == []  # the third is renewed
    assert catalog.jobs.commit(sleeper, all_done([third])) == {2}
    assert catalog.jobs.commit(other, all_done([taken])) == {0}
    assert progress(catalog, job).units == {UnitState.DONE: 3}


def test_renewing_keeps_every_unit_of_a_runner_and_no_others(catalog: Catalog) -> None:
    job = created(catalog, 4)
    mine, others, third = (joined(catalog, job) for _ in range(3))
    kept, lost = catalog.jobs.claim(mine, 2), catalog.jobs.claim(others, 2)
    run_out(catalog, mine)
    run_out(catalog, others)
    catalog.jobs.renew(mine)
    taken = [catalog.jobs.claim(third, 9) for _ in range(3)]
    assert sorted(map(ordinals, taken)) == [[], *([one] for one in ordinals(lost))]
    assert catalog.jobs.commit(mine, all_done(kept)) == set(ordinals(kept))


def test_a_unit_whose_runners_keep_dying_is_given_up(catalog: Catalog) -> None:
    job = created(catalog, 3, most_attempts=3)
    for attempt in range(1, 4):
        runner = joined(catalog, job)
        (lease,) = catalog.jobs.claim(runner, 1)
        assert lease == Lease(Unit(0, 0, 2), attempt)
        run_out(catalog, runner)
    survivor = joined(catalog, job)
    assert ordinals(catalog.jobs.claim(survivor, 9)) == [1, 2]
    (failure,) = catalog.jobs.failures(job)
    assert failure == Failure(
        Unit(0, 0, 2), 3, UnitState.FAILED, "WorkerDied", "its runner died, at attempt 3 of 3"
    )
    assert progress(catalog, job).units == {UnitState.FAILED: 1, UnitState.LEASED: 2}


def test_units_of_the_dead_are_free_at_once(catalog: Catalog) -> None:
    """After a crash on this computer nobody waits for leases; the attempt counts: a unit may be to blame."""
    job = created(catalog, 4)
    dead, gone, alive = (joined(catalog, job) for _ in range(3))
    catalog.jobs.claim(dead, 1)
    catalog.jobs.claim(gone, 1)
    catalog.jobs.leave(gone)  # by a second Ctrl-C, without giving back
    catalog.jobs.claim(alive, 1)
    assert catalog.jobs.evict(job, lambda token: False) == 0
    assert catalog.jobs.evict(job, lambda token: token in (dead.token, gone.token)) == 2
    assert catalog.jobs.evict(job, lambda token: token in (dead.token, gone.token)) == 0
    assert [one.id for one in catalog.jobs.progress(job).runners] == [alive.id]
    assert [one.message for one in catalog.jobs.failures(job)] == ["its runner died"] * 2
    taken = [catalog.jobs.claim(alive, 9) for _ in range(3)]
    assert [ordinals(leases) for leases in taken] == [[0], [1], [3]]
    assert [leases[0].attempt for leases in taken] == [2, 2, 1]


def test_a_unit_that_was_given_up_by_eviction_is_not_tried_for_ever(catalog: Catalog) -> None:
    job = created(catalog, 1, most_attempts=2)
    for attempt in (1, 2):
        runner = joined(catalog, job)
        assert [lease.attempt for lease in catalog.jobs.claim(runner, 1)] == [attempt]
        catalog.jobs.evict(job, lambda token: True)
    assert catalog.jobs.claim(joined(catalog, job), 1) == []
    assert progress(catalog, job).units == {UnitState.FAILED: 1}


# --- committing


def test_rows_come_with_the_end_of_their_units(catalog: Catalog) -> None:
    job = created(catalog, 3)
    runner = joined(catalog, job)
    leases = catalog.jobs.claim(runner, 2)
    assert catalog.jobs.commit(runner, all_done(leases)) == {0, 1}
    told = progress(catalog, job)
    assert (told.units, told.frames_done) == ({UnitState.DONE: 2, UnitState.READY: 1}, 4)
    assert told.units_recently_done == 2
    assert 0 < told.recent_seconds <= 60
    assert [one.units_done for one in told.runners] == [2]


def test_a_result_that_comes_again_counts_once(catalog: Catalog) -> None:
    job = created(catalog, 1)
    runner = joined(catalog, job)
    (lease,) = catalog.jobs.claim(runner, 1)
    twice = [done(lease), done(lease)]
    assert catalog.jobs.commit(runner, twice) == {0}
    assert catalog.jobs.commit(runner, twice) == {0}
    assert catalog.jobs.commit(runner, [failed(lease)]) == set()
    assert progress(catalog, job).units == {UnitState.DONE: 1}
    assert catalog.jobs.commit(runner, []) == set()


def test_nothing_counts_once_the_lease_is_lost(catalog: Catalog) -> None:
    job = created(catalog, 2)
    zombie, heir = joined(catalog, job), joined(catalog, job)
    leases = catalog.jobs.claim(zombie, 1)
    run_out(catalog, zombie)
    (taken,) = catalog.jobs.claim(heir, 1)
    attempts = [
        all_done(leases),
        [failed(leases[0])],
        all_done([taken]),
        [done(Lease(units(2)[1], 1))],
    ]
    for results in attempts:
        assert catalog.jobs.commit(zombie, results) == set()
    assert rows(catalog, job)[0].state == "leased"
    assert catalog.jobs.commit(heir, all_done(leases)) == set()  # of another attempt
    assert catalog.jobs.commit(heir, all_done([taken])) == {0}
    assert catalog.jobs.commit(zombie, all_done(leases)) == set()
    assert progress(catalog, job).units == {UnitState.DONE: 1, UnitState.READY: 1}


def test_a_failed_unit_waits_for_its_next_attempt_until_there_were_enough(catalog: Catalog) -> None:
    job = created(catalog, 1, most_attempts=2)
    runner = joined(catalog, job)
    for attempt, state in ((1, UnitState.READY), (2, UnitState.FAILED)):
        (lease,) = catalog.jobs.claim(runner, 1)
        assert catalog.jobs.commit(runner, [failed(lease, message=f"cut off {attempt}")]) == set()
        (failure,) = catalog.jobs.failures(job)
        assert failure == Failure(lease.unit, attempt, state, "CorruptSource", f"cut off {attempt}")
        assert progress(catalog, job).units == {state: 1}
    assert catalog.jobs.claim(runner, 1) == []


def test_what_is_not_the_units_fault_costs_no_attempt(catalog: Catalog) -> None:
    job = created(catalog, 1, most_attempts=1)
    runner = joined(catalog, job)
    for _ in range(3):
        (lease,) = catalog.jobs.claim(runner, 1)
        assert lease.attempt == 1
        catalog.jobs.commit(runner, [failed(lease, "StoreUnavailable", temporary=True)])
        (failure,) = catalog.jobs.failures(job)
        assert (failure.state, failure.attempt) == (UnitState.READY, 1)
    catalog.jobs.commit(runner, all_done(catalog.jobs.claim(runner, 1)))
    assert catalog.jobs.failures(job) == []


def test_a_unit_whose_worker_died_is_leased_alone_from_then_on(catalog: Catalog) -> None:
    """The others of its batch came back with the same cause: each by itself shows which one it was."""
    job = created(catalog, 4)
    runner = joined(catalog, job)
    leases = catalog.jobs.claim(runner, 3)
    results = [failed(leases[0], "WorkerDied"), failed(leases[1], "WorkerDied"), failed(leases[2])]
    catalog.jobs.commit(runner, results)
    assert [ordinals(catalog.jobs.claim(runner, 9)) for _ in range(3)] == [[0], [1], [3, 2]]


def test_rows_that_are_there_already_count(catalog: Catalog) -> None:
    job = created(catalog, 2)
    runner = joined(catalog, job)
    catalog.jobs.commit(runner, all_done(catalog.jobs.claim(runner, 1)))
    catalog.jobs.begin_cancel(job)
    catalog.jobs.finish_cancel(job)
    again = created(catalog, 2)
    runner = joined(catalog, again)
    assert catalog.jobs.commit(runner, all_done(catalog.jobs.claim(runner, 9))) == {0, 1}
    catalog.jobs.begin_completing(again)
    assert catalog.jobs.finish(again).nbr_objects == 4


def test_rows_that_the_catalog_refuses_fail_their_unit_alone(catalog: Catalog) -> None:
    job = created(catalog, 6, most_attempts=1)
    runner = joined(catalog, job)
    leases = catalog.jobs.claim(runner, 6)
    catalog.jobs.commit(runner, all_done(leases[:1]))
    lost = {0: [FrameCoords(0, 0, 0, 0)]}  # of its two frames one keeps its row
    catalog.jobs.reopen(job, lost)
    (first,) = catalog.jobs.claim(runner, 1)
    wrong = FrameQuality(0.0, 1.0, 0.5, 1.01, 0.0)
    results = [
        UnitResult(first, (frame(t=0), frame(t=1, sha256=digest("other")))),
        done(leases[1], quality=wrong),
        done(leases[2], width=2**40),
        UnitResult(leases[3], (frame(t=6),)),
        UnitResult(leases[4], (frame(t=8), frame(t=8, sha256=digest("other")))),
        done(leases[5]),
    ]
    assert catalog.jobs.commit(runner, results) == {5}
    told = [(one.unit.ordinal, one.kind) for one in catalog.jobs.failures(job)]
    assert told == [(number, "Conflict") for number in range(5)]
    messages = [one.message for one in catalog.jobs.failures(job)]
    assert "frame c0 z0 t1 p0 is there already" in messages[0]
    assert "saturated_share" in messages[1]
    assert "does not fit" in messages[2]
    assert messages[3] == "it has 2 frames, and came with 1"
    assert "comes twice" in messages[4]
    assert all("\n" not in message for message in messages)
    there = catalog._transactions.read(
        lambda c: c.exec_driver_sql("SELECT time_idx FROM frames ORDER BY 1").scalars().all()
    )
    assert there == [1, 10, 11]
    assert progress(catalog, job).units == {UnitState.FAILED: 5, UnitState.DONE: 1}


def test_a_long_message_is_cut(catalog: Catalog) -> None:
    job = created(catalog, 1)
    runner = joined(catalog, job)
    (lease,) = catalog.jobs.claim(runner, 1)
    catalog.jobs.commit(runner, [failed(lease, message="x" * 10_000)])
    assert catalog.jobs.failures(job)[0].message == "x" * 4000


# --- failures and trying again


def _with_failures(catalog: Catalog, count: int) -> Job:
    job = created(catalog, count, most_attempts=1)
    runner = joined(catalog, job)
    leases = catalog.jobs.claim(runner, count)
    catalog.jobs.commit(runner, [failed(lease) for lease in leases])
    return job


def test_failures_are_told_in_order_and_portions(catalog: Catalog) -> None:
    job = _with_failures(catalog, 5)
    assert [one.unit.ordinal for one in catalog.jobs.failures(job)] == [0, 1, 2, 3, 4]
    first = catalog.jobs.failures(job, limit=2)
    assert [one.unit.ordinal for one in first] == [0, 1]
    rest = catalog.jobs.failures(job, after=first[-1].unit.ordinal, limit=9)
    assert [one.unit.ordinal for one in rest] == [2, 3, 4]


def test_failed_units_are_tried_again_when_asked(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.job_progress.RETRIED_AT_ONCE", 2)
    job = _with_failures(catalog, 7)
    assert catalog.jobs.retry(job, [1, 3, 3, 99]) == 2
    assert progress(catalog, job).units == {UnitState.FAILED: 5, UnitState.READY: 2}
    assert catalog.jobs.retry(job, []) == 0
    assert catalog.jobs.retry(job) == 5
    assert catalog.jobs.retry(job) == 0
    assert catalog.jobs.failures(job) == []
    again = catalog.jobs.claim(joined(catalog, job), 9)
    assert ordinals(again) == list(range(7))
    assert {lease.attempt for lease in again} == {1}


def test_a_unit_that_killed_its_runner_stays_alone_when_tried_again(catalog: Catalog) -> None:
    job = created(catalog, 3, most_attempts=1)
    runner = joined(catalog, job)
    catalog.jobs.claim(runner, 1)
    catalog.jobs.evict(job, lambda token: True)
    runner = joined(catalog, job)
    assert ordinals(catalog.jobs.claim(runner, 1)) == [1]
    assert catalog.jobs.retry(job) == 1
    assert [ordinals(catalog.jobs.claim(runner, 9)) for _ in range(2)] == [[0], [2]]


def test_an_abandoned_rate_is_told_over_the_last_minute(catalog: Catalog) -> None:
    """Nobody was at work of late: what is told is a whole minute without a unit."""
    job = catalog.jobs.create(draft(nbr_objects=4), job_draft(2))
    told = catalog.jobs.progress(job)
    assert (told.units, told.recent_seconds, told.runners) == ({}, 60.0, ())
    catalog.jobs.add_units(job, units(2))
    catalog.jobs.start(job)
    runner = work_off(catalog, job)
    older = update(RunnerRow).where(RunnerRow.id == runner.id)
    ago = runner.started_at.replace(year=2020)
    catalog._transactions.write(lambda c: c.execute(older.values(started_at=ago)))
    told = catalog.jobs.progress(job)
    assert (told.recent_seconds, told.units_recently_done) == (60.0, 2)
