"""Fuzz everything that reads what others wrote: ``python -m tests.fuzz.inputs --seconds 60 [--target NAME]``.

Guided by coverage where atheris is installed, else by seeded mutations of real files. A finding is any
error that is not ours, more than 5 seconds, or 300 MB above what the program takes at rest; its input is
written beside the working folder, and ``--replay FILE`` runs it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import logging
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from imaging_db.errors import ImagingDBError
from tests.fuzz.targets import TARGETS, Target

MOST_SECONDS, MOST_MEGABYTES, MOST_SEED_BYTES = 5, 300, 140_000


class Slow(BaseException):
    """A case took too long; no target may catch it."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--target", choices=list(TARGETS), help="one target instead of all")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--plain", action="store_true", help="mutate without atheris")
    parser.add_argument("--replay", type=Path, help="run one input through --target")
    options = parser.parse_args()
    chosen = [options.target] if options.target else list(TARGETS)
    logging.disable()  # tifffile remarks on every damaged file
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz") as scratch:
        if options.replay:
            Case(TARGETS[chosen[0]], Path(scratch)).run(options.replay.read_bytes())
            return 0
        if options.target and not options.plain and _has_atheris():
            return fuzz_guided(options.target, Path(scratch), options.seconds, options.seed)
        return run_all(chosen, options, options.seconds / len(chosen), Path(scratch))


def run_all(chosen: list[str], options: argparse.Namespace, seconds: float, scratch: Path) -> int:
    """Run each target in a process of its own; return 1 where one found something."""
    import subprocess

    found = 0
    for name in chosen:
        if not options.plain and _has_atheris():
            words = ["--target", name, "--seconds", f"{seconds:.0f}", "--seed", str(options.seed)]
            found |= subprocess.run([sys.executable, "-m", "tests.fuzz.inputs", *words]).returncode
        else:
            folder = scratch / name
            folder.mkdir()
            found |= fuzz_plainly(name, folder, seconds, options.seed)
    return 1 if found else 0


def _has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


class Case:
    """Runs inputs of one target within their bounds."""

    def __init__(self, target: Target, scratch: Path) -> None:
        self.count = 0
        self._target = target
        self._scratch = scratch
        self._most = _peak() + MOST_MEGABYTES
        signal.signal(signal.SIGALRM, _too_slow)

    def run(self, data: bytes) -> None:
        """Raise what is a finding; our own errors are none."""
        self.count += 1
        signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
        try:
            self._target.run(data, self._scratch)
        except ImagingDBError as error:
            assert str(error), "an error without a word"
        except self._target.refuses:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if _peak() > self._most:
            raise MemoryError(f"took more than {MOST_MEGABYTES} MB")


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise Slow(f"took more than {MOST_SECONDS} s")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz_guided(name: str, scratch: Path, seconds: float, seed: int) -> int:
    """Let atheris choose the inputs; it ends the process with 77 at a finding."""
    import atheris

    with atheris.instrument_imports(include=["imaging_db"]):
        for module in [m for m in sys.modules if m.startswith("imaging_db")]:
            del sys.modules[module]
        importlib.reload(sys.modules["tests.fuzz.targets"])
    from imaging_db import errors
    from tests.fuzz import targets

    globals()["ImagingDBError"] = errors.ImagingDBError
    corpus = scratch / "corpus"
    corpus.mkdir()
    for seed_bytes in targets.TARGETS[name].seeds():
        digest = hashlib.sha256(seed_bytes).hexdigest()
        (corpus / digest[:16]).write_bytes(seed_bytes[:MOST_SEED_BYTES])
    case = Case(targets.TARGETS[name], scratch)
    words = [f"-max_total_time={seconds:.0f}", f"-seed={seed % 2**31 + 1}", "-verbosity=0"]
    words += [
        f"-max_len={MOST_SEED_BYTES}",
        "-timeout=20",
        "-print_final_stats=0",
        "-rss_limit_mb=2000",
    ]
    words += [f"-artifact_prefix=fuzz-{name}-"]
    print(f"{name}: guided by atheris", flush=True)
    atheris.Setup([sys.argv[0], *words, str(corpus)], case.run)
    atheris.Fuzz()
    return 0


def fuzz_plainly(name: str, scratch: Path, seconds: float, seed: int) -> int:
    """Mutate seeds at random; return 1 at the first finding, whose input is kept."""
    target = TARGETS[name]
    case = Case(target, scratch)
    until = time.monotonic() + seconds
    for data in mutations(list(target.seeds()), random.Random(f"{seed} {name}")):
        try:
            case.run(data)
        except (Exception, Slow):  # noqa: BLE001 - every kind of failure is what is looked for
            kept = Path(f"fuzz-{name}-{hashlib.sha256(data).hexdigest()[:12]}").absolute()
            kept.write_bytes(data)
            traceback.print_exc()
            print(f"{name}: FOUND after {case.count} inputs, kept as {kept}", flush=True)
            return 1
        if time.monotonic() > until:
            break
    print(f"{name}: {case.count} inputs, nothing found", flush=True)
    return 0


def mutations(seeds: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """The seeds, then their mutations without end."""
    seeds = [seed[:MOST_SEED_BYTES] for seed in seeds]
    yield from seeds
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            chance.choice(_CHANGES)(data, chance, seeds)
        yield bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """A place anywhere, or near the beginning or the end, where the structure of most formats is."""
    size = max(1, len(data))
    near = min(size, 512)
    return chance.choice(
        (chance.randrange(size), chance.randrange(near), size - 1 - chance.randrange(near))
    )


def _flip(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    size = chance.choice((1, 2, 4, 8))
    odd = (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, len(data))
    value = chance.choice(odd) % 2 ** (8 * size)
    place = _place(data, chance)
    data[place : place + size] = value.to_bytes(size, chance.choice(("little", "big")))


def _cut(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    del data[_place(data, chance) :]


def _remove(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    place = _place(data, chance)
    del data[place : place + chance.choice((1, 2, 12, 100))]


def _repeat(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    place = _place(data, chance)
    piece = data[place : place + chance.choice((1, 4, 12, 64))]
    data[place:place] = piece * chance.choice((1, 2, 50))


def _splice(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    other = chance.choice(seeds)
    start = chance.randrange(max(1, len(other)))
    data[_place(data, chance) :] = other[start:]


def _word(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    place = _place(data, chance)
    data[place:place] = chance.choice(_WORDS)


_WORDS = (
    b"\0", b"\n", b'"', b"{", b"[" * 200, b"}", b",", b"=", b"NaN", b"1e999", b"-1", b"9" * 30, b"null",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"../", b"%", "🔬".encode(), b"\x1b[2J",
    b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]>", b"&a;", b"<", b"]]>", b"SizeZ=\"999999999\"", b"images=99999999\n",
    "²".encode(), "٣".encode(),
)  # fmt: skip
_Change = Callable[[bytearray, random.Random, list[bytes]], None]
_CHANGES: tuple[_Change, ...] = (_flip, _flip, _number, _cut, _remove, _repeat, _splice, _word)


if __name__ == "__main__":
    sys.exit(main())
