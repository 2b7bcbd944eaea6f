"""The pool keeps few items in work and lets no exception vanish."""

from __future__ import annotations

import itertools
import threading
from contextlib import closing

import pytest

from imaging_db.transfer.pool import pooled, worker_count


def test_every_item_is_worked_on_once() -> None:
    assert sorted(pooled(lambda x: x * x, range(100), workers=4)) == [x * x for x in range(100)]


def test_nothing_in_nothing_out() -> None:
    assert list(pooled(lambda x: x, [], workers=3)) == []


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = itertools.count()
    endless = (next(taken) for _ in itertools.count())
    with closing(pooled(lambda x: x, endless, workers=2)) as results:
        next(results)
    assert next(taken) <= 8


def test_the_first_error_stops_the_rest_and_is_raised() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        if item == 5:
            raise OSError("disk on fire")
        return item

    with pytest.raises(OSError, match="disk on fire"):
        list(pooled(work, range(10_000), workers=2))
    assert len(started) < 100


def test_no_thread_outlives_the_pool() -> None:
    with closing(pooled(lambda x: x, range(1000), workers=4)) as results:
        next(results)
    assert not [t for t in threading.enumerate() if t.name.startswith("imaging_db")]


def test_large_frames_get_fewer_threads() -> None:
    assert worker_count(8, frame_bytes=2**20, remote=False) == 8
    assert worker_count(8, frame_bytes=32 * 2**20, remote=False) == 2
    assert worker_count(8, frame_bytes=2**40, remote=True) == 1
    assert worker_count(None, frame_bytes=0, remote=True) >= 16
