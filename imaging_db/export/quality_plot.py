"""Pictures of a dataset's quality: grey values, focus and saturation along the acquisition, as PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imaging_db.api.extras import require

if TYPE_CHECKING:
    import pandas as pd

    from imaging_db.model import Acquisition

_COLORS = ("#1f6fb2", "#d1701c", "#2c8a4b", "#9c3fa0", "#b8332a", "#5b6770")
_MOST_CHANNELS = 8
_FEW_POINTS = 60  # which are marked each
_WIDTH, _PANEL, _HEAD, _DPI = 9.0, 2.3, 1.2, 130  # inches, dots per inch
_INK, _GRID = "#202124", "#dfe3e6"
_SUSPICIOUS_PERCENT = 1.0


@dataclass(frozen=True)
class _Axis:
    """What runs from left to right: a column of the table, its unit in it, and its name."""

    column: str
    unit: float
    label: str

    def of(self, part: pd.DataFrame) -> pd.Series[Any]:
        return part[self.column] * self.unit


def quality_plots(serial: str, table: pd.DataFrame, acquisition: Acquisition) -> dict[str, bytes]:
    """Return PNGs by name of a `frame_table` that is not empty: ``intensity``, ``focus``, ``saturated``.

    A panel for each of the first eight channels; the share of saturated samples has one for all.

    Raises
    ------
    ConfigError
        matplotlib is not installed.
    """
    along, focus_along = _along(table, acquisition), _along_slices(table, acquisition)
    return {
        "intensity": _intensity(serial, table, along),
        "focus": _focus(serial, table, focus_along or along),
        "saturated": _saturated(serial, table, along),
    }


def _along(table: pd.DataFrame, acquisition: Acquisition) -> _Axis:
    """Return time where there is more than one, else positions, else slices."""
    if table["time_idx"].nunique() > 1:
        return _along_time(table, acquisition)
    if table["pos_idx"].nunique() > 1:
        return _Axis("pos_idx", 1, "position")
    return _along_slices(table, acquisition) or _Axis("time_idx", 1, "timepoint")


def _along_time(table: pd.DataFrame, acquisition: Acquisition) -> _Axis:
    interval = acquisition.time_interval_s
    if not interval:
        return _Axis("time_idx", 1, "timepoint")
    seconds = interval * float(table["time_idx"].max())
    for name, size in (("h", 3600), ("min", 60)):
        if seconds >= 3 * size:
            return _Axis("time_idx", interval / size, f"time ({name})")
    return _Axis("time_idx", interval, "time (s)")


def _along_slices(table: pd.DataFrame, acquisition: Acquisition) -> _Axis | None:
    if table["slice_idx"].nunique() < 2:
        return None
    step = acquisition.z_step_um
    return _Axis("slice_idx", step, "z (µm)") if step else _Axis("slice_idx", 1, "slice")


def _intensity(serial: str, table: pd.DataFrame, along: _Axis) -> bytes:
    said = "grey values: mean, and the band from 1st to 99th percentile (medians over the frames)"
    figure, panels = _panels(serial, said, table, along)
    for panel, (color, part) in zip(panels, _channels(table), strict=False):
        found = part.groupby(along.of(part))[
            ["intensity_mean", "intensity_p01", "intensity_p99"]
        ].median()
        x = found.index
        panel.fill_between(
            x, found["intensity_p01"], found["intensity_p99"], color=color, alpha=0.2, linewidth=0
        )
        panel.plot(x, found["intensity_mean"], color=color, marker=_marker(found))
        panel.set_ylabel("grey value")
    return _png(figure)


def _focus(serial: str, table: pd.DataFrame, along: _Axis) -> bytes:
    said = (
        "focus (Brenner gradient): median, and the band from 10th to 90th percentile of the frames"
    )
    figure, panels = _panels(serial, said, table, along)
    for panel, (color, part) in zip(panels, _channels(table), strict=False):
        groups = part.groupby(along.of(part))["focus"]
        low, middle, high = (groups.quantile(share) for share in (0.1, 0.5, 0.9))
        panel.fill_between(middle.index, low, high, color=color, alpha=0.2, linewidth=0)
        panel.plot(middle.index, middle, color=color, marker=_marker(middle))
        panel.set_ylabel("grey value²")
        panel.set_ylim(bottom=0)
    return _png(figure)


def _saturated(serial: str, table: pd.DataFrame, along: _Axis) -> bytes:
    said = "saturated samples: the largest share of a frame"
    figure, (panel,) = _panels(serial, said, table, along, single=True)
    most = _SUSPICIOUS_PERCENT
    for color, part in _channels(table):
        found = 100 * part.groupby(along.of(part))["saturated_share"].max()
        most = max(most, 0.0 if found.isna().all() else float(found.max()))
        panel.plot(
            found.index, found, color=color, marker=_marker(found), label=_name(part), clip_on=False
        )
    panel.axhline(_SUSPICIOUS_PERCENT, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    panel.annotate(
        "suspicious above 1 %",
        (1, _SUSPICIOUS_PERCENT),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    if table["saturated_share"].isna().all():
        said = "not known of these frames"
        panel.text(0.5, 0.5, said, transform=panel.transAxes, ha="center", color=_INK)
    panel.set_ylabel("% of the samples")
    panel.set_ylim(0, 1.25 * most)
    panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return _png(figure)


def _channels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return a colour and the rows of each channel that is shown."""
    groups = [part for _, part in table.groupby("channel_idx", sort=True)][:_MOST_CHANNELS]
    return [(_COLORS[i % len(_COLORS)], part) for i, part in enumerate(groups)]


def _name(part: pd.DataFrame) -> str:
    named = part["channel_name"].dropna()
    return f"channel {part['channel_idx'].iloc[0]}" if named.empty else str(named.iloc[0])


def _marker(found: Any) -> str:
    return "o" if len(found) <= _FEW_POINTS else ""


def _panels(
    serial: str, said: str, table: pd.DataFrame, along: _Axis, *, single: bool = False
) -> tuple[Any, list[Any]]:
    """Return a figure and its panels, one below the other, with titles, grid and the name of the axis."""
    shown = _channels(table)
    count = 1 if single else len(shown)
    figure = require("matplotlib.figure", "figures").Figure(
        figsize=(_WIDTH, _HEAD + _PANEL * count + (1 if single else 0)), layout="constrained"
    )
    figure.suptitle(_title(serial, said, table), fontsize=11, x=0.01, ha="left", color=_INK)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for panel, (_, part) in zip(panels, shown, strict=False):
        if not single:
            panel.set_title(_name(part), fontsize=10, loc="left", color=_INK)
        panel.grid(color=_GRID, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5))
        panel.set_prop_cycle(linewidth=[1.6], markersize=[4])
    panels[-1].set_xlabel(along.label)
    places = sorted(set(along.of(table)))
    if len(places) == 1:
        panels[-1].set_xticks(places)
    elif along.unit == 1:
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure, list(panels)


def _title(serial: str, said: str, table: pd.DataFrame) -> str:
    channels = table["channel_idx"].nunique()
    many = f", {_MOST_CHANNELS} of {channels} channels" if channels > _MOST_CHANNELS else ""
    return f"{serial}\n{said}{many}"


def _png(figure: Any) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=_DPI)
    return target.getvalue()
