"""Frames as rows, and back: what all frames of a dataset share is left to their acquisition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imaging_db.catalog.columns import Column
from imaging_db.catalog.datasets import AnyRow, as_object
from imaging_db.catalog.tables import FrameRow
from imaging_db.model import FrameCoords, FrameQuality, StoredFrame

ORDER = (FrameRow.channel_idx, FrameRow.slice_idx, FrameRow.time_idx, FrameRow.pos_idx)
"""The order of the object names, in which frames are listed."""

READ = (
    FrameRow.channel_name,
    FrameRow.file_name,
    FrameRow.sha256,
    FrameRow.object_sha256,
    FrameRow.object_size,
    FrameRow.codec,
    FrameRow.position_name,
    FrameRow.width,
    FrameRow.height,
    FrameRow.colors,
    FrameRow.dtype,
    FrameRow.intensity_min,
    FrameRow.intensity_max,
    FrameRow.intensity_mean,
    FrameRow.saturated_share,
    FrameRow.focus,
    FrameRow.intensity_p01,
    FrameRow.intensity_p99,
    FrameRow.is_repeat,
)
"""What `to_frame` reads after `ORDER` and the metadata."""


def to_frame(
    shared: AnyRow,
    c: int,
    z: int,
    t: int,
    p: int,
    metadata: Any,
    channel_name: str | None,
    file_name: str,
    sha256: str | None,
    object_sha256: str | None,
    object_size: int | None,
    codec: str | None,
    position_name: str | None,
    width: int | None,
    height: int | None,
    colors: int | None,
    dtype: str | None,
    minimum: float | None,
    maximum: float | None,
    mean: float | None,
    saturated: float | None,
    focus: float | None,
    p01: float | None,
    p99: float | None,
    is_repeat: bool | None,
) -> StoredFrame:
    """Return a frame from `ORDER`, its metadata and `READ`; what is NULL there is its dataset's."""
    return StoredFrame(
        coords=FrameCoords(c, z, t, p),
        file_name=file_name,
        sha256=sha256,
        object_sha256=object_sha256,
        object_size=object_size,
        codec=codec,
        width=shared.im_width if width is None else width,
        height=shared.im_height if height is None else height,
        colors=shared.im_colors if colors is None else colors,
        dtype=shared.dtype if dtype is None else dtype,
        channel_name=channel_name,
        position_name=position_name,
        metadata=as_object(metadata),
        quality=_quality(minimum, maximum, mean, saturated, focus, p01, p99),
        is_repeat=is_repeat,
    )


def frame_columns(frames: Sequence[StoredFrame], shared: AnyRow) -> dict[str, Column]:
    """Return the columns of the rows of frames, by name."""
    coords = [frame.coords for frame in frames]
    return {
        "channel_idx": [one.channel for one in coords],
        "slice_idx": [one.slice for one in coords],
        "time_idx": [one.timepoint for one in coords],
        "pos_idx": [one.position for one in coords],
        "channel_name": [frame.channel_name for frame in frames],
        "file_name": [frame.file_name for frame in frames],
        "sha256": [frame.sha256 for frame in frames],
        "metadata_json": [frame.metadata for frame in frames],
        "object_sha256": [frame.object_sha256 for frame in frames],
        "object_size": [frame.object_size for frame in frames],
        "codec": [frame.codec for frame in frames],
        "position_name": [frame.position_name for frame in frames],
        "width": _own([frame.width for frame in frames], shared.im_width),
        "height": _own([frame.height for frame in frames], shared.im_height),
        "colors": _own([frame.colors for frame in frames], shared.im_colors),
        "dtype": _own([frame.dtype for frame in frames], shared.dtype),
        "frames_global_id": [shared.id] * len(frames),
        **_quality_columns([frame.quality for frame in frames]),
        # what repeats another is told when all are there: then few rows, often none, need a change
        "is_repeat": [None if frame.sha256 is None else False for frame in frames],
    }


def _own(values: list[Any], shared: Any) -> Column:
    """Return the values that differ from the shared one, None in place of the others."""
    if values.count(shared) == len(values):
        return [None] * len(values)
    return [None if value == shared else value for value in values]


def _quality_columns(found: Sequence[FrameQuality | None]) -> dict[str, Column]:
    return {
        "intensity_min": [None if one is None else one.minimum for one in found],
        "intensity_max": [None if one is None else one.maximum for one in found],
        "intensity_mean": [None if one is None else one.mean for one in found],
        "saturated_share": [None if one is None else one.saturated for one in found],
        "focus": [None if one is None else one.focus for one in found],
        "intensity_p01": [None if one is None else one.p01 for one in found],
        "intensity_p99": [None if one is None else one.p99 for one in found],
    }


def _quality(
    minimum: float | None,
    maximum: float | None,
    mean: float | None,
    saturated: float | None,
    focus: float | None,
    p01: float | None,
    p99: float | None,
) -> FrameQuality | None:
    """Return what was measured, None where nothing was. A database keeps NaN as NULL."""
    if minimum is maximum is mean is saturated is focus is p01 is p99 is None:
        return None
    return FrameQuality(
        _number(minimum), _number(maximum), _number(mean), saturated, focus, p01, p99
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
