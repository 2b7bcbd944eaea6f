"""A simulation of a job: units that flow through drivers, workers, a database and S3, event by event.

A driver does what `imaging_db.jobs.driver` does: it claims when half of what it wants is in flight, hands units
to its workers, and commits what came back after a second or a thousand frames. Everything that is shared is a
queue, first come, first served: the cores and the log of the database, requests and bytes of the store, the
source, and the interpreter of each driver, which schedules for Dask besides. Simulated is a stretch of the job
long enough to settle; what is left of it takes as long, unit by unit.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from benchmarks.scale_costs import Costs
from benchmarks.scale_site import Site

UNITS_AHEAD = 2  # the least: more where units are short
MOST_CLAIMED = 256
_COMMIT_SECONDS = 3.0
_COMMIT_FRAMES = 1000
_WAIT_SECONDS = 0.5
_RENEW_SECONDS = 40.0
_SETTLED = 12  # so often every worker has its turn, and 2 000 units at least
_FEWEST = 2_000
_UNIT_ENDED = 0


@dataclass
class Pipe:
    """Something shared that serves one after the other: so much a second, in ``lanes`` at the same time."""

    name: str
    rate: float
    lanes: int = 1
    busy: float = 0.0
    _free: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = [0.0] * self.lanes

    def take(self, now: float, amount: float) -> float:
        """Return when ``amount``, asked for now, is served."""
        seconds = amount / self.rate
        ends = max(now, self._free[0]) + seconds
        heapq.heapreplace(self._free, ends)
        self.busy += seconds
        return ends

    def used(self, seconds: float) -> float:
        """Return which share of its time it was at work."""
        return self.busy / (self.lanes * seconds)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked for: frames, workers, how many drivers they have, prefixes of the store, frames a unit."""

    frames: int
    workers: int
    drivers: int = 1
    prefixes: int = 1
    unit_frames: int = 32


@dataclass(frozen=True, slots=True)
class Flow:
    """How units flowed once all had settled: units a second, and which share of its time each part was at work."""

    units_a_second: float
    used: dict[str, float]

    @property
    def fullest(self) -> str:
        """Return what was at work most."""
        return max(self.used, key=lambda name: self.used[name])


@dataclass(slots=True)
class _Driver:
    interpreter: Pipe
    workers: int
    idle: int
    waiting: int = 0  # units that were handed over, and have no worker yet
    in_flight: int = 0
    back: int = 0  # units that ended, and were not looked at yet
    results: int = 0  # units that were looked at, and are not committed
    committed_at: float = 0.0
    renewed_at: float = 0.0
    busy_until: float = 0.0  # its transactions take it into the future
    round: int = 0  # which of its rounds is to come; those planned before do not count any more
    asleep: bool = False


