"""docs/scale.md: made of the costs that are kept, by a simulation that finds what is known without one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.scale_costs import Costs, fitted, load
from benchmarks.scale_limits import limits, worker_rate
from benchmarks.scale_page import page
from benchmarks.scale_simulation import Pipe, Scenario, Simulation
from benchmarks.scale_site import REASONS, Site
from tests.support.documents import ROOT

COSTS = load()
WIDE = Site(
    database_cores=10**6,
    log_bytes=1e15,
    puts_a_prefix=1e9,
    uplink_bytes=1e15,
    source_bytes=1e15,
)
"""A place where nothing but workers and drivers takes time."""


def rate(scenario: Scenario, site: Site, costs: Costs = COSTS) -> float:
    """The frames a second that a simulation finds."""
    return Simulation(scenario, costs, site).run().units_a_second * scenario.unit_frames


def test_the_page_is_what_the_program_makes_of_the_kept_costs() -> None:
    kept = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert page(COSTS, Site()) == kept, "run python -m benchmarks.scale"


def test_every_assumption_has_its_reason() -> None:
    assert list(REASONS) == list(Site.__dataclass_fields__)


def test_workers_that_wait_for_nobody_do_what_they_can() -> None:
    free = replace(COSTS, task_cpu=0.0)
    for workers in (1, 20):
        expected = workers * worker_rate(free, WIDE, 32)
        found = rate(Scenario(10**7, workers), WIDE, free)
        assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("puts_a_prefix", 100.0, "store: requests"),
        ("uplink_bytes", 1e8, "store: network"),
        ("source_bytes", 2e8, "source"),
        ("log_bytes", 5e4, "database: log"),
    ],
)
def test_what_is_scarce_is_full_and_sets_the_rate(name: str, value: float, part: str) -> None:
    changed: dict[str, Any] = {name: value}
    site, scenario = replace(WIDE, **changed), Scenario(10**7, 20)
    flow = Simulation(scenario, COSTS, site).run()
    first = limits(scenario, COSTS, site)[0]
    assert flow.fullest == first.part == part
    assert flow.units_a_second * 32 == pytest.approx(first.frames_a_second, rel=0.15)


def test_one_driver_holds_a_thousand_workers_back_and_eight_do_not() -> None:
    slow = replace(COSTS, task_cpu=0.01)
    one, eight = (rate(Scenario(10**7, 1000, drivers=n), WIDE, slow) for n in (1, 8))
    assert one == pytest.approx(32 / 0.01, rel=0.15)
    assert 6 * one < eight < 8.5 * one


def test_a_job_smaller_than_its_workers_is_done_in_one_turn() -> None:
    flow = Simulation(Scenario(32 * 7, 10), COSTS, WIDE).run()
    alone = 32 / worker_rate(COSTS, WIDE, 32)
    assert alone < 7 / flow.units_a_second < 3 * alone


def test_a_pipe_of_two_lanes_serves_two_at_a_time() -> None:
    pipe = Pipe("cores", 1.0, lanes=2)
    assert [pipe.take(0.0, 3.0) for _ in range(3)] == [3.0, 3.0, 6.0]
    assert pipe.used(6.0) == 0.75


def test_costs_of_units_and_rows_are_told_apart() -> None:
    def cost(units: int, rows: int) -> float:
        return 5.0 + 0.5 * units + 0.25 * units * rows

    points = [(units, rows, cost(units, rows)) for units, rows in ((6, 1), (256, 1), (32, 32))]
    assert fitted(points) == pytest.approx((5.0, 0.5, 0.25))
    assert fitted([(6, 0, 8.0), (256, 0, 133.0)]) == pytest.approx((5.0, 0.5, 0.0))
