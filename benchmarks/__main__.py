"""Run the benchmarks and write the report: ``python -m benchmarks``.

Every module ``bench_<name>.py`` runs in a process of its own, with its contenders in turns; one that fails
costs the others nothing. Its results are kept as JSON lines as they come, the report is made of them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from benchmarks.machine import machine
from benchmarks.records import ModuleRun, load, merged, result_line, result_of, save
from benchmarks.report import figure, write_report
from benchmarks.result import Result
from benchmarks.scratch import QUICK, scratch

_HERE = Path(__file__).parent
_OUT = _HERE.parent / "docs" / "benchmarks.md"
_ORDER = (
    "encoder",
    "parse",
    "catalog",
    "s3",
    "upload",
    "ingest",
    "download",
    "read",
    "size",
    "start",
    "convert",
)
_QUICK_REPEATS = 2
_LONGEST = 3600.0


def main() -> int:
    """Run what the command line asks for; return 1 where a module failed."""
    asked = _arguments()
    if asked.module:
        return _run_here(asked.module, repeats=asked.repeats, into=asked.into)
    out: Path = asked.out or (scratch() / "quick.md" if asked.quick else _OUT)
    kept = out.with_suffix("") / "results.jsonl"
    if not asked.report_only:
        _run_all(asked.only or _modules(), repeats=asked.repeats, quick=asked.quick, kept=kept)
    runs = sorted(load(kept), key=lambda run: _place(run.module))
    if not runs:
        print(f"{kept} holds no results", file=sys.stderr)
        return 1
    write_report(runs, out)
    print(f"report: {out}" if asked.out or not asked.quick else out.read_text(encoding="utf-8"))
    failed = [run.module for run in runs if run.error]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=_modules(), help=", ".join(_modules())
    )
    parser.add_argument("--repeats", type=int, default=None, help="5; 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="small sizes; prints its report")
    parser.add_argument("--out", type=Path, default=None, help="default: docs/benchmarks.md")
    parser.add_argument("--report-only", action="store_true", help="from the results kept")
    parser.add_argument("--module", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.repeats is None:
        asked.repeats = _QUICK_REPEATS if asked.quick else 5
    if asked.quick:
        os.environ[QUICK] = "1"
    return asked


def _modules() -> list[str]:
    names = {path.stem.removeprefix("bench_") for path in _HERE.glob("bench_*.py")}
    return sorted(names, key=_place)


def _place(name: str) -> tuple[int, str]:
    """Return a key that sorts modules as the report shows them."""
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def _run_all(names: list[str], *, repeats: int, quick: bool, kept: Path) -> None:
    scratch()  # before the children, so that they share it
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        started = time.perf_counter()
        results, error = _run_apart(name, repeats=repeats)
        seconds = time.perf_counter() - started
        print(f"    {seconds:.0f} s{f', FAILED: {error}' if error else ''}", flush=True)
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        run = ModuleRun(name, machine(), repeats, quick, day, round(seconds, 1), error, results)
        save(kept, merged(load(kept), run))


def _run_apart(name: str, *, repeats: int) -> tuple[tuple[Result, ...], str | None]:
    """Run a module in a process of its own; return what it measured, and why it stopped if it did."""
    into = scratch() / f"results_{name}.jsonl"
    into.write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks", "--module", name]
    command += ["--repeats", str(repeats), "--into", str(into)]
    process = subprocess.Popen(command, cwd=_HERE.parent)
    try:
        code = process.wait(timeout=_LONGEST)
        error = f"ended with exit code {code}" if code else None
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its servers and removes what it made
        process.wait()
        error = f"took longer than {_LONGEST:.0f} s"
    told = [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()]
    into.unlink()
    errors = [line["error"] for line in told if "error" in line]
    results = tuple(result_of(line) for line in told if "error" not in line)
    if not results and not errors and error is None:
        error = "measured nothing"
    return results, errors[0] if errors else error


def _run_here(name: str, *, repeats: int, into: Path) -> int:
    """Run a module in this process, each result written as it comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with into.open("a", encoding="utf-8") as out:
        try:
            for result in _results(importlib.import_module(f"benchmarks.bench_{name}"), repeats):
                out.write(result_line(result) + "\n")
                out.flush()
                print(f"    {_line(result)}", flush=True)
        except Exception as error:  # noqa: BLE001 - told in the report; the other modules run on
            traceback.print_exc()
            out.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}) + "\n")
            return 1
    return 0


def _results(module: ModuleType, repeats: int) -> Iterator[Result]:
    parameters = inspect.signature(module.run).parameters
    quick = {"quick": bool(os.environ.get(QUICK))} if "quick" in parameters else {}
    yield from module.run(repeats=repeats, **quick)


def _line(result: Result) -> str:
    head = f"{result.group} / {result.case}: {result.name}"
    if not result.values:
        return f"{head}: not measured: {result.note}"
    low, high = result.spread
    spread = f" ({figure(low)} to {figure(high)})" if low < high else ""
    met = {True: ", met", False: ", NOT met", None: ""}[result.met if result.target else None]
    return f"{head}: {figure(result.median)} {result.unit}{spread}{met}"


if __name__ == "__main__":
    sys.exit(main())
