"""What exports there are, how they may be asked for, and what came of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

TARGETS = {
    "ome-zarr": "imaging_db.export.ome_zarr:OmeZarr",
    "ome-tiff": "imaging_db.export.ome_tiff:OmeTiff",
    "tif-folder": "imaging_db.export.tif_folder:TifFolder",
    "files": "imaging_db.export.files:Files",
}
OME_ZARR_VERSIONS = ("0.4", "0.5")


class Written(str, Enum):
    """What became of an export."""

    EXPORTED = "exported"
    ALREADY_THERE = "already there"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to write. ``fill`` is the value of pixels of frames that are missing, None refuses holes.

    ``overwrite`` replaces another export of that name.
    """

    fill: float | None = None
    overwrite: bool = False
    ome_zarr_version: str = "0.5"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """One export: what lies at ``path``. ``written`` and ``kept`` count frames, ``kept`` of an earlier run.

    ``nbr_bytes`` counts the pixel bytes of the frames that were written. ``notes`` is what a reader of the
    export should know: what is unknown, what was filled. ``sizes`` is how long each axis is, None where
    frames differ.
    """

    serial: str
    to: str
    path: Path
    outcome: Written
    written: int = 0
    kept: int = 0
    nbr_bytes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    noun: str = "frame"
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    dtype: str | None = None
