"""Frames of a dataset as layers: lazy arrays, and what napari should know of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from imaging_db.export.colors import channel_color
from imaging_db.model import Expression, FrameSelection, StoredFrame
from imaging_db.model.selection import Chosen

if TYPE_CHECKING:
    import dask.array
    import numpy.typing as npt
    import xarray

    from imaging_db.api import ImagingDB

LayerData: TypeAlias = "tuple[Any, dict[str, Any], str]"
"""An array, the arguments of napari's layer, and its kind: ``image``."""

_COLORMAPS = {
    (255, 255, 255): "gray",
    (0, 0, 255): "blue",
    (0, 255, 0): "green",
    (255, 0, 0): "red",
    (0, 255, 255): "cyan",
    (255, 0, 255): "magenta",
    (255, 255, 0): "yellow",
}
_LOOKED_AT = 5  # indices of an axis: contrast limits need not be of all frames


def layers(
    db: ImagingDB,
    serial: str,
    channels: Chosen = None,
    *,
    slices: Chosen = None,
    timepoints: Chosen = None,
    positions: Chosen = None,
    where: str | Expression | None = None,
    fill: float | None = None,
) -> list[LayerData]:
    """Return an image layer for each channel of a selection, over dask arrays of T P Z Y X.

    Nothing is read yet. ``scale`` and ``translate`` are in seconds and micrometres with these ``units``, where
    the source told them; in steps, with the unit ``pixel``, where not. ``contrast_limits`` are percentiles that
    were measured at the upload. Frames of RGB or RGBA are layers of that kind, of
    other colours each sample is a layer. Use it as
    ``for layer in layers(db, serial): viewer.add_layer(napari.layers.Layer.create(*layer))``.

    Raises
    ------
    DatasetNotFound, NothingSelected
        There is no such dataset; it holds files, or no frame matches.
    UsageError
        Frames differ in size or type, or some are absent and no ``fill`` was named.
    ConfigError
        xarray or dask is not installed.
    """
    frames = db.dataset(serial).frames(
        channels, slices=slices, timepoints=timepoints, positions=positions, where=where
    )
    array = frames.to_xarray(fill=fill)
    rgb = array.sizes.get("S") in (3, 4)
    limits = {} if rgb else _contrast(db, array)
    found = []
    for place, index in enumerate(array.channel_idx.values.tolist()):
        about = _about(array, place, rgb=rgb)
        if index in limits:
            about["contrast_limits"] = limits[index]
        found += [(pixels, dict(about), "image") for pixels in _pixels(array, place, rgb=rgb)]
    return found


def _pixels(array: xarray.DataArray, place: int, *, rgb: bool) -> list[dask.array.Array]:
    """Return T P Z Y X of one channel; of samples that are no RGB, an array for each."""
    import numpy as np

    axis, data = array.dims.index("C"), array.data
    if (
        array.sizes["C"] == 1
    ):  # slicing would make a task for each frame, which a long time-lapse feels
        data = data.map_blocks(np.squeeze, axis=axis, drop_axis=axis, dtype=data.dtype)
    else:
        data = data[(slice(None),) * axis + (place,)]
    if rgb or "S" not in array.dims:
        return [data]
    return [data[..., sample] for sample in range(array.sizes["S"])]


def _about(array: xarray.DataArray, place: int, *, rgb: bool) -> dict[str, Any]:
    """Return the arguments of the layer of one channel."""
    named, index = array.C.values.tolist()[place], array.channel_idx.values.tolist()[place]
    name, count = named if isinstance(named, str) else None, array.sizes["C"]
    scale, translate, units = zip(*(_axis(array, axis) for axis in "TPZYX"), strict=True)
    about = {
        "name": name or (array.name if count == 1 else f"channel {index}"),
        "scale": scale,
        "translate": translate,
        "units": units,
        "axis_labels": tuple("TPZYX"),
        "rgb": rgb,
        "metadata": {**array.attrs, "channel": name, "positions": array.P.values.tolist()},
    }
    if not rgb:
        about["colormap"] = _COLORMAPS[channel_color(name, index, count=count)]
        about["blending"] = "additive" if count > 1 else "translucent_no_depth"
    return about


def _axis(array: xarray.DataArray, axis: str) -> tuple[float, float, str]:
    """Return step, start and unit of an axis; in steps where its coordinates are unknown or uneven."""
    unit = array.coords[axis].attrs.get("units") if axis in array.coords else None
    if unit is None:
        return 1.0, 0.0, "pixel"
    places = array.coords[axis].values
    step = _step(array, axis, places)
    return (1.0, 0.0, "pixel") if step is None else (step, float(places[0]), unit)


def _step(array: xarray.DataArray, axis: str, places: npt.NDArray[Any]) -> float | None:
    if len(places) == 1:
        told = {"T": "time_interval_s", "Z": "z_step_um"}.get(axis, f"pixel_size_{axis.lower()}_um")
        return float(array.attrs[told])
    steps = places[1:] - places[:-1]
    even = bool((abs(steps - steps[0]) <= 1e-6 * abs(steps[0])).all())
    return float(steps[0]) if even else None


def _contrast(db: ImagingDB, array: xarray.DataArray) -> dict[int, tuple[float, float]]:
    """Return between which grey values to show each channel, by index; absent where nothing was measured."""
    channels = array.channel_idx.values.tolist()
    z, t, p = (_some(array.coords[name]) for name in ("slice_idx", "time_idx", "pos_idx"))
    selection = FrameSelection.of(channels, slices=z, timepoints=t, positions=p)
    by_channel: dict[int, list[StoredFrame]] = {index: [] for index in channels}
    for frame in db.catalog.frames(array.attrs["serial"], selection, with_metadata=False):
        by_channel[frame.coords.channel].append(frame)
    limits = {index: _limits(frames) for index, frames in by_channel.items()}
    return {index: found for index, found in limits.items() if found is not None}


def _some(axis: xarray.DataArray) -> list[int]:
    """Return a few indices of an axis, evenly apart, the first and the last among them."""
    indices: list[int] = axis.values.tolist()
    last, number = len(indices) - 1, min(len(indices), _LOOKED_AT)
    return [indices[round(place * last / max(number - 1, 1))] for place in range(number)]


def _limits(frames: Iterable[StoredFrame]) -> tuple[float, float] | None:
    measured = [one.quality for one in frames if one.quality is not None]
    lows = [one.minimum if one.p01 is None else one.p01 for one in measured]
    highs = [one.maximum if one.p99 is None else one.p99 for one in measured]
    lows, highs = list(filter(math.isfinite, lows)), list(filter(math.isfinite, highs))
    if not lows or not highs:
        return None
    low, high = min(lows), max(highs)
    return (low, high if high > low else low + 1)
