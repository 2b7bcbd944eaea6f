"""What a catalog promises of ingest jobs, from their creation to their end: over both databases alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from imaging_db.catalog import Catalog
from imaging_db.catalog.claims import STALE_AFTER
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import (
    ConfigError,
    Conflict,
    DatasetBusy,
    DatasetExists,
    DatasetNotFound,
    IntegrityError,
    JobNotFound,
    JobOver,
)
from imaging_db.model import Claim, DatasetStatus, FrameCoords, sha256_of_bytes
from imaging_db.model.job import Job, JobState, Unit, UnitState
from imaging_db.stores.registry import open_store
from imaging_db.transfer.collect import Collector
from tests.support.catalog_rows import OTHER, SERIAL, age, digest, draft, frame, store
from tests.support.job_rows import (
    all_done,
    completed,
    created,
    emptied,
    failed,
    job_draft,
    joined,
    kept_open,
    ordinals,
    progress,
    units,
    work_off,
)

LIVE = [state for state in JobState if not state.is_over]


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


def _claim_of(job: Job) -> Claim:
    return Claim(job.dataset_id, job.serial, job.token, resumed=True)


def _brought_to(catalog: Catalog, state: JobState, **dataset: Any) -> Job:
    """Return a job of two units in a state."""
    if state is JobState.PREPARING:
        return catalog.jobs.create(draft(nbr_objects=4, **dataset), job_draft(2))
    job = created(catalog, 2, dataset=dataset)
    if state in (JobState.COMPLETING, JobState.COMPLETE):
        work_off(catalog, job)
        catalog.jobs.begin_completing(job)
    if state is JobState.COMPLETE:
        catalog.jobs.finish(job)
    if state in (JobState.CANCELLING, JobState.CANCELLED):
        catalog.jobs.begin_cancel(job)
    if state is JobState.CANCELLED:
        catalog.jobs.finish_cancel(job)
    found = catalog.jobs.find(str(job.id))
    assert found.state is state
    return found


# --- creating


def test_a_job_runs_from_its_creation_to_the_ready_dataset(catalog: Catalog) -> None:
    job = catalog.jobs.create(draft(nbr_objects=6), job_draft(3))
    assert job.state is JobState.PREPARING
    assert catalog.jobs.add_units(job, units(3)) == 3
    assert catalog.jobs.start(job).state is JobState.UPLOADING
    runner = joined(catalog, job)
    leases = catalog.jobs.claim(runner, 10)
    assert [lease.unit for lease in leases] == units(3)
    assert {lease.attempt for lease in leases} == {1}
    assert catalog.jobs.commit(runner, all_done(leases)) == {0, 1, 2}
    with pytest.raises(DatasetNotFound):
        catalog.dataset(SERIAL)
    assert catalog.jobs.begin_completing(job).units == {UnitState.DONE: 3}
    dataset = catalog.jobs.finish(job)
    assert catalog.dataset(SERIAL) == dataset
    assert (dataset.status, dataset.nbr_objects) == (DatasetStatus.READY, 6)
    assert catalog.jobs.find(SERIAL).state is JobState.COMPLETE
    assert [one.coords.timepoint for one in catalog.frames(SERIAL)] == list(range(6))


def test_what_was_said_of_a_job_comes_back(catalog: Catalog) -> None:
    asked = job_draft(2, most_attempts=3)
    job = catalog.jobs.create(draft(nbr_objects=4), asked)
    assert (job.uuid, job.serial, job.token) == (asked.uuid, SERIAL, f"job/{asked.uuid}")
    assert (job.source, job.config) == (asked.source, asked.config)
    assert job.config_sha256 == asked.config_sha256
    assert (job.nbr_units, job.nbr_frames, job.most_attempts) == (2, 4, 3)
    assert job.origin == asked.origin
    assert job.finished_at is None
    assert abs((catalog.now() - job.created_at).total_seconds()) < 10


@pytest.mark.parametrize("manual", [True, False])
def test_a_job_tells_whether_only_a_command_completes_it(catalog: Catalog, manual: bool) -> None:
    job = catalog.jobs.create(draft(nbr_objects=4), job_draft(2), manual=manual)
    assert catalog.jobs.is_manual(job) is manual


@pytest.mark.parametrize("state", [s for s in LIVE if s is not JobState.CANCELLING])
def test_the_same_configuration_again_is_the_job_that_there_is(
    catalog: Catalog, state: JobState
) -> None:
    job = _brought_to(catalog, state)
    assert catalog.jobs.create(draft(nbr_objects=4), job_draft(2)) == job
    assert list(catalog.jobs.list()) == [job]


@pytest.mark.parametrize("state", LIVE)
def test_another_configuration_of_the_same_dataset_is_refused(
    catalog: Catalog, state: JobState
) -> None:
    job = _brought_to(catalog, state)
    with pytest.raises(DatasetBusy, match=f"{SERIAL} is being ingested by job {job.id}; join it"):
        catalog.jobs.create(draft(nbr_objects=4), job_draft(2, config_sha256=digest("other")))


def test_a_job_takes_no_dataset_that_is_ready_or_being_uploaded(catalog: Catalog) -> None:
    store(catalog, [frame()])
    with pytest.raises(DatasetExists):
        catalog.jobs.create(draft(nbr_objects=4), job_draft(2))
    catalog.claim(draft(OTHER), token="a live upload")
    with pytest.raises(DatasetBusy, match="is being uploaded by a live upload"):
        catalog.jobs.create(draft(OTHER, 4), job_draft(2))
    assert list(catalog.jobs.list()) == []
    job = catalog.jobs.create(draft(OTHER, 4), job_draft(2), evict="a live upload")
    assert job.serial == OTHER


def test_a_job_whose_parent_is_missing_is_not_created(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="upload the parent first"):
        catalog.jobs.create(draft(nbr_objects=4, parent_serial=OTHER), job_draft(2))
    assert list(catalog.jobs.list()) == []


def test_units_are_added_where_an_interrupted_run_stopped(catalog: Catalog) -> None:
    job = catalog.jobs.create(draft(nbr_objects=20), job_draft(10))
    assert catalog.jobs.add_units(job, ()) == 0
    assert catalog.jobs.add_units(job, units(10)[:4]) == 4
    assert catalog.jobs.add_units(job, units(10)[:2]) == 4
    assert catalog.jobs.add_units(job, units(10)[3:6]) == 6
    with pytest.raises(Conflict, match=r"has 6 of 10 units, 12 of 20 frames; create it again"):
        catalog.jobs.start(job)
    assert catalog.jobs.add_units(job, units(10)) == 10
    assert progress(catalog, job).units == {UnitState.READY: 10}
    catalog.jobs.start(job)
    assert catalog.jobs.add_units(job, units(10)) == 10  # another run was faster


@pytest.mark.parametrize(
    "wrong",
    [
        [Unit(3, 6, 2)],
        [Unit(2, 5, 2)],
        [Unit(2, 4, 0)],
        [Unit(2, 4, 2), Unit(4, 6, 2)],
        [Unit(2, 4, 2), Unit(3, 7, 2)],
        [Unit(2, 4, 2), Unit(3, 6, 3)],
        units(6),
    ],
    ids=["ordinal", "frame", "empty", "gap", "frames missing", "frames beyond", "units beyond"],
)
def test_units_with_a_gap_are_refused(catalog: Catalog, wrong: list[Unit]) -> None:
    job = catalog.jobs.create(draft(nbr_objects=8), job_draft(4))
    catalog.jobs.add_units(job, units(4)[:2])
    with pytest.raises(Conflict, match=f"job {job.id}"):
        catalog.jobs.add_units(job, wrong)
    assert catalog.jobs.add_units(job, ()) == 2


def test_many_units_are_added_in_portions(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.jobs._UNITS_AT_ONCE", 7)
    job = created(catalog, 50)
    runner = joined(catalog, job)
    assert [lease.unit for lease in catalog.jobs.claim(runner, 100)] == units(50)


# --- finding


def test_a_job_is_found_by_number_uuid_and_serial(catalog: Catalog) -> None:
    job, other = created(catalog), created(catalog, serial=OTHER)
    for name in (str(job.id), job.uuid, job.uuid.upper(), SERIAL):
        assert catalog.jobs.find(name) == job
    assert catalog.jobs.find(OTHER) == other


def test_of_the_jobs_of_a_dataset_the_newest_is_found(catalog: Catalog) -> None:
    first = _brought_to(catalog, JobState.CANCELLED)
    second = created(catalog, 2)
    assert catalog.jobs.find(SERIAL) == second
    assert catalog.jobs.find(str(first.id)) == first


@pytest.mark.parametrize(
    "name", ["2000000000", "99999999999999999999", "²", "ISP-2018-06-08-15-45-00-0009", ""]
)
def test_a_job_that_is_not_there_is_told_with_those_that_are_near(
    catalog: Catalog, name: str
) -> None:
    created(catalog, 1)
    with pytest.raises(JobNotFound, match=f"there is no job '{name}'") as unknown:
        catalog.jobs.find(name)
    assert unknown.value.nearest == ((SERIAL,) if name.startswith("ISP") else ())


def test_jobs_are_listed_by_state_page_by_page(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.job_rows.PAGE", 2)
    jobs = [created(catalog, 1, serial=f"J-2020-01-01-00-00-00-{n:04d}") for n in range(5)]
    assert list(catalog.jobs.list()) == jobs
    catalog.jobs.begin_cancel(jobs[3])
    uploading = catalog.jobs.list([JobState.UPLOADING, JobState.COMPLETE])
    assert [job.id for job in uploading] == [jobs[n].id for n in (0, 1, 2, 4)]
    assert list(catalog.jobs.list([])) == []


# --- whose the dataset is


@pytest.mark.parametrize("state", LIVE)
def test_nobody_takes_the_dataset_of_a_job_that_is_not_over(
    catalog: Catalog, state: JobState
) -> None:
    """Not even when no runner was heard of for days: the job waits for the next one."""
    job = _brought_to(catalog, state)
    age(catalog, _claim_of(job), 3 * 86400)
    attempts: list[Callable[[], Any]] = [
        lambda: catalog.claim(draft(), token="an upload"),
        lambda: catalog.claim(draft(), token="an upload", stale_after=0.0, evict="somebody"),
        lambda: catalog.preview_delete(SERIAL, token="a deletion"),
        lambda: catalog.begin_delete(SERIAL, token="a deletion"),
        lambda: catalog.begin_delete(SERIAL, token="gc", unfinished_only=True),
    ]
    for attempt in attempts:
        with pytest.raises(DatasetBusy, match="is being ingested by job") as busy:
            attempt()
        assert busy.value.owner == f"job {job.id}"
        assert f"imaging-db ingest join {job.id}" in busy.value.hint
    (unfinished,) = catalog.pending()
    assert unfinished.job == job.id


@pytest.mark.parametrize("state", LIVE)
def test_gc_leaves_what_a_job_has_stored_alone(
    catalog: Catalog, tmp_path: Path, state: JobState
) -> None:
    """However old it is; once the job is cancelled, it goes as any upload that stopped."""
    settings = StoreSettings("local", str(tmp_path))
    with contextlib.closing(open_store(settings)) as objects:
        job = _brought_to(catalog, state, storage_access=settings.access)
        age(catalog, _claim_of(job), 3 * 86400)
        key = f"raw_frames/{SERIAL}/im_c000_z000_t000_p000.png"
        objects.put(key, b"a frame", sha256=sha256_of_bytes(b"a frame"))
        report = Collector(catalog, objects, settings, timedelta(), unknown=False).run()
        assert (report.datasets, report.objects) == (0, 0)
        assert [one.key for one in objects.list("raw_frames")] == [key]
        catalog.jobs.begin_cancel(job)
        catalog.jobs.finish_cancel(job)
        report = Collector(catalog, objects, settings, timedelta(), unknown=False).run()
        assert report.datasets == 1
        assert catalog.pending() == []


def test_a_dataset_is_free_once_its_job_is_over(catalog: Catalog) -> None:
    job = _brought_to(catalog, JobState.CANCELLED)
    (unfinished,) = catalog.pending()
    assert (unfinished.job, unfinished.owner) == (None, None)
    _, claim = catalog.begin_delete(SERIAL, token="a deletion")
    catalog.finish_delete(claim)
    assert catalog.jobs.find(str(job.id)).dataset_id == 0  # it stays as history


def test_a_complete_job_stays_when_its_dataset_goes(catalog: Catalog) -> None:
    job = _brought_to(catalog, JobState.COMPLETE)
    assert catalog.jobs.finish(job).serial == SERIAL
    _, claim = catalog.begin_delete(SERIAL, token="a deletion")
    catalog.finish_delete(claim)
    found = catalog.jobs.find(SERIAL)
    assert (found.id, found.dataset_id, found.state) == (job.id, 0, JobState.COMPLETE)
    store(catalog, [frame()])  # the row of the dataset may get the number of the old one
    with pytest.raises(DatasetNotFound, match="was deleted since job"):
        catalog.jobs.finish(job)


def test_a_claim_like_a_jobs_but_of_none_goes_stale(catalog: Catalog) -> None:
    claim = catalog.claim(draft(), token="job/of another catalog")
    age(catalog, claim, STALE_AFTER + 1)
    assert catalog.claim(draft(), token="next").token == "next"


# --- completing


def test_a_job_is_completing_only_when_every_unit_is_done(catalog: Catalog) -> None:
    job = created(catalog, 3, most_attempts=1)
    runner = joined(catalog, job)
    first, *others = catalog.jobs.claim(runner, 3)
    catalog.jobs.commit(runner, [*all_done([first]), failed(others[0])])
    told = catalog.jobs.begin_completing(job)
    assert told.units == {UnitState.DONE: 1, UnitState.LEASED: 1, UnitState.FAILED: 1}
    catalog.jobs.release(runner)
    for _ in range(2):
        assert catalog.jobs.begin_completing(job).count(UnitState.DONE) == 1
    assert catalog.jobs.find(SERIAL).state is JobState.UPLOADING
    with pytest.raises(Conflict, match="is uploading: not every unit is done"):
        catalog.jobs.finish(job)
    catalog.jobs.retry(job)
    work_off(catalog, job)
    for _ in range(2):
        assert catalog.jobs.begin_completing(job).units == {UnitState.DONE: 3}
        assert catalog.jobs.find(SERIAL).state is JobState.COMPLETING


def test_finishing_may_be_repeated(catalog: Catalog) -> None:
    job = _brought_to(catalog, JobState.COMPLETING)
    dataset = catalog.jobs.finish(job)
    assert catalog.jobs.finish(job) == dataset
    assert catalog.jobs.begin_completing(job).count(UnitState.DONE) == 2
    found = catalog.jobs.find(SERIAL)
    assert found.finished_at is not None and found.finished_at >= found.created_at


def test_a_job_without_units_completes_at_once(catalog: Catalog) -> None:
    job = created(catalog, 0)
    assert catalog.jobs.claim(joined(catalog, job), 5) == []
    catalog.jobs.begin_completing(job)
    assert catalog.jobs.finish(job).nbr_objects == 0


def test_a_dataset_that_lost_rows_is_not_published(catalog: Catalog) -> None:
    job = _brought_to(catalog, JobState.COMPLETING)
    catalog._transactions.write(
        lambda c: c.exec_driver_sql("DELETE FROM frames WHERE time_idx = 3")
    )
    with pytest.raises(IntegrityError, match="has 3 of 4 objects"):
        catalog.jobs.finish(job)
    assert catalog.jobs.find(SERIAL).state is JobState.COMPLETING


def test_units_whose_objects_are_lost_are_done_again(catalog: Catalog) -> None:
    job = created(catalog, 4)
    first, second = joined(catalog, job), joined(catalog, job)
    catalog.jobs.commit(first, all_done(catalog.jobs.claim(first, 2)))
    catalog.jobs.commit(second, all_done(catalog.jobs.claim(second, 2)))
    catalog.jobs.begin_completing(job)
    lost = {1: [FrameCoords(0, 0, 2, 0), FrameCoords(0, 0, 3, 0)], 2: [FrameCoords(0, 0, 5, 0)]}
    for _ in range(2):  # the answer may be lost, or the run end before it hears it
        catalog.jobs.reopen(job, lost)
        assert catalog.jobs.find(SERIAL).state is JobState.UPLOADING
        told = progress(catalog, job)
        assert told.units == {UnitState.DONE: 2, UnitState.READY: 2}
        assert {runner.units_done for runner in told.runners} == {1}
    claim = _claim_of(job)
    assert [one.timepoint for one in catalog.stored_coords(claim)] == [0, 1, 4, 6, 7]
    assert ordinals(catalog.jobs.claim(first, 9)) == [1, 2]
    catalog.jobs.release(first)
    completed(catalog, job)
    assert catalog.count_frames(SERIAL) == 8


def test_much_that_is_lost_is_reopened_in_portions(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.lost_units._AT_ONCE", 3)
    job = created(catalog, 10)
    work_off(catalog, job)
    catalog.jobs.begin_completing(job)
    catalog.jobs.reopen(job, {n: [FrameCoords(0, 0, 2 * n, 0)] for n in range(8)})
    assert progress(catalog, job).units == {UnitState.DONE: 2, UnitState.READY: 8}
    assert len(catalog.stored_coords(_claim_of(job))) == 12


@pytest.mark.parametrize("state", [JobState.COMPLETE, JobState.CANCELLING, JobState.CANCELLED])
def test_nothing_is_reopened_of_a_job_that_is_over(catalog: Catalog, state: JobState) -> None:
    job = _brought_to(catalog, state)
    with pytest.raises(JobOver, match=f"job {job.id} .* is {state.value}") as over:
        catalog.jobs.reopen(job, {0: [FrameCoords(0, 0, 0, 0)]})
    assert over.value.state == state.value


# --- cancelling


@pytest.mark.parametrize("state", [s for s in LIVE if s is not JobState.CANCELLING])
def test_a_job_may_be_cancelled_until_it_is_complete(catalog: Catalog, state: JobState) -> None:
    job = _brought_to(catalog, state)
    assert catalog.jobs.begin_cancel(job) is JobState.CANCELLING
    assert catalog.jobs.begin_cancel(job) is JobState.CANCELLING
    assert catalog.jobs.leases_left(job) == 0.0
    catalog.jobs.finish_cancel(job)
    catalog.jobs.finish_cancel(job)
    assert catalog.jobs.begin_cancel(job) is JobState.CANCELLED
    found = catalog.jobs.find(SERIAL)
    assert found.state is JobState.CANCELLED
    assert found.finished_at is not None


def test_a_complete_job_is_not_cancelled(catalog: Catalog) -> None:
    job = _brought_to(catalog, JobState.COMPLETE)
    with pytest.raises(JobOver, match="is complete; its dataset can be read"):
        catalog.jobs.begin_cancel(job)
    assert catalog.dataset(SERIAL).status is DatasetStatus.READY


def test_a_job_that_nobody_began_to_cancel_is_not_cancelled(catalog: Catalog) -> None:
    job = created(catalog)
    with pytest.raises(Conflict, match="is uploading; begin to cancel it first"):
        catalog.jobs.finish_cancel(job)


@pytest.mark.parametrize("state", [JobState.CANCELLING, JobState.CANCELLED])
def test_a_cancelled_job_takes_no_more_work(catalog: Catalog, state: JobState) -> None:
    job = created(catalog, 2)
    runner = joined(catalog, job)
    leases = catalog.jobs.claim(runner, 1)
    catalog.jobs.begin_cancel(job)
    if state is JobState.CANCELLED:
        catalog.jobs.finish_cancel(job)
    assert catalog.jobs.claim(runner, 1) == []
    assert catalog.jobs.commit(runner, all_done(leases)) == set()
    assert catalog.jobs.commit(runner, [failed(leases[0])]) == set()
    assert catalog.jobs.renew(runner) is state
    attempts: list[Callable[[], Any]] = [
        lambda: joined(catalog, job),
        lambda: catalog.jobs.retry(job),
        lambda: catalog.jobs.start(job),
        lambda: catalog.jobs.add_units(job, units(2)),
        lambda: catalog.jobs.begin_completing(job),
        lambda: catalog.jobs.finish(job),
    ]
    for attempt in attempts:
        with pytest.raises(JobOver, match=f"is {state.value}"):
            attempt()
    assert progress(catalog, job).units == {UnitState.READY: 1, UnitState.LEASED: 1}
    assert catalog.stored_coords(_claim_of(job)) == {}


def test_the_last_lease_is_waited_for(catalog: Catalog) -> None:
    """Workers may write until then: what has no row is not swept before."""
    job = created(catalog, 4)
    short, long = joined(catalog, job), joined(catalog, job)
    catalog.jobs.claim(short, 2, lease_seconds=30)
    catalog.jobs.claim(long, 1, lease_seconds=300)
    catalog.jobs.begin_cancel(job)
    assert 290 < catalog.jobs.leases_left(job) <= 300
    catalog.jobs.renew(short, lease_seconds=600)  # it is still at it
    assert 590 < catalog.jobs.leases_left(job) <= 600
    catalog.jobs.release(short)
    catalog.jobs.renew(long, lease_seconds=-1)
    assert catalog.jobs.leases_left(job) == 0.0


def test_a_new_job_goes_on_from_what_a_cancelled_one_committed(catalog: Catalog) -> None:
    job = created(catalog, 3)
    runner = joined(catalog, job)
    catalog.jobs.commit(runner, all_done(catalog.jobs.claim(runner, 1)))
    catalog.jobs.begin_cancel(job)
    catalog.jobs.finish_cancel(job)
    again = created(catalog, 3)
    assert again.id != job.id
    assert again.dataset_id == job.dataset_id
    assert len(catalog.stored_coords(_claim_of(again))) == 2
    completed(catalog, again)
    assert catalog.count_frames(SERIAL) == 6
