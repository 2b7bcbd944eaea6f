"""Commands as children: what they cost is theirs, and a failure is told."""

from __future__ import annotations

import http.client
import sys

import pytest

from benchmarks.children import ChildFailed, free_port, run, run_python, server


def test_memory_and_cpu_are_those_of_the_child_alone() -> None:
    ballast = bytearray(200_000_000)
    small = run_python("-c", "pass")
    large = run_python("-c", "x = bytearray(b'1') * 100_000_000")
    assert small.peak_rss < 60e6 < 100e6 < large.peak_rss < len(ballast)
    assert 0 < small.cpu <= run_python("-c", "sum(range(10**7))").cpu


def test_what_it_said_is_kept() -> None:
    assert run_python(
        "-c", "import sys; print('a'); print('b', file=sys.stderr)"
    ).output.split() == [
        "a",
        "b",
    ]


def test_rates_are_of_raw_bytes() -> None:
    outcome = run_python("-c", "pass")
    assert outcome.rate(10**9) == pytest.approx(1000 / outcome.wall)
    assert outcome.cpu_per_gb(10**9) == pytest.approx(outcome.cpu)


def test_a_command_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(ChildFailed, match=r"ended with 3:\nno luck"):
        run_python("-c", "import sys; print('no luck'); sys.exit(3)")


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(ChildFailed, match="no_such_program"):
        run(["no_such_program"])


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ChildFailed, match="took longer than"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=1)


def test_a_server_answers_until_the_block_ends() -> None:
    port = free_port()
    with server([sys.executable, "-m", "http.server", str(port)], port=port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("HEAD", "/")
        assert connection.getresponse().status == 200
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port).connect()


def test_a_server_that_ends_is_told() -> None:
    with (
        pytest.raises(ChildFailed, match="does not listen"),
        server([sys.executable, "-c", "print('cannot')"], port=free_port()),
    ):
        pass
