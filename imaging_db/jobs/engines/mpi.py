"""A Dask cluster inside one MPI program: ``mpiexec -n 4 imaging-db ingest join JOB --engine mpi``.

Rank 0 is the scheduler, rank 1 the runner, which alone touches the catalog and alone speaks; the others work.
A worker is a process of its own below its rank, because MPI ends the whole program where a rank dies. So did
dask-mpi; here the ranks end by a message of the runner's, also where a worker is just starting.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import signal
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from imaging_db.api.extras import require
from imaging_db.errors import ConfigError, UsageError
from imaging_db.jobs.engines.dask_cluster import SETTINGS, DaskCluster, connect
from imaging_db.jobs.engines.dask_local import PRELOAD, kill_worker
from imaging_db.jobs.engines.dask_options import parsed
from imaging_db.jobs.engines.dask_quiet import starting

EXTRA = "mpi"
_SCHEDULER, _RUNNER, _FEWEST = 0, 1, 3
_OVER = 1
_OF_NETWORK: tuple[str, ...] = ("interface", "protocol")
_LOOK_SECONDS = 0.2
_CLOSE_SECONDS = 3.0
_HINT = "mpiexec -n 4 imaging-db ingest join JOB --engine mpi"
_address: list[str] = []


def take_part(options: Mapping[str, str] | None = None) -> bool:
    """Return True in the process that is to run the job; False in the others, once all work is done.

    To be called before anything else is begun: every rank of the program runs the same command. ``options``
    are of ``distributed.Nanny``, such as ``interface``, the network that the processes talk over.

    Raises
    ------
    UsageError
        The program has fewer than three ranks, which is told by the first of them; or there is no such option.
    ConfigError
        mpi4py, distributed or the MPI library is not installed.
    """
    world = _world()
    rank = world.Get_rank()
    if world.Get_size() < _FEWEST:
        if rank != _SCHEDULER:
            return False
        raise UsageError(f"the engine mpi needs {_FEWEST} processes or more", hint=_HINT)
    if rank == _RUNNER:
        _address.append(world.bcast(None, root=_SCHEDULER))
        atexit.register(_end_others, world)
        return True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner decides when all end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _serve(world, options or {})
    except BaseException:
        traceback.print_exc()
        world.Abort(1)  # or the others would wait for this one
        raise
    return False


def start() -> DaskCluster:
    """Return the cluster of the program whose runner this process is.

    Raises
    ------
    UsageError
        This process is not the runner of an MPI program.
    """
    if not _address:
        raise UsageError("the engine mpi works inside an MPI program only", hint=_HINT)
    return connect("mpi", _address[0])


def _world() -> Any:
    try:
        return require("mpi4py.MPI", EXTRA).COMM_WORLD
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f"the MPI library cannot be loaded: {error}") from error


def _serve(world: Any, options: Mapping[str, str]) -> None:
    """Be scheduler or worker until the runner says that all is over."""
    distributed, config = require("distributed", "cluster"), require("dask.config", "cluster")
    given = parsed(options, (distributed.Nanny,))
    with config.set(SETTINGS), starting():
        if world.Get_rank() == _SCHEDULER:
            network = {key: given[key] for key in _OF_NETWORK if key in given}
            asyncio.run(_schedule(world, distributed.Scheduler, dict(network)))
        else:
            asyncio.run(_work(world, distributed.Nanny, given))


async def _schedule(world: Any, maker: Any, network: Mapping[str, Any]) -> None:
    async with maker(dashboard=False, **network) as scheduler:
        world.bcast(scheduler.address, root=_SCHEDULER)
        await _over(world)


async def _work(world: Any, maker: Any, given: Mapping[str, Any]) -> None:
    settings = {
        "nthreads": 1,
        "memory_limit": None,
        "dashboard": False,
        "name": world.Get_rank(),
        "preload": [PRELOAD],
        "silence_logs": logging.CRITICAL + 1,
        **given,
    }
    nanny = await maker(world.bcast(None, root=_SCHEDULER), **settings)
    await _over(world)
    kill_worker(nanny)
    with suppress(TimeoutError):  # its process is gone, and that is what counts
        await asyncio.wait_for(nanny.close(), _CLOSE_SECONDS)


async def _over(world: Any) -> None:
    """Wait for the runner's word without keeping a core busy, as a blocking receive of MPI does."""
    while not world.iprobe(source=_RUNNER, tag=_OVER):
        await asyncio.sleep(_LOOK_SECONDS)
    world.recv(source=_RUNNER, tag=_OVER)


def _end_others(world: Any) -> None:
    """Tell the others that all is over: MPI ends only when each of its processes does."""
    for rank in range(world.Get_size()):
        if rank != _RUNNER:
            world.isend(None, dest=rank, tag=_OVER)
