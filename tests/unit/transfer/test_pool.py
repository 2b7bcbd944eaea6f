"""The pool keeps few items in work, reads every result and lets no exception vanish."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest

from imaging_db.transfer.pool import Second, Stop, StopFlag, piped, pooled, worker_count

Run = Callable[..., Generator[Any, None, None]]


def one_stage(work: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Any:
    return pooled(work, items, workers=2, **options)


def two_stages(work: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Any:
    """The work in the second stage; the first hands on what it gets."""
    return piped(lambda x: x, items, Second(work, 3, lambda _: 10, 100), workers=2, **options)


EITHER = pytest.mark.parametrize("run", [one_stage, two_stages])


@EITHER
def test_every_item_is_worked_on_once(run: Run) -> None:
    assert sorted(run(lambda x: x * x, range(1000))) == [x * x for x in range(1000)]


@EITHER
def test_nothing_in_nothing_out(run: Run) -> None:
    assert list(run(lambda x: x, [])) == []


def test_more_threads_than_may_be_ahead_do_not_wait_for_ever() -> None:
    assert sorted(pooled(lambda x: x, range(3), workers=40, ahead=4)) == [0, 1, 2]
    second = Second(lambda x: x, 3, lambda _: 10, 100)
    assert sorted(piped(lambda x: x, range(3), second, workers=40, ahead=4)) == [0, 1, 2]


@EITHER
def test_items_are_taken_only_as_they_are_needed(run: Run) -> None:
    taken = itertools.count()
    endless = (next(taken) for _ in itertools.count())
    with closing(run(lambda x: x, endless, ahead=4)) as results:
        next(results)
        time.sleep(0.05)
    assert next(taken) <= 8


@EITHER
def test_a_slow_item_holds_up_no_other(run: Run) -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(10)
        return item

    with closing(run(work, range(6), ahead=6)) as results:
        assert sorted(itertools.islice(results, 5)) == [1, 2, 3, 4, 5]
        first_may_end.set()
        assert list(results) == [0]


@EITHER
def test_while_the_reader_is_busy_the_threads_go_on_as_far_as_allowed(run: Run) -> None:
    done: list[int] = []
    with closing(run(done.append, range(100), ahead=20)) as results:
        next(results)  # and then the reader writes rows for a while
        deadline = time.monotonic() + 10
        while len(done) < 21 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(done) == 21


@EITHER
def test_the_first_error_stops_the_rest_and_is_raised(run: Run) -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        if item == 5:
            raise OSError("disk on fire")
        return item

    with pytest.raises(OSError, match="disk on fire"):
        list(run(work, range(10_000)))
    assert len(started) < 100
    assert not threads()


@EITHER
def test_an_error_of_the_items_is_raised(run: Run) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("page 2 is damaged")

    with pytest.raises(ValueError, match="page 2 is damaged"):
        list(run(lambda x: x, items()))


def test_an_error_of_the_first_stage_frees_those_that_wait_for_the_second() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise OSError("no such page")
        return item

    slow = Second(lambda _: time.sleep(0.01), 1, lambda _: 50, 100)
    with pytest.raises(OSError, match="no such page"):
        list(piped(work, itertools.count(), slow, workers=4))
    assert not threads()


def test_an_error_of_the_second_stage_frees_those_that_wait_for_room() -> None:
    def put(item: int) -> None:
        raise OSError("bucket is gone")

    with pytest.raises(OSError, match="bucket is gone"):
        list(piped(lambda x: x, itertools.count(), Second(put, 1, lambda _: 99, 100), workers=4))
    assert not threads()


@EITHER
def test_what_was_finished_but_not_asked_for_is_told(run: Run) -> None:
    told: list[int] = []
    done: list[int] = []

    def work(item: int) -> int:
        done.append(item)
        return item

    with closing(run(work, itertools.count(), ahead=50, unread=told.append)) as results:
        read = [next(results), next(results)]
    assert sorted(read + told) == sorted(done)


@EITHER
def test_no_thread_outlives_the_pool(run: Run) -> None:
    with closing(run(lambda x: x, range(1000))) as results:
        next(results)
        assert threads()
    assert not threads()


def test_long_work_hears_that_nobody_waits_for_it() -> None:
    stop = StopFlag()
    began = threading.Event()
    ended: list[str] = []

    def work(item: int) -> None:
        if item == 0:
            return
        began.set()
        try:
            while True:
                stop.check()
                time.sleep(0.005)
        except Stop:
            ended.append("stopped")
            raise

    with closing(pooled(work, range(2), workers=2, stop=stop)) as results:
        next(results)
        assert began.wait(10)
    assert ended == ["stopped"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send it to a thread")
@EITHER
def test_ctrl_c_ends_it_at_once(run: Run) -> None:
    def work(item: int) -> int:
        if item == 10:
            signal.raise_signal(signal.SIGINT)  # heard by the main thread
        time.sleep(0.005)
        return item

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(run(work, itertools.count()))
    assert time.monotonic() - began < 5
    assert not threads()


def test_what_waits_for_the_second_stage_is_bounded_by_bytes() -> None:
    """Items of 1 to 60 bytes; at most 100 are between the stages, and 40 of each of two makers."""
    lock = threading.Lock()
    held = most = 0

    def make(item: int) -> int:
        nonlocal held, most
        size = 1 + item * 7 % 60
        with lock:
            held += size
            most = max(most, held)
        return size

    def put(size: int) -> int:
        nonlocal held
        time.sleep(0.0005)
        with lock:
            held -= size
        return size

    second = Second(put, 8, lambda size: size, 100)
    assert len(list(piped(make, range(500), second, workers=2))) == 500
    assert held == 0
    assert 100 < most <= 100 + 2 * 60


def test_one_item_may_be_larger_than_the_bound() -> None:
    second = Second(lambda size: size, 2, lambda size: size, 100)
    assert sorted(piped(lambda x: x, [1, 1000, 1, 2000], second, workers=2)) == [1, 1, 1000, 2000]


def test_large_frames_get_fewer_threads() -> None:
    assert worker_count(8, frame_bytes=2**20, cores=2) == 8
    assert worker_count(8, frame_bytes=32 * 2**20, cores=2) == 2
    assert worker_count(8, frame_bytes=2**40, remote=16, cores=2) == 1
    assert worker_count(None, frame_bytes=0, remote=16) >= 16


def test_a_machine_of_many_cores_uses_them() -> None:
    assert worker_count(None, frame_bytes=8 * 2**20, cores=32) == 32
    assert worker_count(None, frame_bytes=64 * 2**20, cores=32) == 8


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("imaging_db")]
