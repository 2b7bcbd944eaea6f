"""The units of a job in the catalog: created, claimed, committed and counted through the product's own calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from benchmarks.catalog_inserts import frames
from benchmarks.servers import Meter, Spent
from imaging_db.catalog import Catalog
from imaging_db.model import FrameCoords, StoredFrame
from imaging_db.model.job import Job, JobDraft, Lease, Runner, Unit, UnitResult
from tests.support.catalog_rows import acquisition, digest, draft

AT_ONCE = 20_000
"""Units that one call adds, as a job that is created does."""
_HOST = "bench@1a2b3c4d.4026531836"
_numbers = itertools.count(1)


@dataclass
class UnitJob:
    """A job of equal units of nothing, in a catalog of its own."""

    catalog: Catalog
    nbr_units: int
    unit_frames: int
    meter: Meter
    _rows: list[StoredFrame] = field(default_factory=list)

    def created(self) -> Job:
        """Return the job once all its units are written and it may be joined."""
        number, nbr_frames = next(_numbers), self.nbr_units * self.unit_frames
        made = acquisition(nbr_frames, nbr_timepoints=nbr_frames)
        serial = f"BENCH-2026-01-01-00-00-00-{number:04d}"
        draft_of_job = JobDraft(
            f"{number:032x}",
            {"reader": "grid", "path": "/data/bench"},
            {},
            digest(number),
            self.nbr_units,
            nbr_frames,
            f"{_HOST}/0/1/a",
        )
        jobs = self.catalog.jobs
        job = jobs.create(draft(serial, nbr_frames, acquisition=made), draft_of_job)
        units = _units(self.nbr_units, self.unit_frames)
        while portion := tuple(islice(units, AT_ONCE)):
            jobs.add_units(job, portion)
        return jobs.start(job)

    def joined(self, job: Job, workers: int = 2) -> Runner:
        """Return a new runner of a job."""
        token = f"{_HOST}/{next(_numbers)}/1/a"
        return self.catalog.jobs.join(job, token=token, engine="threads", workers=workers)

    def claimed(self, runner: Runner, batch: int, count: int) -> tuple[list[list[Lease]], Spent]:
        """Return batches of leases, ``count`` units or more in all, and what it took to claim them."""
        found: list[list[Lease]] = []
        with self.meter.measured():
            for _ in range(-(-count // batch)):
                found.append(self.catalog.jobs.claim(runner, batch))
        if any(len(leases) != batch for leases in found):
            raise RuntimeError("there were not enough units to claim")
        return found, self.meter.spent[-1]

    def committed(self, runner: Runner, batches: Sequence[Sequence[Lease]]) -> Spent:
        """Return what it took to commit all frames of leased units, a transaction for each batch."""
        ready = [[self._result(lease) for lease in leases] for leases in batches]
        with self.meter.measured():
            counted = [self.catalog.jobs.commit(runner, results) for results in ready]
        if [len(one) for one in counted] != [len(one) for one in ready]:
            raise RuntimeError("a unit was not counted")
        return self.meter.spent[-1]

    def _result(self, lease: Lease) -> UnitResult:
        """Return a unit's result, with rows as frames of a camera have them."""
        if not self._rows:
            self._rows = frames(256)
        rows = tuple(
            replace(
                self._rows[t % 256],
                coords=FrameCoords(0, 0, t, 0),
                file_name=f"im_c000_z000_t{t:03d}_p000.png",
                sha256=f"{t:064x}",  # no two alike, as a camera's
            )
            for t in range(lease.unit.first, lease.unit.stop)
        )
        return UnitResult(lease, rows, raw_bytes=len(rows))


def _units(count: int, unit_frames: int) -> Iterator[Unit]:
    return (Unit(n, n * unit_frames, unit_frames) for n in range(count))
