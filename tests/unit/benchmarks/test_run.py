"""The command: a module that fails costs the others nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.children import ChildFailed, Outcome, run
from benchmarks.records import load
from benchmarks.scratch import VARIABLE
from tests.support.documents import ROOT

_GOOD = """
from benchmarks.result import Result

def run(*, repeats=5):
    yield Result("Good", "a case", "imaging_db", "MB/s", tuple(float(n + 1) for n in range(repeats)))
"""
_BAD = """
from benchmarks.result import Result

def run(*, repeats=5):
    yield Result("Bad", "a case", "imaging_db", "MB/s", (1.0,))
    raise OSError("the disk is full")
"""


def run_with(tmp_path: Path, modules: dict[str, str]) -> tuple[int, str, Path]:
    """Run a copy of the benchmarks that holds these modules only."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    for path in (ROOT / "benchmarks").glob("*.py"):
        if not path.name.startswith("bench_"):
            (package / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (package / "plot.py").write_text("def draw_all(results, folder):\n    return {}\n")
    for name, text in modules.items():
        (package / f"bench_{name}.py").write_text(text, encoding="utf-8")
    out = tmp_path / "report.md"
    try:
        return 0, benchmarks(tmp_path, "--repeats", "3", "--out", out).output, out
    except ChildFailed as error:
        return 1, str(error), out


def benchmarks(folder: Path, *arguments: str | Path) -> Outcome:
    """Call the copy of the benchmarks in a folder."""
    environment = {VARIABLE: str(folder / "scratch"), "PYTHONPATH": str(folder)}
    return run([sys.executable, "-m", "benchmarks", *arguments], env=environment, cwd=folder)


def test_all_modules_run_and_a_failing_one_keeps_what_it_measured(tmp_path: Path) -> None:
    code, said, out = run_with(tmp_path, {"bad": _BAD, "good": _GOOD})
    assert code == 1, said
    assert "[2/2] good" in said and "failed: bad" in said
    bad, good = load(tmp_path / "report" / "results.jsonl")
    assert (bad.module, bad.error) == ("bad", "OSError: the disk is full")
    assert [result.values for result in (*bad.results, *good.results)] == [(1.0,), (1.0, 2.0, 3.0)]
    assert "the disk is full" in out.read_text(encoding="utf-8")


def test_the_report_is_made_again_from_what_was_kept(tmp_path: Path) -> None:
    code, said, out = run_with(tmp_path, {"good": _GOOD})
    assert code == 0, said
    first = out.read_text(encoding="utf-8")
    assert "## Good" in first
    out.unlink()
    benchmarks(tmp_path, "--report-only", "--out", out)
    assert out.read_text(encoding="utf-8") == first
