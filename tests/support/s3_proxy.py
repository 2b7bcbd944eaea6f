"""An HTTP proxy in front of any S3 server that spoils what a test tells it to.

::

    with S3Proxy(server.url) as proxy:
        proxy.plan("PUT", "status", status=503, times=3)     # three refusals that the server never sees
        proxy.plan("PUT", "lose answer", containing="im_c001")
        proxy.plan("GET", "flip", times=EVER)
        ...
        injected.add(len(proxy.hits))

Kinds. Before the server hears of it: ``status``, ``reset``, ``damage`` (one bit of what goes up), ``slow
up`` (so many bytes a second are taken). After it: ``reset after`` (in the middle of the answer), ``lose
answer``. Of the answer: ``slow`` (so many bytes a second), ``silence`` (so many seconds before it),
``truncate``, ``flip`` (one bit), ``other`` (another object's body and headers), ``empty`` and ``html``
(with 200), ``strip`` (headers of these names), ``old`` (HTTP/1.0, no length, the end of the connection
ends it), ``chunked``.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

EVER = 10**9
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing sends RST
_PAGE = b"<html><head><title>Welcome</title></head><body>Please log in.</body></html>"
_TICK = 0.05


@dataclass
class Plan:
    """One fault: what is done how often to requests of a method whose path has ``containing``."""

    method: str
    kind: str
    times: int = 1
    containing: str = ""
    after: int = 0
    status: int = 503
    code: str = "SlowDown"
    extra: str = ""
    speed: float = 1000
    seconds: float = 1
    names: tuple[str, ...] = ("etag", "x-amz-meta-sha256")


@dataclass
class Answer:
    """What the server said, on its way to the client."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class _State:
    plans: list[Plan] = field(default_factory=list)
    hits: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    last: dict[str, Answer] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class S3Proxy:
    """Forwards requests to ``target``; ``hits`` names each that met a fault, ``requests`` all of them."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self._state = _State()
        self._server = _Server(("127.0.0.1", 0), _Forwarded)
        self._server.proxy = self
        # little waits between us and a client, so that one who is slow is felt
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> S3Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def hits(self) -> list[str]:
        """``kind METHOD path`` of each request that met a fault."""
        return self._state.hits

    @property
    def requests(self) -> list[str]:
        """``METHOD path`` of each request."""
        return self._state.requests

    def plan(self, method: str, kind: str, **options: Any) -> None:
        """Plan a fault, see `Plan`; ``after`` requests like it pass before the first is met."""
        assert kind in _BEFORE or kind in _AFTER, kind
        self._state.plans.append(Plan(method, kind, **options))

    def heal(self) -> None:
        """Spoil nothing any more."""
        self._state.plans.clear()

    def met(self, method: str, path: str) -> Plan | None:
        """Note a request and return the fault that it meets."""
        state = self._state
        with state.lock:
            state.requests.append(f"{method} {path}")
            for plan in state.plans:
                if plan.method not in (method, "*") or plan.containing not in path:
                    continue
                if plan.after > 0:
                    plan.after -= 1
                elif plan.times > 0:
                    plan.times -= 1
                    state.hits.append(f"{plan.kind} {method} {path}")
                    return plan
        return None

    def other(self, path: str, answer: Answer) -> Answer:
        """Return the last good answer to another path, and keep this one for the next."""
        with self._state.lock:
            last = self._state.last
            nothing = Answer(answer.status, answer.headers, b"another object")
            found = next((one for name, one in last.items() if name != path), nothing)
            last[path] = answer
            return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: S3Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent where a client has gone; tell everything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Forwarded(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        self.proxy: S3Proxy = self.server.proxy  # type: ignore[attr-defined]
        plan = self.proxy.met(self.command, self.path)
        size = int(self.headers.get("Content-Length") or 0)
        step = int(plan.speed * _TICK) if plan and plan.kind == "slow up" else size
        self.sent = b"".join(self._taken(size, step=step))
        before = _BEFORE.get(plan.kind) if plan else None
        if plan and before and before(self, plan):
            return
        try:
            answer = self._asked()
        except (OSError, http.client.HTTPException):  # the server is down
            self.reset()
            return
        if self.command == "GET" and any(name == "ETag" for name, _ in answer.headers):
            other = self.proxy.other(self.path, answer)
            if plan and plan.kind == "other":
                answer = other
        tell = _AFTER.get(plan.kind) if plan else None
        if plan and tell:
            tell(self, plan, answer)
        else:
            self.tell(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - names of the library

    def _taken(self, size: int, *, step: int) -> Iterator[bytes]:
        """Yield the body of a request, with a pause between steps."""
        for at in range(0, size, max(1, step)):
            yield self.rfile.read(min(step, size - at))
            if step < size:
                time.sleep(_TICK)

    def _asked(self) -> Answer:
        target = self.proxy.target
        asking = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        with contextlib.closing(asking) as connection:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, text in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, text)
            connection.endheaders(self.sent)
            found = connection.getresponse()
            headers = [(n, t) for n, t in found.getheaders() if n.lower() not in _HOP]
            body = found.read()
            if self.command == "HEAD":
                headers.append(("Content-Length", found.getheader("Content-Length", "0")))
            return Answer(found.status, headers, body)

    def tell(self, answer: Answer, *, length: int | None = None) -> None:
        """Answer; a ``length`` that is not the body's is a lie."""
        self.start(answer)
        if self.command != "HEAD":
            known = len(answer.body) if length is None else length
            self.send_header("Content-Length", str(known))
        self.end_headers()
        self.wfile.write(answer.body)

    def start(self, answer: Answer) -> None:
        """Begin an answer with its headers."""
        self.send_response_only(answer.status)
        for name, text in answer.headers:
            self.send_header(name, text)

    def reset(self) -> None:
        """Break the connection off as a crashed computer does."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Flush what there is; the connection may be gone."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()


# --- before the server hears of it: True where it never does


def _refuse(request: _Forwarded, plan: Plan) -> bool:
    body = f"<Error><Code>{plan.code}</Code>{plan.extra}</Error>".encode()
    request.tell(Answer(plan.status, [("Content-Type", "application/xml")], body))
    return True


def _reset(request: _Forwarded, plan: Plan) -> bool:
    request.reset()
    return True


def _pass(request: _Forwarded, plan: Plan) -> bool:
    return False


def _damage(request: _Forwarded, plan: Plan) -> bool:
    request.sent = _flipped(request.sent)
    return False


# --- of the answer


def _lose(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.close_connection = True


def _reset_after(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.start(answer)
    request.flush_headers()
    request.reset()


def _slow(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.start(answer)
    request.send_header("Content-Length", str(len(answer.body)))
    request.end_headers()
    step = max(1, int(plan.speed * _TICK))
    for start in range(0, len(answer.body), step):
        request.wfile.write(answer.body[start : start + step])
        time.sleep(_TICK)


def _silence(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    time.sleep(plan.seconds)
    request.tell(answer)


def _truncate(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    half = Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
    request.tell(half, length=len(answer.body))
    request.close_connection = True


def _flip(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.tell(Answer(answer.status, answer.headers, _flipped(answer.body)))


def _other(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.tell(answer)


def _empty(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.tell(Answer(200, answer.headers, b""))


def _html(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.tell(Answer(200, [("Content-Type", "text/html")], _PAGE))


def _strip(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    kept = [(name, text) for name, text in answer.headers if name.lower() not in plan.names]
    request.tell(Answer(answer.status, kept, answer.body))


def _old(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.protocol_version = "HTTP/1.0"
    request.close_connection = True
    request.start(answer)
    request.end_headers()
    request.wfile.write(answer.body)


def _chunked(request: _Forwarded, plan: Plan, answer: Answer) -> None:
    request.start(answer)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    if request.command != "HEAD":
        pieces = (answer.body[at : at + 700] for at in range(0, len(answer.body), 700))
        for piece in (*pieces, b""):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :] if data else data


_BEFORE: dict[str, Callable[[_Forwarded, Plan], bool]] = {
    "status": _refuse,
    "reset": _reset,
    "damage": _damage,
    "slow up": _pass,
}
_AFTER: dict[str, Callable[[_Forwarded, Plan, Answer], None]] = {
    "lose answer": _lose,
    "reset after": _reset_after,
    "slow": _slow,
    "silence": _silence,
    "truncate": _truncate,
    "flip": _flip,
    "other": _other,
    "empty": _empty,
    "html": _html,
    "strip": _strip,
    "old": _old,
    "chunked": _chunked,
}
