"""Commands as children: what they cost in time, CPU and memory; servers in processes of their own. POSIX."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_LAUNCH = Path(__file__).with_name("launch.py")
_POLL = 0.02
_PATIENCE = 60.0


class ChildFailed(RuntimeError):
    """A command ended with another exit code than 0; holds the end of what it said."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command cost: seconds of wall clock, CPU seconds of it and its children, peak RSS in bytes.

    ``peak_rss`` is that of the largest single process among them. ``output`` is stdout and stderr together.
    """

    wall: float
    cpu: float
    peak_rss: int
    output: str

    def rate(self, raw_bytes: int) -> float:
        """Return MB/s (10^6 bytes) of so many raw bytes."""
        return raw_bytes / 1e6 / self.wall

    def cpu_per_gb(self, raw_bytes: int) -> float:
        """Return CPU seconds a GB (10^9 bytes) of so many raw bytes."""
        return self.cpu * 1e9 / raw_bytes


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Run a command to its end and return what it cost; ``env`` is added to the environment.

    Raises
    ------
    ChildFailed
        Its exit code is not 0, or it took longer than ``timeout`` seconds.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        launcher = [sys.executable, "-I", "-S", str(_LAUNCH), str(report), *words]
        with subprocess.Popen(
            launcher,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(env),
            cwd=cwd,
            start_new_session=True,
            text=True,
            errors="replace",
        ) as process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as error:
                raise ChildFailed(f"{words[0]} took longer than {timeout} s") from error
            finally:
                _end_session(process)
        if process.returncode != 0:
            raise ChildFailed(f"{words[0]} cannot be run: {output[-2000:]}")
        wall, cpu, kib, code = report.read_text(encoding="ascii").split()
    if int(code) != 0:
        raise ChildFailed(f"{' '.join(words)[:300]} ended with {code}:\n{output[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Outcome(float(wall), float(cpu), int(kib) * unit, output)


def run_python(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Outcome:
    """Run this interpreter with arguments, such as ``-m imaging_db`` or ``-c`` and a program."""
    return run([sys.executable, *arguments], env=env)


@contextmanager
def server(
    command: Sequence[str | Path], *, port: int, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Give the port of a server that runs in a process of its own until the block ends.

    Raises
    ------
    ChildFailed
        It ended, or did not listen on ``port`` within a minute.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=log, env=_environment(env), start_new_session=True
        )
        try:
            deadline = time.monotonic() + _PATIENCE
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    told = log.read().decode(errors="replace")[-2000:]
                    raise ChildFailed(f"{words[0]} does not listen on port {port}: {told}")
                time.sleep(_POLL)
            yield port
        finally:
            _end_session(process)


def free_port() -> int:
    """Return a port of this computer that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment with the project importable and ``more`` added."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(more or {})}


def _end_session(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; it is the first of a session of its own."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.wait()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
