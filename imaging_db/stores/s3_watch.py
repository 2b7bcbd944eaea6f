"""Answers that come too slowly are cut off: a time-out of a socket only ends complete silence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SLOWEST = 4000.0  # bytes a second; less than a modem's share
_TICK = 0.5


class Watch:
    """Watches what all threads of a store receive.

    Whatever takes longer than ``seconds`` and its size at four kilobytes a second is cut; whoever reads it
    meets the end of it, as where a server goes away in the middle.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[int, tuple[float, Any]] = {}
        self._guard = threading.Lock()
        self._closed: threading.Event | None = None

    @contextmanager
    def over(self, answer: Any, size: int) -> Iterator[None]:
        """Watch while at most ``size`` bytes of ``answer``, urllib3's or a socket, are read."""
        if self._closed is None:
            self._begin()
        self._due[id(answer)] = (time.monotonic() + self._seconds + size / _SLOWEST, answer)
        try:
            yield
        finally:
            self._due.pop(id(answer), None)

    def close(self) -> None:
        """End the watching thread; the next answer begins another."""
        with self._guard:
            closed, self._closed = self._closed, None
        if closed is not None:
            closed.set()

    def _begin(self) -> None:
        with self._guard:
            if self._closed is None:
                self._closed = threading.Event()
                threading.Thread(target=self._run, args=(self._closed,), daemon=True).start()

    def _run(self, closed: threading.Event) -> None:
        while not closed.wait(_TICK):
            now = time.monotonic()
            for due, answer in list(self._due.values()):
                if due < now:
                    _cut(answer)


def answer_of(body: Any) -> Any:
    """Return urllib3's answer below a body of boto3."""
    return body._raw_stream


def size_of(body: Any) -> int:
    """Return how many bytes a body of boto3 has, 0 where the server did not tell."""
    return int(body._content_length or 0)


def _cut(answer: Any) -> None:
    # its end may have come at the same moment; other versions of urllib3 may keep the socket elsewhere
    with contextlib.suppress(OSError, AttributeError):
        found = answer if isinstance(answer, socket.socket) else answer._fp.fp.raw._sock
        found.shutdown(socket.SHUT_RDWR)
