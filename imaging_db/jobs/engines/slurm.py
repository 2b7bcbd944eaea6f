"""Batch systems: SLURM and the others that dask-jobqueue knows run jobs, each a worker of ours.

What a site wants in its job scripts comes from Dask's own files (``~/.config/dask/jobqueue.yaml``), and from
the user for this once. The scheduler runs in this process, so a job ends soon after it does.
"""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from imaging_db.api.extras import require
from imaging_db.errors import ConfigError
from imaging_db.jobs.engines.dask_cluster import EXTRA, SETTINGS, DaskCluster, leave
from imaging_db.jobs.engines.dask_options import named, parsed
from imaging_db.jobs.engines.dask_quiet import starting
from imaging_db.jobs.engines.walltime import ending_before

CLUSTERS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
"""The classes of dask-jobqueue, by the names that its files have for their systems."""

_LISTS = ("worker_extra_args", "job_extra_directives", "job_script_prologue", "job_directives_skip")
_GB_PER_CORE = 2
_CLOSE_SECONDS = 10.0
_REFILL_SECONDS = 30.0
_log = logging.getLogger(__name__)


def start(name: str, *, jobs: int | None, options: Mapping[str, str]) -> DaskCluster:
    """Return a cluster whose workers are jobs of a batch system, as many as asked for, else one.

    They were submitted; when they start, the batch system decides. Those that end are submitted again.

    Raises
    ------
    UsageError
        The batch system's class has no such option.
    ConfigError
        The jobs cannot be submitted here.
    """
    distributed, config = require("distributed", EXTRA), require("dask.config", EXTRA)
    with ExitStack() as stack:
        stack.enter_context(config.set(SETTINGS))
        with starting():
            maker, settings = _described(name, options)
            _require_command(name, maker.job_cls.submit_command)
            cluster = _made(maker, {**settings, "job_cls": _told(maker.job_cls)})
            stack.callback(cluster.close, timeout=_CLOSE_SECONDS)
            _submit(cluster, jobs or 1)
            client = distributed.Client(cluster, set_as_default=False)
            stack.callback(leave, client)
        keeper = _Keeper(cluster)
        stack.callback(keeper.stop)
        kept = stack.pop_all()
    _log.warning("waiting for the first of %d %s jobs to start", jobs or 1, name)
    return DaskCluster.of(name, client, kept.close)


def script_of(name: str, options: Mapping[str, str]) -> str:
    """Return the script of one job as it would be submitted; only the scheduler's address is made up.

    Raises
    ------
    UsageError
        The batch system's class has no such option.
    ConfigError
        An option is missing.
    """
    with starting():
        maker, settings = _described(name, options)
        mine = named(maker) - {"interface", "protocol", "config_name"}
        kept = {key: value for key, value in settings.items() if key not in mine}
        job = _made(
            maker.job_cls, {**kept, "scheduler": "tcp://SCHEDULER:PORT", "name": "imaging-db"}
        )
        return str(job.job_script())


def _jobqueue() -> Any:
    """Return dask_jobqueue, which takes the signals of the process for its own when it is imported."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    module = require("dask_jobqueue", EXTRA)
    for number, listener in zip(numbers, before, strict=True):
        signal.signal(number, listener)
    return module


def _described(name: str, options: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    """Return the class of a batch system, and what its jobs are like."""
    jobqueue, config = _jobqueue(), require("dask.config", EXTRA)
    maker = getattr(jobqueue, CLUSTERS[name])
    given = parsed(options, (maker, *maker.job_cls.__mro__[:-1]))
    for key in _LISTS:
        if isinstance(given.get(key), str):
            given[key] = [given[key]]

    def of_site(key: str) -> Any:
        return given.get(key) or config.get(f"jobqueue.{name}.{key.replace('_', '-')}", None)

    cores = int(of_site("cores") or 1)
    settings = {
        "cores": cores,
        "memory": of_site("memory") or f"{_GB_PER_CORE * cores}GB",
        "processes": 1,  # its work lets go of the interpreter: one process fills its cores
        "job_name": "imaging-db",
        **given,
    }
    extra = list(of_site("worker_extra_args") or [])
    settings["worker_extra_args"] = extra + ending_before(name, of_site("walltime"), extra)
    scheduler = {
        "dashboard": False,
        "dashboard_address": None,
        **(of_site("scheduler_options") or {}),
    }
    return maker, {**settings, "scheduler_options": scheduler, "silence_logs": None}


def _require_command(name: str, submit: str) -> None:
    command = submit.split()[0]
    if shutil.which(command) is None:
        raise ConfigError(
            f"there is no {command} on this computer",
            hint=f"join from a node that submits to {name}",
        )


def _made(maker: Any, settings: Mapping[str, Any]) -> Any:
    try:
        return maker(**settings)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{maker.__name__} cannot be started: {error}") from error


def _told(job: Any) -> Any:
    """Return a class of jobs that knows where its job was refused: a cluster could not be closed otherwise."""
    core = require("distributed.core", EXTRA)

    async def start(self: Any) -> None:
        try:
            await job.start(self)
        except BaseException:
            self.status = core.Status.failed
            raise

    return type(job.__name__, (job,), {"start": start})


def _submit(cluster: Any, jobs: int) -> None:
    """Submit the jobs; what the batch system has against them is told now, and not waited for."""

    async def submit() -> None:
        cluster.scale(jobs=jobs)
        await cluster

    try:
        cluster.sync(submit)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"the job was refused: {_cause(error)}", hint="see --dry-run") from error


def _cause(error: Exception) -> str:
    """Return the first line of what a batch system said when it refused a job."""
    told = str(error).rpartition("stderr:")[2].split("\n")
    return next((line for line in told if line.strip()), type(error).__name__).strip()


class _Keeper:
    """Submits jobs again that have ended, by their walltime or otherwise."""

    def __init__(self, cluster: Any) -> None:
        from tornado.ioloop import PeriodicCallback

        self._cluster = cluster
        self._timer = PeriodicCallback(self._refill, _REFILL_SECONDS * 1000)
        cluster.loop.add_callback(self._timer.start)

    async def _refill(self) -> None:
        try:
            await self._cluster
        except (OSError, RuntimeError, ValueError) as error:
            _log.warning("no job can be submitted now: %s", _cause(error))

    def stop(self) -> None:
        """Submit nothing any more."""
        self._cluster.loop.add_callback(self._timer.stop)
