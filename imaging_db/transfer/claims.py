"""Holding a claim: renewed in the background while a dataset is written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from imaging_db.catalog import Catalog
from imaging_db.errors import CatalogUnavailable, DatasetBusy, ImagingDBError
from imaging_db.model import Claim, DatasetDraft
from imaging_db.transfer.run_token import is_dead, new_token, owner_name

Taken = TypeVar("Taken")

STALE_AFTER = 60.0
_RENEW_EVERY = 10.0
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
        self._thread = threading.Thread(target=self._beat, name="imaging_db-claim", daemon=True)

    def check(self) -> None:
        """Raise `DatasetBusy` where another run took the dataset over."""
        if self._lost is not None:
            raise self._lost

    def withdraw(self) -> None:
        """Take back the row of a new dataset, as if it had never been claimed; no object is touched."""
        _, ours = self._catalog.begin_delete(self.claim.serial, token=self.claim.token)
        self._withdrawn = True
        self._catalog.finish_delete(ours)

    def _beat(self) -> None:
        while not self._stop.wait(_RENEW_EVERY):
            try:
                self._catalog.renew(self.claim)
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
        except ImagingDBError as error:
            _log.warning("claim on %s was not released: %s", self.claim.serial, error)
