"""Show that each broken build is noticed: its tests pass on the tree as it is, and fail on the broken one.

::

    python -m tests.broken.run [NAME ...] [--out FILE] [--keep]

Everything happens in a copy of the tree. The exit code is 1 where a build was not noticed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.broken.builds import ROOT, Build, all_builds

_LEFT_OUT = (".*", "__pycache__", "build", "demo", "*.egg-info", "benchmarks", "notebooks")
_MOST_SECONDS = 180
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one build; ``caught_by`` is the first test that failed, empty where none did.

    ``problem`` says why nothing was shown: the tests fail anyway, or the build does not even run.
    """

    build: str
    broken: str
    caught_by: str
    seconds: float
    problem: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the builds that are named, or all."""
    parser = argparse.ArgumentParser(prog="tests.broken.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=Path, help="append a line of JSON for each build")
    parser.add_argument("--keep", action="store_true", help="keep the copy of the tree")
    args = parser.parse_args(argv)
    builds = [build for build in all_builds() if not args.names or build.name in args.names]
    unknown = set(args.names) - {build.name for build in builds}
    if unknown or not builds:
        parser.error(f"no such build: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="imaging_db-broken-"))
    try:
        missed = _run_all(builds, _copy(folder / "tree"), args.out)
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    print(f"{len(builds) - len(missed)} of {len(builds)} broken builds were noticed")
    return 1 if missed else 0


def _copy(tree: Path) -> Path:
    """Copy the tree; migrations and sample are found where they are installed (editable)."""
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    return tree


def _run_all(builds: Sequence[Build], tree: Path, out: Path | None) -> list[str]:
    missed = []
    for build in builds:
        result = _try(build, tree)
        print(
            f"{result.build:26} {result.seconds:5.1f} s  "
            f"{result.caught_by or result.problem or 'NOT NOTICED'}\n{'':36}{result.broken}",
            flush=True,
        )
        if out is not None:
            with out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(result)) + "\n")
        if not result.caught_by:
            missed.append(build.name)
    return missed


def _try(build: Build, tree: Path) -> Result:
    code, said, _ = _pytest(build, tree)
    if code != _PASSED:
        print(said[-4000:])
        return Result(build.name, build.broken, "", 0.0, "its tests fail on the whole tree, too")
    build.apply(tree)
    try:
        code, said, seconds = _pytest(build, tree)
    finally:
        build.apply(tree, "-R")
    if code not in (None, _PASSED, _FAILED):
        print(said[-4000:])
        return Result(build.name, build.broken, "", 0.0, "it does not even run")
    failed = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", said, re.MULTILINE)
    caught_by = failed[1] if failed else f"nothing within {_MOST_SECONDS} s" if code is None else ""
    return Result(build.name, build.broken, caught_by, round(seconds, 1))


def _pytest(build: Build, tree: Path) -> tuple[int | None, str, float]:
    """Run the tests of a build: exit code (None where they did not end), output, seconds."""
    environment = {k: v for k, v in os.environ.items() if k != "IMAGING_DB_TEST_MATRIX"}
    # commands that the tests start shall be those of the tree; bytecode is told apart by seconds only
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    started = time.monotonic()
    words = ["-x", "-q", "-rfE", "--no-header", "-p", "no:cacheprovider", *build.tests]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return None, said, time.monotonic() - started
    return process.returncode, said, time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
