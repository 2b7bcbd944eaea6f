"""A bounded pool of threads: results as they come, the first error stops the rest."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from imaging_db.transfer.byte_queue import ByteQueue
from imaging_db.transfer.cores import usable_cores

Item = TypeVar("Item")
Made = TypeVar("Made")
Result = TypeVar("Result")

REMOTE_PUTS = 32
"""Threads that put into a remote store: so many hide a latency of 40 ms a request."""
REMOTE_GETS = 16
"""Threads that read from it: more would push each other's objects out of the processor's cache."""

_IN_FLIGHT_BYTES = 256 * 2**20
_IN_FLIGHT_BYTES_A_CORE = 64 * 2**20
_COPIES = (
    4  # of one frame while it is worked on: pixels, filtered rows, encoded bytes, one to spare
)
_LOOK_SECONDS = 0.05
_log = logging.getLogger(__name__)


class Stop(Exception):
    """Raised inside long work, such as one large file, once nobody waits for it any more."""


class StopFlag:
    """Tells long work that it should end; the pool sets it when it ends early."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask all work that looks at the flag to end."""
        self._event.set()

    def is_set(self) -> bool:
        """Return True once work should end."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stop` once the flag is set."""
        if self._event.is_set():
            raise Stop


@dataclass(frozen=True, slots=True)
class Second(Generic[Made, Result]):
    """A second step with threads of its own, such as puts that wait for a network.

    ``size`` tells the bytes of what the first step made; what waits for the second step or is in it
    stays within ``limit`` bytes, whatever the size of one.
    """

    work: Callable[[Made], Result]
    workers: int
    size: Callable[[Made], int]
    limit: int


def pooled(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    stop: StopFlag | None = None,
    ahead: int | None = None,
    unread: Callable[[Result], object] | None = None,
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` for every item, in the order in which they finish, from threads.

    The threads take the items themselves, one thread at a time. At most ``ahead`` (by default two a
    worker, at least one a worker) are taken before their results are asked for, so ``items`` may be
    endless and memory stays bounded. The first exception ends the rest after what they are at, and is
    raised; ``stop`` is set then, so that work which looks at it need not be waited for long. No thread
    outlives the generator.
    Where it ends early, ``unread`` is called for each result that was not asked for any more.
    """
    crew: _Crew[Result] = _Crew(max(ahead or 2 * workers, workers), stop or StopFlag(), unread)
    source = _Source(items)

    def run() -> None:
        while crew.may_go_on() and (item := source.take()) is not None:
            crew.deliver(work(item[0]))

    crew.add(run, workers)
    return crew.results()


def piped(
    work: Callable[[Item], Made],
    items: Iterable[Item],
    second: Second[Made, Result],
    *,
    workers: int,
    ahead: int | None = None,
    unread: Callable[[Result], object] | None = None,
) -> Generator[Result, None, None]:
    """Yield ``second.work(work(item))`` for every item, each step in threads of its own.

    Everything else as `pooled`; after the first error what waits between the steps is dropped.
    """
    most = ahead or 2 * (workers + second.workers)
    crew: _Crew[Result] = _Crew(max(most, workers), StopFlag(), unread)
    source = _Source(items)
    between: ByteQueue[Made] = ByteQueue(second.limit, makers=workers)

    def begin() -> None:
        try:
            while crew.may_go_on() and (item := source.take()) is not None:
                made = work(item[0])
                between.put(made, second.size(made))
                del item, made  # or they would be kept while the next item is waited for
        finally:
            between.leave()

    def finish() -> None:
        while (taken := between.take()) is not None:
            result, size = second.work(taken[0]), taken[1]
            del taken
            between.free(size)
            crew.deliver(result)

    crew.when_it_ends(between.stop)
    crew.add(begin, workers)
    crew.add(finish, second.workers)
    return crew.results()


class _Source(Generic[Item]):
    """Items that threads take, one thread at a time."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._lock = threading.Lock()

    def take(self) -> tuple[Item] | None:
        """Return the next item, None where there is no more."""
        with self._lock:
            for item in self._items:
                return (item,)
        return None


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


class _Crew(Generic[Result]):
    """The threads behind one generator: what they made is read in one place, the first error ends them.

    The reader is not woken for each result, which would cost more than a small frame: it looks by
    itself every now and then, and is woken once a thread waits for it or leaves.
    """

    def __init__(
        self, ahead: int, stop: StopFlag, unread: Callable[[Result], object] | None
    ) -> None:
        self._finished: deque[tuple[Result] | _Failed | None] = deque()
        self._wake = threading.Event()
        self._room = threading.Semaphore(ahead)
        self._without_room = 0
        self._lock = threading.Lock()
        self._stop = stop
        self._unread = unread
        self._ends: list[Callable[[], None]] = []
        self._threads: list[threading.Thread] = []
        self._ended = False

    def add(self, run: Callable[[], None], count: int) -> None:
        """Let ``count`` threads ``run``, once the results are asked for."""
        for _ in range(count):
            name = f"imaging_db-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._guarded, args=(run,), name=name))

    def when_it_ends(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the threads shall end, to wake those that wait for each other."""
        self._ends.append(wake)

    def may_go_on(self) -> bool:
        """Wait until the reader of the results is near enough; return False where all shall end."""
        if not self._room.acquire(blocking=False):
            with self._lock:
                self._without_room += 1
            self._wake.set()
            self._room.acquire()
            with self._lock:
                self._without_room -= 1
        return not self._ended

    def deliver(self, result: Result) -> None:
        """Hand a result to the reader."""
        self._finished.append((result,))
        if self._without_room:
            self._wake.set()

    def results(self) -> Generator[Result, None, None]:
        """Yield the results until every thread is done; raise the first error."""
        started: list[threading.Thread] = []
        try:
            for thread in self._threads:
                thread.start()
                started.append(thread)
            left = len(started)
            while left:
                found = self._next()
                if found is None:
                    left -= 1
                elif isinstance(found, _Failed):
                    raise found.error
                else:
                    self._room.release()
                    yield found[0]
        finally:
            self._end()
            for thread in started:
                thread.join()
            self._read_the_rest()

    def _next(self) -> tuple[Result] | _Failed | None:
        while not self._finished:
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
        return self._finished.popleft()

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            self._finished.append(_Failed(error))
            self._end()
        finally:
            self._finished.append(None)
            self._wake.set()

    def _end(self) -> None:
        self._ended = True
        self._stop.set()
        for wake in self._ends:
            wake()
        self._room.release(len(self._threads))

    def _read_the_rest(self) -> None:
        """Read what came after the end; only the first error was raised."""
        for found in self._finished:
            if isinstance(found, _Failed):
                _log.debug("after the end: %r", found.error)
            elif found is not None and self._unread is not None:
                self._unread(found[0])


def worker_count(
    asked: int | None,
    *,
    frame_bytes: int,
    remote: int = 0,
    copies: int | None = None,
    cores: int | None = None,
) -> int:
    """Return how many threads to use: as asked, else one a core, more where the network is waited for.

    Bounded so that the frames in work stay within a quarter of a gigabyte, on large machines within
    64 MiB a core; always at least one. ``remote`` are wanted at least where a remote store is waited
    for, 0 elsewhere. ``copies`` of a frame are in memory while it is worked on.
    ``cores`` are by default those that this process may use.
    """
    cores = cores or usable_cores()
    wanted = asked or max(remote, cores)
    most = max(_IN_FLIGHT_BYTES, _IN_FLIGHT_BYTES_A_CORE * cores)
    fitting = most // max(1, frame_bytes * (copies or _COPIES))
    return max(1, min(wanted, fitting) if frame_bytes else wanted)
