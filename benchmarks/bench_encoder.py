"""Frame encoders and decoders beside each other, in one process, in turns, by CPU time."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import encoders as known
from benchmarks.real import real_frames
from benchmarks.result import Result, ratios
from benchmarks.scratch import is_quick
from benchmarks.synth import CONTENTS, frame

if TYPE_CHECKING:
    import numpy.typing as npt

    Frames = list[npt.NDArray[Any]]

_ENCODERS, _DECODERS, _THREADS = "PNG encoders", "PNG decoders", "Encoders on all cores"
_UNIT = "MB per CPU-second"
_SIZES = "times libpng level 6's bytes"
_AT_LEAST = 0.06  # seconds of CPU that a turn takes: the fast ones encode a frame several times
_SPEED = {known.FALLBACK: 2.5, known.NATIVE: 4.5}
_LARGEST = 1.06


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give speed and size of every encoder on every content, then decoders, then threads."""
    cases = _cases()
    speeds: dict[tuple[str, str], Result] = {}
    sizes: dict[tuple[str, str], Result] = {}
    for case, frames in cases.items():
        for result in _encode(case, frames, repeats):
            (sizes if result.unit == _SIZES else speeds)[result.name, case] = result
            yield result
    yield from _verdicts(speeds, sizes, list(cases))
    for case, frames in cases.items():
        yield from _decode(case, frames, repeats)
    yield from _threads(repeats)


def _cases() -> dict[str, Frames]:
    """Return the frames of each case: one of every synthetic content, and the real ones."""
    side = 512 if is_quick() else 2048
    cases: dict[str, Frames] = {
        content: [frame(content, (side, side), seed=1)] for content in CONTENTS
    }
    real = {f"real, {bits} bit": real_frames(f"uint{bits}") for bits in (16, 8)}
    return cases | {case: frames for case, frames in real.items() if frames}


def _encode(case: str, frames: Frames, repeats: int) -> Iterator[Result]:
    encoders = known.encoders()
    stored = {name: sum(len(encode(f)) for f in frames) for name, encode in encoders.items()}
    turns = {name: partial(_all, encode, frames) for name, encode in encoders.items()}
    rates = _in_turns(turns, sum(f.nbytes for f in frames), repeats)
    note = f"{case}: {len(frames)} frames of the sample files." if case.startswith("real") else ""
    for name, values in rates.items():
        yield Result(_ENCODERS, case, name, _UNIT, values, note=note)
        relative = stored[name] / stored[known.LEVEL_6]
        yield Result(_ENCODERS, case, name, _SIZES, (relative,))


def _decode(case: str, frames: Frames, repeats: int) -> Iterator[Result]:
    """Decode what our default encoder wrote, and check that every decoder gives the frames back."""
    stored = [known.codecs(native=True).png.encode(f) for f in frames]
    turns = {}
    for name, decode in known.decoders().items():
        if all(_same(decode(data), f) for data, f in zip(stored, frames, strict=True)):
            turns[name] = partial(_all, decode, stored)
        else:
            yield Result(_DECODERS, case, name, _UNIT, (), note="gives other pixels")
    jxl = known.codecs(native=True).jxl
    turns[known.JXL] = partial(_all, jxl.decode, [jxl.encode(f) for f in frames])
    rates = _in_turns(turns, sum(f.nbytes for f in frames), repeats)
    for name, values in rates.items():
        yield Result(_DECODERS, case, name, _UNIT, values)


def _threads(repeats: int) -> Iterator[Result]:
    """Encode eight frames with one thread and with a thread a core; MB a second of wall clock."""
    side = 512 if is_quick() else 2048
    frames = [frame("dim", (side, side), seed=seed) for seed in range(8)]
    raw = sum(f.nbytes for f in frames)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    compared = (known.NATIVE, known.FALLBACK, known.JXL, known.CV2)
    encoders = {n: encode for n, encode in known.encoders().items() if n in compared}
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        for name, encode in encoders.items():
            for threads in dict.fromkeys((1, cores)):
                with ThreadPoolExecutor(threads) as pool:
                    started = time.perf_counter()
                    for result in [pool.submit(encode, f) for f in frames]:
                        result.result()
                    seconds = time.perf_counter() - started
                rates.setdefault((name, threads), []).append(raw / 1e6 / seconds)
    for (name, threads), values in rates.items():
        word = "thread" if threads == 1 else "threads"
        yield Result(_THREADS, f"{threads} {word}", name, "MB/s", tuple(values))
    for name in encoders:
        pairs = zip(rates[name, cores], rates[name, 1], strict=True)
        gain = tuple(many / one for many, one in pairs)
        yield Result(_THREADS, f"{cores} threads", name, "times one thread's rate", gain)


def _verdicts(
    speeds: Mapping[tuple[str, str], Result],
    sizes: Mapping[tuple[str, str], Result],
    cases: list[str],
) -> Iterator[Result]:
    """Give the medians over all contents, and whether they are what was asked for."""
    said = "median over all contents"
    for name, least in _SPEED.items():
        if (name, cases[0]) not in speeds:
            yield Result(
                _ENCODERS,
                said,
                name,
                "times cv2's rate",
                (),
                note="not built (no compiler), or not in use",
            )
            continue
        if (known.CV2, cases[0]) in speeds:
            each = [ratios(speeds[name, case], speeds[known.CV2, case]) for case in cases]
            values = tuple(statistics.median(turn) for turn in zip(*each, strict=True))
            asked = f"1. Encoder: at least {least} times the MB a CPU-second of cv2.imencode"
            met = statistics.median(values) >= least
            yield Result(_ENCODERS, said, name, "times cv2's rate", values, target=asked, met=met)
        size = statistics.median(sizes[name, case].median for case in cases)
        asked = "1. Encoder: files at most 1.06 times those of libpng level 6"
        met = size <= _LARGEST
        yield Result(_ENCODERS, said, name, _SIZES, (size,), target=asked, met=met)


def _in_turns(
    turns: Mapping[str, Callable[[], None]], raw_bytes: int, repeats: int
) -> dict[str, tuple[float, ...]]:
    """Return MB a CPU-second of each, every repeat going through all of them."""
    rates: dict[str, list[float]] = {name: [] for name in turns}
    counts: dict[str, int] = {}
    for _ in range(repeats):
        for name, work in turns.items():
            if name not in counts:
                counts[name] = max(1, round(_AT_LEAST / max(_cpu(work), 1e-6)))
            spent = sum(_cpu(work) for _ in range(counts[name]))
            rates[name].append(counts[name] * raw_bytes / 1e6 / spent)
    return {name: tuple(values) for name, values in rates.items()}


def _cpu(work: Callable[[], None]) -> float:
    """Return the CPU seconds of this process, all threads, that the work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _all(function: Callable[[Any], Any], items: list[Any]) -> None:
    for item in items:
        function(item)


def _same(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> bool:
    """Return True for the same pixels; cv2 gives colours in the order blue, green, red."""
    if found.shape != wanted.shape:
        return False
    return bool(np.array_equal(found, wanted) or np.array_equal(found[..., ::-1], wanted))
