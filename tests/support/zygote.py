"""The parent of the commands of a test: it has imported everything, has one thread, and forks.

A command is then a real process that starts in milliseconds, can be killed at any moment, and dies for good.
``python -m tests.support.zygote`` reads orders from its standard input and tells on its standard output
what came of them, a line of JSON each; `tests.support.commands` gives the orders. Tests run in another
process, so that their threads do not matter to the fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import selectors
import signal
import sys
import threading
import time
import traceback
import types
from dataclasses import dataclass, field
from typing import Any

import imaging_db

WARM = (
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.environment",
    "alembic.script",
    "boto3",
    "botocore.signers",
    "encodings.idna",
    "encodings.utf_8_sig",
    "imagecodecs",
    "logging.config",
    "pandas",
    "psycopg2.extras",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tifffile",
)

Order = dict[str, Any]


@dataclass
class Child:
    """A forked command: ``news`` tells of it and ends with it, ``gate`` holds it until it is closed."""

    number: int
    pid: int
    news: int
    gate: int | None
    order: Order
    began: float = field(default_factory=time.monotonic)

    @property
    def deadline(self) -> float | None:
        """When it is killed; never while it is held."""
        after = self.order.get("kill_after")
        return None if after is None or self.gate is not None else self.began + after


class Zygote:
    """Forks, watches and buries; has one thread."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)
        self._orders = b""

    def serve(self) -> None:
        """Follow orders until there are no more."""
        _tell(ready=True)
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fd == 0:
                    data = os.read(0, 65536)
                    if not data:
                        return self._end()
                    *lines, self._orders = (self._orders + data).split(b"\n")
                    for line in lines:
                        self._follow(json.loads(line))
                elif key.data.number in self._children:
                    self._hear(key.data)
            self._kill_the_late()

    def _patience(self) -> float | None:
        ends = [child.deadline for child in self._children.values() if child.deadline is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _follow(self, order: Order) -> None:
        if "release" in order:
            for number in order["release"]:
                self._release(self._children[number])
        elif "signal" in order:
            child = self._children.get(order["to"])
            if child is not None:  # not yet buried: the number is still its own
                os.kill(child.pid, order["signal"])
        else:
            self._fork(order)

    def _fork(self, order: Order) -> None:
        news, told = os.pipe()
        gate, opener = os.pipe() if order.get("held") else (None, None)
        pid = os.fork()
        if pid == 0:
            os.close(news)
            for other in self._children.values():
                for handle in (other.news, other.gate):
                    if handle is not None:
                        os.close(handle)
            if opener is not None:
                os.close(opener)
            _be_the_command(order, told, gate)
        os.close(told)
        if gate is not None:
            os.close(gate)
        child = Child(order["number"], pid, news, opener, order)
        self._children[child.number] = child
        self._selector.register(news, selectors.EVENT_READ, child)
        _tell(number=child.number, pid=pid)

    def _release(self, child: Child) -> None:
        if child.gate is not None:
            os.close(child.gate)
            child.gate, child.began = None, time.monotonic()

    def _hear(self, child: Child) -> None:
        """A command tells of a stall, or by its silence that it is no more."""
        if os.read(child.news, 1):
            number = child.order.get("signal_at_stall")
            if number is not None:
                os.kill(child.pid, number)
            _tell(number=child.number, stalled=time.monotonic())
            return
        over = time.monotonic()
        self._selector.unregister(child.news)
        os.close(child.news)
        self._release(child)
        _, status, usage = os.wait4(child.pid, 0)
        del self._children[child.number]
        code = os.waitstatus_to_exitcode(status)
        _tell(
            number=child.number,
            code=code,
            began=child.began,
            over=over,
            peak=usage.ru_maxrss * 1024,
        )

    def _kill_the_late(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.deadline is not None and child.deadline <= now:
                os.kill(child.pid, child.order.get("signal_after", signal.SIGKILL))
                del child.order["kill_after"]

    def _end(self) -> None:
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)


def _tell(**news: Any) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _be_the_command(order: Order, told: int, gate: int | None) -> None:
    """Be the process of a command line from here on; nothing returns."""
    try:
        _take_place(order)
        if gate is not None:
            os.read(gate, 1)
            os.close(gate)
        _watch_stages(order, told)
        code = importlib.import_module(f"imaging_db.cli.{order['command']}").main(order["argv"])
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()  # as the interpreter does at its end
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - what the interpreter would do: tell it, and fail
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _take_place(order: Order) -> None:
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    if size := order.get("largest_file"):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    random.seed()
    time.tzset()
    told = order["stdout"]
    for handle, path in ((0, os.devnull), (1, told), (2, order.get("stderr", told))):
        opened = os.open(path, os.O_RDONLY if handle == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, handle)
        os.close(opened)
    sys.stdout.reconfigure(line_buffering="stderr" not in order)  # type: ignore[union-attr]


def _watch_stages(order: Order, told: int) -> None:
    """Tell of a stall when it begins; with ``stages``, write down every stage that is passed."""
    from imaging_db import failpoints

    def sleep(seconds: float) -> None:
        os.write(told, b"s")
        time.sleep(seconds)

    failpoints.time = types.SimpleNamespace(sleep=sleep)  # type: ignore[assignment]
    if order.get("stages"):
        handle = os.open(order["stages"], os.O_WRONLY | os.O_APPEND)
        failpoints._pass = lambda stage: os.write(handle, f"{stage}\n".encode()) and None  # type: ignore[assignment]


def main() -> None:
    """Import everything, then serve."""
    from botocore.session import Session

    from tests.support.s3_models import read_models_once

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would not survive a fork
    ours = [found.name for found in pkgutil.walk_packages(imaging_db.__path__, "imaging_db.")]
    for name in (*WARM, *ours):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    read_models_once()
    Session().create_client("s3", region_name="us-east-1")
    alone = [thread.name for thread in threading.enumerate()]
    if len(alone) > 1:
        raise RuntimeError(f"something imported has started threads: {alone}")
    gc.freeze()  # a fork then copies none of the memory that collecting would touch
    Zygote().serve()


if __name__ == "__main__":
    main()
