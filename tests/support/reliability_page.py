"""Makes docs/reliability.md of what runs of the tests found.

::

    python -m tests.support.reliability_page            # of docs/reliability/*.json, which such runs write
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.support.matrix import SECTIONS, Row, Shown, read_rows

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "reliability"
PAGE = ROOT / "docs" / "reliability.md"

HEAD = """\
# Reliability

<!-- made by `make torture`; do not edit -->

The promise: **what you can see is complete and byte-exact, and the same command run again finishes what was
interrupted.** This page says which faults were injected to test it, how, how often, and what came of it.
`make torture` injects them again and writes this page anew; a part of every row runs with `make test`.

Faults come from outside where that is possible: processes are killed, system calls fail by `strace`, servers
and proxies cut, delay, change or lose what is sent. Where it is not, the program stops itself at a named
stage of its work: `IMAGING_DB_FAILPOINT`, see `python -m imaging_db.failpoints`.

After each fault the same is looked at: the exit code and one line that says what to do; nothing that can be
seen is incomplete; the same command once more ends as an undisturbed run does, byte for byte; and
`imaging-db gc` finds nothing of it left.
"""


def main() -> int:
    """Write the page; return 1 where a row does not hold."""
    shown = {name: Shown(**values) for name, values in _json("matrix.json").get("rows", {}).items()}
    rows = read_rows()
    PAGE.write_text("\n".join(_page(rows, shown)), encoding="utf-8")
    bad = [name for name in rows if _result(rows[name], shown.get(name)).startswith("**")]
    sys.stdout.write(f"{PAGE.name}: {len(rows)} rows, {len(bad)} do not hold {bad or ''}\n")
    return int(bool(bad))


def _page(rows: dict[str, Row], shown: dict[str, Shown]) -> Iterator[str]:
    yield HEAD
    yield from _summary(rows, shown)
    yield from _cuts()
    yield from _broken()
    yield "## The matrix\n"
    yield "`P` is the priority: 0 before any release, 1 before many computers share the work, 2 later.\n"
    for letter, title in SECTIONS.items():
        yield f"### {letter}. {title}\n"
        own = [
            row for row in rows.values() if row.id.startswith(letter) and row.id[1] in "-0123456789"
        ]
        yield from _table(
            ("row", "P", "fault", "how it is injected", "expected", "faults", "result"),
            (_cells(row, shown.get(row.id)) for row in own),
        )


def _cells(row: Row, shown: Shown | None) -> tuple[str, ...]:
    faults = str(shown.injected) if shown and shown.injected else "-"
    return (
        row.id,
        str(row.priority),
        row.fault,
        row.how or "-",
        row.expected or "-",
        faults,
        _result(row, shown),
    )


def _result(row: Row, shown: Shown | None) -> str:
    if shown is None or not (shown.held or shown.failed):
        why = row.not_here or (shown.why_skipped if shown else "")
        return f"not shown: {why}" if why else "**not shown**"
    if shown.failed:
        return f"**failed** in {shown.failed} of {shown.failed + shown.held} tests"
    return f"held, {shown.held} test{'s' if shown.held > 1 else ''}"


def _summary(rows: dict[str, Row], shown: dict[str, Shown]) -> Iterator[str]:
    held = [name for name in rows if _result(rows[name], shown.get(name)).startswith("held")]
    open_rows = [name for name in rows if name not in held]
    run, found = _json("run.json"), _json("matrix.json")
    yield f"**{len(held)} of {len(rows)} rows held.** Not shown: {', '.join(open_rows) or 'none'}.\n"
    if run:
        size = "at the size of every day" if run["length"] == "0" else "at length"
        yield f"Measured {run['date']} {size}, on {run['machine']}, in {run['seconds']} s:"
        yield f"{found['faults']} faults and hostile inputs in {found['tests']} tests.\n"


def _cuts() -> Iterator[str]:
    found = _json("damage.json")
    if not found:
        return
    points = found["points"]
    yield "## Damaged files\n"
    yield (
        f"Each healthy source was cut at {points} points, and bytes were flipped in {points} places (sets of\n"
        "many files: as many in all as twelve files have). Each time it was refused, or every frame whose own\n"
        "bytes were not touched was exact; never were there fewer frames. *Retyped*: every byte is exact, but\n"
        "the one tag that says what type the numbers have was flipped, which nobody can notice.\n"
        "`make damage` tries them again.\n"
    )
    head = "source, cuts refused, cuts exact, flips refused, flips exact, retyped, worst s, worst MB, faults"
    yield from _table(tuple(head.split(", ")), (tuple(row) for row in found["rows"]))


def _broken() -> Iterator[str]:
    path = RESULTS / "broken.jsonl"
    if not path.exists():
        return
    builds = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    noticed = sum(bool(build["caught_by"]) for build in builds)
    yield "## Broken builds\n"
    yield (
        "Each of these changes breaks the program on purpose (`tests/broken`). "
        f"{noticed} of {len(builds)} were noticed by\nthe tests; `make broken` tries them again.\n"
    )
    rows = (
        (b["build"], b["broken"], f"`{b['caught_by']}`" if b["caught_by"] else "**nothing**")
        for b in builds
    )
    yield from _table(("build", "what is broken", "first test that notices"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _json(name: str) -> dict[str, Any]:
    path = RESULTS / name
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


if __name__ == "__main__":
    raise SystemExit(main())
