"""Transactions: begun, bounded, committed, and repeated where the database asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from imaging_db import failpoints
from imaging_db.catalog.deadline import Deadlines
from imaging_db.catalog.engine import WRITE, allow, make_engine, patience_of
from imaging_db.catalog.failures import is_away, mapped, may_be_repeated
from imaging_db.config.settings import DatabaseSettings

T = TypeVar("T")

_ATTEMPTS = 4
_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_AWAY_SECONDS = 9.0


class Transactions:
    """Runs functions of a connection, each in one transaction of its own. Safe for threads.

    A function may run more than once: after a deadlock, and after the connection broke, when nobody can
    tell whether its COMMIT had happened. So each must look before it writes, and end in the same state.

    A server that had answered before and is away now may be starting again: it is waited for, some
    seconds, until a transaction was given up because of it.
    """

    def __init__(
        self, settings: DatabaseSettings, *, create: bool = False, patience: float | None = None
    ) -> None:
        self.settings = settings
        patience = patience_of(settings) if patience is None else patience
        self.engine: Engine = make_engine(settings, create=create, patience=patience)
        self._deadline = None if settings.is_sqlite else patience
        self._away_seconds = min(_AWAY_SECONDS, patience)
        self._has_answered = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` reads, all of it in one snapshot."""
        return self._run(work, write=False)

    def write(self, work: Callable[[Connection], T], *, longer: float = 0.0) -> T:
        """Return what ``work`` returns once everything that it wrote is committed.

        It may take so many seconds ``longer`` than others: what is done to all rows of a large dataset.
        """
        return self._run(work, write=True, longer=longer)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _run(self, work: Callable[[Connection], T], *, write: bool, longer: float = 0.0) -> T:
        attempt, begun = 0, time.monotonic()
        with mapped(self.settings):
            while True:
                attempt += 1
                try:
                    found = self._once(work, write=write, longer=longer)
                except DBAPIError as error:
                    if not self._may_go_on(error, attempt, time.monotonic() - begun):
                        self._has_answered = False
                        raise
                    time.sleep(min(_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE))
                else:
                    self._has_answered = True
                    return found

    def _may_go_on(self, error: DBAPIError, attempt: int, seconds: float) -> bool:
        """Return True where the transaction is to be done again, ``seconds`` after it was begun."""
        if may_be_repeated(error) and attempt < _ATTEMPTS:
            return True
        return self._has_answered and is_away(error) and seconds < self._away_seconds

    def _options(self, *, write: bool) -> dict[str, Any]:
        if self.settings.is_sqlite:
            return {WRITE: write}
        return {} if write else {"isolation_level": "REPEATABLE READ"}

    def _once(self, work: Callable[[Connection], T], *, write: bool, longer: float) -> T:
        deadline = None if self._deadline is None else self._deadline + longer
        with Deadlines.within(deadline), self.engine.connect() as connection:
            connection = connection.execution_options(**self._options(write=write))
            with connection.begin():
                if longer and deadline is not None:
                    allow(connection, deadline)
                found = work(connection)
                if write:
                    failpoints.reach("catalog.committing")
            if write:
                failpoints.reach("catalog.committed")
            return found
