"""Connections of our own to one server: a request is sent as it is, its answer read with few calls.

urllib3 connects, as boto3 lets it; what it and `http.client` do for each request costs half a millisecond
of processor time, which is as much as sending a megabyte. HTTP: RFC 9112.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import create_urllib3_context, get_cert_path
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError as NoConnectionInTime
from urllib3.exceptions import HTTPError, IncompleteRead, NewConnectionError
from urllib3.exceptions import SSLError as NoTls
from urllib3.util.ssl_match_hostname import CertificateError

from imaging_db.stores.s3_client import CONNECTIONS
from imaging_db.stores.s3_watch import Watch

if TYPE_CHECKING:
    import socket

BLOCK_BYTES = 65_536
"""What is sent by one call, which may take the time-out: a whole body would have to end in one."""

_LINE_BYTES = 65_536
_MOST_HEADERS = 100


class Line:
    """Connections to the server of ``url``, for threads; as many as `CONNECTIONS` are kept open.

    ``timeout`` is of connecting, which holds for sending too, and of each wait for an answer, in seconds;
    ``verify`` is a file of certificates or True for botocore's; ``watch`` cuts what only trickles. Raises
    botocore's exceptions.
    """

    def __init__(
        self, url: str, *, verify: str | bool, timeout: tuple[float, float], watch: Watch
    ) -> None:
        parts = urlsplit(url)
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._address = parts.hostname or "", parts.port
        self._timeout = timeout
        self._watch = watch
        self._encrypted = parts.scheme == "https"
        self._verify = verify
        self._idle: deque[_Connection] = deque(maxlen=CONNECTIONS)

    def send(
        self, method: str, target: str, *, headers: Mapping[str, str], data: bytes | memoryview
    ) -> AWSResponse:
        """Return the answer to one request, with its body read; sent once."""
        connection = self._connection()
        try:
            connection.send(_head(method, target, headers), data)
            answer = connection.answer(self._url + target, method)
        except TimeoutError as error:
            connection.close()
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        except (OSError, ValueError) as error:
            connection.close()
            request = AWSRequest(method, self._url + target).prepare()
            raise ConnectionClosedError(
                error=error, request=request, endpoint_url=self._url
            ) from error
        except BaseException:
            connection.close()  # nobody knows how much was sent
            raise
        self._keep(connection)
        return answer

    def close(self) -> None:
        """Close what is not in use."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> _Connection:
        """Return an open connection, the last used one first: servers close what rests."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._new()
            if connection.is_open():
                return connection
            connection.close()

    def _keep(self, connection: _Connection) -> None:
        if connection.ended or len(self._idle) == self._idle.maxlen:
            connection.close()
        else:
            self._idle.append(connection)

    def _new(self) -> _Connection:
        made: HTTPConnection | None = None
        try:
            made = self._made()
            made.connect()
            return _Connection(made, self._timeout, self._watch)
        except BaseException as error:
            if made is not None:
                made.close()
            if isinstance(error, (HTTPError, OSError, CertificateError)):
                raise _told(error, self._url) from error
            raise

    def _made(self) -> HTTPConnection:
        host, port = self._address
        if not self._encrypted:
            return HTTPConnection(host, port, timeout=self._timeout[0])
        return HTTPSConnection(host, port, timeout=self._timeout[0], ssl_context=self._context)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Return the TLS of boto3; to read the certificates takes too long for each connection."""
        context: ssl.SSLContext = create_urllib3_context()
        file = self._verify if isinstance(self._verify, str) else get_cert_path(True)
        context.load_verify_locations(cafile=file)
        return context


class _Connection:
    """One open connection, and the buffer of its answers."""

    def __init__(self, made: HTTPConnection, timeout: tuple[float, float], watch: Watch) -> None:
        self._made = made
        self._socket: socket.socket = made.sock  # of a connected one
        self._timeout = timeout
        self._watch = watch
        self._answers = self._socket.makefile("rb", _LINE_BYTES)
        self.ended = False

    def is_open(self) -> bool:
        return self._made.is_connected

    def close(self) -> None:
        self._answers.close()
        self._made.close()

    def send(self, head: bytes, data: bytes | memoryview) -> None:
        connection, wait = self._socket, self._timeout
        connection.settimeout(wait[0])
        try:
            connection.sendall(head)
            whole = memoryview(data)
            for at in range(0, len(whole), BLOCK_BYTES):
                connection.sendall(whole[at : at + BLOCK_BYTES])
        except (BrokenPipeError, ConnectionResetError):
            self.ended = (
                True  # a server that refuses need not read everything: what it answers counts
            )
        connection.settimeout(wait[1])

    def answer(self, url: str, method: str) -> AWSResponse:
        with self._watch.over(self._socket, 0):
            version, status, headers = self._head()
            while status < 200:  # 100, "go on"
                version, status, headers = self._head()
        wish = headers.get("connection", "" if version == "HTTP/1.1" else "close").lower()
        self.ended = self.ended or "close" in wish
        empty = method == "HEAD" or status in (204, 304)
        with self._watch.over(self._socket, int(headers.get("content-length", 0))):
            body = b"" if empty else self._body(headers)
        return AWSResponse(url, status, headers, _Read(body))  # type: ignore[arg-type]  # it only streams

    def _head(self) -> tuple[str, int, dict[str, str]]:
        version, status, *_ = self._line().split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise ValueError("the answer is not HTTP/1")
        headers: dict[str, str] = {}
        for _ in range(_MOST_HEADERS):
            line = self._line()
            if not line:
                return version, int(status), headers
            name, colon, value = line.partition(":")
            if not colon or line[0] in " \t":
                raise ValueError("the answer has a header without a name")
            headers[name.lower()] = value.strip()
        raise ValueError("the answer has too many headers")

    def _line(self) -> str:
        line = self._answers.readline(_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise ConnectionError("the answer has no end")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        self.ended = True
        return bytes(self._answers.read())

    def _chunk(self) -> bytes:
        size = int(self._line().partition(";")[0], 16)
        data = self._exactly(size)
        while self._line() and not size:
            pass  # what may follow the last one
        return data

    def _exactly(self, size: int) -> bytes:
        if size < 0:
            raise ValueError("the answer has a negative length")
        data = bytes(self._answers.read(size))
        if len(data) != size:
            raise IncompleteRead(len(data), size - len(data))
        return data


class _Read:
    """A body that was read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, *_: object) -> tuple[bytes, ...]:
        """Return it as one piece."""
        return (self._data,)

    def close(self) -> None:
        """Return at once."""


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header has more than one line")
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def _told(error: Exception, url: str) -> BotoCoreError:
    """Return botocore's exception for one that urllib3 connects with."""
    if isinstance(error, (NoTls, ssl.SSLError, CertificateError)):
        return SSLError(endpoint_url=url, error=error)
    if isinstance(error, NoConnectionInTime) and not isinstance(error, NewConnectionError):
        return ConnectTimeoutError(endpoint_url=url, error=error)
    return EndpointConnectionError(endpoint_url=url, error=error)
