"""A folder of small tiles whose pixels tell where they lie, and the job that ingests it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging_db import ImagingDB
from imaging_db.jobs.planning import JobPlan, JobRequest, plan_job
from imaging_db.model import FrameCoords, sha256_of_pixels

PATTERN = "{z}/{row}_{col}.png"
SERIAL = "TILES-2026-11-20-09-30-00-0001"


class TileFolder:
    """``slices`` planes of ``rows`` x ``columns`` tiles, each a PNG of ``side`` x ``side`` uint8."""

    def __init__(
        self, root: Path, *, slices: int = 4, rows: int = 2, columns: int = 3, side: int = 16
    ) -> None:
        self.root = root
        self.slices, self.rows, self.columns, self.side = slices, rows, columns, side
        for z, row, column in self.places():
            self.write(z, row, column)

    def places(self) -> Iterator[tuple[int, int, int]]:
        for z in range(self.slices):
            for row in range(self.rows):
                for column in range(self.columns):
                    yield z, row, column

    def path(self, z: int, row: int, column: int) -> Path:
        return self.root / f"{z}/{row}_{column}.png"

    def pixels(self, z: int, row: int, column: int) -> npt.NDArray[np.uint8]:
        y, x = np.mgrid[: self.side, : self.side]
        return ((y * 7 + x * 3 + z * 31 + row * 11 + column * 5) % 251).astype(np.uint8)

    def write(self, z: int, row: int, column: int) -> None:
        path = self.path(z, row, column)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels(z, row, column)).save(path)

    @property
    def truth(self) -> dict[FrameCoords, str]:
        """The hash of every frame's pixels, by where it lies in the dataset."""
        return {
            FrameCoords(0, z, 0, row * self.columns + column): sha256_of_pixels(
                self.pixels(z, row, column)
            )
            for z, row, column in self.places()
        }

    def plan(self, db: ImagingDB, *, serial: str = SERIAL, **request: object) -> JobPlan:
        """The plan of a job whose units are one plane each, or as the request says."""
        asked = {"unit_frames": self.rows * self.columns, "pattern": PATTERN} | request
        return plan_job(JobRequest(str(self.root), serial, **asked), db.settings)  # type: ignore[arg-type]


def hashes(db: ImagingDB, serial: str = SERIAL) -> dict[FrameCoords, str | None]:
    """The recorded hash of every frame of a dataset that can be seen."""
    return {frame.coords: frame.sha256 for frame in db.dataset(serial).frames()}
