"""What an OME-Zarr says of its arrays: which one is a level, what its axes are, how large its pixels are.

Source: https://ngff.openmicroscopy.org/ versions 0.1 to 0.5 (multiscales); before 0.3 axes were always tczyx.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imaging_db.errors import UnsupportedFormat
from imaging_db.model import JSONObject

_FIRST_AXES = "tczyx"
_LENGTHS = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}
_TIMES = {
    "microsecond": 1e-6,
    "millisecond": 1e-3,
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}


@dataclass(frozen=True, slots=True)
class Level:
    """One level of an image: the array's path in its group, axes, and physical sizes as settings hold them."""

    path: str
    axes: str
    sizes: JSONObject = field(default_factory=dict)


def level_of(place: str, attributes: Mapping[str, Any], *, level: int) -> Level | None:
    """Return a level of the first image that a group describes; None where it describes none.

    Raises
    ------
    UnsupportedFormat
        There is no such level, or the description cannot be read.
    """
    images = attributes.get("ome", attributes).get("multiscales")
    if not images:
        return None
    try:
        image = images[0]
        levels = [str(each["path"]) for each in image["datasets"]]
        names, units = _axes(image.get("axes", list(_FIRST_AXES)))
        if level >= len(levels):
            cause = f"holds levels 0 to {len(levels) - 1}, there is no level {level}"
            raise UnsupportedFormat(place, cause)
        scales = [image, image["datasets"][level]]
        return Level(levels[level], names, _sizes(names, units, _scale(scales, len(names))))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise UnsupportedFormat(place, f"describes its image wrongly: {error!r}") from error


def _axes(axes: Sequence[Any]) -> tuple[str, list[str]]:
    names, units = "", []
    for axis in axes:
        told = axis if isinstance(axis, Mapping) else {"name": axis}
        names += str(told["name"]).lower()
        units.append(str(told.get("unit", "")))
    return names, units


def _scale(described: Sequence[Mapping[str, Any]], count: int) -> list[float]:
    """Return the product of the scales; NaN where none is told."""
    found: list[float] = []
    for part in described:
        for change in part.get("coordinateTransformations", ()):
            if change["type"] == "scale":
                scale = [float(number) for number in change["scale"]]
                found = [a * b for a, b in zip(found or [1.0] * count, scale, strict=False)]
    return found if len(found) == count else [math.nan] * count


def _sizes(names: str, units: Sequence[str], scale: Sequence[float]) -> JSONObject:
    found: dict[str, float] = {}
    for name, unit, size in zip(names, units, scale, strict=False):
        factor = (_TIMES if name == "t" else _LENGTHS).get(unit)
        if factor is not None and math.isfinite(size) and size > 0:
            found[name] = size * factor
    told: JSONObject = {}
    if "x" in found and "y" in found:
        told["pixel_size_um"] = [found["x"], found["y"]]
    if "z" in found:
        told["z_step_um"] = found["z"]
    if "t" in found:
        told["time_interval_s"] = found["t"]
    return told
