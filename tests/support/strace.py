"""strace on a running command: the N-th system call of a kind fails or kills, or all calls are written down.

A command is held, strace is attached to it, and then it is let go; so it costs no start of an interpreter.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import FORKS, Commands, Done, Started

_ATTACH_SECONDS = 20.0
_CALL = re.compile(r"(?P<pid>\d+) +(?P<time>[\d.]+) (?P<name>\w+)\((?P<words>.*)")


@dataclass(frozen=True)
class Call:
    """One system call as strace writes it: its name, and its arguments with what it returned."""

    name: str
    words: str

    def paths(self) -> list[str]:
        """The paths among the arguments, and of open files."""
        return re.findall(r'"(/[^"]*)"', self.words) + re.findall(r"\d<(/[^>]*)>", self.words)


@functools.cache
def missing() -> str:
    """Why strace cannot be used here, empty where it can."""
    if not FORKS:
        return "commands cannot be forked here"
    program = shutil.which("strace")
    if program is None:
        return "there is no strace"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            words = ["-p", str(sleeper.pid), "-e", "trace=none", "-o", os.devnull]
            with subprocess.Popen(
                [program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as tracer:
                works = _is_traced(sleeper.pid, tracer)
                tracer.terminate()
        finally:
            sleeper.kill()
    return "" if works else "processes may not be traced here (ptrace)"


@contextmanager
def attached(started: Started, *words: str) -> Iterator[None]:
    """Trace a command that is held, and all its threads; the trace ends with it."""
    command = ["strace", "-f", "-qq", *words, "-p", str(started.pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        try:
            if not _is_traced(started.pid, tracer):
                raise RuntimeError(f"{command}: {tracer.stderr.read().decode()}")
            yield
            with contextlib.suppress(subprocess.TimeoutExpired):
                tracer.wait(_ATTACH_SECONDS)
        finally:
            tracer.kill()


def failing(
    commands: Commands,
    command: str,
    argv: list[str],
    *,
    cwd: Path,
    calls: str,
    what: str,
    when: str,
) -> tuple[Done, bool]:
    """What a command comes to whose ``when``-th call of those fails; and whether it had so many.

    ``what`` is ``error=EIO``, ``signal=KILL`` or another injection of strace. Each thread counts its own
    calls, and ``2+`` means the second and all after it.
    """
    started = commands.start(command, argv, cwd=cwd, held=True)
    with tempfile.NamedTemporaryFile(prefix="imdb-strace-") as log:
        words = ["-e", f"trace={calls}", "-e", f"inject={calls}:{what}:when={when}"]
        with attached(started, "-o", log.name, *words):
            commands.release([started])
            done = started.wait()
        met = done.code < 0 or b"(INJECTED)" in Path(log.name).read_bytes()
    return done, met


def calls_of(
    commands: Commands, command: str, argv: list[str], *, cwd: Path, names: str
) -> tuple[Done, list[Call]]:
    """What a command comes to, and its system calls of those names that succeeded, in their order."""
    started = commands.start(command, argv, cwd=cwd, held=True)
    with tempfile.NamedTemporaryFile(prefix="imdb-strace-") as log:
        with attached(started, "-o", log.name, "-ttt", "-y", "-s", "160", "-e", f"trace={names}"):
            commands.release([started])
            done = started.wait()
        text = Path(log.name).read_text(encoding="utf-8", errors="replace")
    return done, list(_read(text))


def _read(text: str) -> Iterator[Call]:
    """Calls in the order in which they returned; one that was interrupted by others is put together."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        pid, _, rest = line.partition(" ")
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.search(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed and pid in begun:
            line = f"{pid} {begun.pop(pid)}{resumed[1]}"
        found = _CALL.match(line)
        if found and not re.search(r"= -1 E\w+", line):
            yield Call(found["name"], found["words"])


def _is_traced(pid: int, tracer: subprocess.Popen[bytes]) -> bool:
    """Wait until a process is traced; False where the tracer ended, or takes too long."""
    status = Path(f"/proc/{pid}/status")
    limit = time.monotonic() + _ATTACH_SECONDS
    while time.monotonic() < limit and tracer.poll() is None:
        if re.search(r"TracerPid:\t[1-9]", status.read_text()):
            return True
        time.sleep(0.002)
    return False
