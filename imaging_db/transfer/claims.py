"""Holding a claim: renewed in the background while a dataset is written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from imaging_db.catalog import Catalog
from imaging_db.catalog.claims import STALE_AFTER as STALE_AFTER
from imaging_db.errors import CatalogUnavailable, DatasetBusy, ImagingDBError
from imaging_db.model import Claim, DatasetDraft
from imaging_db.stores.backoff import DELETE_SECONDS, seconds_passed
from imaging_db.transfer.run_token import is_dead, new_token, owner_name

Taken = TypeVar("Taken")

_RENEW_EVERY = 10.0
_UNSURE_AFTER = 45.0
"""Seconds without a renewal after which a claim is looked at before anything is done: it may be stale soon."""
_UNSURE_TO_DELETE = STALE_AFTER - DELETE_SECONDS
"""The same before an object is deleted, which has to end before the claim is stale."""

_log = logging.getLogger(__name__)


def take_claim(catalog: Catalog, draft: DatasetDraft) -> Claim:
    """Return the claim on a dataset, taken over at once where its owner provably died on this host.

    Raises
    ------
    DatasetBusy
        A live run holds it.
    DatasetExists
        It is ready already.
    """
    return claimed(
        lambda token, evict: catalog.claim(
            draft, token=token, stale_after=STALE_AFTER, evict=evict
        ),
    )


def claimed(take: Callable[[str, str | None], Taken]) -> Taken:
    """Return what ``take(token, evict)`` takes with a new token, from a dead owner if need be.

    Raises
    ------
    DatasetBusy
        A live run holds it; named for people.
    """
    token = new_token()
    try:
        return take(token, None)
    except DatasetBusy as busy:
        if not is_dead(busy.owner):
            raise _named(busy) from None
        dead = busy.owner
    try:
        return take(token, dead)
    except DatasetBusy as busy:  # another run was faster
        raise _named(busy) from None


def _named(busy: DatasetBusy) -> DatasetBusy:
    name = owner_name(busy.owner)
    busy.message = busy.message.replace(busy.owner, name)
    busy.args = (busy.message,)
    busy.owner = name
    return busy


class HeldClaim:
    """A context in which a claim stays ours: a thread renews it, leaving the context releases it.

    Releasing keeps the rows that are there, so that the next run goes on from them. `check` raises what
    the thread met, so that a run which lost its claim stops.
    """

    def __init__(self, catalog: Catalog, claim: Claim) -> None:
        self.claim = claim
        self._catalog = catalog
        self._stop = threading.Event()
        self._lost: ImagingDBError | None = None
        self._withdrawn = False
        self._renewing = threading.Lock()
        self._renewed = seconds_passed()
        self._thread = threading.Thread(target=self._beat, name="imaging_db-claim", daemon=True)

    def check(self) -> None:
        """Raise `DatasetBusy` where another run took the dataset over.

        Asks the catalog where the claim was not renewed for long, as after the computer slept: whoever
        deletes an object, or goes on after a pause, must not do so on a claim of the past.

        Raises
        ------
        CatalogUnavailable
            It was not renewed for long, and cannot be now.
        """
        self._check(_UNSURE_AFTER)

    def check_to_delete(self) -> None:
        """Raise as `check`; else the claim stays ours for longer than a store tries to delete an object."""
        self._check(_UNSURE_TO_DELETE)

    def _check(self, unsure_after: float) -> None:
        if self._lost is not None:
            raise self._lost
        if self._is_unsure(unsure_after):
            with self._renewing:
                if self._is_unsure(unsure_after):
                    self._renew()

    def withdraw(self) -> None:
        """Take back the row of a new dataset, as if it had never been claimed; no object is touched.

        Raises
        ------
        DatasetBusy
            Another run took the dataset over; its row stays.
        """
        self._catalog.withdraw(self.claim)
        self._withdrawn = True
        self._catalog.finish_delete(self.claim)

    def _is_unsure(self, unsure_after: float) -> bool:
        return seconds_passed() - self._renewed > unsure_after

    def _renew(self) -> None:
        asked = seconds_passed()
        self._catalog.renew(self.claim)
        self._renewed = asked

    def _beat(self) -> None:
        while not self._stop.wait(_RENEW_EVERY):
            try:
                self._renew()
            except CatalogUnavailable as error:
                _log.warning("claim on %s could not be renewed: %s", self.claim.serial, error)
            except ImagingDBError as error:
                self._lost = error
                return

    def __enter__(self) -> HeldClaim:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is not None and not self._withdrawn:
            self._release()

    def _release(self) -> None:
        """Free the claim after a failure; where that fails too, it goes stale by itself."""
        try:
            self._catalog.release(self.claim)
        except DatasetBusy as lost:  # which the run itself tells
            _log.debug("%s", lost)
        except ImagingDBError as error:
            _log.warning("claim on %s was not released: %s", self.claim.serial, error)
