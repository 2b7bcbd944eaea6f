"""The fault matrix: its rows, the tests that show them, and what a run of the tests found.

``tests/reliability/matrix/<letter>.toml`` holds the rows. A test names those that it shows, and says how many
faults it injected::

    @pytest.mark.fault("K1", "K6")
    def test_a_killed_run_is_finished_by_the_same_command(injected): injected.add(38)

With ``IMAGING_DB_TEST_MATRIX=FILE`` a run writes what it found, for `tests.support.reliability_page`.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "reliability" / "matrix"
SECTIONS = {
    "K": "Death of a process",
    "D": "Disks",
    "N": "S3 and the network",
    "B": "Databases",
    "C": "Several at once",
    "I": "Images",
    "M": "Metadata, CSV, JSON, config",
    "P": "Names and paths",
    "W": "Watching a folder",
    "Q": "Jobs of many computers",
    "S": "Security",
    "U": "What a user sees",
}
ROWS = {
    "K": 9,
    "D": 10,
    "N": 14,
    "B": 12,
    "C": 9,
    "I": 14,
    "M": 10,
    "P": 8,
    "W": 6,
    "Q": 7,
    "S": 10,
    "U": 5,
}
"""How many rows each section has; none may get lost."""

_OUT = os.environ.get("IMAGING_DB_TEST_MATRIX", "")  # now: tests run in a clean environment
_INJECTED = "faults injected"
_SHOWS = "faults shown"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the matrix; ``not_here`` says why no test shows it, empty where one does."""

    id: str
    priority: int
    fault: str
    expected: str = ""
    how: str = ""
    not_here: str = ""


@dataclass
class Shown:
    """What the tests of one row came to: how many held, failed and were skipped, and the faults of all."""

    held: int = 0
    failed: int = 0
    skipped: int = 0
    injected: int = 0
    why_skipped: str = ""


def read_rows() -> dict[str, Row]:
    """The rows of all sections, in their order."""
    rows: dict[str, Row] = {}
    for letter in SECTIONS:
        text = (FOLDER / f"{letter}.toml").read_text(encoding="utf-8")
        for name, values in tomllib.loads(text).items():
            rows[name] = Row(name, **values)
    return rows


class Injected:
    """Counts the faults that a test injected."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, faults: int = 1) -> None:
        """Count more faults."""
        self.count += faults


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Iterator[Injected]:
    """Counts the faults that this test injected; a marked test that does not ask for it counts one."""
    found = Injected()
    yield found
    request.node.user_properties.append((_INJECTED, found.count))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(*ids): rows of the fault matrix that a test shows")
    config.addinivalue_line("markers", "thinned: what only `make torture` tries")
    if _OUT and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collected(Path(_OUT).absolute()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = [name for mark in item.iter_markers("fault") for name in mark.args]
        if names:
            item.user_properties.append((_SHOWS, sorted(set(names))))


class _Collected:
    """Gathers the reports of all tests of a run, in the process that sees them all."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._shown: dict[str, Shown] = defaultdict(Shown)
        self._failed: set[str] = set()
        self._skipped: dict[str, str] = {}
        self._faults = self._tests = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)
        if report.skipped:
            self._skipped[report.nodeid] = str(getattr(report, "longrepr", ("", "", ""))[-1])
        if report.when == "teardown":
            self._count(report)

    def _count(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        names = told.get(_SHOWS, ())
        if names and report.nodeid not in self._skipped:
            self._tests += 1
            self._faults += int(str(told.get(_INJECTED, 1)))
        for name in names if isinstance(names, list) else ():
            shown = self._shown[name]
            if report.nodeid in self._failed:
                shown.failed += 1
            elif report.nodeid in self._skipped:
                shown.skipped += 1
                shown.why_skipped = self._skipped[report.nodeid].removeprefix("Skipped: ")
            else:
                shown.held += 1
                shown.injected += int(str(told.get(_INJECTED, 1)))

    def pytest_sessionfinish(self) -> None:
        found = {name: asdict(shown) for name, shown in sorted(self._shown.items())}
        told = {"tests": self._tests, "faults": self._faults, "rows": found}
        self._out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
