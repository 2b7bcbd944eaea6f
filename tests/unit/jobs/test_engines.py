"""The engines of this process: every unit comes back once, and is durable before its rows are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.config import DatabaseSettings, Settings, StoreSettings
from imaging_db.jobs.engines.base import Engine
from imaging_db.jobs.engines.serial import SerialEngine
from imaging_db.jobs.engines.threads import ThreadEngine
from imaging_db.jobs.work import _open_works
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model.job import Lease, Unit, UnitResult
from tests.support.tile_folder import TileFolder


@pytest.fixture
def order(tmp_path: Path) -> WorkOrder:
    """An order of four units of six tiles, into a folder."""
    (tmp_path / "store").mkdir()
    store = StoreSettings("local", str(tmp_path / "store"))
    settings = Settings(DatabaseSettings("sqlite", str(tmp_path / "catalog.sqlite")), store)
    plan = TileFolder(tmp_path / "tiles").plan(ImagingDB(settings))
    return WorkOrder(plan.job.uuid, plan.job.source, plan.dataset.storage_dir, "png", store)


LEASES = [Lease(Unit(ordinal, 6 * ordinal, 6), attempt=1) for ordinal in range(4)]


@pytest.mark.parametrize(
    "open_engine", [SerialEngine, lambda order: ThreadEngine(order, workers=2)]
)
def test_every_unit_comes_back_once(
    order: WorkOrder, open_engine: Callable[[WorkOrder], Engine]
) -> None:
    engine = open_engine(order)
    engine.submit(LEASES)

    found = _all_of(engine)

    engine.close()
    assert sorted(one.lease.unit.ordinal for one in found) == [0, 1, 2, 3]
    assert all(one.is_done and len(one.frames) == 6 for one in found)


@pytest.mark.parametrize(
    "open_engine", [SerialEngine, lambda order: ThreadEngine(order, workers=2)]
)
def test_a_flush_makes_durable_what_the_workers_put(
    order: WorkOrder, open_engine: Callable[[WorkOrder], Engine]
) -> None:
    engine = open_engine(order)
    engine.submit(LEASES)
    _all_of(engine)
    store = _open_works.of(order).store
    assert len(store._unflushed) == 24  # type: ignore[attr-defined]

    engine.flush()

    assert not store._unflushed  # type: ignore[attr-defined]
    engine.close()


def _all_of(engine: Engine) -> list[UnitResult]:
    found: list[UnitResult] = []
    while len(found) < len(LEASES):
        found += engine.finished(5.0)
    return found
