"""Where the CPU time of an upload to a folder goes, step by step: ``python -m benchmarks.profile_upload``.

Each upload runs in a process of its own, with and without the native kernel in turns. A step is timed by the
CPU clock of the thread that does it; what no step takes are Python's own steps and the changes of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.acquisitions import Synthetic
from benchmarks.children import run_python
from benchmarks.scratch import working_folder
from benchmarks.timed import told, upload
from benchmarks.turns import settle

_NAME = "make each file and name it"
_STEPS = {
    "read": "read the pixels",
    "sha256_of_pixels": "hash the pixels",
    "measure": "measure the quality",
    "encode": "encode",
    "sha256_of_bytes": "hash the encoded bytes",
    "_fill": "write the bytes",
    "_open_temporary": _NAME,
    "publish": _NAME,
    "flush": "flush",
    "plan": "plan: parse and check the source",
    "add_frames": "write the rows",
}
_REST = "Python's steps and all else"
_ALL, _WALL = "the whole upload, CPU", "the whole upload, wall"
_ALONE = "files of the same bytes alone, CPU"


def _time_every_call(spent: list[tuple[str, int]], place: Any, name: str) -> None:
    call, step = getattr(place, name), _STEPS[name]

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return call(*args, **kwargs)
        finally:
            spent.append((step, time.thread_time_ns() - began))

    setattr(place, name, timed)


def _one(source: str, folder: str) -> None:
    """Print what one upload took, what its steps took, and what files of the same bytes take alone."""
    from imaging_db.catalog import Catalog
    from imaging_db.codecs import frames, png
    from imaging_db.readers.tiff_reader import TiffPagesReader
    from imaging_db.stores import local
    from imaging_db.transfer import plan, store_object

    spent: list[tuple[str, int]] = []
    places = [(TiffPagesReader, "read"), (store_object, "sha256_of_pixels"), (png, "encode")]
    places += [(store_object, "measure"), (frames, "sha256_of_bytes"), (local, "_fill")]
    places += [(local.LocalStore, "_open_temporary"), (local, "publish"), (plan.Planner, "plan")]
    for place, name in (*places, (local.LocalStore, "flush"), (Catalog, "add_frames")):
        _time_every_call(spent, place, name)
    upload(source, folder)
    totals = {one: sum(ns for step, ns in spent if step == one) for one in _STEPS.values()}
    print(json.dumps({step: nanoseconds / 1e9 for step, nanoseconds in totals.items()}))
    sizes = [file.stat().st_size for file in Path(folder, "store").rglob("*.png")]
    with told():
        _write_alone(sizes, Path(folder))


def _write_alone(sizes: list[int], folder: Path) -> None:
    data = memoryview(bytes(max(sizes)))
    for number, size in enumerate(sizes):
        part = folder / f"{number}.part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(handle, data[:size])
        os.close(handle)
        os.link(part, part.with_suffix(".png"))
        part.unlink()


def _run(source: Path, kernel: str, folder: Path) -> dict[str, float]:
    folder.mkdir()
    words = ("-m", "benchmarks.profile_upload", "--one", source, folder)
    output = run_python(*words, env={"IMAGING_DB_KERNEL": kernel}).output
    whole, steps, alone = map(json.loads, output.splitlines()[-3:])
    settle(folder)
    rest = whole["cpu"] - sum(steps.values())
    return {**steps, _REST: rest, _ALL: whole["cpu"], _WALL: whole["wall"], _ALONE: alone["cpu"]}


def main() -> None:
    """Print microseconds a frame as a Markdown table: medians, with the least and the largest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    source = Synthetic("ome_tiff", frames=asked.frames).warm()
    with working_folder("profile") as work:
        turns = [[_run(source, k, work / f"{n}-{k}") for k in "10"] for n in range(asked.repeats)]
    contenders = list(zip(*turns, strict=True))
    print("| step | with the kernel, us a frame | without it |\n| --- | ---: | ---: |")
    for step in (*dict.fromkeys(_STEPS.values()), _REST, _ALL, _WALL, _ALONE):
        row = [[found[step] * 1e6 / asked.frames for found in one] for one in contenders]
        cells = [f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in row]
        print(f"| {step} | {' | '.join(cells)} |")


if __name__ == "__main__":
    _one(*sys.argv[2:]) if sys.argv[1:2] == ["--one"] else main()
