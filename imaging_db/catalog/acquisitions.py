"""The row of an acquisition, as an upload writes it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, update

from imaging_db.catalog.tables import AcquisitionRow
from imaging_db.model import Acquisition, DatasetDraft


def write_acquisition(connection: Connection, dataset_id: int, draft: DatasetDraft) -> None:
    """Insert or update the acquisition of a dataset of frames."""
    if draft.acquisition is None:
        return
    values = _acquired(draft.acquisition)
    values |= {"storage_dir": draft.storage_dir, "codec": draft.codec}
    table = AcquisitionRow.__table__
    changed = connection.execute(
        update(AcquisitionRow).where(AcquisitionRow.dataset_id == dataset_id).values(**values)
    )
    if not changed.rowcount:
        connection.execute(table.insert().values(**values, dataset_id=dataset_id))  # type: ignore[attr-defined]


def _acquired(acquisition: Acquisition) -> dict[str, Any]:
    return {
        "nbr_frames": acquisition.nbr_frames,
        "im_width": acquisition.width,
        "im_height": acquisition.height,
        "nbr_slices": acquisition.nbr_slices,
        "nbr_channels": acquisition.nbr_channels,
        "im_colors": acquisition.colors,
        "nbr_timepoints": acquisition.nbr_timepoints,
        "nbr_positions": acquisition.nbr_positions,
        "bit_depth": acquisition.dtype,
        "metadata_json": acquisition.metadata,
        "dtype": acquisition.dtype,
        "format": acquisition.format,
        "pixel_size_x_um": acquisition.pixel_size_x_um,
        "pixel_size_y_um": acquisition.pixel_size_y_um,
        "z_step_um": acquisition.z_step_um,
        "time_interval_s": acquisition.time_interval_s,
        "nbr_expected": acquisition.nbr_expected,
        "channel_names": list(acquisition.channel_names),
        "position_names": list(acquisition.position_names),
    }
