"""Holding leases: a thread that shows the catalog that a runner is alive, and hears what became of the job."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from imaging_db.catalog import Catalog
from imaging_db.errors import CatalogUnavailable
from imaging_db.model.job import JobState, Runner

_RENEWALS = 3
"""Renewals within the time of one lease: two may fail before a unit is another runner's."""
_SOONEST, _LATEST = 0.2, 10.0
"""Seconds between renewals: by them a runner hears, too, that the job was cancelled."""
_log = logging.getLogger(__name__)


class HeldLeases:
    """A context in which the leases of a runner stay its own; ``state`` is the job's, as last heard.

    Where they could not be renewed in time, another runner takes the units over; what this one commits of
    them then does not count.
    """

    def __init__(self, catalog: Catalog, runner: Runner, *, lease_seconds: float) -> None:
        self.state = JobState.UPLOADING
        self._catalog = catalog
        self._runner = runner
        self._seconds = lease_seconds
        self._stop = threading.Event()
        self._lost: Exception | None = None
        self._thread = threading.Thread(target=self._beat, name="imaging_db-leases", daemon=True)

    def check(self) -> JobState:
        """Return the job's state; raise what ended the renewals."""
        if self._lost is not None:
            raise self._lost
        return self.state

    def _beat(self) -> None:
        every = min(_LATEST, max(_SOONEST, self._seconds / _RENEWALS))
        while not self._stop.wait(every):
            try:
                self.state = self._catalog.jobs.renew(self._runner, self._seconds)
            except CatalogUnavailable as error:
                _log.warning("the leases could not be renewed: %s", error)
            except Exception as error:  # noqa: BLE001 - raised by check(), in the thread that works
                self._lost = error
                return

    def __enter__(self) -> HeldLeases:
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
