"""Many runners at once, answers that are lost, and a million units: nothing is done twice, or forgotten."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import DatasetBusy, JobOver
from imaging_db.model import FrameCoords
from imaging_db.model.job import JobState, Lease, UnitResult, UnitState
from tests.support.catalog_rows import SERIAL, draft, frame
from tests.support.job_rows import (
    all_done,
    created,
    done,
    failed,
    job_draft,
    joined,
    ordinals,
    progress,
    rows,
    run_out,
    token,
    twice,
    units,
)
from tests.support.postgres import PostgresServer
from tests.support.tcp_proxy import TcpProxy, proxied

CLAIMERS = 8


def _one_frame(lease: Lease) -> UnitResult:
    return UnitResult(lease, (frame(t=lease.unit.first, metadata={}),))


# --- many at once


def test_of_many_runners_each_unit_goes_to_one(database: DatabaseSettings) -> None:
    """Eight over connections of their own take two thousand units; not one comes twice, none is left."""
    with Catalog.open(database) as catalog:
        job = created(catalog, 2000, 1)
        barrier = threading.Barrier(CLAIMERS)

        def take(_: int) -> tuple[list[int], int]:
            with Catalog.open(database) as mine:
                runner, taken, counted = joined(mine, job), [], 0
                barrier.wait()
                while leases := mine.jobs.claim(runner, 50):
                    taken += ordinals(leases)
                    counted += len(mine.jobs.commit(runner, [_one_frame(one) for one in leases]))
                return taken, counted

        with ThreadPoolExecutor(CLAIMERS) as pool:
            found = list(pool.map(take, range(CLAIMERS)))
        claimed = [one for taken, _ in found for one in taken]
        assert twice(claimed) == []
        assert sorted(claimed) == list(range(2000))
        assert sum(counted for _, counted in found) == 2000
        assert progress(catalog, job).units == {UnitState.DONE: 2000}
        catalog.jobs.begin_completing(job)
        assert catalog.jobs.finish(job).nbr_objects == 2000


def test_leases_that_run_out_under_many_hands_count_once(database: DatabaseSettings) -> None:
    """Everybody is slower than the lease now and then: a unit may be done twice, it counts once."""
    with Catalog.open(database) as catalog:
        job = created(catalog, 60, 1, most_attempts=1000)
        counted: list[int] = []

        def work(number: int) -> None:
            with Catalog.open(database) as mine:
                runner = joined(mine, job)
                while progress_left(mine):
                    leases = mine.jobs.claim(runner, 3, lease_seconds=0.0 if number % 2 else 30.0)
                    if number == 1:
                        mine.jobs.release(runner)
                    if number == 3 and leases:
                        mine.jobs.commit(
                            runner, [failed(one, temporary=True) for one in leases[:1]]
                        )
                    counted.extend(mine.jobs.commit(runner, [_one_frame(one) for one in leases]))

        def progress_left(mine: Catalog) -> bool:
            return mine.jobs.progress(job).count(UnitState.DONE) < 60

        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(work, number) for number in range(4)]:
                one.result(timeout=60)
        assert sorted(counted) == list(range(60))
        assert progress(catalog, job).units == {UnitState.DONE: 60}
        assert catalog.jobs.begin_completing(job).count(UnitState.DONE) == 60
        assert catalog.jobs.finish(job).nbr_objects == 60


def test_a_job_is_cancelled_while_runners_commit_without_a_pause(
    database: DatabaseSettings,
) -> None:
    """What counted has its row, nothing that came later has one, and whoever cancels is let through."""
    with Catalog.open(database) as catalog:
        job = created(catalog, 2000, 1)
        counted: set[int] = set()
        going = threading.Barrier(5)

        def work(_: int) -> None:
            with Catalog.open(database) as mine:
                runner = joined(mine, job)
                going.wait()
                while leases := mine.jobs.claim(runner, 2):
                    counted.update(mine.jobs.commit(runner, [_one_frame(one) for one in leases]))

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work, number) for number in range(4)]
            going.wait()
            while catalog.jobs.progress(job).count(UnitState.DONE) < 10:
                pass
            catalog.jobs.begin_cancel(job)
            committed = catalog.jobs.progress(job).count(UnitState.DONE)
            for one in working:
                one.result(timeout=60)
        assert committed < 2000
        there = catalog._transactions.read(
            lambda c: set(c.exec_driver_sql("SELECT time_idx FROM frames").scalars())
        )
        assert there == counted
        assert progress(catalog, job).count(UnitState.DONE) == committed == len(counted)


def test_of_many_who_create_the_same_job_there_is_one(database: DatabaseSettings) -> None:
    barrier = threading.Barrier(4)

    def create(number: int) -> str:
        with Catalog.open(database) as mine:
            barrier.wait()
            config: dict[str, Any] = {} if number < 3 else {"config_sha256": "0" * 64}
            try:
                job = mine.jobs.create(draft(nbr_objects=200), job_draft(100, **config))
            except DatasetBusy:
                return ""
            mine.jobs.add_units(job, units(100))
            return mine.jobs.start(job).uuid

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(create, range(4)))
    with Catalog.open(database) as catalog:
        (job,) = catalog.jobs.list()
        assert found in ({job.uuid, ""}, {job.uuid})
        assert progress(catalog, job).units == {UnitState.READY: 100}


def test_of_many_who_end_a_job_one_state_wins(database: DatabaseSettings) -> None:
    """Completed and cancelled at once: it is one of both, and the dataset is as that says."""
    for round_ in range(4):
        serial = f"END-2020-01-01-00-00-00-{round_:04d}"
        with Catalog.open(database) as catalog:
            job = created(catalog, 2, serial=serial)
            runner = joined(catalog, job)
            catalog.jobs.commit(runner, all_done(catalog.jobs.claim(runner, 2)))
            barrier = threading.Barrier(4)

            def end(number: int, job: Any = job, barrier: threading.Barrier = barrier) -> None:
                with Catalog.open(database) as mine:
                    barrier.wait()
                    try:
                        if number % 2:
                            mine.jobs.begin_cancel(job)
                            mine.jobs.finish_cancel(job)
                        else:
                            mine.jobs.begin_completing(job)
                            mine.jobs.finish(job)
                    except JobOver:
                        pass

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(end, range(4)))
            state = catalog.jobs.find(serial).state
            assert state in (JobState.COMPLETE, JobState.CANCELLED)
            assert catalog.count_datasets() == sum(
                one.state is JobState.COMPLETE for one in catalog.jobs.list()
            )
            (mine,) = (one for one in catalog.jobs.list() if one.serial == serial)
            assert (mine.state is JobState.CANCELLED) == any(
                one.dataset.serial == serial for one in catalog.pending()
            )


# --- answers that are lost


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[TcpProxy]:
    """A way to the server that can be broken."""
    with proxied(postgres_server.port) as opened:
        yield opened


@pytest.mark.parametrize("what", ["lose_request", "lose_answer"])
@pytest.mark.fault("B1", "B2")
def test_every_step_of_a_job_survives_a_lost_commit(
    postgres_catalog_settings: DatabaseSettings, proxy: TcpProxy, what: str
) -> None:
    """Whether the server had committed or not: each step ends once, and tells what it did."""
    steps = 0

    def step(work: Callable[[], Any]) -> Any:
        nonlocal steps
        steps += 1
        setattr(proxy, what, b"COMMIT")
        found = work()
        assert proxy.lost == steps, "the step wrote nothing"
        return found

    with Catalog.open(replace(postgres_catalog_settings, port=proxy.port)) as catalog:
        jobs = catalog.jobs
        dataset, asked = draft(nbr_objects=10), job_draft(5)
        job = step(lambda: jobs.create(dataset, asked))
        assert [one.uuid for one in jobs.list()] == [job.uuid]
        assert step(lambda: jobs.add_units(job, ())) == 0
        proxy.pass_first = 1  # the commit of the units, after the look at what is there
        assert step(lambda: jobs.add_units(job, units(5))) == 5
        assert step(lambda: jobs.start(job)).state is JobState.UPLOADING
        mine = token()
        runner = step(lambda: jobs.join(job, token=mine, engine="threads", workers=1))
        assert [one.id for one in jobs.progress(job).runners] == [runner.id]
        leases = step(lambda: jobs.claim(runner, 2))
        assert leases == [Lease(unit, 1) for unit in units(5)[:2]]
        assert step(lambda: jobs.renew(runner)) is JobState.UPLOADING
        results = [done(leases[0]), failed(leases[1], temporary=True)]
        assert step(lambda: jobs.commit(runner, results)) == {0}
        assert [(row.state, row.attempt) for row in rows(catalog, job).values()][:2] == [
            ("done", 1),
            ("ready", 0),
        ]
        assert ordinals(step(lambda: jobs.claim(runner, 1))) == [1]
        step(lambda: jobs.release(runner))
        assert rows(catalog, job)[1].attempt == 0
        jobs.claim(runner, 1)
        run_out(catalog, runner)
        (suspect,) = step(lambda: jobs.claim(runner, 9))
        assert suspect.attempt == 2
        step(lambda: jobs.evict(job, lambda token: token == mine))
        assert rows(catalog, job)[1].attempt == 2
        step(lambda: jobs.leave(runner))
        other = joined(catalog, job)
        while claimed := jobs.claim(other, 9):
            jobs.commit(other, all_done(claimed))
        assert step(lambda: jobs.begin_completing(job)).units == {UnitState.DONE: 5}
        step(lambda: jobs.reopen(job, {3: [FrameCoords(0, 0, 6, 0)]}))
        assert progress(catalog, job).units == {UnitState.DONE: 4, UnitState.READY: 1}
        jobs.commit(other, all_done(jobs.claim(other, 9)))
        jobs.begin_completing(job)
        assert step(lambda: jobs.finish(job)).nbr_objects == 10
        second = created(catalog, 1, serial="END-2020-01-01-00-00-00-0001")
        assert step(lambda: jobs.begin_cancel(second)) is JobState.CANCELLING
        step(lambda: jobs.finish_cancel(second))
        assert jobs.find(second.uuid).state is JobState.CANCELLED
        assert catalog.dataset(SERIAL).nbr_objects == 10


# --- very many units


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """A catalog with a job of ten thousand units, some of them in each state."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("large") / "catalog.sqlite"
        where = DatabaseSettings("sqlite", str(path))
    else:
        where = request.getfixturevalue("postgres_server").create()
    with Catalog.open(where, create=True) as catalog:
        job = created(catalog, 10_000, 1)
        runner = joined(catalog, job)
        catalog.jobs.commit(runner, [_one_frame(one) for one in catalog.jobs.claim(runner, 2000)])
        catalog.jobs.claim(runner, 100)
        yield catalog
    if request.param != "sqlite":
        request.getfixturevalue("postgres_server").drop(where)


