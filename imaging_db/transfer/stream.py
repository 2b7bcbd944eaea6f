"""The objects of one claimed dataset on their way into the store, with their rows in batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.codecs import DEFAULT_CODEC
from imaging_db.errors import ImagingDBError, IntegrityError, Interrupted, StoreUnavailable
from imaging_db.model import SourceFile, SourceFrame, StoredFile, StoredFrame
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.claims import HeldClaim
from imaging_db.transfer.plan import UploadPlan, frame_key
from imaging_db.transfer.pool import StopFlag, pooled
from imaging_db.transfer.report import Progress
from imaging_db.transfer.store_object import store_file
from imaging_db.transfer.stored_frames import FrameWriter, Threads

_BATCH_ROWS = 1000
_BATCH_BYTES = 256 * 2**20  # what a power cut costs at most; and the last flush waits for no more
_BATCH_SECONDS = 10.0
_NAMED = 3  # objects that are gone
_log = logging.getLogger(__name__)


@dataclass
class Stream:
    """Moves what is not in the store yet. A row is only written once its object survives a power cut.

    ``stored`` counts objects that were put, ``reused`` those that an earlier run had put.
    """

    catalog: Catalog
    store: Store
    plan: UploadPlan
    held: HeldClaim
    progress: Progress
    threads: Threads
    stored: int = 0
    reused: int = 0
    stored_bytes: int = 0
    _frames: list[StoredFrame] = field(default_factory=list)
    _files: list[StoredFile] = field(default_factory=list)
    _unrecorded_bytes: int = 0
    _reused_told: int = 0
    _recorded_at: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Store every object of the plan and write every row.

        Raises
        ------
        Interrupted
            Ctrl-C or a termination signal; says how far it came. What is stored is recorded.
        IntegrityError
            The store does not hold what was put: something removed it meanwhile.
        """
        try:
            if self.plan.reader is None:
                self._run_files()
            else:
                self._run_frames()
            self._tell(0, 0)
            self._record()
            self._require_stored()
        except KeyboardInterrupt as stop:
            self._record()
            raise Interrupted(
                f"interrupted: {self._so_far()} stored; rerun to continue",
                signal_number=getattr(stop, "signal_number", 2),
            ) from stop
        except StoreUnavailable as error:
            self._record_what_is_safe()
            error.message = f"{error.message} after {self._so_far()}"
            raise

    def _record_what_is_safe(self) -> None:
        """Write the rows of what was stored before the store failed: the next run goes on there."""
        try:
            self._record()
        except ImagingDBError as error:
            _log.debug("what was stored last is not recorded: %s", error)

    def _so_far(self) -> str:
        done = self.stored + self.reused
        return f"{done} of {self.plan.draft.nbr_objects} {self.plan.noun}s"

    def _run_frames(self) -> None:
        with self.plan.open() as reader:
            failpoints.reach("source.opened")
            self.plan.check_source(reader.sources)
            writer = FrameWriter.of(
                reader, self.store, directory=self.plan.draft.storage_dir, codec=self._codec
            )
            missing = self._missing_frames(reader.frames())
            written = writer.written(missing, self.threads, unread=self._keep_frame)
            with closing(written) as results:
                for found in results:
                    self._keep_frame(found)
                    self._go_on(found[1])
            self.plan.check_source(reader.sources)

    @property
    def _codec(self) -> str:
        return self.plan.draft.codec or DEFAULT_CODEC

    def _run_files(self) -> None:
        failpoints.reach("source.opened")
        self.plan.check_source()
        stop = StopFlag()
        work = partial(
            store_file, store=self.store, directory=self.plan.draft.storage_dir, stop=stop
        )
        items = self._missing_files()
        workers = self.threads.putters or self.threads.encoders
        files = pooled(work, items, workers=workers, stop=stop, unread=self._keep_file)
        with closing(files) as results:
            for stored in results:
                self._keep_file(stored)
                self._go_on(stored.size or 0)
        self.plan.check_source()

    def _missing_frames(self, frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
        """Yield the frames that have no row yet, or whose object is not what the row says."""
        known = self.catalog.stored_coords(self.held.claim) if self.held.claim.resumed else {}
        there = self._sizes_there() if known else {}
        draft = self.plan.draft
        for frame in frames:
            size = known.get(frame.coords)
            if size is None or not self._is_stored(frame_key(draft, frame), size, there):
                yield frame

    def _missing_files(self) -> Iterator[SourceFile]:
        known = self.catalog.stored_names(self.held.claim) if self.held.claim.resumed else {}
        there = self._sizes_there() if known else {}
        directory = self.plan.draft.storage_dir
        for file in self.plan.files:
            size = known.get(file.name)
            if size is None or not self._is_stored(object_key(directory, file.name), size, there):
                yield file

    def _is_stored(self, key: str, size: int, there: dict[str, int]) -> bool:
        """Return True where an object is as its row says; one that is damaged is removed, to come anew."""
        found = there.get(key)
        if found == size:
            self.reused += 1
            return True
        if found is not None:
            self.held.check_to_delete()
            self.store.delete(key)
        return False

    def _require_stored(self) -> None:
        """Look once whether the store has as many objects and bytes as there are rows.

        The deletion of a run that lost its claim may come late, and another program may clean up. Beside
        them there may be what is not ours; then every object is looked for by its name.
        """
        objects = nbr_bytes = 0
        for found in self.store.list(self.plan.draft.storage_dir):
            objects += 1
            nbr_bytes += found.size
        if (objects, nbr_bytes) == self.catalog.stored_amount(self.held.claim):
            return
        there = self._sizes_there()
        doubtful = (one for one in self._recorded() if there.get(one[0], -1) != one[1])
        gone = [key for key, size in doubtful if not self._is_kept(key, size)]
        if gone:
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            raise IntegrityError(
                f"{self.store.address} has lost {', '.join(gone[:_NAMED])}{more} since it was put there",
                hint="rerun the upload; and see to it that nothing else removes objects there",
            )

    def _is_kept(self, key: str, size: int | None) -> bool:
        """Return True where the store has an object all the same: a listing may spell names differently."""
        found = self.store.stat(key)
        return found is not None and size in (None, found.size)

    def _recorded(self) -> Iterator[tuple[str, int | None]]:
        """Yield key and size of every object that has a row."""
        claim, draft = self.held.claim, self.plan.draft
        if self.plan.reader is None:
            for name, size in self.catalog.stored_names(claim).items():
                yield object_key(draft.storage_dir, name), size
            return
        sizes = self.catalog.stored_coords(claim)
        with self.plan.open() as reader:
            for frame in reader.frames():
                yield frame_key(draft, frame), sizes.get(frame.coords)

    def _sizes_there(self) -> dict[str, int]:
        return {found.key: found.size for found in self.store.list(self.plan.draft.storage_dir)}

    def _keep_frame(self, found: tuple[StoredFrame, int]) -> None:
        self._frames.append(found[0])
        self._count(found[0].object_size or 0)

    def _keep_file(self, stored: StoredFile) -> None:
        self._files.append(stored)
        self._count(stored.size or 0)

    def _count(self, nbr_bytes: int) -> None:
        self.stored += 1
        self.stored_bytes += nbr_bytes
        self._unrecorded_bytes += nbr_bytes

    def _go_on(self, raw_bytes: int) -> None:
        """Tell the progress and write what has come together; the threads go on storing meanwhile."""
        self.held.check()
        self._tell(1, raw_bytes)
        rows = len(self._frames) + len(self._files)
        late = time.monotonic() - self._recorded_at > _BATCH_SECONDS
        if rows >= _BATCH_ROWS or self._unrecorded_bytes >= _BATCH_BYTES or late:
            self._record()

    def _tell(self, objects: int, raw_bytes: int) -> None:
        """Tell the progress, from the one thread that does, also what was passed over meanwhile."""
        reused = self.reused
        self.progress.advance(objects + reused - self._reused_told, raw_bytes)
        self._reused_told = reused

    def _record(self) -> None:
        """Write the rows of what is stored, after its bytes were made durable."""
        if self._frames or self._files:
            failpoints.reach("objects.flushing")
            self.store.flush()
            failpoints.reach("objects.flushed")
            self.catalog.add_frames(self.held.claim, self._frames)
            self.catalog.add_files(self.held.claim, self._files)
        self._frames, self._files, self._unrecorded_bytes = [], [], 0
        self._recorded_at = time.monotonic()
