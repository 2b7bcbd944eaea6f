"""A bounded pool: results as they come, the first error stops the rest."""

from __future__ import annotations

import os
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


def pooled(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` for every item, in the order in which they finish, from threads.

    At most two items a worker are taken ahead, so ``items`` may be endless and memory stays bounded.
    The first exception cancels what has not started, waits for what has, and is raised.
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