def _plans(catalog: Catalog, ask: Callable[[], object]) -> list[str]:
    """Ask, and return how the database finds the units of every statement that looks for them."""
    engine = catalog._transactions.engine
    seen: list[tuple[str, Any]] = []

    def look(connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if re.search(r"(FROM|UPDATE) ingest_unit\b", statement):
            seen.append((statement, values))

    event.listen(engine, "before_cursor_execute", look)
    try:
        ask()
    finally:
        event.remove(engine, "before_cursor_execute", look)
    return [_explained(catalog, *one) for one in seen]


def _explained(catalog: Catalog, statement: str, values: Any) -> str:
    with catalog._transactions.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return "; ".join(row.detail for row in plan)
        if "SKIP LOCKED" in statement:
            connection.exec_driver_sql("SET LOCAL enable_sort = off")  # as every claim does
        found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
        return json.dumps(found.scalar_one())


@pytest.mark.parametrize("analyzed", [False, True])
def test_units_are_found_along_an_index(large: Catalog, analyzed: bool) -> None:
    """No statement reads or sorts all units of a job, whether the database counted them of late or not."""
    if analyzed:
        large._transactions.write(lambda c: c.exec_driver_sql("ANALYZE"))
    job = large.jobs.find(SERIAL)
    runner = joined(large, job)
    leases: list[Lease] = []

    def every() -> None:
        leases.extend(large.jobs.claim(runner, 64))
        large.jobs.renew(runner)
        large.jobs.commit(runner, [failed(leases[0]), *map(_one_frame, leases[1:])])
        large.jobs.claim(runner, 3)
        large.jobs.release(runner)
        large.jobs.progress(job)
        large.jobs.failures(job)
        large.jobs.retry(job)
        large.jobs.retry(job, [1, 2])
        large.jobs.leases_left(job)
        large.jobs.evict(job, lambda token: False)
        large.jobs.begin_completing(job)
        large.jobs.add_units(job, ())

    plans = _plans(large, every)
    assert len(plans) > 20
    for plan in plans:
        assert not re.search(r"SCAN ingest_unit|Seq Scan[^{}]*ingest_unit", plan), plan
        assert "TEMP B-TREE" not in plan, plan
        assert not _reads_a_whole_job(plan), plan
    claimed = [plan for plan in plans if "ix_ingest_unit_ready" in plan]
    assert claimed
    assert not any('"Sort"' in plan for plan in claimed), claimed
    assert len(leases) == 64


def _reads_a_whole_job(plan: str) -> bool:
    """Return True where the key of units, which has all of them, is searched for more than some, or the last."""
    if '"Backward"' in plan or plan.endswith("sqlite_autoindex_ingest_unit_1 (job_id=?)"):
        return False  # which unit is the last
    keys = re.findall(
        r'_autoindex_ingest_unit\w+ \((.*?)\)|ingest_unit_pkey"[^{}]*"Index Cond": "([^"]*)', plan
    )
    return any("ordinal =" not in key.replace("=?", " =") for key in map("".join, keys))
