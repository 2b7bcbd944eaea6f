"""Owners that sleep for a minute, and computers whose clocks are days off."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imaging_db.catalog import Catalog
from tests.support.aged import age_claim
from tests.support.commands import FORKS, Slow
from tests.support.matrix import Injected
from tests.torture.amount import FULL
from tests.torture.bench import Bench, check_told

pytestmark = pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")

BUSY = 8
DAYS = 172_800
SKEWED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { return atol(getenv("TEST_CLOCK_OFFSET")); }
int clock_gettime(clockid_t which, struct timespec *found) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(which, found);
  if (which == CLOCK_REALTIME) found->tv_sec += off();
  return done;
}
time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found) *found = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  found->tv_sec = now.tv_sec, found->tv_usec = now.tv_nsec / 1000;
  return 0;
}
"""
"""A library that sets the clock of one process off."""


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that sets clocks off, made by the compiler of this computer."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler, or this is not Linux")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(SKEWED)
    library = folder / "clock.so"
    words = ["-shared", "-fPIC", "-o", str(library), str(folder / "clock.c"), "-ldl"]
    subprocess.run([compiler, *words], check=True)
    return library


@pytest.mark.fault("C8")
@pytest.mark.parametrize("bench", ["postgres+local"], indirect=True)
def test_claims_are_judged_by_the_clock_of_the_database_alone(
    bench: Bench, skewed: Path, injected: Injected
) -> None:
    serial = bench.new()
    command, argv = bench.uploading(serial, "frames")

    def at(offset: int) -> int:
        """The exit code of the same upload on a computer whose clock is so many seconds off."""
        env = {"LD_PRELOAD": str(skewed), "TEST_CLOCK_OFFSET": str(offset)}
        injected.add()
        return Slow().run(command, argv, cwd=bench.lab.folder, env=env).code

    failpoint = "dataset.complete:1:stall"
    owner = bench.commands.start(command, argv, cwd=bench.lab.folder, failpoint=failpoint)
    owner.await_stall()
    assert at(DAYS) == BUSY, "a live owner looked dead to a clock that is ahead"
    age_claim(bench.lab.settings.database, serial)
    assert at(-DAYS) == 0, "a dead owner looked alive to a clock that is behind"
    owner.send(signal.SIGKILL)
    assert owner.wait().code == -9
    with Catalog.open(bench.lab.settings.database) as catalog:
        published = catalog.dataset(serial).published_at
        assert published is not None
        assert abs((catalog.now() - published).total_seconds()) < 120
    assert bench.seen(serial) == bench.truth("frames")


@pytest.mark.fault("C7")
@pytest.mark.skipif(not FULL, reason="takes a minute: IMAGING_DB_TEST_TORTURE=1")
@pytest.mark.parametrize("bench", ["sqlite+local", "postgres+local"], indirect=True)
def test_a_run_that_slept_for_a_minute_deletes_nothing_of_another(
    bench: Bench, injected: Injected
) -> None:
    """A computer sleeps in the midst of a deletion, or of a replacement; another finishes and goes on."""
    sleepers = {}
    for what in ("delete", "overwrite"):
        serial = bench.new()
        bench.do(bench.uploading(serial, "frames"))
        command, argv = (
            bench.saying("delete", serial, "--yes")
            if what == "delete"
            else bench.uploading(serial, "other", "--overwrite")
        )
        failpoint = "object.deleted:2:stall=0.1"
        sleeper = bench.commands.start(command, argv, cwd=bench.lab.folder, failpoint=failpoint)
        sleeper.await_stall()
        sleeper.send(signal.SIGSTOP)
        sleepers[serial] = sleeper
    time.sleep(62)
    for serial, sleeper in sleepers.items():
        bench.do(bench.saying("delete", serial, "--yes"))
        bench.do(bench.uploading(serial, "frames"))
        sleeper.send(signal.SIGCONT)
        check_told(sleeper.wait(), code=BUSY)
        assert bench.seen(serial) == bench.truth("frames")
        injected.add()
