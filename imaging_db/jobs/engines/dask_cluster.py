"""Dask clusters: how an engine reaches one, what it knows of it, and how it is left."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from imaging_db.api.extras import require
from imaging_db.errors import ConfigError, UsageError
from imaging_db.jobs.engines.dask_quiet import starting

EXTRA = "cluster"
SETTINGS = {
    # a worker that died is no reason to try its unit on three more: the engine finds out which unit it was
    "distributed.scheduler.allowed-failures": 0,
    # a unit that waits on a worker would be suspected, too, of what kills that worker
    "distributed.scheduler.worker-saturation": 1.0,
}
"""What Dask is told where the scheduler is ours."""

_CLOSE_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_ADDRESS = re.compile(r"\w+://.+|[^/\\]+:\d+")


def _unknown() -> str:
    return ""


@dataclass(frozen=True)
class DaskCluster:
    """A client of a scheduler, its address, what the user called it, and how it is left.

    ``end`` ends what is ours of it, at once. ``last_death`` tells how the last worker died, empty where that
    is not known.
    """

    name: str
    address: str
    client: Any
    end: Callable[[], None]
    last_death: Callable[[], str] = _unknown

    @classmethod
    def of(
        cls,
        name: str,
        client: Any,
        end: Callable[[], None],
        last_death: Callable[[], str] = _unknown,
    ) -> DaskCluster:
        """Return the cluster of a connected client."""
        return cls(name, str(client.scheduler.address), client, end, last_death)


def connect(name: str, place: str, *, seconds: float = 10.0) -> DaskCluster:
    """Return a scheduler that runs already, by its address or by the file that it wrote.

    It is waited for up to ``seconds``.

    Raises
    ------
    UsageError
        There is no such file, or no scheduler answers.
    ConfigError
        A worker there has another version of this program, or none.
    """
    distributed = require("distributed", EXTRA)
    address = place if _ADDRESS.fullmatch(place) else _address_in(Path(place), seconds)
    try:
        with starting():
            client = distributed.Client(address, timeout=max(1.0, seconds), set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}",
            hint="see that it runs, and that this computer reaches it",
        ) from error
    try:
        _check_versions(client, address)
    except BaseException:
        leave(client)
        raise
    return DaskCluster.of(name, client, lambda: leave(client))


def leave(client: Any) -> None:
    """Close a client; one whose scheduler is gone has nobody left to tell."""
    with suppress(OSError, TimeoutError):
        client.close(timeout=_CLOSE_SECONDS)


def _address_in(file: Path, seconds: float) -> str:
    """Return the address that ``dask scheduler --scheduler-file`` writes, which may take it some seconds."""
    until = time.monotonic() + seconds
    while True:
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() > until:
                cause = error.strerror if isinstance(error, OSError) else "is no scheduler file"
                hint = "give tcp://HOST:PORT, or the file that a scheduler writes"
                raise UsageError(f"--scheduler {file}: {cause}", hint=hint) from error
        time.sleep(_LOOK_SECONDS)


def _check_versions(client: Any, address: str) -> None:
    """Look at the workers that are there: what they lack is better told now than by every unit."""
    ours = metadata.version("imaging_db")
    found = client.run(metadata.version, "imaging_db", on_error="return")
    for worker, theirs in found.items():
        if theirs != ours:
            has = (
                "lacks imaging_db" if isinstance(theirs, Exception) else f"has imaging_db {theirs}"
            )
            raise ConfigError(
                f"{worker}, a worker of {address}, {has}", hint=f"install {ours} there"
            )
