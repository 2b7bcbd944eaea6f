"""When and where a frame was taken, as far as its metadata tells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from imaging_db.export.ome_xml import OmePlane
from imaging_db.model import JSONObject, JSONValue, StoredFrame

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0, "h": 3600.0}
_MICROMETRES = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}
# Micro-Manager's names: 1.4 and 2.0 first, then NDTiff's, which knows where the stage was sent.
_ELAPSED_MS = ("ElapsedTime-ms",)
_EXPOSURE_MS = ("Exposure-ms", "Exposure")
_STAGE_UM = {axis: (f"{axis}PositionUm", f"{axis}Position_um_Intended") for axis in ("X", "Y", "Z")}


def plane_of(frame: StoredFrame, place: tuple[int, int, int]) -> OmePlane:
    """Return what a frame's metadata tells of its plane at ``place`` (channel, slice, timepoint)."""
    channel, slice_, timepoint = place
    told = frame.metadata.get("Plane")
    if isinstance(told, dict):
        return OmePlane(
            channel,
            slice_,
            timepoint,
            delta_t_s=_quantity(told, "DeltaT", _SECONDS, "s"),
            exposure_s=_quantity(told, "ExposureTime", _SECONDS, "s"),
            x_um=_quantity(told, "PositionX", _MICROMETRES, None),
            y_um=_quantity(told, "PositionY", _MICROMETRES, None),
            z_um=_quantity(told, "PositionZ", _MICROMETRES, None),
        )
    told = frame.metadata.get("MicroManagerMetadata")
    told = told if isinstance(told, dict) else {}
    return OmePlane(
        channel,
        slice_,
        timepoint,
        delta_t_s=_first(told, _ELAPSED_MS, 1e-3),
        exposure_s=_first(told, _EXPOSURE_MS, 1e-3),
        x_um=_first(told, _STAGE_UM["X"], 1.0),
        y_um=_first(told, _STAGE_UM["Y"], 1.0),
        z_um=_first(told, _STAGE_UM["Z"], 1.0),
    )


def _quantity(
    told: JSONObject, name: str, units: Mapping[str, float], default: str | None
) -> float | None:
    """Return an OME attribute in the unit we write; a stage's "reference frame" is no unit."""
    factor = units.get(str(told.get(f"{name}Unit") or default))
    number = _number(told.get(name))
    return None if factor is None or number is None else number * factor


def _first(told: JSONObject, names: Iterable[str], factor: float) -> float | None:
    numbers = (_number(told.get(name)) for name in names)
    return next((number * factor for number in numbers if number is not None), None)


def _number(value: JSONValue | None) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