class Simulation:
    """One stretch of a job; `run` returns how it flowed."""

    def __init__(self, scenario: Scenario, costs: Costs, site: Site) -> None:
        self._scenario, self._costs, self._site = scenario, costs, site
        settled = max(_FEWEST, _SETTLED * scenario.workers)
        self._count = min(settled, max(1, scenario.frames // scenario.unit_frames))
        self._left = self._count
        self._cores = Pipe("database: cores", 1.0, site.database_cores)
        self._log = Pipe("database: log", site.log_bytes)
        self._puts = Pipe("store: requests", site.puts_a_prefix * scenario.prefixes)
        self._uplink = Pipe("store: network", site.uplink_bytes)
        self._source = Pipe("source", site.source_bytes)
        self._seats = Pipe("workers", 1.0, scenario.workers)
        each, more = divmod(scenario.workers, scenario.drivers)
        seats = [each + (number < more) for number in range(scenario.drivers)]
        self._drivers = [_Driver(Pipe("driver", 1.0), workers, workers) for workers in seats]
        self._events: list[tuple[float, int, int, int]] = []
        self._number = 0
        self._done: list[tuple[float, int]] = []

    def run(self) -> Flow:
        """Return units a second of the middle of the stretch, and how busy everything was."""
        for number in range(len(self._drivers)):
            self._plan_round(0.0, number)
        while self._events:
            now, _, number, planned = heapq.heappop(self._events)
            driver = self._drivers[number]
            if planned == _UNIT_ENDED:
                self._unit_ended(now, number, driver)
            elif planned == driver.round:
                self._round(now, number, driver)
        if sum(units for _, units in self._done) != self._count:
            raise RuntimeError("units were lost")
        return self._flow()

    def _plan_round(self, when: float, number: int) -> None:
        driver = self._drivers[number]
        driver.round += 1
        driver.asleep = False
        self._at(max(when, driver.busy_until), number, driver.round)

    def _at(self, when: float, number: int, what: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, number, what))

    def _round(self, now: float, number: int, driver: _Driver) -> None:
        """Let a driver go once through its loop, and sleep where nothing has come back."""
        if now - driver.renewed_at > _RENEW_SECONDS:
            driver.renewed_at = now
            self._transaction(now, driver, "renew", driver.in_flight)
        now = self._fill(now, number, driver)
        heard = driver.back
        driver.back = 0
        driver.results += heard
        driver.in_flight -= heard
        late = now - driver.committed_at > _COMMIT_SECONDS
        frames = driver.results * self._scenario.unit_frames
        if driver.results and (late or frames >= _COMMIT_FRAMES or not driver.in_flight):
            now = self._commit(now, driver)
        driver.busy_until = now
        if driver.back or (heard and (driver.in_flight or self._left)):
            self._plan_round(now, number)
        elif driver.results:
            self._plan_round(now + _WAIT_SECONDS, number)
            driver.asleep = True
        else:
            driver.asleep = bool(driver.in_flight)

    def _fill(self, now: float, number: int, driver: _Driver) -> float:
        wanted = driver.workers * (1 + UNITS_AHEAD)
        if 2 * driver.in_flight > wanted:
            return now
        while (missing := min(wanted - driver.in_flight, MOST_CLAIMED, self._left)) > 0:
            now = self._transaction(now, driver, "claim", missing)
            self._left -= missing
            driver.in_flight += missing
            driver.waiting += missing
            self._start(now, number, driver)
        return now

    def _commit(self, now: float, driver: _Driver) -> float:
        units, driver.results = driver.results, 0
        now = self._transaction(now, driver, "commit", units, units * self._scenario.unit_frames)
        driver.committed_at = now
        self._done.append((now, units))
        return now

    def _transaction(
        self, now: float, driver: _Driver, kind: str, units: int, rows: int = 0
    ) -> float:
        """Return when a transaction of so many units and rows is on the database's disk."""
        cost = getattr(self._costs, kind)
        now = driver.interpreter.take(now, cost.of("own", units, rows))
        now += self._site.round_trips * self._site.round_trip
        now = self._cores.take(now, cost.of("server", units, rows))
        return self._log.take(now, cost.of("log", units, rows)) + self._site.sync_seconds

    def _start(self, now: float, number: int, driver: _Driver) -> None:
        while driver.idle and driver.waiting:
            driver.idle -= 1
            driver.waiting -= 1
            self._at(self._unit(now), number, _UNIT_ENDED)

    def _unit(self, now: float) -> float:
        """Return when a worker that begins a unit now has the last of its frames in the store."""
        costs, site, frames = self._costs, self._site, self._scenario.unit_frames
        working = max(frames * costs.frame_cpu, frames * site.put_seconds / site.putters)
        own = now + working + site.put_seconds
        self._seats.busy += own - now
        shared = (
            self._source.take(now, frames * costs.raw_bytes),
            self._puts.take(now, frames),
            self._uplink.take(now, frames * costs.object_bytes),
        )
        return max(own, *shared)

    def _unit_ended(self, now: float, number: int, driver: _Driver) -> None:
        """Let a driver hear of a unit, and its worker get the next; both take its interpreter."""
        heard = driver.interpreter.take(now, self._costs.task_cpu)
        driver.idle += 1
        driver.back += 1
        self._start(heard, number, driver)
        if driver.asleep:
            self._plan_round(heard, number)

    def _flow(self) -> Flow:
        """Return the rate between a fifth and four fifths of the units."""
        first, last = self._middle(0.2), self._middle(0.8)
        units, seconds = last[1] - first[1], last[0] - first[0]
        end = self._done[-1][0]
        rate = units / seconds if seconds > 0 else self._count / end
        pipes = [self._cores, self._log, self._puts, self._uplink, self._source, self._seats]
        used = {pipe.name: pipe.used(end) for pipe in pipes}
        drivers = [driver.interpreter.used(end) for driver in self._drivers]
        return Flow(rate, used | {"driver": max(drivers)})

    def _middle(self, share: float) -> tuple[float, int]:
        """Return time and number of units when so large a share was committed."""
        total = 0
        for time, units in self._done:
            total += units
            if total >= share * self._count:
                return time, total
        return self._done[-1][0], total
