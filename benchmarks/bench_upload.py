"""Uploads of an OME-TIFF to a folder and to S3: ours, the machine's limit, the straightforward writer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks import children
from benchmarks.acquisitions import Synthetic
from benchmarks.result import Result
from benchmarks.s3_clients import SECRETS, program
from benchmarks.scratch import is_quick, working_folder
from benchmarks.slow_link import slow_link
from benchmarks.timed import BUCKET, Took, took
from benchmarks.turns import Contender, at_most, compared, in_turns, rates, settle

_FOLDER, _S3, _MEMORY = "Upload to a folder", "Upload to S3", "Memory"
_NATIVE, _PLAIN = "imaging_db", "imaging_db without its native kernel"
_LIMIT, _STRAIGHT = "the limit of the machine", "straightforward writer"
_SHA256 = "imaging_db, a server that compares SHA-256"
_RCLONE = "rclone copy of the ready PNGs"
_WITHOUT = {"IMAGING_DB_KERNEL": "0"}
_SECONDS_AWAY = 0.04
_numbers = count(1)


def run(*, repeats: int = 5) -> Iterator[Result]:
    """Give MB/s of raw pixels, CPU seconds a GB and peak RSS; all contenders run in turns."""
    quick = is_quick()
    yield from _to_folder(Synthetic("ome_tiff", frames=40 if quick else 2000), repeats)
    yield from _to_s3(Synthetic("ome_tiff", frames=20 if quick else 200), repeats)
    yield from _cpu_to_s3(Synthetic("ome_tiff", frames=20 if quick else 1000), repeats)
    yield from _memory((20, 200) if quick else (200, 2000), repeats)


def _to_folder(source: Synthetic, repeats: int) -> Iterator[Result]:
    path, frames = source.path(), str(source.frames)
    case = f"{source.frames} frames of {source.side} x {source.side} uint16, OME-TIFF"
    contenders: dict[str, Contender] = {
        _LIMIT: lambda _: took("benchmarks.timed", "limit", path, frames),
        _NATIVE: partial(_upload, path),
        f"{_LIMIT} without the kernel": lambda _: took(
            "benchmarks.timed", "limit", path, frames, env=_WITHOUT
        ),
        _PLAIN: partial(_upload, path, env=_WITHOUT),
        _STRAIGHT: lambda folder: took("benchmarks.peers.straight", "folder", path, folder),
    }
    found = rates(_FOLDER, case, in_turns(contenders, repeats), source.raw_bytes)
    yield from found.values()
    yield compared(found[_NATIVE], found[_LIMIT], 0.85)
    yield compared(found[_PLAIN], found[f"{_LIMIT} without the kernel"], 0.85)
    yield compared(found[_NATIVE], found[_STRAIGHT], 7)
    yield compared(found[_PLAIN], found[_STRAIGHT], 4)


def _upload(source: Path, folder: Path, *server: str, env: Mapping[str, str] | None = None) -> Took:
    """Upload into a lab in ``folder``; ``server`` is a URL and the number of the dataset."""
    return took("benchmarks.timed", "upload", source, folder, *server, env=env or SECRETS)


def _straight(source: Path, folder: Path, url: str, prefix: str) -> Took:
    return took("benchmarks.peers.straight", "s3", source, folder, url, prefix, env=SECRETS)


def _to_s3(source: Synthetic, repeats: int) -> Iterator[Result]:
    """Ours into a server on this computer and 40 ms away, beside copying the ready PNGs."""
    path = source.path()
    case = f"{source.frames} frames of {source.side} x {source.side} uint16, OME-TIFF"
    with (
        working_folder("s3") as folder,
        serve(folder / "server") as url,
        slow_link(url, round_trip=_SECONDS_AWAY) as far,
    ):
        ready, server = _ready(path, folder), folder / "server"
        contenders: dict[str, Contender] = {
            "imaging_db to a folder": partial(_upload, path),
            _NATIVE: _anew(server, lambda work, n: _upload(path, work, url, str(n))),
            f"{_NATIVE}, 40 ms away": _anew(
                server, lambda work, n: _upload(path, work, far, str(n))
            ),
            _RCLONE: _anew(server, lambda _, n: rclone(ready, url, f"rclone-{n}")),
            f"{_RCLONE}, 40 ms away": _anew(server, lambda _, n: rclone(ready, far, f"rclone-{n}")),
            _STRAIGHT: _anew(server, lambda work, n: _straight(path, work, url, f"straight-{n}")),
        }
        found = rates(_S3, case, in_turns(contenders, repeats), source.raw_bytes)
    yield from found.values()
    near, away = found[_NATIVE], found[f"{_NATIVE}, 40 ms away"]
    yield compared(away, near, 0.7)
    yield compared(away, found[f"{_RCLONE}, 40 ms away"], 0.6)


def _cpu_to_s3(source: Synthetic, repeats: int) -> Iterator[Result]:
    """CPU of our process by that to a folder: into a server that compares MD5, and one that compares SHA-256.

    Of so many frames that what a process costs at its start counts for little.
    """
    path, folder_name = source.path(), "imaging_db to a folder"
    case = f"{source.frames} frames of {source.side} x {source.side} uint16, OME-TIFF"
    with (
        working_folder("s3-cpu") as folder,
        serve(folder / "rclone") as md5,
        _serve_sha256(folder / "strict") as sha256,
    ):
        server = folder / "rclone"
        contenders: dict[str, Contender] = {
            folder_name: partial(_upload, path),
            _NATIVE: _anew(server, lambda work, n: _upload(path, work, md5, str(n))),
            _SHA256: lambda work: _upload(path, work, sha256, str(next(_numbers))),
        }
        found = rates(_S3, case, in_turns(contenders, repeats), source.raw_bytes)
    yield from found.values()
    for name in (_NATIVE, _SHA256):
        yield at_most(found[name], found[folder_name], 1.4, what="times the CPU to a folder")


@contextmanager
def _serve_sha256(folder: Path) -> Iterator[str]:
    """Give the URL of a server that compares SHA-256, as Amazon's does; it keeps its objects in a folder."""
    port = children.free_port()
    command = [sys.executable, "-m", "tests.support.strict_s3", "--bucket", BUCKET]
    with children.server([*command, "--folder", folder, "--port", str(port)], port=port):
        yield f"http://127.0.0.1:{port}"


