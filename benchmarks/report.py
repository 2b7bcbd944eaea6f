"""The report of the benchmarks: one Markdown page, made of the results alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.records import ModuleRun
from benchmarks.result import Result, ratios

_MARK = "<!-- made by `python -m benchmarks`; do not edit -->"
_METHOD = """\
What imaging_db costs, beside its peers: `make bench` measures it and writes this page. All contenders of a
table ran in turns, so that a ratio compares what ran next to each other; absolute figures differ between
machines, and on a shared machine from hour to hour. A figure is the median of the repeats, with the least and
the largest in brackets. The columns *... / it* tell our figure divided by the contender's, repeat by repeat.
MB and GB are 10⁶ and 10⁹ bytes of raw pixels; CPU seconds count a process and its children, peak RSS is that
of its largest process. Acquisitions are synthetic: fluorescence-like frames with photon noise and a camera's
offset (`benchmarks/synth.py`).
"""
_NOTHING = "-"


def write_report(runs: Sequence[ModuleRun], out: Path) -> None:
    """Write the page to ``out``, and its plots into the folder beside it that has its name."""
    from benchmarks.plot import draw_all

    plots = draw_all(_all_results(runs), out.with_suffix(""))
    links = {group: [f"{out.stem}/{path.name}" for path in paths] for group, paths in plots.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report(runs, links), encoding="utf-8")


def report(runs: Sequence[ModuleRun], plots: dict[str, list[str]] | None = None) -> str:
    """Return the page; ``plots`` are the images of each group, as paths from the page."""
    results = _all_results(runs)
    parts = ["# Benchmarks", _MARK, _METHOD, *_quick(runs), "## Machine", *_machines(runs)]
    if any(result.target for result in results):
        parts += ["## Targets", targets_table(results)]
    for group in dict.fromkeys(result.group for result in results):
        parts += [f"## {group}", *_group([r for r in results if r.group == group])]
        parts += [f"![{group}]({path})" for path in (plots or {}).get(group, ())]
    failed = [f"- `bench_{run.module}.py`: {run.error}" for run in runs if run.error]
    if failed:
        parts += ["## Stopped before their end", "\n".join(failed)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def targets_table(results: Iterable[Result]) -> str:
    """Return what was asked for, what was measured, and whether that is enough."""
    asked = sorted((r for r in results if r.target), key=lambda result: _natural(result.target))
    words = {True: "yes", False: "**no**", None: "not judged"}
    rows = [
        [
            r.target,
            f"{r.group}: {r.name}, {r.case}",
            _measured(r),
            words[r.met if r.values else None],
        ]
        for r in asked
    ]
    met = sum(r.met is True for r in asked if r.values)
    return f"{met} of {len(asked)} met.\n\n" + table(["asked", "where", "measured", "met"], rows)


def figure(value: float) -> str:
    """Return a number with three digits that count, thousands apart."""
    if not math.isfinite(value) or value == 0:
        return f"{value:.0f}" if value == 0 else str(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace(",", "\u202f")  # a narrow space that does not break


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 99) -> str:
    """Return a Markdown table; columns from ``numbers_from`` on are aligned to the right."""
    rules = ["---" if place < numbers_from else "---:" for place in range(len(head))]
    lines = [head, rules, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _all_results(runs: Iterable[ModuleRun]) -> list[Result]:
    """Return all results; those of a quick run are not judged."""
    return [
        replace(result, met=None) if run.quick else result for run in runs for result in run.results
    ]


def _quick(runs: Sequence[ModuleRun]) -> Iterator[str]:
    names = [run.module for run in runs if run.quick]
    if names:
        yield f"**Made with `--quick`** ({', '.join(names)}): small sizes, few repeats; no verdict."


def _machines(runs: Sequence[ModuleRun]) -> Iterator[str]:
    """Give each machine once, with the modules that ran on it where there are several."""
    known: dict[tuple[tuple[str, str], ...], list[ModuleRun]] = {}
    for run in runs:
        known.setdefault(tuple(run.machine.items()), []).append(run)
    for described, here in known.items():
        days = sorted({run.day for run in here})
        repeats = sorted({run.repeats for run in here})
        rows = [[key, value] for key, value in described]
        rows.append(["measured", " to ".join(dict.fromkeys((days[0], days[-1])))])
        rows.append(
            ["repeats", " to ".join(str(n) for n in dict.fromkeys((repeats[0], repeats[-1])))]
        )
        if len(known) > 1:
            rows.append(["modules", ", ".join(run.module for run in here)])
        yield table(["", ""], rows)


def _group(results: Sequence[Result]) -> Iterator[str]:
    """Give a table for each unit, then what was not measured, then the notes."""
    measured = [result for result in results if result.values]
    for unit in dict.fromkeys(result.unit for result in measured):
        of_unit = [result for result in measured if result.unit == unit]
        yield _unit_table(of_unit)
    missing = {f"- {r.name} ({r.case}): {r.note}" for r in results if not r.values}
    if missing:
        yield "Not measured:\n\n" + "\n".join(sorted(missing))
    notes = list(dict.fromkeys(result.note for result in measured if result.note))
    if notes:
        yield "\n".join(f"- {note}" for note in notes)


def _unit_table(results: Sequence[Result]) -> str:
    if all(len(result.values) == 1 and not result.cpu_per_gb for result in results):
        return _pivot(results)
    ours = _compared(results)
    with_cpu, with_rss = any(r.cpu_per_gb for r in results), any(r.peak_rss for r in results)
    head = ["case", "contender", results[0].unit, *(f"{name} / it" for name in ours)]
    head += ["CPU s/GB"] * with_cpu + ["peak RSS, MB"] * with_rss
    rows = []
    for case in dict.fromkeys(result.case for result in results):
        of_case = [result for result in results if result.case == case]
        best = {result.name: result for result in of_case if result.name in ours}
        for result in _in_order(of_case):
            cells = [_ratio(best.get(name), result) for name in ours]
            cells += [_spread(result.cpu_per_gb)] * with_cpu + [_spread(result.peak_rss)] * with_rss
            rows.append([case, _name(result), _spread(result.values), *cells])
    return _title(results, ours) + table(head, rows, numbers_from=2)


def _pivot(results: Sequence[Result]) -> str:
    """Return figures without repeats as a row for each contender and a column for each case."""
    cases = list(dict.fromkeys(result.case for result in results))
    rows: dict[str, dict[str, str]] = {}
    for result in _in_order(results):
        rows.setdefault(_name(result), {})[result.case] = figure(result.median)
    cells = [[name, *(found.get(case, _NOTHING) for case in cases)] for name, found in rows.items()]
    return _title(results, ()) + table(["contender", *cases], cells, numbers_from=1)


def _title(results: Sequence[Result], compared: Iterable[str]) -> str:
    better = "more" if results[0].more_is_better else "less"
    return f"{results[0].unit}{f', {better} is better' if compared else ''}:\n\n"


def _name(result: Result) -> str:
    return f"**{result.name}**" if result.is_ours else result.name


def _compared(results: Sequence[Result]) -> list[str]:
    """Return our contenders that stand beside a peer in some case: each gets a column of ratios."""
    found: dict[str, None] = {}
    if results[0].is_relative:
        return []
    for case in dict.fromkeys(result.case for result in results):
        of_case = [result for result in results if result.case == case]
        if not all(result.is_ours for result in of_case):
            found |= dict.fromkeys(result.name for result in of_case if result.is_ours)
    return list(found)


def _in_order(results: Sequence[Result]) -> list[Result]:
    """Return ours first, then the peers, the best of each first."""
    sign = -1 if results[0].more_is_better else 1
    return sorted(results, key=lambda result: (not result.is_ours, sign * result.median))


def _ratio(ours: Result | None, other: Result) -> str:
    if ours is None or other.is_ours or min(other.values) <= 0:
        return _NOTHING
    if len(ours.values) != len(other.values):
        return figure(ours.median / other.median)
    return _spread(ratios(ours, other))


def _spread(values: Sequence[float]) -> str:
    """Return the median with the least and the largest in brackets, only itself where there is one."""
    if not values:
        return _NOTHING
    median, low, high = (figure(f(values)) for f in (statistics.median, min, max))
    return median if low == high else f"{median} ({low} to {high})"


def _measured(result: Result) -> str:
    return f"{_spread(result.values)} {result.unit}" if result.values else "not measured"


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts the numbers in a text by their value."""
    words = text.replace(".", " ").split()
    return [(int(word), "") if word.isdigit() else (10**9, word) for word in words]
