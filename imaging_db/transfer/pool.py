"""A bounded pool: results as they come, the first error stops the rest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_IN_FLIGHT_BYTES = 256 * 2**20
_COPIES = (
    4  # of one frame while it is worked on: pixels, filtered rows, encoded bytes, one to spare
)


class Stop(Exception):
    """Raised inside long work, such as one large file, once nobody waits for it any more."""


class StopFlag:
    """Tells long work that it should end; `pooled` sets it when it ends early."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask all work that looks at the flag to end."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stop` once the flag is set."""
        if self._event.is_set():
            raise Stop


def pooled(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    stop: StopFlag | None = None,
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` for every item, in the order in which they finish, from threads.

    At most two items a worker are taken ahead, so ``items`` may be endless and memory stays bounded.
    The first exception cancels what has not started, waits for what has, and is raised; ``stop`` is set
    then, so that work which looks at it need not be waited for long.
    """
    source = iter(items)
    running: set[Future[Result]] = set()
    with ThreadPoolExecutor(workers, thread_name_prefix="imaging_db") as pool:
        try:
            running.update(pool.submit(work, item) for item in islice(source, 2 * workers))
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running.update(pool.submit(work, item) for item in islice(source, len(done)))
                for future in done:
                    yield future.result()
        finally:
            if stop is not None:
                stop.set()
            for future in running:
                future.cancel()


def worker_count(asked: int | None, *, frame_bytes: int, remote: bool) -> int:
    """Return how many threads to use: as asked, else one a core, more where the network is waited for.

    Bounded so that the frames in work stay within a quarter of a gigabyte; always at least one.
    """
    cores = os.cpu_count() or 1
    wanted = asked or (max(16, cores) if remote else cores)
    fitting = _IN_FLIGHT_BYTES // max(1, frame_bytes * _COPIES)
    return max(1, min(wanted, fitting) if frame_bytes else wanted)
