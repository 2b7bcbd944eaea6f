"""The engines by name, each imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imaging_db.errors import UnknownPlugin, UsageError
from imaging_db.jobs.engines.base import Engine
from imaging_db.jobs.work_order import WorkOrder

if TYPE_CHECKING:
    from imaging_db.jobs.engines.dask_cluster import DaskCluster

THREADS = "threads"
SERIAL = "serial"
DASK = "dask"
MPI = "mpi"
JOB_QUEUES = ("htcondor", "lsf", "moab", "oar", "pbs", "sge", "slurm")
"""The batch systems that dask-jobqueue knows, by its own names."""
NAMES = (THREADS, SERIAL, DASK, MPI, *JOB_QUEUES)


def open_engine(
    name: str,
    order: WorkOrder,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Engine:
    """Return the engine of that name, its workers started or asked for.

    ``workers`` is how many threads, processes or, for a batch system, jobs there shall be. ``scheduler`` is
    the address of a Dask scheduler that runs already, such as ``tcp://node1:8786``, or the file that it wrote;
    ``options`` are of Dask or the batch system, as the user wrote them.

    Raises
    ------
    UsageError
        No engine has that name, an option is not one of it, or no scheduler answers.
    ConfigError
        What the engine needs is not installed, here or where its workers run; or it cannot be started.
    """
    check(name, scheduler=scheduler, options=options)
    if name in (THREADS, SERIAL):
        return _plain(name, order, workers)
    from imaging_db.jobs.engines.dask import DaskEngine

    return DaskEngine(order, _cluster(name, workers, scheduler, options or {}))


def job_script(name: str, *, options: Mapping[str, str] | None = None) -> str | None:
    """Return the script that a batch system would be given for one job, None where no job is submitted.

    Raises
    ------
    UsageError
        No engine has that name, or an option is not one of it.
    ConfigError
        dask-jobqueue is not installed.
    """
    check(name, options=options)
    if name not in JOB_QUEUES:
        return None
    from imaging_db.jobs.engines.slurm import script_of

    return script_of(name, options or {})


def check(
    name: str, *, scheduler: str | None = None, options: Mapping[str, str] | None = None
) -> None:
    """Raise `UsageError` where an engine does not exist, or does not take what it is given."""
    if name not in NAMES:
        raise UnknownPlugin("engine", name, NAMES)
    if scheduler is not None and name != DASK:
        raise UsageError(
            f"--scheduler is not for the engine {name}", hint=f"use it with --engine {DASK}"
        )
    if options and (name in (THREADS, SERIAL) or scheduler is not None):
        what = "a scheduler that runs already" if scheduler is not None else f"the engine {name}"
        raise UsageError(f"--engine_option {min(options)} is not for {what}", hint="leave it out")


def _plain(name: str, order: WorkOrder, workers: int | None) -> Engine:
    if name == SERIAL:
        from imaging_db.jobs.engines.serial import SerialEngine

        return SerialEngine(order)
    from imaging_db.jobs.engines.threads import ThreadEngine

    return ThreadEngine(order, workers=workers)


def _cluster(
    name: str, workers: int | None, scheduler: str | None, options: Mapping[str, str]
) -> DaskCluster:
    if name == MPI:
        from imaging_db.jobs.engines import mpi

        return mpi.start()
    if name in JOB_QUEUES:
        from imaging_db.jobs.engines import slurm

        return slurm.start(name, jobs=workers, options=options)
    if scheduler is not None:
        from imaging_db.jobs.engines.dask_cluster import connect

        return connect(name, scheduler)
    from imaging_db.jobs.engines import dask_local

    return dask_local.start(name, workers=workers, options=options)
