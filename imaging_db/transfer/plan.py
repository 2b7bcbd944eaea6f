"""Plans: one row of a CSV, read and checked, frozen before a byte moves."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from imaging_db.codecs import DEFAULT_CODEC, check_codec, codec_for, suffix_of
from imaging_db.config import ManifestRow, MetadataSchema, Settings, UploadSettings
from imaging_db.errors import (
    CorruptSource,
    MissingMetadata,
    SourceChanged,
    UnsupportedFormat,
    UsageError,
)
from imaging_db.model import (
    DatasetDraft,
    JSONObject,
    SourceFile,
    SourceFrame,
    UploadType,
)
from imaging_db.readers import registry
from imaging_db.readers.base import Reader, ReaderOptions, ReaderSpec, ReadLimits
from imaging_db.readers.filename_parsers import get_parser
from imaging_db.stores.layout import frame_name, object_key, storage_dir
from imaging_db.transfer.places import FramePlaces
from imaging_db.transfer.sources import empty_folders_note, files_of, fingerprint

_Kind = tuple[str, tuple[int, ...]]  # what decides how a frame is kept: its type and shape


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """What will be done for one row. ``where`` names the row in messages.

    ``reader`` names the format, None for files stored as they are, whose names are in ``files``.
    ``raw_bytes`` counts pixels or file bytes, ``frame_bytes`` the largest frame. ``mark`` is the
    fingerprint of the source; that of the draft says also how its frames are kept.
    """

    where: str
    source: Path
    draft: DatasetDraft
    reader: str | None
    options: ReaderOptions
    files: tuple[SourceFile, ...]
    raw_bytes: int
    frame_bytes: int
    mark: str
    notes: tuple[str, ...] = ()

    @property
    def noun(self) -> str:
        """Return what the dataset's objects are: ``frame`` or ``file``."""
        return "file" if self.reader is None else "frame"

    def open(self) -> Reader:
        """Return the open reader of this plan."""
        return registry.get(self.reader or "").open(self.source, self.options)

    def keys(self) -> set[str]:
        """Return the key of every object that the dataset will have."""
        directory = self.draft.storage_dir
        if self.reader is None:
            return {object_key(directory, file.name) for file in self.files}
        with self.open() as reader:
            return {frame_key(self.draft, frame) for frame in reader.frames()}

    def check_source(self, sources: Iterable[Path] | None = None) -> None:
        """Let pass a source whose files are what they were when it was planned.

        ``sources`` are the files of the open reader; without them a source of files is listed anew.

        Raises
        ------
        SourceChanged
            A file was written to, added or removed.
        """
        paths = [file.path for file in files_of(self.source)] if sources is None else sources
        if _mark(paths, self.source, self.reader, self.options) != self.mark:
            raise SourceChanged(
                self.source, "changed since it was planned", hint="rerun when it rests"
            )


def frame_key(draft: DatasetDraft, frame: SourceFrame) -> str:
    """Return the key that a frame will have."""
    codec = codec_for(frame.dtype, frame.shape, preferred=draft.codec or DEFAULT_CODEC)
    return object_key(draft.storage_dir, frame_name(frame.coords, suffix_of(codec)))


