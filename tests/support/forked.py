"""Work in a forked child: bounded, and measured by the system itself.

The parent has imported what the work needs, so a case costs a fork and not an import. Meant for modules
that run by themselves (``python -m tests.reliability.damage``): a fork wants a process with one thread.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_ADDRESS_SPACE = 6 * 2**30  # a bound for the machine's sake; what counts is what is really used
_GRACE = 15.0  # seconds that a busy machine may take beyond the limit before a child is ended


@dataclass(frozen=True)
class Measured:
    """What a child came to: ``value`` of its work, None where it died; seconds of its own, peak memory."""

    value: Any
    died: str
    seconds: float
    megabytes: float


def run_forked(work: Callable[[], Any], *, seconds: float = 5.0) -> Measured:
    """What ``work`` returns (anything that JSON holds) or what became of it, from a child process.

    ``seconds`` of the result are those of the processor, or of the clock where the child slept through
    more than the limit.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(work, writing)
    os.close(writing)
    started = time.monotonic()
    data, ended = _read(reading, started + seconds + _GRACE)
    if not ended:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status, used = os.wait4(child, 0)
    took = used.ru_utime + used.ru_stime
    if not ended:
        took = max(took, time.monotonic() - started)
    return _measured(data, status, took, used.ru_maxrss / 1024, ended=ended)


def _measured(data: bytes, status: int, took: float, megabytes: float, *, ended: bool) -> Measured:
    if not ended:
        return Measured(None, "hangs", took, megabytes)
    if os.WIFSIGNALED(status):
        return Measured(None, f"signal {os.WTERMSIG(status)}", took, megabytes)
    try:
        return Measured(json.loads(data), "", took, megabytes)
    except ValueError:
        return Measured(
            None, data.decode("utf-8", "replace")[-2000:] or "no answer", took, megabytes
        )


def _read(descriptor: int, deadline: float) -> tuple[bytes, bool]:
    import select

    pieces = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return b"".join(pieces), False
        piece = os.read(descriptor, 2**20)
        if not piece:
            return b"".join(pieces), True
        pieces.append(piece)


def _work(work: Callable[[], Any], writing: int) -> None:
    """Run in the child; never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        data = json.dumps(work()).encode()
    except BaseException:  # noqa: BLE001 - the parent tells of it, whatever it is
        data = traceback.format_exc().encode("utf-8", "backslashreplace")
    with os.fdopen(writing, "wb") as stream:
        stream.write(data)
    os._exit(0)
