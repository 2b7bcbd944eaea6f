"""The two files beside downloaded frames: global_metadata.json and frames_meta.csv, as imagingDB's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import IO, Any

from imaging_db.model import Acquisition, Dataset, FrameQuality, StoredFrame

GLOBAL_NAME = "global_metadata.json"
FRAMES_NAME = "frames_meta.csv"
FRAME_COLUMNS = (
    "channel_idx",
    "slice_idx",
    "time_idx",
    "pos_idx",
    "channel_name",
    "file_name",
    "sha256",
    "pos_name",
    "dtype",
    "object_sha256",
    "metadata_json",
    "intensity_min",
    "intensity_max",
    "intensity_mean",
    "saturated_share",
    "focus",
    "intensity_p01",
    "intensity_p99",
    "is_repeat",
)
_UNMEASURED = (None,) * 7
_as_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one for each frame


def global_metadata(dataset: Dataset, acquisition: Acquisition) -> dict[str, Any]:
    """Return the global metadata of a whole dataset, under imagingDB's names and a few more."""
    return {
        "storage_dir": dataset.storage_dir,
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
        "dataset_serial": dataset.serial,
        "description": dataset.description,
        "microscope": dataset.microscope,
        "format": acquisition.format,
        "channel_names": list(acquisition.channel_names),
        "position_names": list(acquisition.position_names),
        "pixel_size_x_um": acquisition.pixel_size_x_um,
        "pixel_size_y_um": acquisition.pixel_size_y_um,
        "z_step_um": acquisition.z_step_um,
        "time_interval_s": acquisition.time_interval_s,
    }


def global_metadata_json(dataset: Dataset, acquisition: Acquisition) -> bytes:
    """Return the content of global_metadata.json."""
    return json.dumps(global_metadata(dataset, acquisition), indent=2).encode() + b"\n"


def frame_record(frame: StoredFrame) -> dict[str, Any]:
    """Return one frame under the names of `FRAME_COLUMNS`, its metadata as an object."""
    c, z, t, p = frame.coords
    found = frame.quality
    values = (
        c,
        z,
        t,
        p,
        frame.channel_name,
        frame.file_name,
        frame.sha256,
        frame.position_name,
        frame.dtype,
        frame.object_sha256,
        frame.metadata,
        *(_UNMEASURED if found is None else _figures(found)),
        frame.is_repeat,
    )
    return dict(zip(FRAME_COLUMNS, values, strict=True))


def _figures(found: FrameQuality) -> tuple[float | None, ...]:
    return (
        found.minimum,
        found.maximum,
        found.mean,
        found.saturated,
        found.focus,
        found.p01,
        found.p99,
    )


def write_frames_csv(frames: Iterable[StoredFrame], target: IO[bytes]) -> None:
    """Write frames_meta.csv row by row: a running index without name, then `FRAME_COLUMNS`."""
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("", *FRAME_COLUMNS))
    for index, frame in enumerate(frames):
        record = frame_record(frame)
        record["metadata_json"] = _as_json(record["metadata_json"])
        writer.writerow((index, *record.values()))
    text.detach()