class Planner:
    """Makes plans for the rows of one CSV; the reader and the schema are looked up once."""

    def __init__(self, settings: Settings) -> None:
        """Check what the config names: reader, parser, schema, codec; `ConfigError` where one is not there."""
        self._settings = settings
        upload = settings.upload
        self._spec = registry.get(upload.frames_format) if upload.frames_format else None
        if upload.filename_parser:
            get_parser(upload.filename_parser)
        self._schema = MetadataSchema(upload.meta_schema) if upload.meta_schema else None
        if upload.upload_type is UploadType.FRAMES:
            check_codec(upload.frames_codec)

    def plan(self, row: ManifestRow, where: str) -> UploadPlan:
        """Return the plan of a row, after everything was checked that needs no pixels.

        Raises
        ------
        ReaderError
            The source is refused; names file, page and cause.
        """
        if self._settings.upload.upload_type is UploadType.FILE:
            return self._plan_files(row, where)
        spec = self._spec or registry.find(row.source)
        if row.positions is not None and not spec.takes_positions:
            raise UnsupportedFormat(
                row.source,
                f"positions cannot be chosen for {spec.name}",
                hint="leave the cell empty",
            )
        return self._plan_frames(row, where, spec)

    def _plan_frames(self, row: ManifestRow, where: str, spec: ReaderSpec) -> UploadPlan:
        options = reader_options(self._settings.upload, row.positions)
        with spec.open(row.source, options) as reader:
            kinds = _check_frames(reader, self._schema)
            acquisition, count = reader.acquisition, kinds.total()
            if acquisition.nbr_frames != count:
                raise CorruptSource(
                    row.source, f"promises {acquisition.nbr_frames} frames and gives {count}"
                )
            mark = _mark(reader.sources, row.source, spec.name, options)
        codec = _kept_as(kinds, self._settings.upload.frames_codec)
        draft = self._draft(
            row,
            mark if codec == _kept_as(kinds, DEFAULT_CODEC) else _mark_with(codec, mark),
            count,
            acquisition.metadata,
            acquisition=acquisition,
            codec=codec,
        )
        return UploadPlan(
            where=where,
            source=row.source,
            draft=draft,
            reader=spec.name,
            options=options,
            files=(),
            raw_bytes=sum(_frame_bytes(kind) * number for kind, number in kinds.items()),
            frame_bytes=max(map(_frame_bytes, kinds)),
            mark=mark,
            notes=acquisition.notes,
        )

    def _plan_files(self, row: ManifestRow, where: str) -> UploadPlan:
        if row.positions is not None:
            raise UnsupportedFormat(
                row.source, "positions cannot be chosen for a file", hint="leave the cell empty"
            )
        files = files_of(row.source)
        mark = _mark([file.path for file in files], row.source, None, ReaderOptions())
        metadata: JSONObject = {"file_origin": str(row.source)}
        return UploadPlan(
            where=where,
            source=row.source,
            draft=self._draft(row, mark, len(files), metadata),
            reader=None,
            options=ReaderOptions(),
            files=files,
            raw_bytes=sum(file.size for file in files),
            frame_bytes=0,
            mark=mark,
            notes=empty_folders_note(row.source),
        )

    def _draft(
        self, row: ManifestRow, mark: str, count: int, metadata: JSONObject, **more: object
    ) -> DatasetDraft:
        upload, store = self._settings.upload, self._settings.store
        return DatasetDraft(
            serial=str(row.serial),
            acquired_at=row.serial.acquired_at,
            upload_type=upload.upload_type,
            description=row.description,
            microscope=upload.microscope,
            parent_serial=row.parent_serial,
            fingerprint=mark,
            storage=store.storage,
            storage_access=store.access,
            storage_dir=storage_dir(upload.upload_type, str(row.serial)),
            nbr_objects=count,
            metadata=metadata,
            **more,  # type: ignore[arg-type]
        )


def _mark(paths: Iterable[Path], source: Path, reader: str | None, options: ReaderOptions) -> str:
    settings = (reader, options.positions, options.filename_parser)
    return fingerprint(paths, source, settings=settings)


def _mark_with(codec: str, mark: str) -> str:
    """Frames of one codec must not be mixed with those that an unfinished upload left of another."""
    return hashlib.sha256(f"{codec} {mark}".encode()).hexdigest()


def _kept_as(kinds: Iterable[_Kind], asked: str) -> str:
    """Return the codec that all frames will have, the one asked for where they have several."""
    found = {codec_for(dtype, shape, preferred=asked) for dtype, shape in kinds}
    return found.pop() if len(found) == 1 else asked


def reader_options(upload: UploadSettings, positions: tuple[int, ...] | None) -> ReaderOptions:
    """Return what config and row say to a reader."""
    defaults = ReadLimits()
    limits = ReadLimits(
        max_frame_bytes=upload.max_frame_bytes or defaults.max_frame_bytes,
        max_frames=upload.max_frames or defaults.max_frames,
        max_metadata_bytes=upload.max_metadata_bytes or defaults.max_metadata_bytes,
    )
    return ReaderOptions(positions, upload.filename_parser, limits)


def _check_frames(reader: Reader, schema: MetadataSchema | None) -> Counter[_Kind]:
    """Return how many frames of each kind there are, after each was checked without its pixels."""
    kinds: Counter[_Kind] = Counter()
    places = FramePlaces()
    for frame in reader.frames():
        places.add(frame.coords)
        _check_frame(frame, schema)
        kinds[frame.dtype, frame.shape] += 1
    if not kinds:
        raise CorruptSource(reader.sources[0] if reader.sources else "source", "holds no frame")
    repeated = places.first_repeated()
    if repeated is not None:
        earlier, frame = (next(islice(reader.frames(), n, None)) for n in repeated)
        raise CorruptSource(
            frame.source.path,
            f"lies at {frame.coords} as page {earlier.source.page} of {earlier.source.path.name} does",
            page=frame.source.page,
        )
    return kinds


def _check_frame(frame: SourceFrame, schema: MetadataSchema | None) -> None:
    try:
        codec_for(frame.dtype, frame.shape)
    except UsageError as error:
        raise UnsupportedFormat(frame.source.path, error.message, page=frame.source.page) from error
    found = schema.problem(frame.metadata) if schema else None
    if found is not None:
        field, cause = found
        raise MissingMetadata(frame.source.path, field, cause, page=frame.source.page)


def _frame_bytes(kind: _Kind) -> int:
    import numpy as np

    dtype, shape = kind
    return math.prod(shape) * np.dtype(dtype).itemsize
