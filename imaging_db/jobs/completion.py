"""Completing a job: every unit is done, every object is looked at, then the dataset can be seen."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.errors import Conflict
from imaging_db.jobs.objects import lost_frames
from imaging_db.jobs.source import FramesByIndex, JobSource
from imaging_db.model import Dataset, FrameCoords
from imaging_db.model.job import Job, UnitState
from imaging_db.stores.base import Store


@dataclass(frozen=True)
class Completion:
    """Completes one job of one catalog whose objects are in one store; every step may be repeated."""

    catalog: Catalog
    store: Store
    job: Job

    def run(self) -> Dataset | int:
        """Return the dataset, which can be seen now, or how many units wait again because objects are lost.

        Raises
        ------
        Conflict
            Units are not done yet, or failed; tells how many.
        SourceChanged
            A file of the source is not what it was when the job was created.
        """
        progress = self.catalog.jobs.begin_completing(self.job)
        done = progress.count(UnitState.DONE)
        if done < self.job.nbr_units:
            failed = progress.count(UnitState.FAILED)
            name = self.job.id
            again = (
                f"imaging-db ingest status {name} tells why, ingest retry {name} tries them again"
            )
            raise Conflict(
                f"job {name} has {done} of {self.job.nbr_units} units done, {failed} failed",
                hint=again if failed else f"imaging-db ingest join {name} goes on",
            )
        failpoints.reach("job.completing")
        lost = lost_frames(self.catalog, self.store, self.job)
        if lost:
            return self._reopen(lost)
        dataset = self.catalog.jobs.finish(self.job)
        failpoints.reach("job.complete")
        return dataset

    def _reopen(self, lost: set[FrameCoords]) -> int:
        """Let the units of lost frames wait again; return how many there are."""
        units: defaultdict[int, list[FrameCoords]] = defaultdict(list)
        source = JobSource.from_json(self.job.source)
        with source.open() as reader:
            frames = FramesByIndex(reader)
            for unit in source.units(reader, self.job.nbr_frames):
                for frame in frames.between(unit.first, unit.stop):
                    if frame.coords in lost:
                        units[unit.ordinal].append(frame.coords)
        self.catalog.jobs.reopen(self.job, units)
        return len(units)
