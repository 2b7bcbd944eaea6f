"""The plots of the report: speed beside peers, and cost against size."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette: told apart with every kind of colour vision; marks differ as well.
_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888",
)  # fmt: skip
_MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")
_SETTINGS: Any = {
    "svg.hashsalt": "imaging_db",  # the same results give the same file
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_COUNTED = re.compile(r"\d[\d\s,_]*? (frames|rows|pages)\b")
_WIDTH = 7.5  # inches
_MOST_PEERS = 16
_FAR_APART = 12  # times the least: more is shown on a logarithmic axis


def draw_all(results: Sequence[Result], folder: Path) -> dict[str, list[Path]]:
    """Draw what the results give, as SVG into ``folder``; return the files by group."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn: dict[str, list[Path]] = {}
    with mpl.rc_context():
        mpl.rcParams.update(_SETTINGS)
        for group in dict.fromkeys(result.group for result in results):
            measured = [r for r in results if r.group == group and r.values]
            for unit in dict.fromkeys(result.unit for result in measured):
                of_unit = [result for result in measured if result.unit == unit]
                path = folder / f"{_file_name(f'{group} {unit}')}.svg"
                paths = _against_size(of_unit, path)
                if not paths and _beside_peers(of_unit, path):
                    paths = [path]
                if paths:
                    drawn.setdefault(group, []).extend(paths)
    return drawn


def _against_size(results: Sequence[Result], path: Path) -> list[Path]:
    """Draw cost against size, a plot for each kind of case; none where there are no three sizes."""
    kinds: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        if result.size is not None:
            lines = kinds.setdefault(_kind(result.case), {})
            lines.setdefault(result.name, []).append(result)
    drawn = []
    for kind, lines in kinds.items():
        long = {name: line for name, line in lines.items() if len({r.size for r in line}) > 2}
        if 0 < len(long) <= len(_COLORS):
            drawn.append(path.with_stem(f"{path.stem}-{_file_name(kind)}") if kind else path)
            _size_plot(kind, long, drawn[-1])
    return drawn


def _size_plot(kind: str, lines: Mapping[str, list[Result]], path: Path) -> None:
    """Draw a line for each contender, sizes to the right."""
    figure, axes = _figure(3.8)
    for place, (name, line) in enumerate(lines.items()):
        line.sort(key=lambda result: result.size or 0)
        sizes = [result.size or 0 for result in line]
        medians = [result.median for result in line]
        errors = [[r.median - r.spread[0] for r in line], [r.spread[1] - r.median for r in line]]
        color, mark = _look(place)
        axes.errorbar(
            sizes,
            medians,
            yerr=errors,
            color=color,
            marker=mark,
            markersize=5,
            capsize=2,
            label=name,
        )
    shown = [result for line in lines.values() for result in line]
    _proportional(axes, shown)
    _value_axis(axes, "x", [result.size or 0 for result in shown], few=False)
    _value_axis(axes, "y", [value for result in shown for value in result.values])
    title = f"{shown[0].group}: {kind}" if kind else shown[0].group
    axes.set(ylabel=shown[0].unit, xlabel=_thing(shown[0].case), title=title)
    axes.grid(alpha=0.3)
    _legend(figure, axes)
    _save(figure, path)


def _proportional(axes: Axes, results: Sequence[Result]) -> None:
    """Draw a dotted line along which cost grows as size does, where any cost here grows at all."""
    largest = max(results, key=lambda result: result.size or 0)
    smallest = min(
        (r for r in results if r.name == largest.name), key=lambda result: result.size or 0
    )
    if not largest.size or not smallest.size or largest.median < 2 * smallest.median:
        return
    ends = (smallest.size, largest.size)
    costs = [largest.median * size / largest.size for size in ends]
    axes.plot(ends, costs, color="0.5", linestyle=":", linewidth=1, label="proportional to size")


def _beside_peers(results: Sequence[Result], path: Path) -> bool:
    """Draw rates, a row for each contender, a mark for each case; False where there is nothing beside."""
    names = sorted({result.name for result in results}, key=lambda name: _middle(results, name))
    if not results[0].more_is_better or not 2 <= len(names) <= _MOST_PEERS:
        return False
    cases = list(dict.fromkeys(result.case for result in results))
    if len(cases) > len(_COLORS):
        return False
    figure, axes = _figure(1.3 + 0.27 * len(names))
    step = 0.6 / max(1, len(cases) - 1) if len(cases) > 1 else 0.0
    for place, case in enumerate(cases):
        color, mark = _look(place)
        shown = [result for result in results if result.case == case]
        rows = [
            names.index(result.name) + 0.3 * (len(cases) > 1) - place * step for result in shown
        ]
        middle = [result.median for result in shown]
        errors = [[r.median - r.spread[0] for r in shown], [r.spread[1] - r.median for r in shown]]
        axes.errorbar(
            middle,
            rows,
            xerr=errors,
            color=color,
            marker=mark,
            linestyle="",
            markersize=5,
            label=case,
        )
    axes.set_yticks(range(len(names)), names)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontweight(
            "bold" if any(r.is_ours for r in results if r.name == name) else "normal"
        )
    _value_axis(axes, "x", [value for result in results for value in result.values])
    axes.grid(axis="x", alpha=0.3)
    title = results[0].group if len(cases) > 1 else f"{results[0].group}: {cases[0]}"
    axes.set(xlabel=results[0].unit, title=title, ylim=(-0.6, len(names) - 0.4))
    for between in range(1, len(names)):
        axes.axhline(between - 0.5, color="0.92", linewidth=0.8)
    if len(cases) > 1:
        _legend(figure, axes)
    _save(figure, path)
    return True


def _value_axis(axes: Axes, which: str, values: Sequence[float], *, few: bool = True) -> None:
    """Begin at 0 where that shows all; a logarithmic axis with plain numbers where values lie far apart.

    It has marks at 1, 2, 5, 10 where values span a ``few`` powers of ten, else at these powers only.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if min(values) <= 0 or max(values) < _FAR_APART * min(values):
        axes.set(**{f"{which}lim": (0, 1.06 * max(values))})
        return
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    few = few and max(values) < 1000 * min(values)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=20))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: object = None) -> str:
    """Return 1, 2 or 5 times a power of ten without exponent, thousands apart."""
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 1 else f"{value:g}"


def _figure(height: float) -> tuple[Any, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(figure: Any, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), max(1, math.floor(110 / (max(map(len, labels)) + 6))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def _look(place: int) -> tuple[str, str]:
    return _COLORS[place % len(_COLORS)], _MARKS[place % len(_MARKS)]


def _middle(results: Sequence[Result], name: str) -> float:
    return statistics.median(result.median for result in results if result.name == name)


def _thing(case: str) -> str:
    """Return what a case counts, such as ``frames``."""
    found = _COUNTED.search(case)
    return found[1] if found else "size"


def _kind(case: str) -> str:
    """Return a case without its size: what the sizes of one plot have in common."""
    return _COUNTED.sub("", case).strip(" ,:")


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("µ", "u")).strip("-")
