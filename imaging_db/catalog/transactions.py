"""Transactions: begun, bounded, committed, and repeated where the database asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from imaging_db import failpoints
from imaging_db.catalog.deadline import Deadlines
from imaging_db.catalog.engine import WRITE, make_engine, patience_of
from imaging_db.catalog.failures import mapped, may_be_repeated
from imaging_db.config.settings import DatabaseSettings

T = TypeVar("T")

_ATTEMPTS = 4
_PAUSE = 0.05


class Transactions:
    """Runs functions of a connection, each in one transaction of its own. Safe for threads.

    A function may run more than once: after a deadlock, and after the connection broke, when nobody can
    tell whether its COMMIT had happened. So each must look before it writes, and end in the same state.
    """

    def __init__(
        self, settings: DatabaseSettings, *, create: bool = False, patience: float | None = None
    ) -> None:
        self.settings = settings
        patience = patience_of(settings) if patience is None else patience
        self.engine: Engine = make_engine(settings, create=create, patience=patience)
        self._deadline = None if settings.is_sqlite else patience

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` reads, all of it in one snapshot."""
        return self._run(work, write=False)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns once everything that it wrote is committed."""
        return self._run(work, write=True)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _run(self, work: Callable[[Connection], T], *, write: bool) -> T:
        with mapped(self.settings):
            for attempt in range(1, _ATTEMPTS):
                try:
                    return self._once(work, write=write)
                except DBAPIError as error:
                    if not may_be_repeated(error):
                        raise
                time.sleep(_PAUSE * attempt)
            return self._once(work, write=write)

    def _options(self, *, write: bool) -> dict[str, Any]:
        if self.settings.is_sqlite:
            return {WRITE: write}
        return {} if write else {"isolation_level": "REPEATABLE READ"}

    def _once(self, work: Callable[[Connection], T], *, write: bool) -> T:
        with Deadlines.within(self._deadline), self.engine.connect() as connection:
            connection = connection.execution_options(**self._options(write=write))
            with connection.begin():
                found = work(connection)
                if write:
                    failpoints.reach("catalog.committing")
            if write:
                failpoints.reach("catalog.committed")
            return found
