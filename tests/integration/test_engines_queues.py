"""Batch systems and MPI: what is submitted, what is refused, and an MPI program of four processes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imaging_db.errors import ConfigError, UnknownPlugin, UsageError
from imaging_db.jobs.engines.registry import JOB_QUEUES, check, job_script, open_engine
from imaging_db.jobs.engines.slurm import CLUSTERS
from imaging_db.jobs.engines.walltime import ending_before, seconds_of
from tests.support.unit_orders import order_over

MPIEXEC = shutil.which(
    "mpiexec", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
)


def test_a_job_script_asks_for_what_the_user_said() -> None:
    script = job_script(
        "slurm",
        options={
            "queue": "short",
            "account": "lab",
            "cores": "8",
            "memory": "16GiB",
            "walltime": "02:00:00",
            "job_extra_directives": '["--qos=night"]',
            "job_script_prologue": "module load python",
        },
    )
    assert script is not None
    lines = script.splitlines()
    for line in (
        "#SBATCH -J imaging-db",
        "#SBATCH -p short",
        "#SBATCH -A lab",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=16G",
        "#SBATCH -t 02:00:00",
        "#SBATCH --qos=night",
        "module load python",
    ):
        assert line in lines
    command = lines[-1]
    assert command.startswith(
        f"{sys.executable} -m distributed.cli.dask_worker tcp://SCHEDULER:PORT"
    )
    assert "--nthreads 8 " in command
    assert "--lifetime 6960s --lifetime-stagger 120s" in command


def test_ctrl_c_is_still_ours_after_a_batch_system_was_chosen() -> None:
    """dask-jobqueue ends the process at Ctrl-C from its import on, which would leave units undone."""
    program = "import signal, sys; from imaging_db.jobs.engines.registry import job_script; "
    program += "job_script('slurm', options={}); print(signal.getsignal(signal.SIGINT).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["default_int_handler"]


@pytest.mark.parametrize("name", JOB_QUEUES)
def test_every_batch_system_has_a_script(name: str) -> None:
    options = {"disk": "1GB"} if name == "htcondor" else {}
    script = job_script(name, options={"cores": "2", **options})
    assert script is not None
    assert "distributed.cli.dask_worker tcp://SCHEDULER:PORT" in script


def test_an_option_that_is_missing_is_told() -> None:
    with pytest.raises(ConfigError, match="how much disk"):
        job_script("htcondor")


def test_engines_without_jobs_have_no_script() -> None:
    assert job_script("threads") is None
    assert set(CLUSTERS) == set(JOB_QUEUES)


def test_options_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UnknownPlugin, match="known: threads, serial, dask, mpi"):
        check("celery")
    with pytest.raises(UsageError, match="--scheduler is not for the engine slurm"):
        check("slurm", scheduler="tcp://head:8786")
    with pytest.raises(UsageError, match="queue is not for the engine threads"):
        check("threads", options={"queue": "short"})
    with pytest.raises(UsageError, match="queue is not for a scheduler that runs already"):
        check("dask", scheduler="tcp://head:8786", options={"queue": "short"})
    with pytest.raises(UsageError, match="--engine_option partition: SLURMCluster has no such"):
        job_script("slurm", options={"partition": "short"})


def test_a_computer_that_cannot_submit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    order = order_over("http://127.0.0.1:9", tmp_path, slices=1)
    with pytest.raises(ConfigError, match="there is no sbatch on this computer"):
        open_engine("slurm", order)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for the batch system")
def test_what_a_batch_system_has_against_a_job_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: nowhere' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    order = order_over("http://127.0.0.1:9", tmp_path, slices=1)
    with pytest.raises(ConfigError, match="refused: sbatch: error: invalid partition: nowhere"):
        open_engine("slurm", order, options={"queue": "nowhere"})


@pytest.mark.parametrize(
    ("system", "walltime", "seconds"),
    [
        ("slurm", "90", 5400),
        ("slurm", "30:00", 1800),
        ("slurm", "02:00:00", 7200),
        ("slurm", "1-12", 129600),
        ("slurm", "1-00:30", 88200),
        ("slurm", "2-01:00:05", 176405),
        ("lsf", "45", 2700),
        ("lsf", "01:30", 5400),
        ("pbs", "01:30", 90),
        ("pbs", "600", 600),
        ("sge", "24:00:00", 86400),
        ("slurm", "UNLIMITED", None),
        ("slurm", None, None),
    ],
)
def test_walltimes_are_read_as_the_batch_system_reads_them(
    system: str, walltime: str | None, seconds: int | None
) -> None:
    assert seconds_of(system, walltime) == seconds


def test_workers_end_before_their_job_unless_told_otherwise() -> None:
    assert ending_before("slurm", "01:00:00", ()) == [
        "--lifetime",
        "3360s",
        "--lifetime-stagger",
        "120s",
    ]
    assert ending_before("slurm", "01:00:00", ["--lifetime", "10m"]) == []
    assert ending_before("slurm", "00:00:05", ()) == []


PROGRAM = """
import sys
from pathlib import Path
from imaging_db.jobs.engines import mpi
from imaging_db.jobs.engines.registry import open_engine

def main():
    if not mpi.take_part():
        return 0
    from tests.support.unit_orders import Tiles, all_of, check_stored, leases_of, order_over

    tiles = Tiles(killers={7})
    folder = Path(sys.argv[1])
    engine = open_engine("mpi", order_over(tiles.url, folder, slices=12))
    engine.submit(leases_of(range(12)))
    found = all_of(engine, 12)
    engine.close()
    tiles.close()
    print(len(found), found.pop(7).kind)
    for result in found.values():
        check_stored(folder, result)
    return 3

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.mark.skipif(
    not os.environ.get("IMAGING_DB_TEST_TORTURE")
    or MPIEXEC is None
    or importlib.util.find_spec("mpi4py") is None,
    reason="runs in make torture where mpi4py and an MPI are installed, such as by pip install mpich",
)
@pytest.mark.parametrize(
    ("ranks", "out", "code"), [(4, "12 WorkerDied\n", 3), (2, "", 1)], ids=["four", "two"]
)
def test_an_mpi_program_does_units_and_ends_with_the_code_of_its_runner(
    ranks: int, out: str, code: int, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [str(MPIEXEC), "-n", str(ranks), sys.executable, str(script), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.returncode) == (out, code)
    if code == 1:
        assert done.stderr.count("Traceback") == 1
    else:
        assert done.stderr == ""
