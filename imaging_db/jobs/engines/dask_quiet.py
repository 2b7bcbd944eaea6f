"""Keeping what Dask does to itself: its logs out of the terminal, Ctrl-C away from its processes."""

from __future__ import annotations

import logging
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_FAMILIES = ("distributed", "dask_jobqueue", "tornado")
_DEATH = re.compile(r"was killed by (?:unknown )?signal.*|exited with status \d+")


@contextmanager
def starting() -> Iterator[None]:
    """A context in which a cluster or a client of one is made, that neither warns nor is met by Ctrl-C."""
    silence()
    with warnings.catch_warnings(), _interrupts_kept_here():
        if not _is_shown():
            warnings.filterwarnings("ignore", module=r"distributed|dask_jobqueue")
        yield


def silence() -> None:
    """Keep the logs of Dask from the terminal, unless this program's own are asked for (``--debug``)."""
    level = logging.INFO if _is_shown() else logging.CRITICAL + 1
    for name in (*_FAMILIES, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in _FAMILIES:
            logging.getLogger(name).setLevel(level)


def _is_shown() -> bool:
    return logging.getLogger("imaging_db").isEnabledFor(logging.DEBUG)


class Deaths(logging.Handler):
    """What the log says of worker processes that died, and nothing else; ``last`` is the last of it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that tells how a process died."""
        found = _DEATH.search(record.getMessage())
        if found:
            self.last = found[0]


@contextmanager
def deaths_heard(log: logging.Logger) -> Iterator[Deaths]:
    """A context in which a logger's messages of deaths are kept."""
    deaths, level, propagate = Deaths(), log.level, log.propagate
    log.addHandler(deaths)
    log.setLevel(logging.INFO)
    log.propagate = propagate and _is_shown()
    try:
        yield deaths
    finally:
        log.removeHandler(deaths)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def _interrupts_kept_here() -> Iterator[None]:
    """A context whose threads, and the processes that those start at any time, never see Ctrl-C.

    A terminal sends it to every process of the command, and a worker that dies of it could not end what it
    is at. What a thread blocks, the threads and processes that it starts block, too. Windows has no such
    thing; there `imaging_db.jobs.engines.dask_worker` ignores it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # the first spawned process starts a tracker, after which its thread would block nothing any more
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
