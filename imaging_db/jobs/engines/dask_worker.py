"""What a Dask worker of ours loads before its first unit; Dask calls such a module a preload."""

from __future__ import annotations

import signal
from typing import Any

import imaging_db.jobs.work  # noqa: F401 - loaded here, it does not delay the first unit


def dask_setup(worker: Any) -> None:
    """Leave it to the runner when a worker ends: Ctrl-C meets all processes of a command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