def _ready(source: Path, folder: Path) -> Path:
    """Return a folder with the PNGs of a source, as an upload to a folder leaves them."""
    work = folder / "ready"
    work.mkdir()
    _upload(source, work)
    return next((work / "store" / "raw_frames").iterdir())


def rclone(source: Path, url: str, prefix: str, *, back: bool = False) -> Took:
    """Copy a folder below a prefix of the bucket, or ``back`` from there into the folder."""
    remote = f":s3,provider=Other,env_auth,endpoint='{url}',force_path_style:{BUCKET}/{prefix}"
    ends = [remote, str(source)] if back else [str(source), remote]
    return rclone_copy(*ends, "--no-traverse", "--s3-no-check-bucket", "--transfers", "32")


def rclone_copy(*words: str) -> Took:
    """Run ``rclone copy`` with its own defaults but for ``words``."""
    command = [program("rclone") or "rclone", "copy", "--config", os.devnull, *words]
    outcome = children.run(command, env=SECRETS)
    return Took(outcome.wall, outcome.cpu, outcome)


def _anew(server: Path, contender: Callable[[Path, int], Took]) -> Contender:
    """Return a contender that gets a number of its own for each run, whose objects are emptied afterwards.

    The server remembers names: what was removed from under it must not be put again.
    """

    def run(work: Path) -> Took:
        found = contender(work, next(_numbers))
        settle(server / BUCKET)
        return found

    return run


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Give the URL of ``rclone serve s3`` over a folder with one bucket."""
    (folder / BUCKET).mkdir(parents=True)
    port = children.free_port()
    key = f"{SECRETS['AWS_ACCESS_KEY_ID']},{SECRETS['AWS_SECRET_ACCESS_KEY']}"
    command = [program("rclone") or "rclone", "serve", "s3", "--config", os.devnull]
    command += ["--addr", f"127.0.0.1:{port}", "--auth-key", key, str(folder)]
    with children.server(command, port=port):
        yield f"http://127.0.0.1:{port}"


def _memory(sizes: tuple[int, ...], repeats: int) -> Iterator[Result]:
    """Peak RSS of the same upload with few and with many frames."""
    for frames in sizes:
        source = Synthetic("ome_tiff", frames=frames)
        path = source.path()
        found = in_turns({_NATIVE: partial(_upload, path)}, min(repeats, 3))[_NATIVE]
        peaks = tuple(one.whole.peak_rss / 1e6 for one in found)
        case = f"upload to a folder, frames of {source.side} x {source.side}"
        name = f"{_NATIVE}, {frames} frames"
        yield Result(
            _MEMORY, case, name, "MB", peaks, "under 300 MB", max(peaks) < 300, size=frames
        )
