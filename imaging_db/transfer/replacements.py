"""Replacements for objects that are missing or damaged: verified, and in hand before anything is touched."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, TypeAlias, cast

from imaging_db.codecs import DEFAULT_CODEC, encode_frame
from imaging_db.config import ManifestRow, Settings
from imaging_db.errors import ImagingDBError, IntegrityError, ReaderError, UsageError
from imaging_db.model import (
    Dataset,
    DatasetId,
    FrameCoords,
    SourceFile,
    SourceFrame,
    StoredFile,
    StoredFrame,
    sha256_of_bytes,
    sha256_of_pixels,
)
from imaging_db.readers.base import Reader
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.fetch import damage_told, fetch_file, fetch_frame
from imaging_db.transfer.plan import Planner, UploadPlan
from imaging_db.transfer.pool import REMOTE_GETS, StopFlag, pooled, worker_count
from imaging_db.transfer.store_object import StoppableFile, sha256_of_file
from imaging_db.transfer.verify import Recorded, name_of

Wanted: TypeAlias = Mapping[str, Recorded]
"""What is to be replaced, by its name."""

_IN_MEMORY = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Replacement:
    """The right bytes of one object: ``size`` of them in ``stream``, whose hex SHA-256 is ``sha256``.

    ``row`` is set where the frame's row has to say that its bytes are others now, of the same pixels.
    """

    name: str
    key: str
    sha256: str
    size: int
    stream: BinaryIO
    row: StoredFrame | None = None


Found: TypeAlias = "Replacement | tuple[str, ImagingDBError]"
"""A replacement; or the name of an object with the reason why there is none."""


class Held(list[Replacement]):
    """Replacements that are in hand; their streams are closed with it, whatever happens."""

    @property
    def nbr_bytes(self) -> int:
        """Return the bytes of all."""
        return sum(one.size for one in self)

    def clear(self) -> None:
        """Let go of all."""
        for one in self:
            one.stream.close()
        super().clear()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


class Spare(Protocol):
    """Where replacements come from."""

    @property
    def address(self) -> str:
        """Return what it is, for people."""

    def replacements(self, dataset: Dataset, wanted: Wanted) -> Generator[Found, None, None]:
        """Yield what there is for each wanted object, in any order."""


@dataclass(frozen=True)
class SecondStore:
    """Another store that holds the same objects under the same keys, such as a copy or a restored backup."""

    store: Store
    workers: int

    @property
    def address(self) -> str:
        """Return the address of the store."""
        return self.store.address

    def replacements(self, dataset: Dataset, wanted: Wanted) -> Generator[Found, None, None]:
        """Yield every object whose bytes are as recorded there."""
        stop = StopFlag()

        told = damage_told(partial(self._fetch, dataset=dataset, stop=stop))

        def fetch(item: Recorded) -> Found:
            found = told(item)
            return (name_of(item), found) if isinstance(found, ImagingDBError) else found

        found = pooled(fetch, wanted.values(), workers=self.workers, stop=stop, unread=_let_go)
        with closing(found) as results:
            yield from results

    def _fetch(self, item: Recorded, dataset: Dataset, stop: StopFlag) -> Replacement:
        directory, name = dataset.storage_dir, name_of(item)
        key = object_key(directory, name)
        if isinstance(item, StoredFrame):
            _require_hash(item.object_sha256 or item.sha256, key)
            data = fetch_frame(item, store=self.store, directory=directory)
            return Replacement(name, key, sha256_of_bytes(data), len(data), io.BytesIO(data))
        sha256 = _require_hash(item.sha256, key)
        target = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - kept
        try:
            size = fetch_file(item, target, store=self.store, directory=directory, stop=stop)
        except BaseException:
            target.close()
            raise
        return Replacement(name, key, sha256, size, target)


@dataclass(frozen=True)
class Source:
    """What the dataset was uploaded from, planned as an upload would."""

    plan: UploadPlan
    workers: int

    @property
    def address(self) -> str:
        """Return the path of the source."""
        return str(self.plan.source)

    def replacements(self, dataset: Dataset, wanted: Wanted) -> Generator[Found, None, None]:
        """Yield every frame whose pixels, every file whose bytes are as recorded in the source."""
        missing = dict(wanted)
        found = self._of_files if self.plan.reader is None else self._of_frames
        with closing(found(dataset, wanted)) as results:
            for one in results:
                missing.pop(one.name if isinstance(one, Replacement) else one[0], None)
                yield one
        for name in missing:
            key = object_key(dataset.storage_dir, name)
            yield name, IntegrityError(f"{key} is not in {self.address}")

    def _of_files(self, dataset: Dataset, wanted: Wanted) -> Generator[Found, None, None]:
        self.plan.check_source()
        stop = StopFlag()
        files = (file for file in self.plan.files if file.name in wanted)

        def make(file: SourceFile) -> Found:
            return _from_file(file, wanted[file.name], dataset, stop)

        found = pooled(make, files, workers=self.workers, stop=stop, unread=_let_go)
        with closing(found) as results:
            yield from results

    def _of_frames(self, dataset: Dataset, wanted: Wanted) -> Generator[Found, None, None]:
        rows: dict[FrameCoords, StoredFrame] = {
            item.coords: item for item in wanted.values() if isinstance(item, StoredFrame)
        }
        with self.plan.open() as reader:
            self.plan.check_source(reader.sources)
            frames = (frame for frame in reader.frames() if frame.coords in rows)

            def make(frame: SourceFrame) -> Found:
                return _from_frame(reader, frame, rows[frame.coords], dataset)

            with closing(pooled(make, frames, workers=self.workers)) as results:
                yield from results


def _let_go(found: Found) -> None:
    """Close what nobody takes any more."""
    if isinstance(found, Replacement):
        found.stream.close()


def _from_frame(reader: Reader, frame: SourceFrame, row: StoredFrame, dataset: Dataset) -> Found:
    key = object_key(dataset.storage_dir, row.file_name)
    try:
        recorded = _require_hash(row.sha256, key)
        pixels = reader.read(frame)
    except (IntegrityError, ReaderError) as error:
        return row.file_name, error
    found = sha256_of_pixels(pixels)
    if found != recorded:
        return row.file_name, _other(key, str(frame.source), "pixels")
    encoded = encode_frame(pixels, codec=row.codec or DEFAULT_CODEC)
    if not PurePosixPath(row.file_name).name.endswith(encoded.suffix):
        return row.file_name, IntegrityError(f"{key} cannot be made as {encoded.codec}")
    size = len(encoded.data)
    changed = replace(row, object_sha256=encoded.sha256, object_size=size, codec=encoded.codec)
    return Replacement(
        row.file_name,
        key,
        encoded.sha256,
        size,
        io.BytesIO(encoded.data),
        None if encoded.sha256 == row.object_sha256 else changed,
    )


def _from_file(file: SourceFile, item: Recorded, dataset: Dataset, stop: StopFlag) -> Found:
    key = object_key(dataset.storage_dir, file.name)
    if not isinstance(item, StoredFile):
        return file.name, IntegrityError(f"{key} is a frame, {file.path} a file")
    try:
        recorded = _require_hash(item.sha256, key)
        found = sha256_of_file(file.path, stop=stop)
    except (IntegrityError, ReaderError) as error:
        return file.name, error
    if found != recorded:
        return file.name, _other(key, str(file.path), "bytes")
    stream = cast("BinaryIO", StoppableFile(file.path, StopFlag()))
    return Replacement(file.name, key, found, file.size, stream)


def _other(key: str, where: str, what: str) -> IntegrityError:
    return IntegrityError(f"{key} cannot be replaced: {where} has other {what} than recorded")


def _require_hash(sha256: str | None, key: str) -> str:
    if sha256 is None:
        raise IntegrityError(
            f"{key} has no recorded hash, so that nothing can be told to be the same"
        )
    return sha256


def spares_of(
    settings: Settings,
    dataset: Dataset,
    store: Store,
    second: Store | None,
    source: Path | str | None,
    *,
    workers: int | None,
) -> list[Spare]:
    """Return where a dataset's objects may be taken from, after both were found to be there.

    Raises
    ------
    UsageError
        The second store is ``store``, or the source does not exist.
    ReaderError
        The source is refused.
    """
    found: list[Spare] = []
    if second is not None:
        if second.address == store.address:
            raise UsageError(f"{second.address} is the store that shall be repaired")
        second.probe(write=False)
        remote = REMOTE_GETS if second.address.startswith("s3:") else 0
        found.append(SecondStore(second, worker_count(workers, frame_bytes=0, remote=remote)))
    if source is not None:
        plan = _planned(settings, dataset, Path(source).absolute())
        found.append(Source(plan, worker_count(workers, frame_bytes=plan.frame_bytes)))
    return found


def _planned(settings: Settings, dataset: Dataset, source: Path) -> UploadPlan:
    if not source.exists():
        raise UsageError(f"--source: {source} not found")
    upload = replace(settings.upload, upload_type=dataset.upload_type, meta_schema=None)
    row = ManifestRow(1, DatasetId.parse(dataset.serial), source)
    return Planner(replace(settings, upload=upload)).plan(row, dataset.serial)
