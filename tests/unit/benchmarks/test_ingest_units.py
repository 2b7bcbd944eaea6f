"""Units for benchmarks: created, claimed and committed as a runner does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.catalogs import Database
from benchmarks.ingest_units import UnitJob
from benchmarks.servers import Meter
from imaging_db.model.job import UnitState


def test_units_are_claimed_and_committed_through_the_catalog(tmp_path: Path) -> None:
    meter = Meter()
    with Database(tmp_path).fresh() as (catalog, _):
        units = UnitJob(catalog, 10, 3, meter)
        job = units.created()
        runner = units.joined(job)
        batches, claim = units.claimed(runner, 4, 8)
        commit = units.committed(runner, batches)
        progress = catalog.jobs.progress(job)
        assert progress.units == {UnitState.READY: 2, UnitState.DONE: 8}
        assert progress.frames_done == 24
        with pytest.raises(RuntimeError, match="not enough units"):
            units.claimed(runner, 4, 4)
    assert meter.spent[:2] == [claim, commit]
    assert claim.wall > 0 and (claim.server, claim.log) == (0.0, 0.0)
