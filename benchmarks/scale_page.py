"""The page docs/scale.md: made of measured costs, an assumed site, and what the simulation says of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from benchmarks.report import figure, table
from benchmarks.scale_costs import Costs
from benchmarks.scale_limits import (
    limits,
    memory_to_complete,
    seconds_to_complete,
    seconds_to_create,
    worker_rate,
)
from benchmarks.scale_simulation import Flow, Scenario, Simulation
from benchmarks.scale_site import REASONS, Site
from benchmarks.scale_words import ASSUMED, BREAKS, INTRODUCTION, MARK, NOT_TOLD, NUMBERS, STEPS

WORKERS = (1, 10, 100, 1000)
FRAMES = (10**6, 10**7, 10**8, 10**9)
_MOST = Scenario(FRAMES[-1], WORKERS[-1])


def page(costs: Costs, site: Site) -> str:
    """Return the page."""
    parts = ["# Scale", MARK, INTRODUCTION, "## Measured", *_measured(costs)]
    parts += ["## Assumed", ASSUMED, _assumed(site)]
    parts += ["## Hours", *_hours(costs, site)]
    parts += ["## Where each part breaks", *_breaks(costs, site)]
    parts += ["## A thousand workers, step by step", *_steps(costs, site)]
    parts += ["## Sizes", *_sizes(costs, site), NUMBERS]
    parts += ["## What a simulation cannot tell", NOT_TOLD]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _measured(costs: Costs) -> Iterator[str]:
    rows = [
        ["a claim, and each unit of it", *_transaction(costs, "claim", 2)],
        ["a commit, each unit and each row of a frame", *_transaction(costs, "commit", 3)],
        ["a renewal, and each unit that is held", *_transaction(costs, "renew", 2)],
    ]
    yield f"{costs.day}, on {costs.machine['cores']} cores of {costs.machine['processor']}."
    if costs.quick:
        yield "**Measured with small sizes, on a computer that had other work: to be measured again.**"
    head = ["what", "CPU of the driver, ms", "CPU of PostgreSQL, ms", "log, bytes"]
    yield table(head, rows, numbers_from=1)
    complete = 1e6 * (costs.known_row + costs.publish_row)
    mebibytes = f"{costs.raw_bytes / 2**20:.0f} MiB"
    others = {
        "a unit, when the job is created": f"{figure(1e6 * costs.create_unit)} µs",
        "a unit, in a driver that is its own Dask scheduler": f"{figure(1e3 * costs.task_cpu)} ms CPU",
        f"a frame of {mebibytes} in a worker, into S3": f"{figure(1e3 * costs.frame_cpu)} ms CPU",
        "its object in the store": f"{figure(costs.object_bytes / 1e6)} MB",
        "a frame, when the job is completed: rows read and counted": f"{figure(complete)} µs",
        "telling how far a job is": f"{figure(1e3 * costs.status)} ms",
    }
    yield table(["what", "measured"], [[what, said] for what, said in others.items()])


def _transaction(costs: Costs, kind: str, parts: int) -> list[str]:
    cost = asdict(getattr(costs, kind))
    units = {"own": 1e3, "server": 1e3, "log": 1.0}
    return [
        " + ".join(figure(units[what] * value) for value in cost[what][:parts]) for what in units
    ]


def _assumed(site: Site) -> str:
    rows = [[f"`{name}`", f"{value:g}", REASONS[name]] for name, value in asdict(site).items()]
    return table(["name", "value", "why"], rows)


def _hours(costs: Costs, site: Site) -> Iterator[str]:
    each = worker_rate(costs, site, _MOST.unit_frames)
    yield (
        f"One driver, one dataset, units of {_MOST.unit_frames} frames; a worker that waits for nobody does "
        f"{figure(each)} frames a second. In brackets what is at work most of its time: as long as that is "
        "*workers*, more of them help."
    )
    rows = []
    for workers in WORKERS:
        cells = []
        for frames in FRAMES:
            hours, flow = _whole(Scenario(frames, workers), costs, site)
            cells.append(f"{figure(hours)} h ({_fullest(flow)})")
        rows.append([str(workers), *cells])
    head = ["workers", *(f"{_power(frames)} frames" for frames in FRAMES)]
    yield table(head, rows, numbers_from=1)
    create, complete = _ends(_MOST, costs, site)
    yield (
        f"Creating the units and completing the job are in it; for {_power(_MOST.frames)} frames they take "
        f"{figure(create)} h and {figure(complete)} h, however many workers there are."
    )


def _whole(scenario: Scenario, costs: Costs, site: Site) -> tuple[float, Flow]:
    """Return the hours of a job from its creation to when its dataset can be seen."""
    flow = Simulation(scenario, costs, site).run()
    units = scenario.frames / scenario.unit_frames
    seconds = units / flow.units_a_second + 3600 * sum(_ends(scenario, costs, site))
    return seconds / 3600, flow


def _ends(scenario: Scenario, costs: Costs, site: Site) -> tuple[float, float]:
    create = seconds_to_create(scenario, costs)
    return create / 3600, seconds_to_complete(scenario, costs, site) / 3600


def _fullest(flow: Flow) -> str:
    return f"{flow.fullest} {100 * min(1.0, flow.used[flow.fullest]):.0f} %"


def _breaks(costs: Costs, site: Site) -> Iterator[str]:
    yield BREAKS
    rows = [
        [
            one.part,
            figure(one.frames_a_second),
            f"{max(1.0, one.workers):,.0f}".replace(",", "\u202f"),
            one.remedy,
        ]
        for one in limits(_MOST, costs, site)
    ]
    yield table(["part", "frames a second at most", "workers that reach it", "what to do"], rows)


def _steps(costs: Costs, site: Site) -> Iterator[str]:
    yield f"{_power(_MOST.frames)} frames; each step is added to those before it."
    scenario, rows = _MOST, []
    for words, for_scenario, for_site in STEPS:
        scenario, site = replace(scenario, **for_scenario), replace(site, **for_site)
        hours, flow = _whole(scenario, costs, site)
        frames = flow.units_a_second * scenario.unit_frames
        rows.append([words, figure(frames), figure(hours), _fullest(flow)])
    head = ["step", "frames a second", "hours", "at work most"]
    yield table(head, rows)


def _sizes(costs: Costs, site: Site) -> Iterator[str]:
    rows = []
    for frames in FRAMES:
        scenario = Scenario(frames, 1)
        units = frames / scenario.unit_frames
        stored = frames * costs.frame_bytes
        rows.append(
            [
                _power(frames),
                _bytes(stored),
                _bytes(units * costs.unit_bytes_worked),
                _bytes(frames * costs.frame_bytes_sqlite + units * costs.unit_bytes_sqlite),
                _bytes(frames * costs.object_bytes),
                _bytes(memory_to_complete(scenario)),
                "yes" if stored < site.database_memory else "no",
            ]
        )
    head = ["frames", "PostgreSQL: frames", "PostgreSQL: units", "SQLite: both", "objects"]
    head += ["memory to complete", "frames fit in the server's memory"]
    yield table(head, rows, numbers_from=1)
    yield (
        f"A row of a frame takes {figure(costs.frame_bytes)} bytes in PostgreSQL with its indexes and "
        f"{figure(costs.frame_bytes_sqlite)} in SQLite; a unit {figure(costs.unit_bytes)} when it is created, "
        f"{figure(costs.unit_bytes_worked)} once it was claimed and committed, "
        f"{figure(costs.unit_bytes_sqlite)} in SQLite."
    )


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{figure(count / size)} {unit}"
    return f"{figure(count / 1e6)} MB"


def _power(frames: int) -> str:
    return "10" + str(len(str(frames)) - 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
