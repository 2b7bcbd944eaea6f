"""A selection of a dataset out of the store, verified, into a folder; rerunning resumes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.errors import (
    CatalogUnavailable,
    ImagingDBError,
    IntegrityError,
    Interrupted,
    NothingSelected,
    ObjectsDamaged,
    ReaderError,
    UsageError,
)
from imaging_db.model import (
    Dataset,
    FrameSelection,
    StoredFile,
    StoredFrame,
    UploadType,
)
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.channels import absent, with_numeric_names
from imaging_db.transfer.convert import (
    check_conversion,
    convert,
    converted,
    is_converted,
    is_kept_as,
)
from imaging_db.transfer.fetch import (
    damage_told,
    decode_checked,
    fetch_file,
    fetch_frame,
    frame_bytes,
    wrong_count,
)
from imaging_db.transfer.folder import DownloadFolder
from imaging_db.transfer.metadata_files import (
    FRAMES_NAME,
    GLOBAL_NAME,
    global_metadata_json,
    write_frames_csv,
)
from imaging_db.transfer.pool import REMOTE_GETS, StopFlag, pooled, worker_count
from imaging_db.transfer.report import DownloadReport, Progress, Silent, noun_of
from imaging_db.transfer.store_object import sha256_of_file

Item = TypeVar("Item", StoredFrame, StoredFile)

_AHEAD = 256  # results that may wait while a page of rows is read
_STORED_COPIES = 1  # of a frame as it is stored, about half its raw size: two while it is received


@dataclass(frozen=True)
class Downloader:
    """Downloads from one catalog and one store.

    ``codec`` is what frames are converted to where it holds them, None leaves them as they are stored.
    """

    catalog: Catalog
    store: Store
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)
    codec: str | None = None

    def download(
        self,
        dataset: Dataset,
        dest: Path,
        *,
        selection: FrameSelection | None = None,
        metadata: bool = True,
        objects: bool = True,
    ) -> DownloadReport:
        """Return what was written to ``dest/<serial>``.

        A file that is there with the recorded content is kept. ``metadata`` writes
        global_metadata.json and frames_meta.csv, ``objects`` the frames or files themselves.

        Raises
        ------
        NothingSelected
            No frame matches; nothing is written.
        IntegrityError
            An object is missing or damaged; the good ones are there, the others are not.
        DatasetNotFound, CatalogUnavailable
            It was deleted, or replaced, while it was read.
        FolderBusy
            Another run downloads to the same folder.
        """
        check_conversion(self.codec)
        selection = selection or FrameSelection()
        folder = DownloadFolder(dest, dataset.serial)
        if dataset.upload_type is UploadType.FILE:
            if self.codec or not selection.everything:
                options = "-c -z -t -p mean" if self.codec is None else "--convert means"
                raise UsageError(f"{dataset.serial} holds files, not frames: {options} nothing")
            with folder.locked(), self._unchanged(dataset):
                return self._download_files(dataset, folder, objects=objects)
        selection = with_numeric_names(self.catalog, dataset.serial, selection)
        total = self._count(dataset, selection)
        with folder.locked(), self._unchanged(dataset):
            if metadata:
                self._write_metadata(dataset, folder, selection)
            return self._download_frames(dataset, folder, selection, total if objects else 0)

    @contextmanager
    def _unchanged(self, dataset: Dataset) -> Iterator[None]:
        """Tell objects that went because their dataset did, meanwhile, from those that are damaged."""
        try:
            yield
        except IntegrityError as damage:
            now = self.catalog.dataset(dataset.serial)  # or raises: it was deleted
            if now.published_at != dataset.published_at:
                raise CatalogUnavailable(
                    f"{dataset.serial} was replaced while it was read", hint="rerun"
                ) from damage
            raise

    def _count(self, dataset: Dataset, selection: FrameSelection) -> int:
        """Return how many frames are meant, after everything that was asked for was found."""
        total = self.catalog.count_frames(dataset.serial, selection)
        missing = absent(self.catalog, dataset.serial, selection)
        if not total or missing:
            why = f"there is no {', no '.join(missing)}" if total else "no frame matches"
            raise NothingSelected(f"{dataset.serial}: {why}", hint=self._what_there_is(dataset))
        if selection.everything and total != dataset.nbr_objects:
            raise wrong_count(dataset, total)
        return total

    def _write_metadata(
        self, dataset: Dataset, folder: DownloadFolder, selection: FrameSelection
    ) -> None:
        acquisition = self.catalog.acquisition(dataset.serial)
        folder.write(GLOBAL_NAME, global_metadata_json(dataset, acquisition))
        with folder.writing(FRAMES_NAME) as stream:
            frames = self.catalog.frames(dataset.serial, selection)
            write_frames_csv((converted(frame, self.codec) for frame in frames), stream)

    def _download_frames(
        self, dataset: Dataset, folder: DownloadFolder, selection: FrameSelection, total: int
    ) -> DownloadReport:
        frames = self.catalog.frames(dataset.serial, selection, with_metadata=False)
        size = frame_bytes(self.catalog.acquisition(dataset.serial))
        workers = worker_count(
            self.workers,
            frame_bytes=size,
            remote=REMOTE_GETS if dataset.storage == "s3" else 0,
            copies=_STORED_COPIES if self.codec is None else None,
        )
        run = _Run(dataset, folder, total, self.progress)
        unfit: Counter[str] = Counter()
        report = run.fetch(
            self._counted(frames if total else (), unfit),
            partial(self._fetch_frame, dataset, folder),
            workers=workers,
        )
        return replace(report, notes=_unconverted(unfit, total, self.codec))

    def _counted(self, frames: Iterable[StoredFrame], unfit: Counter[str]) -> Iterator[StoredFrame]:
        """Yield frames, and count by type those that the codec asked for does not hold."""
        for frame in frames:
            stays = self.codec is not None and converted(frame, self.codec) is frame
            if stays and self.codec is not None and not is_kept_as(frame, self.codec):
                unfit[_named(frame)] += 1
            yield frame

    def _download_files(
        self, dataset: Dataset, folder: DownloadFolder, *, objects: bool
    ) -> DownloadReport:
        files = list(self.catalog.files(dataset.serial)) if objects else []
        workers = worker_count(
            self.workers, frame_bytes=0, remote=REMOTE_GETS if dataset.storage == "s3" else 0
        )
        run = _Run(dataset, folder, len(files), self.progress)
        stop = StopFlag()
        work = partial(self._fetch_file, dataset, folder, stop)
        return run.fetch(files, work, workers=workers, stop=stop)

    def _fetch_frame(
        self, dataset: Dataset, folder: DownloadFolder, frame: StoredFrame
    ) -> tuple[bool, int]:
        wanted = converted(frame, self.codec)
        there = _is_frame if wanted is frame else is_converted
        if there(folder.target(wanted.file_name), wanted):
            return False, 0
        data = fetch_frame(frame, store=self.store, directory=dataset.storage_dir)
        if wanted is not frame and self.codec is not None:
            key = object_key(dataset.storage_dir, frame.file_name)
            data = convert(data, frame, codec=self.codec, key=key)
        failpoints.reach("object.fetched")
        folder.write(wanted.file_name, data)
        return True, len(data)

    def _fetch_file(
        self, dataset: Dataset, folder: DownloadFolder, stop: StopFlag, file: StoredFile
    ) -> tuple[bool, int]:
        if _has_hash(folder.target(file.name), file.sha256, stop):
            return False, 0
        directory = dataset.storage_dir
        with folder.writing(file.name) as stream:
            size = fetch_file(file, stream, store=self.store, directory=directory, stop=stop)
            failpoints.reach("object.fetched")
        return True, size

    def _what_there_is(self, dataset: Dataset) -> str:
        found = self.catalog.acquisition(dataset.serial)
        channels = ", ".join(
            f"{i}={name or '?'}" for i, name in self.catalog.channels(dataset.serial)
        )
        return (
            f"it has channels {channels}; {found.nbr_slices} slices, "
            f"{found.nbr_timepoints} timepoints, {found.nbr_positions} positions, counted from 0"
        )


@dataclass
class _Run:
    """One run over the objects of a download: counts what was written and what was there."""

    dataset: Dataset
    folder: DownloadFolder
    total: int
    progress: Progress
    written: int = 0
    kept: int = 0
    nbr_bytes: int = 0
    failures: list[ImagingDBError] = field(default_factory=list)

    def fetch(
        self,
        items: Iterable[Item],
        work: Callable[[Item], tuple[bool, int]],
        *,
        workers: int,
        stop: StopFlag | None = None,
    ) -> DownloadReport:
        """Return the report once every item is in its folder; ``work`` tells (written, bytes)."""
        started = time.monotonic()
        self.progress.start(self.dataset.serial, self.total)
        try:
            found = pooled(
                damage_told(work),
                items,
                workers=workers,
                stop=stop,
                ahead=_AHEAD,
                unread=self._took,
            )
            with closing(found) as results:
                for result in results:
                    self._took(result)
        except KeyboardInterrupt as stop:
            raise Interrupted(
                f"interrupted: {self.written + self.kept} of {self.total} are there; rerun to continue",
                signal_number=getattr(stop, "signal_number", 2),
            ) from stop
        finally:
            self.progress.finish()
        if self.failures:
            raise _failed(self.dataset, self.failures, self.total)
        seconds = time.monotonic() - started
        return DownloadReport(
            self.dataset.serial,
            noun_of(self.dataset),
            self.folder.path,
            self.written,
            self.kept,
            self.nbr_bytes,
            seconds,
        )

    def _took(self, result: tuple[bool, int] | ImagingDBError) -> None:
        if isinstance(result, ImagingDBError):
            self.failures.append(result)
            return
        fresh, size = result
        self.written += fresh
        self.kept += not fresh
        self.nbr_bytes += size
        self.progress.advance(1, size)


def _failed(dataset: Dataset, failures: Sequence[ImagingDBError], total: int) -> ImagingDBError:
    if len(failures) == 1:
        return failures[0]
    return ObjectsDamaged(
        f"{dataset.serial}: {len(failures)} of {total} {noun_of(dataset)}s are damaged", failures
    )


def _named(frame: StoredFrame) -> str:
    """Return what a codec does not hold of a frame, whose sides may be too long."""
    sides = f" of {frame.width} x {frame.height}" if frame.dtype in ("uint8", "uint16") else ""
    return f"{frame.dtype or 'unknown type'}{sides}"


def _unconverted(unfit: Counter[str], total: int, codec: str | None) -> tuple[str, ...]:
    """Return a note where frames came as they are stored though a codec was asked for."""
    if not unfit:
        return ()
    return (
        f"{unfit.total()} of {total} frames came as they are stored: {codec} does not hold {', '.join(unfit)}",
    )


def _has_hash(path: Path, sha256: str | None, stop: StopFlag | None = None) -> bool:
    """Return True where a file, not a link, is there with that content; one we may not read is not."""
    if sha256 is None or path.is_symlink() or not path.is_file():
        return False
    try:
        return sha256_of_file(path, stop=stop) == sha256
    except ReaderError:
        return False


def _is_frame(path: Path, frame: StoredFrame) -> bool:
    if frame.object_sha256 is not None or path.is_symlink() or not path.is_file():
        return _has_hash(path, frame.object_sha256)
    try:
        decode_checked(path.read_bytes(), frame, key=str(path))
    except (ImagingDBError, OSError):
        return False
    return frame.sha256 is not None
