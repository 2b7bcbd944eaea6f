"""Command lines as processes: started at once, held, stalled, signalled, killed at any moment.

Forked by `tests.support.zygote` where the system can; elsewhere each is a Python of its own, which starts
slowly and knows neither gates nor stalls.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imaging_db import failpoints

UPLOADER, DOWNLOADER, IMAGING_DB = "data_uploader", "data_downloader", "main"
FORKS = hasattr(os, "fork")
PATIENCE = 120.0
"""Seconds after which a command that has not ended counts as hanging."""

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """What a command came to; ``code`` is negative where it was killed, times are of one clock."""

    code: int
    stdout: str
    stderr: str
    began: float
    ended: float
    peak_bytes: int = 0
    stalled: float | None = None
    stages: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def told(self) -> str:
        return self.stdout + self.stderr

    def errors(self) -> list[str]:
        """The lines that tell what failed."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


class Started:
    """A command that runs, or is held before its first step."""

    def __init__(self, commands: Commands, order: dict[str, Any]) -> None:
        self.order = order
        self.number: int = order["number"]
        self._commands = commands
        self.pid: int = commands.hear(self.number, "pid")["pid"]

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        self._commands.order({"signal": int(number), "to": self.number})

    def await_stall(self) -> float:
        """When it began to stall at a failpoint."""
        stalled: float = self._commands.hear(self.number, "stalled")["stalled"]
        return stalled

    def wait(self) -> Done:
        """What it came to."""
        news = self._commands.hear(self.number, "code")
        texts = [_taken(self.order.get(name)) for name in ("stdout", "stderr", "stages")]
        stalled = self._commands.heard(self.number, "stalled")
        return Done(
            news["code"],
            *texts[:2],
            news["began"],
            news["over"],
            news["peak"],
            stalled.get("stalled") if stalled else None,
            tuple(texts[2].split()),
        )


class Commands:
    """Starts commands; a context manager. For one thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._news: list[dict[str, Any]] = []

    def __enter__(self) -> Commands:
        self._folder = tempfile.TemporaryDirectory(prefix="imdb-commands-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,  # a Ctrl-C is for the tests, not for what they run
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE)
        self._process.stdout.close()
        self._folder.cleanup()

    def start(
        self,
        command: str,
        argv: Sequence[str],
        *,
        cwd: Path,
        failpoint: str = "",
        env: Mapping[str, str] | None = None,
        held: bool = False,
        stages: bool = False,
        together: bool = False,
        largest_file: int = 0,
        kill_after: float | None = None,
        signal_after: int = getattr(signal, "SIGKILL", signal.SIGTERM),
        signal_at_stall: int | None = None,
    ) -> Started:
        """Start ``imaging_db.cli.<command>`` with arguments; ``held`` waits for `release`.

        ``failpoint`` is armed as `imaging_db.failpoints` says. ``kill_after`` so many seconds
        ``signal_after`` is sent, ``signal_at_stall`` as soon as a failpoint stalls. With ``stages`` the
        result tells every stage that was passed, in order. ``together`` gives both of its outputs as
        ``stdout``, in the order in which a terminal would show them. ``largest_file`` is
        the size in bytes at which it finds its disk full, 0 for none.
        """
        number = next(self._numbers)
        wanted = {"stdout": True, "stderr": not together, "stages": stages}
        names = [name for name in wanted if wanted[name]]
        paths = {name: Path(self._folder.name, f"{number}.{name}") for name in names}
        for path in paths.values():
            path.touch()
        order = {
            "number": number,
            "command": command,
            "argv": [str(word) for word in argv],
            "cwd": str(cwd),
            "env": {**os.environ, **(env or {}), failpoints.VARIABLE: failpoint},
            "held": held,
            "largest_file": largest_file,
            "signal_after": int(signal_after),
            **{name: str(path) for name, path in paths.items()},
        }
        order |= {} if kill_after is None else {"kill_after": kill_after}
        order |= {} if signal_at_stall is None else {"signal_at_stall": int(signal_at_stall)}
        self.order(order)
        return Started(self, order)

    def run(self, command: str, argv: Sequence[str], *, cwd: Path, **options: Any) -> Done:
        """What a command comes to; options as those of `start`."""
        return self.start(command, argv, cwd=cwd, **options).wait()

    def release(self, started: Iterable[Started]) -> None:
        """Let commands that are held go on, all at once."""
        self.order({"release": [one.number for one in started]})

    def order(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, number: int, what: str) -> dict[str, Any]:
        """Wait for news of a command, and take it."""
        while (found := self.heard(number, what)) is None:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            assert line, f"the parent of the commands is gone ({self._process.poll()})"
            self._news.append(json.loads(line))
        return found

    def heard(self, number: int, what: str) -> dict[str, Any] | None:
        """Take news that have come already, None where there are none."""
        for index, news in enumerate(self._news):
            if news.get("number") == number and what in news:
                return self._news.pop(index)
        return None


class Slow(Commands):
    """The same where nothing can be forked: a Python for each command, without gates and stalls."""

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to do."""

    def run(self, command: str, argv: Sequence[str], *, cwd: Path, **options: Any) -> Done:
        env = {**os.environ, **(options.pop("env", None) or {})}
        env[failpoints.VARIABLE] = options.pop("failpoint", "")
        kill_after = options.pop("kill_after", None)
        together = options.pop("together", False)
        assert not options, f"not without fork: {', '.join(options)}"
        words = [sys.executable, "-m", f"imaging_db.cli.{command}", *map(str, argv)]
        began = time.monotonic()
        stderr = subprocess.STDOUT if together else subprocess.PIPE
        pipes = {"stdout": subprocess.PIPE, "stderr": stderr}
        with subprocess.Popen(words, cwd=cwd, env=env, encoding="utf-8", **pipes) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(kill_after or PATIENCE)
            process.kill()
            stdout, stderr = process.communicate()
        return Done(process.returncode, stdout, stderr or "", began, time.monotonic())


def _taken(path: str | None) -> str:
    """The text of a file, which is removed."""
    if path is None:
        return ""
    text = Path(path).read_text(encoding="utf-8")
    Path(path).unlink()
    return text


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """What starts the commands of all tests."""
    with Commands() if FORKS else Slow() as started:
        yield started
