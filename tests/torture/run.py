"""Inject faults at length, and write docs/reliability.md of what came of them.

::

    python -m tests.torture.run [words for pytest]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime

from benchmarks.machine import machine
from tests.support import reliability_page
from tests.support.reliability_page import RESULTS

_LENGTHS = {
    "IMAGING_DB_TEST_TORTURE": "1",
    "IMAGING_DB_TEST_NETWORK": "1",
    "IMAGING_DB_TEST_KILLS": "24",
}


def main() -> int:
    """Run every test that shows a row of the fault matrix, and what is thinned every day.

    Return 1 where one fails or a row does not hold.
    """
    started = time.monotonic()
    environment = {**_LENGTHS, **os.environ, "IMAGING_DB_TEST_MATRIX": str(RESULTS / "matrix.json")}
    words = ["-m", "fault or thinned", "-n", "auto", "-q", *sys.argv[1:]]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], env=environment)
    found = machine()
    run = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{found['cores']} cores of {found['processor'].partition(' (')[0]}, {found['system']}",
        "length": environment["IMAGING_DB_TEST_TORTURE"],
        "seconds": round(time.monotonic() - started),
    }
    (RESULTS / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return reliability_page.main() or done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
