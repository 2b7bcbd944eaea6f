"""The objects of one claimed dataset on their way into the store, with their rows in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from imaging_db.catalog import Catalog
from imaging_db.errors import Interrupted, StoreUnavailable
from imaging_db.model import SourceFile, SourceFrame, StoredFile, StoredFrame
from imaging_db.readers.base import Reader
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.claims import HeldClaim
from imaging_db.transfer.plan import UploadPlan, frame_key
from imaging_db.transfer.pool import StopFlag, pooled
from imaging_db.transfer.report import Progress
from imaging_db.transfer.store_object import store_file, store_frame

_BATCH_ROWS = 1000
_BATCH_SECONDS = 10.0


@dataclass
class Stream:
    """Moves what is not in the store yet. A row is only written once its object survives a power cut.

    ``done`` counts objects that are stored, ``reused`` those of them that an earlier run had stored.
    """

    catalog: Catalog
    store: Store
    plan: UploadPlan
    held: HeldClaim
    progress: Progress
    workers: int
    done: int = 0
    reused: int = 0
    stored_bytes: int = 0
    _frames: list[StoredFrame] = field(default_factory=list)
    _files: list[StoredFile] = field(default_factory=list)
    _recorded_at: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Store every object of the plan and write every row.

        Raises
        ------
        Interrupted
            Ctrl-C or a termination signal; says how far it came. What is stored is recorded.
        """
        try:
            if self.plan.reader is None:
                self._run_files()
            else:
                self._run_frames()
            self._record()
        except KeyboardInterrupt as stop:
            self._record()
            raise Interrupted(
                f"interrupted: {self._so_far()} stored; rerun to continue",
                signal_number=getattr(stop, "signal_number", 2),
            ) from stop
        except StoreUnavailable as error:
            error.message = f"{error.message} after {self._so_far()}"
            raise

    def _so_far(self) -> str:
        return f"{self.done} of {self.plan.draft.nbr_objects} {self.plan.noun}s"

    def _run_frames(self) -> None:
        with self.plan.open() as reader:
            self.plan.check_source(reader.sources)
            work = partial(store_frame, reader=reader, store=self.store, draft=self.plan.draft)
            with closing(
                pooled(work, self._missing_frames(reader), workers=self.workers)
            ) as results:
                for stored, raw_bytes in results:
                    self._frames.append(stored)
                    self._took(stored.object_size or 0, raw_bytes)
            self.plan.check_source(reader.sources)

    def _run_files(self) -> None:
        self.plan.check_source()
        stop = StopFlag()
        work = partial(
            store_file, store=self.store, directory=self.plan.draft.storage_dir, stop=stop
        )
        items = self._missing_files()
        with closing(pooled(work, items, workers=self.workers, stop=stop)) as results:
            for stored in results:
                self._files.append(stored)
                self._took(stored.size or 0, stored.size or 0)
        self.plan.check_source()

    def _missing_frames(self, reader: Reader) -> Iterator[SourceFrame]:
        """Yield the frames that have no row yet, or whose object is not what the row says."""
        known = self.catalog.stored_coords(self.held.claim) if self.held.claim.resumed else {}
        there = self._sizes_there() if known else {}
        draft = self.plan.draft
        for frame in reader.frames():
            size = known.get(frame.coords)
            if not self._is_stored(frame_key(draft, frame), size, there):
                yield frame

    def _missing_files(self) -> Iterator[SourceFile]:
        known = self.catalog.stored_names(self.held.claim) if self.held.claim.resumed else {}
        there = self._sizes_there() if known else {}
        directory = self.plan.draft.storage_dir
        for file in self.plan.files:
            size = known.get(file.name)
            if not self._is_stored(object_key(directory, file.name), size, there):
                yield file

    def _is_stored(self, key: str, size: int | None, there: dict[str, int]) -> bool:
        """Return True where an object is as its row says; one that is damaged is removed, to come anew."""
        if size is None or key not in there:
            return False
        if there[key] != size:
            self.held.check()
            self.store.delete(key)
            return False
        self._reuse()
        return True

    def _sizes_there(self) -> dict[str, int]:
        return {found.key: found.size for found in self.store.list(self.plan.draft.storage_dir)}

    def _reuse(self) -> None:
        self.done += 1
        self.reused += 1
        self.progress.advance(1, 0)

    def _took(self, stored_bytes: int, raw_bytes: int) -> None:
        self.held.check()
        self.done += 1
        self.stored_bytes += stored_bytes
        self.progress.advance(1, raw_bytes)
        waiting = len(self._frames) + len(self._files)
        if waiting >= _BATCH_ROWS or time.monotonic() - self._recorded_at > _BATCH_SECONDS:
            self._record()

    def _record(self) -> None:
        """Write the rows of what is stored, after its bytes were made durable."""
        if self._frames or self._files:
            self.store.flush()
            self.catalog.add_frames(self.held.claim, self._frames)
            self.catalog.add_files(self.held.claim, self._files)
        self._frames, self._files = [], []
        self._recorded_at = time.monotonic()
