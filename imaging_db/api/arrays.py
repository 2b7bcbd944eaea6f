"""Frames as arrays: at once with NumPy, lazily with dask, with coordinates by xarray."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from imaging_db.api.arrays_plan import ArrayPlan, plan_array
from imaging_db.api.arrays_source import ArraySource
from imaging_db.api.extras import require
from imaging_db.api.frame_cache import shared_cache
from imaging_db.errors import DatasetNotFound
from imaging_db.model import Dataset, FrameSelection, StoredFrame

if TYPE_CHECKING:
    import dask.array
    import numpy.typing as npt
    import xarray

    from imaging_db.api.opened import Opened


def numpy_array(
    db: Opened, dataset: Dataset, selection: FrameSelection, *, fill: float | None = None
) -> npt.NDArray[Any]:
    """Return the frames as one array of T P C Z Y X, and S for colour; read in threads, verified.

    Raises
    ------
    NothingSelected, UsageError
        As `dask_array`.
    IntegrityError
        An object is missing or damaged.
    """
    import numpy as np

    from imaging_db.transfer.fetch import frame_bytes
    from imaging_db.transfer.pool import REMOTE_GETS, pooled, worker_count
    from imaging_db.transfer.stack import filled

    plan, source = _source(db, dataset, selection, fill=fill, cache=False)
    found = (
        np.empty(plan.shape, plan.dtype) if fill is None else filled(plan.shape, plan.dtype, fill)
    )
    places = [{index: place for place, index in enumerate(axis)} for axis in plan.axes]

    def put(frame: StoredFrame) -> None:
        c, z, t, p = frame.coords
        place = tuple(axis.get(index) for axis, index in zip(places, (t, p, c, z), strict=True))
        if None in place:
            raise _replaced(dataset)
        found[place] = source.read(frame)

    remote = REMOTE_GETS if dataset.storage == "s3" else 0
    workers = worker_count(None, frame_bytes=frame_bytes(plan.acquisition), remote=remote)
    rows = db.catalog.frames(dataset.serial, selection, with_metadata=False)
    with closing(pooled(put, rows, workers=workers)) as done:
        number = sum(1 for _ in done)
    if number != plan.number:
        raise _replaced(dataset)
    return found


def _replaced(dataset: Dataset) -> DatasetNotFound:
    return DatasetNotFound(
        f"{dataset.serial} was replaced while it was being read", hint="read it again"
    )


def dask_array(
    db: Opened,
    dataset: Dataset,
    selection: FrameSelection,
    *,
    fill: float | None = None,
    cache: bool = True,
) -> dask.array.Array:
    """Return the frames as a lazy array of T P C Z Y X, and S for colour; a chunk is a frame.

    Nothing is read before it is computed, and then only the frames that are needed, verified. It can be
    pickled, and computed where database and store can be reached. ``cache`` keeps frames that were
    decoded in memory for a while; see `imaging_db.api.frame_cache`.

    Raises
    ------
    NothingSelected
        No frame matches, or the dataset holds files.
    UsageError
        Frames differ in size or type, some are absent and no ``fill`` was named, or their type does not
        hold it.
    ConfigError
        dask is not installed.
    """
    require("dask.array", "array")
    plan, source = _source(db, dataset, selection, fill=fill, cache=cache)
    return _lazy(plan, source)


def data_array(
    db: Opened,
    dataset: Dataset,
    selection: FrameSelection,
    *,
    fill: float | None = None,
    cache: bool = True,
) -> xarray.DataArray:
    """Return the frames as a lazy array with coordinates, named as the dataset.

    ``C`` and ``P`` are names where each has one of its own, else indices; ``T`` is in seconds, ``Z``, ``Y``
    and ``X`` in micrometres from the first index or pixel on, and absent where the source did not tell.
    ``channel_idx``, ``slice_idx``, ``time_idx`` and ``pos_idx`` are always there. Raises as `dask_array`.
    """
    xr = require("xarray", "array")
    require("dask.array", "array")
    plan, source = _source(db, dataset, selection, fill=fill, cache=cache)
    found: xarray.DataArray = xr.DataArray(
        _lazy(plan, source),
        dims=tuple(plan.dims),
        coords=_coordinates(plan),
        name=dataset.serial,
        attrs=_attributes(plan),
    )
    return found


def _source(
    db: Opened, dataset: Dataset, selection: FrameSelection, *, fill: float | None, cache: bool
) -> tuple[ArrayPlan, ArraySource]:
    from imaging_db.transfer.stack import filled

    if cache:
        shared_cache()  # a wrong size of it is told here, not in a worker
    plan = plan_array(db, dataset, selection, may_lack=fill is not None)
    value = None if fill is None else filled((), plan.dtype, fill)
    return plan, ArraySource(db, plan, fill=value, cache=cache)


def _lazy(plan: ArrayPlan, source: ArraySource) -> dask.array.Array:
    import dask.array
    import numpy as np

    singles = [(1,) * len(axis) for axis in plan.axes]
    lazy: dask.array.Array = dask.array.map_blocks(  # type: ignore[no-untyped-call]
        source.block,
        chunks=(*singles, *((side,) for side in plan.frame_shape)),
        dtype=plan.dtype,
        meta=np.empty((0,) * len(plan.shape), plan.dtype),
        name=f"{plan.dataset.serial}-{source.token}",
    )
    return lazy


def _coordinates(plan: ArrayPlan) -> dict[str, Any]:
    import numpy as np

    timepoints, positions, channels, slices = (np.asarray(axis) for axis in plan.axes)
    found: dict[str, Any] = {
        "time_idx": ("T", timepoints),
        "pos_idx": ("P", positions),
        "channel_idx": ("C", channels),
        "slice_idx": ("Z", slices),
        "P": ("P", _labels(plan.position_names, positions)),
        "C": ("C", _labels(plan.channel_names, channels)),
    }
    told = plan.acquisition
    height, width = plan.frame_shape[:2]
    for dim, indices, step, units in (
        ("T", timepoints, told.time_interval_s, "s"),
        ("Z", slices, told.z_step_um, "um"),
        ("Y", np.arange(height), told.pixel_size_y_um, "um"),
        ("X", np.arange(width), told.pixel_size_x_um, "um"),
    ):
        if step:  # an unknown size is never 1.0, and an interval of 0 means as fast as it went
            found[dim] = (dim, indices * step, {"units": units})
    return found


def _labels(names: Sequence[str | None], indices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return names where every index has one of its own, else the indices."""
    import numpy as np

    known = None not in names and len(set(names)) == len(names)
    return np.asarray(names) if known else indices


def _attributes(plan: ArrayPlan) -> dict[str, Any]:
    """Return what is known of a dataset; what is not known is left out."""
    dataset, told = plan.dataset, plan.acquisition
    acquired = dataset.acquired_at
    known = {
        "serial": dataset.serial,
        "description": dataset.description,
        "microscope": dataset.microscope,
        "acquired": None if acquired is None else acquired.isoformat(),
        "format": told.format,
        "dtype": plan.dtype,
        "pixel_size_x_um": told.pixel_size_x_um,
        "pixel_size_y_um": told.pixel_size_y_um,
        "z_step_um": told.z_step_um,
        "time_interval_s": told.time_interval_s,
    }
    return {name: value for name, value in known.items() if value is not None}
