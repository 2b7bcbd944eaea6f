"""A link that takes time: what passes through arrives later, as much at once as before.

::

    with slow_link("http://127.0.0.1:9000", round_trip=0.04) as url:
        ...  # the server is now 40 ms away

It runs in a process of its own (``python -m benchmarks.slow_link <port> <seconds>``). Each direction takes
half of the round trip, and a new connection one round trip more, as the handshake of TCP would.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import urlsplit

_MOST_WAITING = 64 * 2**20  # bytes of one direction of one connection


class _Direction(asyncio.Protocol):
    """Hands what it receives to ``other``, ``seconds`` later."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.other: _Direction | None = None
        self.transport: asyncio.Transport | None = None
        self._queue: deque[tuple[float, bytes]] = deque()
        self._waiting = 0
        self._free_at = 0.0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._add(data)
        self._waiting += len(data)
        if self._waiting > _MOST_WAITING and self.transport:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._add(b"")
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self._add(b"")

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()

    def hold(self, seconds: float) -> None:
        """Let nothing out before ``seconds`` from now."""
        self._free_at = self._loop.time() + seconds

    def _add(self, data: bytes) -> None:
        due = max(self._loop.time() + self.seconds, self._free_at)
        self._queue.append((due, data))
        if len(self._queue) == 1:
            self._loop.call_at(due, self._pass_on)

    def _pass_on(self) -> None:
        now = self._loop.time()
        if self.other is None:  # the server has not accepted yet
            self._loop.call_at(now + self.seconds, self._pass_on)
            return
        while self._queue and self._queue[0][0] <= now:
            _, data = self._queue.popleft()
            self._write(data)
            self._waiting -= len(data)
        if self._waiting < _MOST_WAITING and self.transport and not self.transport.is_closing():
            self.transport.resume_reading()
        if self._queue:
            self._loop.call_at(self._queue[0][0], self._pass_on)

    def _write(self, data: bytes) -> None:
        target = self.other.transport if self.other else None
        if target is None or target.is_closing():
            return
        if data:
            target.write(data)
        else:
            target.close()


async def _serve(port: int, round_trip: float) -> None:
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    async def connect(up: _Direction) -> None:
        _, down = await loop.create_connection(
            lambda: _Direction(round_trip / 2), "127.0.0.1", port
        )
        up.other, down.other = down, up

    class Arrival(_Direction):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.hold(1.5 * round_trip)
            task = loop.create_task(connect(self))
            connecting.add(task)
            task.add_done_callback(connecting.discard)

    server = await loop.create_server(lambda: Arrival(round_trip / 2), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def slow_link(url: str, *, round_trip: float) -> Iterator[str]:
    """Yield the URL at which the server of ``url`` (on this computer) answers ``round_trip`` seconds later."""
    port = urlsplit(url).port or 80
    command = [sys.executable, "-m", "benchmarks.slow_link", str(port), str(round_trip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as link:
        try:
            assert link.stdout is not None
            yield f"http://127.0.0.1:{int(link.stdout.readline())}"
        finally:
            link.terminate()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
