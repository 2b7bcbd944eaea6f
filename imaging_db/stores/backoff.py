"""How long to wait before trying again, and by which clock."""

from __future__ import annotations

import random
import time

DELETE_SECONDS = 45.0
"""A store never begins to delete an object, nor tries again, later than this after it was asked to."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def backoff_seconds(attempt: int) -> float:
    """Return a random pause after failed attempt number ``attempt`` (from 1), in seconds.

    At most half a second after the first, twice that after each further one, ten seconds in the end:
    random, so that many clients that failed together do not come back together. Never less than a
    quarter of that, so that eight attempts outlast a server that is started anew.
    """
    longest = min(10.0, 0.5 * 2 ** (attempt - 1))
    return random.uniform(longest / 4, longest)  # noqa: S311 - no secret


def seconds_passed() -> float:
    """Return seconds of a clock that goes on while the computer sleeps, where the system has one."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
