"""A TCP proxy that loses what a test tells it to: requests, answers, or everything from now on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TcpProxy:
    """Forwards connections to ``127.0.0.1:<port>``; ``port`` is where it listens itself.

    ``lose_request`` cuts the connection when a client sends those bytes, before the server sees them, or
    after it has seen ``lose_after`` bytes of what came with them; ``lose_answer`` lets the server see
    them, and cuts when it answers. Both happen once, after ``pass_first`` such requests have passed, and
    ``lost`` counts them. While ``stalled`` is set, connections stay open and nothing moves; `stall` sets
    it for some seconds.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lose_request: bytes | None = None
        self.lose_answer: bytes | None = None
        self.lose_after = 0
        self.pass_first = 0
        self.lost = 0
        self.stalled = threading.Event()
        self._closing = threading.Event()
        self._sockets: list[socket.socket] = []
        self._timers: list[threading.Timer] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Cut every connection and stop listening."""
        self._closing.set()
        for timer in self._timers:
            timer.cancel()
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the server is down
                client.close()
                continue
            self._sockets += [client, server]
            link = _Link(self, client, server)
            for work in (link.upwards, link.downwards):
                thread = threading.Thread(target=work, daemon=True)
                self._threads.append(thread)
                thread.start()

    def stall(self, seconds: float) -> None:
        """Let nothing move for so many seconds; returns at once."""
        self.stalled.set()
        timer = threading.Timer(seconds, self.stalled.clear)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def wait(self) -> None:
        """Return once nothing is stalled any more, or the proxy is closed."""
        while self.stalled.is_set() and not self._closing.wait(0.02):
            pass


class _Link:
    """One client and its server."""

    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._answer_is_lost = False
        self._left: int | None = None

    def upwards(self) -> None:
        for data in self._received(self._client):
            proxy = self._proxy
            if self._is_meant(proxy.lose_request, data):
                proxy.lose_request = None
                self._left = proxy.lose_after
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
                if self._left == 0:
                    with contextlib.suppress(OSError):
                        self._server.sendall(data)
                    self._lose()
                    return
            if self._is_meant(proxy.lose_answer, data):
                proxy.lose_answer = None
                self._answer_is_lost = True
            with contextlib.suppress(OSError):
                self._server.sendall(data)

    def downwards(self) -> None:
        for data in self._received(self._server):
            if self._answer_is_lost:
                self._lose()
                return
            with contextlib.suppress(OSError):
                self._client.sendall(data)

    def _received(self, source: socket.socket) -> Iterator[bytes]:
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            self._proxy.wait()
            if not data:
                self._cut()
                return
            yield data

    def _is_meant(self, wanted: bytes | None, data: bytes) -> bool:
        if wanted is None or wanted not in data:
            return False
        self._proxy.pass_first -= 1
        return self._proxy.pass_first < 0

    def _lose(self) -> None:
        self._proxy.lost += 1
        self._cut()

    def _cut(self) -> None:
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(port: int) -> Iterator[TcpProxy]:
    """Return a proxy in front of a port of this computer, closed at the end."""
    proxy = TcpProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
