"""Cut and flip every healthy file of the corpus: refused, or every frame is exact.

    python -m tests.reliability.damage [--data FOLDER] [--points 39] [--only TEXT] [--jobs 2]

prints a table: source, cuts and flips that were refused or exact, worst seconds, worst megabytes; and
every case that is neither. Each case runs in a forked child. The damaged file lies inside its set.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import imagecodecs  # noqa: F401 - what the forked children need is imported once, here
import tifffile

from imaging_db.readers import registry
from tests.integration.test_truth import (
    NOT_IN_A_CLONE,
    SHARED,
    SMALL,
    SOURCES,
    Corpus,
    Source,
    check_truth,
    truth_of,
)
from tests.reliability.damaged_set import DamagedSet, Verdict, healthy
from tests.support.damage import Damage, cuts, every_bit, flips

MOST_SECONDS, MOST_MEGABYTES = 5.0, 300.0
FEW = 12
"""Sets of more files get fewer points a file, as many in all as this number of files would."""


@dataclass
class Line:
    """What came of one source."""

    source: str
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    megabytes: float = 0.0
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[object, ...]:
        names = ("cut refused", "cut exact", "flip refused", "flip exact", "flip retyped")
        numbers = [self.counts[name] for name in names]
        return (
            self.source,
            *numbers,
            f"{self.seconds:.2f}",
            f"{self.megabytes:.0f}",
            len(self.faults),
        )


HEADER = (
    "source",
    "cuts refused",
    "exact",
    "flips refused",
    "exact",
    "retyped",
    "worst s",
    "worst MB",
    "faults",
)


def sources(folder: Path) -> list[Source]:
    """The sources that are there and were not damaged already."""
    undamaged = (s for s in SOURCES if s.dataset != "corrupt_pillow")
    return [s for s in undamaged if folder != SMALL or str(s) not in NOT_IN_A_CLONE]


def damage_source(
    folder: Path, source: Source, points: int, seed: int, most_bits: int
) -> Line | None:
    """Damage one source in every way; None where no reader takes it even undamaged."""
    with tempfile.TemporaryDirectory(prefix="damage") as scratch:
        corpus = Corpus(folder, Path(scratch, "unpacked"))
        path = corpus.path(source)
        seen = healthy(path)
        if seen is None:
            return None
        rows = truth_of(corpus, source)
        if rows:
            check_truth(rows, seen)  # type: ignore[arg-type]
        elif pages := corpus.pixels(source):
            assert Counter(frame.sha256 for frame in seen) == pages
        line = Line(str(source))
        damaged_set = DamagedSet(path, seen, Path(scratch, "copy"))
        for file, damage in damages(damaged_set.files, points, f"{seed} {source}", most_bits):
            note(line, file, damage, damaged_set.try_damage(file, damage))
        return line


def damages(
    files: list[Path], points: int, seed: str, most_bits: int
) -> Iterable[tuple[Path, Damage]]:
    """What is done to each file of a set; with ``most_bits`` every bit of so many bytes of the first."""
    if most_bits:
        for file in files[:1]:
            yield from ((file, damage) for damage in every_bit(file, most_bits))
        return
    each = points if len(files) <= FEW else max(2, points * FEW // len(files))
    for file in files:
        size = file.stat().st_size
        yield from ((file, damage) for damage in cuts(size, each))
        yield from ((file, damage) for damage in flips(file, each, f"{seed} {file.name}"))


def note(line: Line, file: Path, damage: Damage, verdict: Verdict) -> None:
    """Count one case."""
    line.seconds = max(line.seconds, verdict.seconds)
    line.megabytes = max(line.megabytes, verdict.megabytes)
    line.counts[f"{damage.kind} {verdict.outcome}"] += 1
    wrong = verdict.why if verdict.outcome == "wrong" else ""
    if verdict.seconds > MOST_SECONDS:
        wrong += f" took {verdict.seconds:.1f} s"
    if verdict.megabytes > MOST_MEGABYTES:
        wrong += f" took {verdict.megabytes:.0f} MB"
    if wrong:
        line.faults.append(f"{line.source}: {file.name}: {damage}: {wrong}")


def run(
    folder: Path,
    *,
    points: int,
    seed: int,
    only: str,
    skip: str,
    jobs: int,
    most_bits: int = 0,
) -> list[Line]:
    """A line for each source that is healthy."""
    chosen = [s for s in sources(folder) if only in str(s) and not (skip and skip in str(s))]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        futures = [pool.submit(damage_source, folder, s, points, seed, most_bits) for s in chosen]
        lines = []
        for future in futures:
            line = future.result()
            if line is not None:
                lines.append(line)
                print(*line.faults, sep="\n", end="\n" if line.faults else "", flush=True)
    return lines


def _quiet() -> None:
    """Threads of a library for linear algebra would make every fork a gamble."""
    assert registry.specs() and tifffile.__version__


def table(lines: list[Line]) -> str:
    """The table, as Markdown."""
    total = Line("**all**", seconds=max(x.seconds for x in lines))
    total.megabytes = max(x.megabytes for x in lines)
    for line in lines:
        total.counts += line.counts
        total.faults += line.faults
    rows = [HEADER, ["---"] * len(HEADER), *(line.cells() for line in (*lines, total))]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> int:
    """Damage, print, and return 1 where a damage went unnoticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED if SHARED.is_dir() else SMALL)
    parser.add_argument("--small", dest="data", action="store_const", const=SMALL)
    parser.add_argument("--points", type=int, default=39)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="sources that hold this text")
    parser.add_argument("--skip", default="", help="no sources that hold this text")
    parser.add_argument(
        "--bits", type=int, default=0, metavar="N", help="every bit of N bytes a part"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write the table as JSON, too")
    options = parser.parse_args()
    lines = run(
        options.data,
        points=options.points,
        seed=options.seed,
        only=options.only,
        skip=options.skip,
        jobs=options.jobs,
        most_bits=options.bits,
    )
    print(table(lines))
    if options.out is not None:
        rows = [[str(cell) for cell in line.cells()] for line in lines]
        options.out.write_text(
            json.dumps({"points": options.points, "rows": rows}, indent=1) + "\n"
        )
    return 1 if any(line.faults for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
