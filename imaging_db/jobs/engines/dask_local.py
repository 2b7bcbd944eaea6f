"""A Dask cluster of this computer's own: its scheduler in this process, a process for each worker."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from imaging_db.api.extras import require
from imaging_db.errors import ConfigError
from imaging_db.jobs.engines.dask_cluster import EXTRA, SETTINGS, DaskCluster, leave
from imaging_db.jobs.engines.dask_options import parsed
from imaging_db.jobs.engines.dask_quiet import deaths_heard, starting
from imaging_db.transfer.cores import usable_cores

PRELOAD = "imaging_db.jobs.engines.dask_worker"
_METHOD = "distributed.worker.multiprocessing-method"
_CLOSE_SECONDS = 10.0
_SETTINGS = {
    **SETTINGS,
    # a worker that is slow to start again on a busy computer is not to be given up
    "distributed.deploy.lost-worker-timeout": "1 hour",
}
_FORKS = sys.platform == "linux"  # elsewhere, libraries of the system do not survive a fork


def start(
    name: str, *, workers: int | None = None, options: Mapping[str, str] | None = None
) -> DaskCluster:
    """Return a cluster of so many processes of this computer, else one for each core.

    ``options`` are those of ``distributed.LocalCluster``. The processes end with this one, however it ends.

    Raises
    ------
    UsageError
        LocalCluster has no such option.
    ConfigError
        The processes cannot be started.
    """
    distributed, config = require("distributed", EXTRA), require("dask.config", EXTRA)
    makers = (distributed.LocalCluster, distributed.Nanny, distributed.Worker)
    settings = {
        "n_workers": workers or usable_cores(),
        "threads_per_worker": 1,
        "dashboard_address": None,
        "memory_limit": None,
        "preload": [PRELOAD],
        "env": dict(os.environ),  # what workers are copied from may be older than a change of it
        "silence_logs": logging.CRITICAL + 1,
        **parsed(options or {}, makers),
    }
    with ExitStack() as stack:
        stack.enter_context(config.set(_SETTINGS))
        if _FORKS:
            stack.enter_context(config.set({_METHOD: "forkserver"}))
            _load_once()
        with starting():
            deaths = stack.enter_context(deaths_heard(logging.getLogger("distributed.nanny")))
            cluster = started(distributed.LocalCluster, settings)
            stack.callback(cluster.close, timeout=_CLOSE_SECONDS)
            client = distributed.Client(cluster, set_as_default=False)
        kept = stack.pop_all()

    def end() -> None:
        with kept:
            kill_workers(cluster)
            leave(client)

    return DaskCluster.of(name, client, end, lambda: deaths.last)


def _load_once() -> None:
    """Let one process load what every worker needs, and each worker be a copy of it, a second sooner."""
    utils = require("distributed.utils", EXTRA)
    utils.get_mp_context()  # which sets a list of its own, once
    multiprocessing.get_context("forkserver").set_forkserver_preload(["distributed", PRELOAD])


def started(maker: Any, settings: Mapping[str, Any]) -> Any:
    """Return a cluster of a class of Dask's.

    Raises
    ------
    ConfigError
        It cannot be started; its own reason is told.
    """
    try:
        return maker(**settings)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        cause = str(error) or type(error).__name__
        raise ConfigError(f"{maker.__name__} cannot be started: {cause}") from error


def kill_workers(cluster: Any) -> None:
    """Kill the processes of a local cluster, and let none of them be started again."""

    async def kill() -> None:
        for nanny in cluster.workers.values():
            kill_worker(nanny)

    cluster.sync(kill)


def kill_worker(nanny: Any) -> None:
    """Kill the process that a nanny watches over, and let it not be started again."""
    psutil, core = require("psutil", EXTRA), require("distributed.core", EXTRA)
    nanny.close_gracefully()
    if nanny.pid:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(nanny.pid).kill()
    if nanny.process is not None and nanny.process.status is core.Status.starting:
        nanny.process = None  # or it would be waited for until it has started
