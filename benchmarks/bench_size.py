"""How the cost of an upload grows with the number of frames: time as they do, memory not at all."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.acquisitions import Synthetic
from benchmarks.children import Outcome
from benchmarks.lab import Lab, serial
from benchmarks.result import Result
from benchmarks.scratch import is_quick, working_folder

_GROUP = "Cost against size"
_SIDE = 64  # small frames: what a frame costs besides its pixels shows
_ALL = (100, 1_000, 10_000, 100_000)
_MOST_TURNS = {10_000: 3, 100_000: 1}  # they take minutes
_UPLOAD, _DOWNLOAD = "imaging_db, upload to a folder", "imaging_db, download"


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give seconds and peak RSS of upload and download at each number of frames."""
    memory: dict[str, list[float]] = {_UPLOAD: [], _DOWNLOAD: []}
    for frames in _ALL[:2] if is_quick() else _ALL:
        source = Synthetic("micro_manager", frames=frames, side=_SIDE)
        count = min(repeats, _MOST_TURNS.get(frames, repeats))
        turns = [_once(source) for _ in range(count)]
        for name, outcomes in zip((_UPLOAD, _DOWNLOAD), zip(*turns, strict=True), strict=True):
            case = f"{frames} frames"
            seconds = tuple(outcome.wall for outcome in outcomes)
            rss = tuple(outcome.peak_rss / 1e6 for outcome in outcomes)
            yield Result(_GROUP, case, name, "s", seconds, size=frames)
            yield Result(_GROUP, case, name, "MB peak RSS", rss, size=frames)
            memory[name].append(statistics.median(rss))
    for name, medians in memory.items():
        growth = (medians[-1] / medians[0],)
        note = (
            f"Frames of {_SIDE} x {_SIDE} uint16 with 3 KB of metadata each; SQLite and a folder."
        )
        yield Result(_GROUP, "peak RSS", name, "times that of 100 frames", growth, note=note)


def _once(source: Synthetic) -> tuple[Outcome, Outcome]:
    """Upload and download all frames; return what each cost."""
    path = source.path()
    with working_folder("size") as folder:
        lab = Lab.new(folder)
        uploaded = lab.upload([path])
        dest = folder / "dest"
        return uploaded, lab.call("data_downloader", "--id", serial(1), "--dest", dest)
