"""The acquisition: what the microscope did, as far as the source tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from imaging_db.model.json_value import JSONObject


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Sizes, pixel type and physical sizes of one frames dataset.

    Counts are of distinct indices that are present. ``height``, ``width``, ``colors`` and ``dtype`` are
    None where frames differ in them (a ragged dataset; each frame then carries its own). Physical
    sizes are None where the source does not tell: an unknown size is never 1.0.
    ``nbr_expected`` is the number of frames that the source says it planned, None if it says nothing.
    ``notes`` holds what a user should be told once, such as ignored files.
    """

    format: str
    nbr_frames: int
    nbr_channels: int
    nbr_slices: int
    nbr_timepoints: int
    nbr_positions: int
    height: int | None
    width: int | None
    colors: int | None
    dtype: str | None
    channel_names: tuple[str | None, ...] = ()
    position_names: tuple[str | None, ...] = ()
    pixel_size_x_um: float | None = None
    pixel_size_y_um: float | None = None
    z_step_um: float | None = None
    time_interval_s: float | None = None
    nbr_expected: int | None = None
    metadata: JSONObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()
