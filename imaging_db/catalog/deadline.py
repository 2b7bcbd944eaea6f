"""Deadlines: no answer of PostgreSQL is waited for without end.

The server's own time-outs do not help where the server is stopped, or where a proxy keeps the connection
open and forwards nothing, and libpq has none for an answer. So a timer closes the socket below it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, event


class Deadlines:
    """The deadline of each thread, and the connections that it cuts."""

    _current = threading.local()

    @classmethod
    def watch(cls, engine: Engine) -> None:
        """Let the deadlines of all threads hold for the connections of an engine."""

        @event.listens_for(engine, "do_connect")
        def connect(dialect: Any, record: object, args: Any, options: Any) -> Any:
            connection = dialect.connect(*args, **options)
            cls._uses(connection)
            return connection

        @event.listens_for(engine, "checkout")
        def checkout(connection: Any, record: object, proxy: object) -> None:
            cls._uses(connection)

    @classmethod
    @contextmanager
    def within(cls, seconds: float | None) -> Iterator[None]:
        """Cut this thread's connection once ``seconds`` are over; None waits for ever."""
        if seconds is None:
            yield
            return
        cut = _Cut()
        timer = threading.Timer(seconds, cut.fire)
        timer.daemon = True
        cls._current.cut = cut
        timer.start()
        try:
            yield
        finally:
            cls._current.cut = None
            cut.disarm()
            timer.cancel()

    @classmethod
    def _uses(cls, connection: Any) -> None:
        cut: _Cut | None = getattr(cls._current, "cut", None)
        if cut is not None:
            cut.arm(connection)


class _Cut:
    """Closes one connection's socket, unless it was given back before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None

    def arm(self, connection: Any) -> None:
        with self._lock:
            self._connection = connection

    def disarm(self) -> None:
        self.arm(None)

    def fire(self) -> None:
        with self._lock:
            if self._connection is None or self._connection.closed:
                return
            number = self._connection.fileno()
            with (
                suppress(OSError),  # it broke at the same moment
                socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as copy,
            ):
                copy.shutdown(socket.SHUT_RDWR)
