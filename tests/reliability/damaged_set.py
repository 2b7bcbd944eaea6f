"""One source of the corpus, copied, one file of it damaged at a time, and what readers make of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from imaging_db.errors import ReaderError
from imaging_db.model import FrameCoords, sha256_of_pixels
from imaging_db.readers import registry
from imaging_db.readers.base import ReaderOptions
from tests.support.damage import Damage, parts_of
from tests.support.forked import run_forked

_NOTES = ("LICENSE.txt", "SOURCE.md")


@dataclass(frozen=True)
class Seen:
    """One frame as a reader gives it; ``file`` is relative to the source's folder."""

    coords: FrameCoords
    sha256: str
    channel_name: str | None
    position_name: str | None
    kind: str
    file: str
    page: int


@dataclass(frozen=True)
class Verdict:
    """``outcome`` is ``refused``, ``exact``, ``wrong``, or ``retyped``: every byte of every frame is
    exact, and the file says that its numbers are, say, int32 instead of float32. Only one tag of a TIFF
    file tells which, so nobody can notice that one of its bits was flipped."""

    outcome: str
    why: str
    seconds: float
    megabytes: float


def healthy(path: Path) -> list[Seen] | None:
    """The frames of an undamaged source, None where no reader takes it."""
    answer = read_all(path, path if path.is_dir() else path.parent)
    return None if "refused" in answer else _seen(answer)


def read_all(path: Path, root: Path) -> dict[str, Any]:
    """What the readers make of a source: its frames, or why they refuse it."""
    try:
        with registry.find(path).open(path, ReaderOptions()) as reader:
            frames = [
                [
                    *frame.coords,
                    sha256_of_pixels(reader.read(frame)),
                    frame.channel_name,
                    frame.position_name,
                    f"{frame.dtype} {frame.shape}",
                    os.path.relpath(frame.source.path, root),
                    frame.source.page,
                ]
                for frame in reader.frames()
            ]
            if len(frames) != reader.acquisition.nbr_frames:
                return {"refused": "another number of frames than promised"}
            return {"frames": frames}
    except ReaderError as error:
        return {"refused": str(error)}


def _seen(answer: dict[str, Any]) -> list[Seen]:
    return [Seen(FrameCoords(*row[:4]), *row[4:]) for row in answer["frames"]]


class DamagedSet:
    """A copy of a source in ``scratch``, whose ``files`` can be damaged one at a time."""

    def __init__(self, path: Path, truth: list[Seen], scratch: Path) -> None:
        self._original = path if path.is_dir() else path.parent
        self._folder = scratch / self._original.name
        scratch.mkdir(parents=True)
        shutil.copytree(self._original, self._folder, ignore=shutil.ignore_patterns(*_NOTES))
        self._path = self._folder if path.is_dir() else self._folder / path.name
        self._truth = {seen.coords: seen for seen in truth}
        if path.is_dir():
            self.files = sorted(p for p in self._original.rglob("*") if p.is_file())
            self.files = [p for p in self.files if p.name not in _NOTES]
        else:
            self.files = sorted({self._original / seen.file for seen in truth} | {path})
            self._keep_only_set()

    def _keep_only_set(self) -> None:
        """Leave companions, masters and what stands in no frame; take away unrelated files."""
        if len({seen.file for seen in self._truth.values()}) == 1 and len(self.files) == 1:
            for other in self._folder.rglob("*"):
                if other.is_file() and other != self._path and not _is_mm(self._path):
                    other.unlink()

    def try_damage(self, file: Path, damage: Damage) -> Verdict:
        """What the readers make of the set with one damaged file."""
        target = self._folder / file.relative_to(self._original)
        whole = file.read_bytes()
        target.write_bytes(damage.of(whole))
        try:
            done = run_forked(lambda: read_all(self._path, self._folder))
            if done.died:
                return Verdict("wrong", done.died, done.seconds, done.megabytes)
            if "refused" in done.value:
                return Verdict("refused", done.value["refused"], done.seconds, done.megabytes)
            found = _seen(done.value)
            why = self._difference(file, damage, found)
            outcome = "wrong" if why else self._unless_retyped(found)
            return Verdict(outcome, why, done.seconds, done.megabytes)
        finally:
            target.write_bytes(whole)

    def _unless_retyped(self, found: list[Seen]) -> str:
        """``exact``, or ``retyped`` where the bytes are and the file calls their numbers another type."""
        same = all(seen.kind == self._truth[seen.coords].kind for seen in found)
        return "exact" if same else "retyped"

    def _difference(self, file: Path, damage: Damage, found: list[Seen]) -> str:
        """What is not as it should be, empty where all is."""
        frames = {seen.coords: seen for seen in found}
        if len(frames) != len(found) or len(frames) != len(self._truth):
            return f"{len(found)} frames at {len(frames)} places instead of {len(self._truth)}"
        if frames.keys() != self._truth.keys():
            odd = min(frames.keys() - self._truth.keys())
            return f"a frame at {odd}"
        for coords, truth in self._truth.items():
            seen = frames[coords]
            if _without_type(seen.kind) != _without_type(truth.kind):
                return f"{coords} is {seen.kind} instead of {truth.kind}"
            if seen.sha256 != truth.sha256:
                why = self._other_pixels(file, damage, seen)
                if why:
                    return f"{coords} {why}"
        return ""

    def _other_pixels(self, file: Path, damage: Damage, seen: Seen) -> str:
        """Why other pixels than the truth are wrong, empty where another reader sees the same."""
        relative = file.relative_to(self._original)
        if damage.kind == "cut" or Path(seen.file) != relative:
            return "has other pixels, though its file is whole"
        if parts_of(file).frame_at(damage.place) != seen.page:
            return "has other pixels, though those in the file are whole"
        try:
            expected = _page(self._folder / relative, seen.page)
        except Exception as error:  # noqa: BLE001 - whatever another reader says of a damaged file
            return f"has other pixels; another reader fails: {error}"
        if sha256_of_pixels(expected) != seen.sha256:
            return "has other pixels than another reader sees"
        return ""


def _without_type(kind: str) -> tuple[int, str]:
    """Bytes of a number and the shape: which of int, uint and float it is, only one tag tells."""
    dtype, _, shape = kind.partition(" ")
    return np.dtype(dtype).itemsize, shape


def _is_mm(path: Path) -> bool:
    with tifffile.TiffFile(path) as file:
        return 51123 in file.pages[0].tags  # type: ignore[union-attr]


def _page(path: Path, page: int) -> npt.NDArray[Any]:
    """One page as tifffile reads it."""
    with tifffile.TiffFile(path) as file:
        if page < len(file.pages):
            found = np.asarray(file.pages[page].asarray())
        else:
            stack = file.series[0].asarray()
            found = stack.reshape(-1, *stack.shape[-2:])[page]
        if len(file.pages) == 1 and found.ndim == 3 and found.shape[0] in (3, 4):
            found = np.moveaxis(found, 0, -1)
        return found
