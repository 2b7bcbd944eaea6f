"""What an OME-Zarr says of its pixels: axes, scales, units, channels, as versions 0.4 and 0.5 spell it.

Source: the specification at https://ngff.openmicroscopy.org/0.4/ and /0.5/ (multiscales, omero,
bioformats2raw.layout).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from imaging_db import __version__
from imaging_db.export.colors import channel_color
from imaging_db.export.ome_zarr_layout import Layout
from imaging_db.export.plan import ExportPlan, Window

SAMPLE_NAMES = {2: ("gray", "alpha"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
_SAMPLE_COLORS = {"R": "FF0000", "G": "00FF00", "B": "0000FF"}
_WHITE = "FFFFFF"


def image_attributes(plan: ExportPlan, layout: Layout, position: int, version: str) -> Any:
    """Return the attributes of the group of one image; ``position`` is its place in the plan."""
    name = plan.positions.names[position] or plan.serial
    multiscales = {
        "name": name,
        "axes": _axes(plan),
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": _scale(plan, level)}],
            }
            for level in range(len(layout.levels))
        ],
        "type": "mean",
        "metadata": {
            "description": "each pixel of a level is the mean of 2 x 2 of the level before"
        },
    }
    omero = {"name": name, "channels": _channels(plan), "rdefs": {"model": "color"}}
    return _versioned({"multiscales": [multiscales], "omero": omero}, version, multiscales)


def collection_attributes(version: str) -> Any:
    """Return the attributes of a group whose images are its groups 0, 1, ..."""
    return _versioned({"bioformats2raw.layout": 3}, version)


def series_attributes(plan: ExportPlan, version: str) -> Any:
    """Return the attributes of the group OME, which lists the images."""
    return _versioned({"series": [str(place) for place in range(len(plan.positions))]}, version)


def origin_attributes(plan: ExportPlan, made_of: dict[str, object]) -> dict[str, object]:
    """Return where an export comes from: the key ``imaging_db`` of its attributes.

    ``fingerprint`` is the SHA-256 over the lines ``c z t p, SHA-256 of the pixels, SHA-256 of the stored
    object`` of all frames, in the order of their names.
    """
    return {
        "imaging_db": {
            "version": __version__,
            "serial": plan.serial,
            "channel_indices": list(plan.channels.indices),
            "slice_indices": list(plan.slices.indices),
            "time_indices": list(plan.timepoints.indices),
            "pos_indices": list(plan.positions.indices),
            "position_names": list(plan.positions.names),
            "export": made_of,
        }
    }


def channel_labels(plan: ExportPlan) -> list[str]:
    """Return what the channels of the arrays are called: of colour, each sample is one."""
    colors = plan.colors or 1
    labels = []
    for index, name in zip(plan.channels.indices, plan.channels.names, strict=True):
        label = name or f"channel {index}"
        if colors == 1:
            labels.append(label)
            continue
        samples = _samples(colors)
        alone = len(plan.channels) == 1 and not name
        labels += samples if alone else [f"{label} {sample}" for sample in samples]
    return labels


def unknown_sizes(plan: ExportPlan) -> str | None:
    """Return a note on axes whose size is unknown, which OME-Zarr spells as scale 1 without a unit."""
    sizes = {
        "x": (plan.pixel_size_x_um, True),
        "y": (plan.pixel_size_y_um, True),
        "z": (plan.z_step_um, len(plan.slices) > 1),
        "t": (plan.time_interval_s, len(plan.timepoints) > 1),
    }
    unknown = [axis for axis, (size, matters) in sizes.items() if matters and size is None]
    if not unknown:
        return None
    return f"unknown steps along {', '.join(unknown)} are written as scale 1 without a unit"


def _samples(colors: int) -> tuple[str, ...]:
    return SAMPLE_NAMES.get(colors) or tuple(f"S{sample}" for sample in range(colors))


def _versioned(content: dict[str, Any], version: str, multiscales: Any = None) -> Any:
    """Put the content, and its version, where each version of the specification wants them."""
    if version != "0.4":
        return {"ome": {"version": version, **content}}
    if multiscales is not None:
        multiscales["version"] = version
    return content


def _axes(plan: ExportPlan) -> list[dict[str, str]]:
    steps = (
        ("t", "time", plan.time_interval_s, "second"),
        ("c", "channel", None, ""),
        ("z", "space", plan.z_step_um, "micrometer"),
        ("y", "space", plan.pixel_size_y_um, "micrometer"),
        ("x", "space", plan.pixel_size_x_um, "micrometer"),
    )
    return [
        {"name": name, "type": kind} | ({} if step is None else {"unit": unit})
        for name, kind, step, unit in steps
    ]


def _scale(plan: ExportPlan, level: int) -> list[float]:
    factor = 2.0**level
    return [
        plan.time_interval_s or 1.0,
        1.0,
        plan.z_step_um or 1.0,
        (plan.pixel_size_y_um or 1.0) * factor,
        (plan.pixel_size_x_um or 1.0) * factor,
    ]


def _channels(plan: ExportPlan) -> list[dict[str, Any]]:
    colors, labels = plan.colors or 1, channel_labels(plan)
    channels = []
    for place, label in enumerate(labels):
        of = place // colors
        window = plan.windows[of] if plan.windows else Window()
        color = _color(plan, of) if colors == 1 else _sample_color(colors, place % colors)
        channels.append(
            {
                "label": label,
                "color": color,
                "window": _window(window if colors == 1 else Window(), plan.dtype or "uint8"),
                "active": True,
                "coefficient": 1,
                "family": "linear",
                "inverted": False,
            }
        )
    return channels


def _color(plan: ExportPlan, place: int) -> str:
    red, green, blue = channel_color(
        plan.channels.names[place], plan.channels.indices[place], count=len(plan.channels)
    )
    return f"{red:02X}{green:02X}{blue:02X}"


def _sample_color(colors: int, sample: int) -> str:
    return _SAMPLE_COLORS.get(_samples(colors)[sample], _WHITE)


def _window(found: Window, dtype: str) -> dict[str, float]:
    """Return the limits of a channel's type, and between which of its grey values it is shown."""
    kind = np.dtype(dtype)
    least, most = (found.minimum, found.maximum)
    if kind.kind in "iu":
        least, most = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    least, most = _finite(least, 0.0), _finite(most, 1.0)
    start, end = _finite(found.low, least), _finite(found.high, most)
    return {"min": least, "max": most, "start": start, "end": end if end > start else start + 1}


def _finite(value: float | None, default: float) -> float:
    return default if value is None or not math.isfinite(value) else float(value)
