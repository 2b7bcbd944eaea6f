"""A folder of TIFF files, a frame each, under imagingDB's names; our own reader takes it back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imaging_db.errors import ImagingDBError, IntegrityError
from imaging_db.export.files import without_file
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.part import Part, in_the_way
from imaging_db.export.plan import ExportPlan
from imaging_db.export.report import ExportOptions, ExportReport, Written
from imaging_db.export.tiff_pages import PageLayout, needs_big, one_page
from imaging_db.model import FrameCoords, StoredFrame, sha256_of_bytes, sha256_of_pixels
from imaging_db.transfer.folder import DownloadFolder
from imaging_db.transfer.metadata_files import (
    FRAMES_NAME,
    GLOBAL_NAME,
    global_metadata_json,
    write_frames_csv,
)
from imaging_db.transfer.pool import pooled
from imaging_db.transfer.report import Progress

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

SUFFIX = "_tif"
_UNFIT = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_MOST_BYTES = 100  # of a channel's name: file systems hold 255 bytes


class TifFolder:
    """Exports to ``<dest>/<serial>_tif``: ``img_<channel>_t000_p000_z000.tif`` and the two metadata files.

    Frames may differ in size and type, and holes stay holes: each is a file of its own.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def path(self, plan: ExportPlan, dest: Path) -> Path:
        """Return what the export will be called."""
        return dest / f"{plan.serial}{SUFFIX}"

    def check(self, plan: ExportPlan) -> tuple[str, ...]:
        """Return notes on what the format cannot say."""
        notes = []
        if plan.nbr_missing:
            notes.append(without_file(plan.nbr_missing))
        if plan.dtype == "bool":
            notes.append("pixels of type bool are written as uint8, 0 and 1")
        if sorted(file_channels(plan).values()) != list(file_channels(plan).values()):
            notes.append(f"file names do not tell the order of the channels, {FRAMES_NAME} does")
        return tuple(notes)

    def write(
        self, plan: ExportPlan, source: FrameSource, dest: Path, *, progress: Progress
    ) -> ExportReport:
        """Return what was written to ``dest``; see `Target.write`."""
        path = self.path(plan, dest).absolute()
        identity: dict[str, object] = {"to": "tif-folder", "fingerprint": plan.fingerprint}
        part = Part(dest, path.name, identity)
        work = _Work(plan, source, progress)
        if path.exists() and work.is_there(path):
            part.tidy()
            there = Written.ALREADY_THERE
            return ExportReport(plan.serial, "tif-folder", path, there, kept=plan.nbr_frames)
        if path.exists() and not self._options.overwrite:
            raise in_the_way(path)
        with part.locked():
            report = work.write(DownloadFolder(part.path, part.content.name))
            part.finish(overwrite=self._options.overwrite)
        return replace(report, path=path)


@dataclass(frozen=True)
class _File:
    """One frame's file: its name, and the SHA-256 of its bytes once they are known to be right."""

    name: str
    frame: StoredFrame
    sha256: str = ""
    nbr_bytes: int = 0
    fresh: bool = False


