"""Our own connections: what servers may answer, and what becomes of an answer that is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import IncompleteRead

from imaging_db.stores.s3_line import Line
from imaging_db.stores.s3_watch import Watch

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(*answers: bytes, hang_up: bool = True) -> Iterator[tuple[Line, list[bytes]]]:
    """Give a line to a server that gives these answers, one a request, and what it was asked."""
    asked: list[bytes] = []
    done = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            for answer in answers:
                asked.append(connection.recv(65_536))
                connection.sendall(answer)
            if not hang_up:
                done.wait(5)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/lab/"
        line = Line(url, verify=True, timeout=(2, 0.5), watch=Watch(5))
        try:
            yield line, asked
        finally:
            line.close()
            done.set()
            thread.join()


def get(line: Line, target: str = "/lab/a", method: str = "GET") -> tuple[int, bytes]:
    answer = line.send(method, target, headers={"Host": "lab"}, data=b"")
    return answer.status_code, answer.content


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (OK + b"Content-Length: 4\r\n\r\nabcd", (200, b"abcd")),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            (200, b"abcd"),
        ),
        (
            OK + b"transfer-encoding: Chunked\r\n\r\n4\r\nabcd\r\n0\r\nSum: 1\r\n\r\n",
            (200, b"abcd"),
        ),
        (OK + b"\r\nabcd", (200, b"abcd")),
        (b"HTTP/1.0 200 OK\n\nabcd", (200, b"abcd")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", (200, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 412 \r\nContent-Length:3\r\n\r\nxml", (412, b"xml")),
    ],
    ids=["length", "chunks", "trailer", "until the end", "1.0", "go on", "nothing", "refusal"],
)
def test_answers_of_servers(answer: bytes, found: tuple[int, bytes]) -> None:
    with answering(answer) as (line, _):
        assert get(line) == found


def test_a_head_has_no_body_and_headers_in_any_case() -> None:
    with answering(OK + b'ETAG: "1"\r\nContent-Length: 100\r\n\r\n') as (line, asked):
        answer = line.send("HEAD", "/lab/a?b=c", headers={"Host": "lab", "A": "1"}, data=b"")
        assert (answer.headers["etag"], answer.headers["Content-Length"]) == ('"1"', "100")
    assert asked == [b"HEAD /lab/a?b=c HTTP/1.1\r\nHost: lab\r\nA: 1\r\n\r\n"]


def test_one_connection_serves_many_requests() -> None:
    whole = OK + b"Content-Length: 1\r\n\r\n"
    with answering(whole + b"a", whole + b"b") as (line, asked):
        assert [get(line), get(line)] == [(200, b"a"), (200, b"b")]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionClosedError),
        (b"HTTP/1.1 200", ConnectionClosedError),
        (b"SSH-2.0-OpenSSH_9.2 x\r\n\r\n", ConnectionClosedError),
        (OK + b"Content-Length: 4\r\n\r\nab", IncompleteRead),
        (OK + b"Content-Length: -4\r\n\r\nab", ConnectionClosedError),
        (OK + b"Content-Length: four\r\n\r\nab", ConnectionClosedError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nab", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nabxy\r\n", ConnectionClosedError),
        (OK + b"A: b\r\n c\r\n\r\n", ConnectionClosedError),
        (OK + b"A: b\r\n" * 200 + b"\r\n", ConnectionClosedError),
        (OK + b"A: " + b"b" * 70_000 + b"\r\n\r\n", ConnectionClosedError),
    ],
)
def test_an_answer_that_is_none_is_an_error(answer: bytes, error: type[Exception]) -> None:
    with answering(answer) as (line, _), pytest.raises(error):
        get(line)


def test_silence_is_an_error() -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\n", hang_up=False) as (line, _),
        pytest.raises(ReadTimeoutError),
    ):
        get(line)


def test_a_header_of_two_lines_is_not_sent() -> None:
    with answering(b"") as (line, asked), pytest.raises(ConnectionClosedError):
        line.send("GET", "/a", headers={"A": "b\r\nC: d"}, data=b"")
    assert asked == [b""]


def test_nobody_there_and_no_tls_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EndpointConnectionError):
        get(Line(f"http://127.0.0.1:{port}", verify=True, timeout=(1, 1), watch=Watch(5)))
    with answering(b"no TLS", hang_up=False) as (line, _):
        encrypted = Line(
            line._url.replace("http:", "https:"), verify=True, timeout=(2, 1), watch=Watch(5)
        )
        with pytest.raises(SSLError):
            get(encrypted)
