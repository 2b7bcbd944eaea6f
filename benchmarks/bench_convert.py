"""A whole acquisition through us, and through tools that convert it to OME-Zarr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.acquisitions import Synthetic
from benchmarks.children import ChildFailed, Outcome
from benchmarks.children import run as run_command
from benchmarks.environments import NotInstalled, environment, program, versions
from benchmarks.lab import Lab
from benchmarks.result import Result
from benchmarks.scratch import is_quick, working_folder

_GROUP = "Whole conversion beside other tools"
_PEERS = Path(__file__).parent / "peers"
_IOHUB = ("iohub",)
_BIOIO = ("bioio", "bioio-ome-tiff", "bioio-ome-zarr")
_NOTE = (
    "Ours writes a catalog with hashes and per-frame metadata besides; nothing of either is lossy."
)

Convert = Callable[[Path], Outcome]  # into an empty folder


@dataclass(frozen=True)
class _Contender:
    name: str
    convert: Convert
    note: str = _NOTE


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give MB/s, CPU, memory and stored bytes of each tool that can be installed, in turns."""
    source = Synthetic("micro_manager", frames=20 if is_quick() else 200, side=1024)
    source.warm()
    case = f"{source.frames} frames of {source.side} x {source.side}, OME-TIFF of Micro-Manager"
    contenders = list(_ours(source))
    for make, name in ((_iohub, "iohub"), (_bioio, "bioio")):
        try:
            contenders.append(make(source))
        except (NotInstalled, ChildFailed) as error:
            yield Result(_GROUP, case, name, "MB/s", (), note=str(error))
    outcomes: dict[str, list[Outcome]] = {contender.name: [] for contender in contenders}
    stored: dict[str, float] = {}
    for _ in range(repeats):
        for contender in contenders:
            with working_folder("convert") as folder:
                outcomes[contender.name].append(contender.convert(folder))
                stored[contender.name] = _bytes_in(folder) / source.raw_bytes
    raw = source.raw_bytes
    for contender in contenders:
        runs = outcomes[contender.name]
        yield Result(
            _GROUP,
            case,
            contender.name,
            "MB/s",
            tuple(outcome.rate(raw) for outcome in runs),
            note=contender.note,
            cpu_per_gb=tuple(outcome.cpu_per_gb(raw) for outcome in runs),
            peak_rss=tuple(outcome.peak_rss / 1e6 for outcome in runs),
        )
    for name, share in stored.items():
        yield Result(_GROUP, case, name, "times the raw bytes", (share,))


def _ours(source: Synthetic) -> Iterator[_Contender]:
    """Give the upload into a folder with SQLite, by frame codec."""
    path = source.path()

    def upload(folder: Path, codec: str) -> Outcome:
        return Lab.new(folder).upload([path], "--codec", codec)

    yield _Contender("imaging_db, PNG", lambda folder: upload(folder, "png"))
    yield _Contender("imaging_db, JPEG XL", lambda folder: upload(folder, "jxl"))


def _iohub(source: Synthetic) -> _Contender:
    home = environment("iohub", _IOHUB)
    path = source.path()
    given = path if path.is_dir() else path.parent

    def convert(folder: Path) -> Outcome:
        target = folder / "converted.zarr"
        command = program(home, "iohub")
        return run_command([command, "convert", "-i", given, "-o", target, "-c", "XY"])

    note = f"iohub: `iohub convert` to OME-Zarr, a chunk a frame; {versions(home, _IOHUB)}."
    return _checked(_Contender("iohub", convert, note), home, source)


def _bioio(source: Synthetic) -> _Contender:
    home = environment("bioio", _BIOIO)
    path = source.path()

    def convert(folder: Path) -> Outcome:
        script = _PEERS / "bioio_to_zarr.py"
        return run_command([program(home, "python"), script, path, folder / "converted.zarr"])

    note = f"bioio: its OME-TIFF reader into its OME-Zarr writer, a chunk a frame; {versions(home, _BIOIO)}."
    return _checked(_Contender("bioio", convert, note), home, source)


def _checked(contender: _Contender, home: Path, source: Synthetic) -> _Contender:
    """Return the contender after one conversion that is not counted and whose pixels are added up.

    Raises
    ------
    ChildFailed
        What it wrote is not what was there.
    """
    with working_folder("check") as folder:
        contender.convert(folder)
        script = _PEERS / "zarr_sum.py"
        told = run_command([program(home, "python"), script, folder / "converted.zarr"]).output
    found = tuple(int(word) for word in told.split()[-2:])
    total = sum(int(source.pixels(number).sum(dtype="uint64")) for number in range(source.frames))
    if found != (source.frames, total):
        raise ChildFailed(f"{contender.name} gives other pixels: {found}")
    return contender


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
