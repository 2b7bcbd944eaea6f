"""Run one command and write what it cost, as ``wall cpu peak_rss_kib status``, to a file.

A process of its own between the benchmark and the command: the kernel counts the memory of the process that
starts a command as the command's own until it is replaced (``ru_maxrss`` of wait4), and this one is small.
So it imports nothing that is not needed.
"""

import os
import sys
import time


def main(report: str, command: list[str]) -> None:
    """Run ``command``; write seconds of wall clock and CPU (with its children), KiB, exit status."""
    started = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w", encoding="ascii") as out:  # noqa: PTH123 - pathlib would cost memory
        out.write(f"{wall} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss} {code}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
