"""One row of an upload: claim, stream, make durable, publish; every step may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.config import StoreSettings
from imaging_db.errors import (
    CatalogUnavailable,
    DatasetExists,
    DatasetNotFound,
    ObjectConflict,
    ObjectsInTheWay,
    SourceChanged,
)
from imaging_db.model import Claim, Dataset, DatasetStatus
from imaging_db.stores.base import Store
from imaging_db.transfer.claims import HeldClaim, take_claim
from imaging_db.transfer.compare import read_all, same_content
from imaging_db.transfer.orphans import is_here
from imaging_db.transfer.plan import UploadPlan
from imaging_db.transfer.pool import worker_count
from imaging_db.transfer.remove import (
    is_reservation,
    own_objects,
    preview,
    remove_dataset,
    remove_objects,
    require_its_store,
    require_objects,
)
from imaging_db.transfer.report import Outcome, Progress, Silent, UploadReport
from imaging_db.transfer.stored_frames import Threads
from imaging_db.transfer.stream import Stream
from imaging_db.transfer.verify import Verifier

_ATTEMPTS = 5


@dataclass(frozen=True)
class Uploader:
    """Uploads planned rows into one catalog and one store.

    ``store_of`` gives the store that holds a dataset which is there already: not always this one.
    ``workers`` None lets each row choose by the machine and the size of its frames.
    """

    catalog: Catalog
    store: Store
    store_of: Callable[[Dataset], Store]
    workers: int | None = None
    overwrite: bool = False
    progress: Progress = field(default_factory=Silent)

    def upload(self, plan: UploadPlan) -> UploadReport:
        """Return what came of one row. Rerunning goes on where an earlier run stopped.

        Raises
        ------
        ImagingDBError
            Nothing of the row can be seen then; what was stored is kept for the next run.
        """
        started = time.monotonic()
        for _ in range(_ATTEMPTS):
            with suppress(DatasetNotFound):  # another run deleted it while it was looked at
                return self._upload(plan, started)
        raise CatalogUnavailable(f"{plan.draft.serial} comes and goes", hint="rerun later")

    def _upload(self, plan: UploadPlan, started: float) -> UploadReport:
        removed, outcome = 0, Outcome.UPLOADED
        try:
            claim = take_claim(self.catalog, plan.draft)
        except DatasetExists as exists:
            if self._holds_already(exists.existing, plan):
                return self._describe(_report(plan, Outcome.ALREADY_THERE, started), plan)
            if not (self.overwrite or is_reservation(exists.existing)):
                raise
            read_all(plan, workers=self._workers(plan))
            outcome = Outcome.UPLOADED if is_reservation(exists.existing) else Outcome.REPLACED
            removed = self._remove(exists.existing, plan)
            claim = take_claim(self.catalog, plan.draft)
        stream, cleared = self._write(plan, claim)
        removed += cleared
        return replace(
            _report(plan, outcome, started),
            reused=stream.reused,
            removed=removed,
            stored_bytes=stream.stored_bytes,
        )

    def _remove(self, existing: Dataset, plan: UploadPlan) -> int:
        store = self.store_of(existing)
        place = StoreSettings(plan.draft.storage, plan.draft.storage_access)
        recorded = store is not self.store or is_here(existing, place)
        try:
            found = preview(self.catalog, existing.serial)
            require_its_store(store, found, recorded=recorded)
            if not recorded:
                require_objects(store, found, recorded=False)
            return remove_dataset(self.catalog, store, existing.serial)
        except DatasetNotFound:  # another run, with --overwrite as well, was faster
            return 0

    def _describe(self, report: UploadReport, plan: UploadPlan) -> UploadReport:
        """A corrected description or microscope counts, though the content is there already."""
        draft = plan.draft
        if not self.catalog.describe(
            draft.serial, description=draft.description, microscope=draft.microscope
        ):
            return report
        return replace(report, notes=(*report.notes, "description and microscope were updated"))

    def _holds_already(self, existing: Dataset, plan: UploadPlan) -> bool:
        if existing.status is not DatasetStatus.READY:
            return False
        same = existing.fingerprint == plan.draft.fingerprint or same_content(
            self.catalog, existing, plan, workers=self._workers(plan)
        )
        return same and not (self.overwrite and self._is_damaged(existing))

    def _is_damaged(self, existing: Dataset) -> bool:
        """Return True where an object of a dataset is missing or not as recorded: --overwrite mends it."""
        verifier = Verifier(self.catalog, self.store_of(existing), self.workers)
        return bool(verifier.verify(existing).failures)

    def _write(self, plan: UploadPlan, claim: Claim) -> tuple[Stream, int]:
        """Return the stream that ran, and how many objects were removed from its way."""
        with HeldClaim(self.catalog, claim) as held:
            failpoints.reach("claim.taken")
            try:
                return self._stream(plan, held)
            except (ObjectConflict, ObjectsInTheWay):
                if not claim.resumed and not claim.cleared:
                    held.withdraw()  # or the next run would take another's objects for our leftovers
                raise

    def _stream(self, plan: UploadPlan, held: HeldClaim) -> tuple[Stream, int]:
        claim = held.claim
        removed = 0 if claim.resumed else self._clear_way(plan, held)
        ours = claim.resumed or next(self.store.list(plan.draft.storage_dir), None) is None
        threads = Threads.of(plan.draft.storage, self.workers, frame_bytes=plan.frame_bytes)
        stream = Stream(self.catalog, self.store, plan, held, self.progress, threads)
        self.progress.start(plan.draft.serial, plan.draft.nbr_objects)
        try:
            stream.run()
            held.check()
            failpoints.reach("dataset.complete")
            self.catalog.publish(claim, nbr_objects=plan.draft.nbr_objects)
            failpoints.reach("dataset.published")
        except SourceChanged:
            if ours:  # what was stored is of a source that is no more
                self._empty(held, plan.draft.storage_dir)
            raise
        finally:
            self.progress.finish()
        return stream, removed

    def _clear_way(self, plan: UploadPlan, held: HeldClaim) -> int:
        """Return how many objects were removed from the dataset's prefix before its first frame.

        An unfinished upload of another source, or another catalog, may have left them. What has the
        content of this source is taken over frame by frame. Everything else stays, unless this catalog
        knows of the unfinished upload and the user said --overwrite.
        """
        directory, removed = plan.draft.storage_dir, 0
        if self.overwrite and held.claim.cleared:
            removed = self._empty(held, directory)
        there = {found.key for found in self.store.list(directory)}
        strays = there - plan.keys() if there else there
        if strays:
            raise ObjectsInTheWay(f"{directory}/", len(strays), self.store.address)
        return removed

    def _empty(self, held: HeldClaim, directory: str) -> int:
        """Return how many objects that this upload put were removed from its folder.

        What is older than its row is of another catalog, which keeps its datasets in the same store.
        """
        found = self.catalog.preview_delete(held.claim.serial, token=held.claim.token)
        own = own_objects(found.dataset)
        return remove_objects(self.store, directory, check=held.check_to_delete, wanted=own)

    def _workers(self, plan: UploadPlan) -> int:
        return worker_count(self.workers, frame_bytes=plan.frame_bytes)


def _report(plan: UploadPlan, outcome: Outcome, started: float) -> UploadReport:
    return UploadReport(
        serial=plan.draft.serial,
        where=plan.where,
        outcome=outcome,
        nbr_objects=plan.draft.nbr_objects,
        noun=plan.noun,
        raw_bytes=plan.raw_bytes,
        seconds=time.monotonic() - started,
        notes=plan.notes,
    )
