"""The report: made of results alone, and kept between runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.records import ModuleRun, load, merged, result_line, result_of, save
from benchmarks.report import figure, report, targets_table
from benchmarks.result import Result

OURS = Result("Upload", "200 frames", "imaging_db", "MB/s", (400.0, 300.0, 500.0))
PEER = Result("Upload", "200 frames", "peer", "MB/s", (100.0, 100.0, 50.0), peak_rss=(90.0,))
MACHINE = {"processor": "one of many", "cores": "2"}


def a_run(*results: Result, module: str = "upload", error: str | None = None) -> ModuleRun:
    return ModuleRun(module, MACHINE, 3, False, "2026-01-01", 1.5, error, results)


def rows_of(text: str, contender: str) -> list[list[str]]:
    """The cells of the rows that name a contender."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if contender in row]


def test_a_peer_stands_below_ours_with_the_ratio_of_each_repeat() -> None:
    text = report([a_run(PEER, OURS)])
    ((case, _, rate, ratio, memory),) = rows_of(text, "peer")
    assert (case, rate, memory) == ("200 frames", "100 (50.0 to 100)", "90.0")
    assert ratio == "4.00 (3.00 to 10.0)"
    assert text.index("**imaging_db**") < text.index("| peer |")


def test_targets_are_listed_with_what_was_measured() -> None:
    fast = replace(OURS, target="2. Upload: at least 300 MB/s", met=True)
    slow = replace(OURS, target="10. Upload: at least 900 MB/s", met=False)
    text = targets_table([slow, fast])
    assert text.startswith("1 of 2 met.")
    assert text.index("2. Upload") < text.index("10. Upload")
    assert rows_of(text, "**no**") == [
        [slow.target, "Upload: imaging_db, 200 frames", "400 (300 to 500) MB/s", "**no**"]
    ]


def test_what_was_not_measured_is_told_with_the_reason() -> None:
    absent = Result("Upload", "200 frames", "other", "MB/s", (), note="pip cannot install other")
    text = report([a_run(OURS, absent)])
    assert "- other (200 frames): pip cannot install other" in text
    assert not rows_of(text, "other")


def test_a_module_that_stopped_is_named_and_what_it_measured_stays() -> None:
    text = report([a_run(OURS, error="ended with exit code -11")])
    assert "- `bench_upload.py`: ended with exit code -11" in text
    assert rows_of(text, "**imaging_db**")


def test_two_machines_are_not_taken_for_one() -> None:
    other = replace(a_run(PEER, module="download"), machine={"processor": "another", "cores": "8"})
    text = report([a_run(OURS), other])
    assert text.index("one of many") < text.index("| modules | upload |") < text.index("another")


def test_results_are_the_same_after_they_were_kept(tmp_path: Path) -> None:
    kept = tmp_path / "below" / "results.jsonl"
    runs = [a_run(OURS, PEER), a_run(module="start", error="measured nothing")]
    save(kept, runs)
    assert load(kept) == runs
    assert load(tmp_path / "none.jsonl") == []


def test_a_module_that_runs_again_replaces_its_own_results_only() -> None:
    first, other, again = a_run(OURS), a_run(PEER, module="start"), a_run(PEER)
    assert merged([first, other], again) == [again, other]


def test_a_line_of_a_later_version_is_still_read() -> None:
    import json

    told = {**json.loads(result_line(PEER)), "unknown": 1}
    assert result_of(told) == PEER


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1.5, "1.50"),
        (42.31, "42.3"),
        (314.9, "315"),
        (12345, "12\u202f345"),
    ],
)
def test_figures_have_three_digits_that_count(value: float, text: str) -> None:
    assert figure(value) == text


def test_rates_and_gains_are_better_when_larger() -> None:
    assert OURS.more_is_better
    assert not replace(OURS, unit="CPU s/GB").more_is_better
    assert not replace(OURS, unit="µs/frame").more_is_better


def test_a_quick_run_is_not_judged() -> None:
    quick = replace(a_run(replace(OURS, target="2. Upload", met=True)), quick=True)
    text = report([quick])
    assert "**Made with `--quick`** (upload)" in text
    assert "not judged" in text and "0 of 1 met." in text
