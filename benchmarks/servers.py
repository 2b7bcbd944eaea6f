"""Databases set as they are installed, and what they do for what is asked of them: CPU and log of a server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.catalogs import Database

_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "128MB",
    "max_connections": "100",
}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """What some calls took: seconds of wall clock, CPU seconds of this process and of the server, bytes of log.

    ``server`` and ``log`` are 0 with SQLite, which works in this process.
    """

    wall: float
    own: float
    server: float
    log: float


class Meter:
    """Tells what a block took, here and in a PostgreSQL server."""

    def __init__(self, server: Any = None) -> None:
        self._server = server
        self.spent: list[Spent] = []

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Add what the block took to ``spent``."""
        before, wall = self._now(), time.perf_counter()
        yield
        wall = time.perf_counter() - wall
        own, server, log = (b - a for a, b in zip(before, self._now(), strict=True))
        self.spent.append(Spent(wall, own, server, log))

    def _now(self) -> tuple[float, float, float]:
        if self._server is None:
            return time.process_time(), 0.0, 0.0
        ((place,),) = self._server.admin("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        return time.process_time(), _cpu_of(self._server.pid), float(place)


@contextmanager
def durable_databases(folder: Path) -> Iterator[dict[str, tuple[Database, Any]]]:
    """Give SQLite and PostgreSQL, each with its server or None, that keep what is committed through a power cut."""
    from tests.support.postgres import PostgresServer
    from tests.support.postgres_process import running

    with running(options=_DURABLE) as process:
        server = PostgresServer(process)
        yield {
            "PostgreSQL": (Database(folder, server), server),
            "SQLite": (Database(folder), None),
        }


def _cpu_of(postmaster: int) -> float:
    """Return the CPU seconds of a server's processes, those that ended included; Linux only, else 0."""
    proc = Path("/proc")
    if not proc.is_dir():
        return 0.0
    ticks = 0
    for stat in proc.glob("[0-9]*/stat"):
        try:
            told = stat.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        fields = told.rpartition(")")[2].split()
        user, system, of_dead, system_of_dead = (int(field) for field in fields[11:15])
        if int(stat.parent.name) == postmaster:
            ticks += user + system + of_dead + system_of_dead
        elif int(fields[1]) == postmaster:
            ticks += user + system
    return ticks / _TICKS
