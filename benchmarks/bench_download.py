"""Downloads out of a folder and out of S3, whole and selected, beside rclone copying the same objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.acquisitions import Synthetic
from benchmarks.bench_upload import rclone, rclone_copy, serve
from benchmarks.lab import serial
from benchmarks.result import Result
from benchmarks.s3_clients import SECRETS
from benchmarks.scratch import is_quick, working_folder
from benchmarks.slow_link import slow_link
from benchmarks.timed import Took, took
from benchmarks.turns import Contender, compared, in_turns, rates

_GROUP = "Download"
_OURS, _PEER = "imaging_db, hashes verified", "rclone copy"
_PREFIX = Path("raw_frames") / serial(1)
_CHANNEL = "0"


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give MB/s of stored bytes; ours and rclone run in turns on the same objects."""
    source = Synthetic("ome_tiff", frames=20 if is_quick() else 500)
    with working_folder("download") as lab:
        took("benchmarks.timed", "upload", source.path(), lab)
        objects = lab / "store" / _PREFIX
        whole = sum(file.stat().st_size for file in objects.iterdir())
        part = sum(file.stat().st_size for file in objects.glob(f"im_c00{_CHANNEL}_*"))
        few = ["--include", f"im_c00{_CHANNEL}_*"]
        yield from _compare("folder to folder", whole, repeats, _ours(lab), _copy(objects))
        yield from _compare(
            "one channel of two, folder to folder",
            part,
            repeats,
            _ours(lab, _CHANNEL),
            _copy(objects, *few),
        )
    with working_folder("download") as lab, serve(lab / "server") as url:
        took("benchmarks.timed", "upload", source.path(), lab, url, env=SECRETS)
        yield from _compare("S3 to folder", whole, repeats, _ours(lab, url=url), _get(url))
        with slow_link(url, round_trip=0.04) as far:
            case = "S3 to folder, 40 ms away"
            yield from _compare(case, whole, repeats, _ours(lab, url=far), _get(far))


def _compare(
    case: str, nbr_bytes: int, repeats: int, ours: Contender, peer: Contender
) -> Iterator[Result]:
    turns = in_turns({_OURS: ours, _PEER: peer}, repeats)
    found = rates(_GROUP, case, turns, nbr_bytes)
    yield from found.values()
    yield compared(found[_OURS], found[_PEER], 0.9)


def _ours(lab: Path, channel: str = "", url: str = "") -> Contender:
    words = ("benchmarks.timed", "download", lab)
    return lambda folder: took(*words, folder, channel, url, env=SECRETS)


def _copy(objects: Path, *more: str) -> Contender:
    def copy(folder: Path) -> Took:
        return rclone_copy(str(objects), str(folder), *more)

    return copy


def _get(url: str) -> Contender:
    return lambda folder: rclone(folder, url, _PREFIX.as_posix(), back=True)