@dataclass(frozen=True)
class _Work:
    plan: ExportPlan
    source: FrameSource
    progress: Progress

    def write(self, folder: DownloadFolder) -> ExportReport:
        """Write the files that are not there yet, and compare those that are."""
        hashes: dict[FrameCoords, str] = {}
        written = nbr_bytes = 0
        with folder.locked():

            def work(file: _File) -> _File:
                return self._written(folder, file)

            with closing(pooled(work, self._files(), workers=self.source.workers)) as found:
                for file in found:
                    hashes[file.frame.coords] = file.sha256
                    written += file.fresh
                    nbr_bytes += file.nbr_bytes * file.fresh
                    self.progress.advance(1, file.nbr_bytes)
            self._write_metadata(folder, hashes)
        kept = len(hashes) - written
        return ExportReport(
            self.plan.serial,
            "tif-folder",
            folder.path,
            Written.EXPORTED,
            written,
            kept,
            nbr_bytes,
        )

    def _written(self, folder: DownloadFolder, file: _File) -> _File:
        target = folder.target(file.name)
        there = _sha256_of(target, file.frame)
        if there is not None:
            return replace(file, sha256=there)
        pixels = self.source.read(file.frame)
        data = one_page(pixels, _layout(pixels, self.plan))
        folder.write(file.name, data)
        wanted = file.frame.sha256 or sha256_of_pixels(pixels)
        found = _sha256_of(target, replace(file.frame, sha256=wanted))
        if found is None:
            target.unlink()
            raise IntegrityError(
                f"{target} reads back otherwise than it was written",
                hint="test the disk and the memory of this computer, and rerun",
            )
        return replace(file, sha256=found, nbr_bytes=pixels.nbytes, fresh=True)

    def _files(self) -> Iterator[_File]:
        channels = file_channels(self.plan)
        for position in self.plan.positions.indices:
            rows = self.source.rows(position)
            for coords in self.plan.coords(position):
                if coords in rows:
                    yield _File(file_name(coords, channels), rows[coords])

    def _write_metadata(self, folder: DownloadFolder, hashes: dict[FrameCoords, str]) -> None:
        plan = self.plan
        folder.write(GLOBAL_NAME, global_metadata_json(plan.dataset, plan.acquisition))
        channels = file_channels(plan)
        with folder.writing(FRAMES_NAME) as stream:
            write_frames_csv(
                (
                    replace(
                        frame,
                        file_name=file_name(frame.coords, channels),
                        object_sha256=hashes[frame.coords],
                    )
                    for frame in self.source.frames()
                    if frame.coords in hashes  # others are told at the end: it was replaced
                ),
                stream,
            )

    def is_there(self, path: Path) -> bool:
        """Return True where a folder is this very export, every pixel compared, and nothing else in it."""
        if not path.is_dir():
            return False
        names = {file.name for file in path.iterdir()}
        if names != {file.name for file in self._files()} | {FRAMES_NAME, GLOBAL_NAME}:
            return False

        def is_right(file: _File) -> bool:
            return _sha256_of(path / file.name, file.frame) is not None

        with closing(pooled(is_right, self._files(), workers=self.source.workers)) as found:
            return all(found)


def file_channels(plan: ExportPlan) -> dict[int, str]:
    """Return what each channel is called in file names: its name, or its number; no two alike."""
    found: dict[int, str] = {}
    for index, name in zip(plan.channels.indices, plan.channels.names, strict=True):
        plain = _shortened(_UNFIT.sub("-", name or "").strip(" .")) or f"c{index:03d}"
        taken = {_folded(other) for other in found.values()}
        while _folded(plain) in taken:
            plain = f"{plain}-c{index:03d}"
        found[index] = plain
    return found


def _folded(name: str) -> str:
    """Return what a name is on file systems that do not tell case, or spellings of an accent, apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _shortened(name: str) -> str:
    return name.encode(errors="replace")[:_MOST_BYTES].decode(errors="ignore").strip(" .")


def file_name(coords: FrameCoords, channels: dict[int, str]) -> str:
    """Return the name of a frame's file, as imagingDB's parser ``parse_sms_name`` reads it."""
    channel = channels[coords.channel]
    return f"img_{channel}_t{coords.timepoint:03d}_p{coords.position:03d}_z{coords.slice:03d}.tif"


def _layout(pixels: npt.NDArray[Any], plan: ExportPlan) -> PageLayout:
    x, y = plan.pixel_size_x_um, plan.pixel_size_y_um
    big = needs_big(1, page_bytes=pixels.nbytes, description=0)
    return PageLayout(pixels.shape, pixels.dtype.name, big, (x, y) if x and y else None)


def _sha256_of(path: Path, frame: StoredFrame) -> str | None:
    """Return the SHA-256 of a file that holds the pixels of a frame, None where it does not."""
    from imaging_db.codecs import decode_frame

    if path.is_symlink() or not path.is_file() or frame.sha256 is None:
        return None
    try:
        data = path.read_bytes()
        pixels = decode_frame(data, dtype=frame.dtype, codec="tiff", where=str(path))
    except (ImagingDBError, OSError):
        return None
    return sha256_of_bytes(data) if sha256_of_pixels(pixels) == frame.sha256 else None
