"""Where each part of a large job breaks: its own limit in frames a second, and the workers that reach it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scale_costs import Costs
from benchmarks.scale_simulation import MOST_CLAIMED, UNITS_AHEAD, Scenario
from benchmarks.scale_site import Site

_COMMITTED = 1000
"""Frames of one commit, where they come fast enough."""
_KEPT = 24
"""Bytes a frame that the end of a job holds in memory (`imaging_db/catalog/stored_sizes.py`)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One part: the most frames a second that it carries, the workers who reach that, and what to do there."""

    part: str
    frames_a_second: float
    workers: float
    remedy: str


def worker_rate(costs: Costs, site: Site, unit_frames: int) -> float:
    """Return the frames a second of one worker that waits for nobody."""
    working = max(unit_frames * costs.frame_cpu, unit_frames * site.put_seconds / site.putters)
    return unit_frames / (working + site.put_seconds)


def limits(scenario: Scenario, costs: Costs, site: Site) -> list[Limit]:
    """Return the limits of one driver and of everything that is shared, the first to break first."""
    each = worker_rate(costs, site, scenario.unit_frames)
    unit = 1 / scenario.unit_frames
    claimed = min(MOST_CLAIMED, scenario.workers * (1 + UNITS_AHEAD) / 2)
    committed = max(1.0, _COMMITTED * unit)
    found = {
        "driver": 1
        / (unit * (costs.task_cpu + _a_unit("own", scenario, costs, claimed, committed))),
        "database: cores": site.database_cores
        / (unit * _a_unit("server", scenario, costs, claimed, committed)),
        "database: log": site.log_bytes
        / (unit * _a_unit("log", scenario, costs, claimed, committed)),
        "store: requests": site.puts_a_prefix * scenario.prefixes,
        "store: network": site.uplink_bytes / costs.object_bytes,
        "source": site.source_bytes / costs.raw_bytes,
    }
    order = sorted(found.items(), key=lambda item: item[1])
    return [Limit(part, rate, rate / each, REMEDIES[part]) for part, rate in order]


def _a_unit(what: str, scenario: Scenario, costs: Costs, claimed: float, committed: float) -> float:
    """Return what claiming and committing take for one unit, with batches as large as a driver makes them."""
    rows = committed * scenario.unit_frames
    claim = costs.claim.of(what, claimed) / claimed
    return claim + costs.commit.of(what, committed, rows) / committed


def seconds_to_create(scenario: Scenario, costs: Costs) -> float:
    """Return how long the units of a job take to be written."""
    return scenario.frames / scenario.unit_frames * costs.create_unit


def seconds_to_complete(scenario: Scenario, costs: Costs, site: Site) -> float:
    """Return how long the end of a job takes: every object is listed, every row read and counted."""
    listing = scenario.frames / site.listed_at_once * site.list_seconds
    return (listing + scenario.frames * (costs.known_row + costs.publish_row)) / scenario.prefixes


def memory_to_complete(scenario: Scenario) -> float:
    """Return the bytes that the end of one job holds of its frames."""
    return float(_KEPT * scenario.frames / scenario.prefixes)


REMEDIES = {
    "driver": "join from several computers, each with its share of the workers",
    "database: cores": "a larger server: rows of frames are most of it",
    "database: log": "a faster disk for the log alone; `wal_compression`",
    "store: requests": "several datasets, each a job with a prefix of its own; S3 splits a prefix that stays busy",
    "store: network": "more or wider links; workers where the store is",
    "source": "read from several file servers, or where the data is",
}
