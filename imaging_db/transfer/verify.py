"""Reading a whole dataset back and comparing every hash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from imaging_db.catalog import Catalog
from imaging_db.errors import ImagingDBError
from imaging_db.model import Dataset, FrameSelection, StoredFile, StoredFrame, UploadType
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.fetch import (
    damage_told,
    decode_checked,
    fetch_file,
    fetch_frame,
    frame_bytes,
    wrong_count,
)
from imaging_db.transfer.pool import REMOTE_GETS, StopFlag, pooled, worker_count
from imaging_db.transfer.report import Progress, Silent, VerifyReport, noun_of

Item = TypeVar("Item", StoredFrame, StoredFile)


@dataclass(frozen=True)
class Verifier:
    """Verifies datasets of one catalog against one store; changes nothing."""

    catalog: Catalog
    store: Store
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)

    def verify(self, dataset: Dataset) -> VerifyReport:
        """Return what was checked: of every frame the stored bytes and the decoded pixels, of files the bytes."""
        if dataset.upload_type is UploadType.FILE:
            files = self.catalog.files(dataset.serial)
            stop = StopFlag()
            return self._run(
                dataset, files, lambda file: self._check_file(file, dataset, stop), stop=stop
            )
        frames = self.catalog.frames(dataset.serial, FrameSelection(), with_metadata=False)
        return self._run(dataset, frames, lambda frame: self._check_frame(frame, dataset))

    def _run(
        self,
        dataset: Dataset,
        items: Iterable[Item],
        check: Callable[[Item], tuple[bool, int]],
        *,
        stop: StopFlag | None = None,
    ) -> VerifyReport:
        started = time.monotonic()
        checked = unrecorded = nbr_bytes = 0
        failures: list[ImagingDBError] = []
        self.progress.start(dataset.serial, dataset.nbr_objects)
        size = self._frame_bytes(dataset)
        workers = worker_count(
            self.workers, frame_bytes=size, remote=REMOTE_GETS if dataset.storage == "s3" else 0
        )
        try:
            with closing(pooled(damage_told(check), items, workers=workers, stop=stop)) as results:
                for result in results:
                    checked += 1
                    if isinstance(result, ImagingDBError):
                        failures.append(result)
                        continue
                    unrecorded, nbr_bytes = unrecorded + (not result[0]), nbr_bytes + result[1]
                    self.progress.advance(1, result[1])
        finally:
            self.progress.finish()
        if checked != dataset.nbr_objects:
            failures.append(wrong_count(dataset, checked))
        return VerifyReport(
            dataset.serial,
            noun_of(dataset),
            checked,
            unrecorded,
            nbr_bytes,
            time.monotonic() - started,
            tuple(sorted(failures, key=str)),
        )

    def _frame_bytes(self, dataset: Dataset) -> int:
        if dataset.upload_type is UploadType.FILE:
            return 0
        return frame_bytes(self.catalog.acquisition(dataset.serial))

    def _check_frame(self, frame: StoredFrame, dataset: Dataset) -> tuple[bool, int]:
        data = fetch_frame(frame, store=self.store, directory=dataset.storage_dir)
        decode_checked(data, frame, key=object_key(dataset.storage_dir, frame.file_name))
        return frame.sha256 is not None, len(data)

    def _check_file(self, file: StoredFile, dataset: Dataset, stop: StopFlag) -> tuple[bool, int]:
        size = fetch_file(file, None, store=self.store, directory=dataset.storage_dir, stop=stop)
        return file.sha256 is not None, size
