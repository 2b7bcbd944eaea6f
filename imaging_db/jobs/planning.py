"""Planning a job: its source is opened and tried, nothing is written."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging_db.config import ManifestRow, Settings
from imaging_db.errors import ConfigError, ImagingDBError, UsageError
from imaging_db.jobs.grid_settings import GridSource, grid_source
from imaging_db.jobs.source import GRID, JobSource, frames_a_unit
from imaging_db.model import DatasetDraft, DatasetId, JSONObject, UploadType
from imaging_db.model.job import MOST_ATTEMPTS, MOST_FRAMES, JobDraft
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.grid.grid import grid_of
from imaging_db.readers.grid.kinds import open_grid
from imaging_db.readers.grid.reader import GridReader
from imaging_db.stores.layout import storage_dir
from imaging_db.transfer.plan import Planner
from imaging_db.transfer.run_token import new_token

SAMPLES = 5
"""Frames that are read before a job is created: the first, the last, and some between."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a user asks for: a configuration, a folder with a pattern, a volume, or an acquisition.

    ``serial`` None asks for the one that the configuration gives. ``pattern`` names the files of a folder of
    tiles; ``settings`` are further keys of a source's description, such as ``dataset`` of an HDF5 file.
    ``source`` may be an address, such as that of a volume in a bucket.
    """

    source: str
    serial: str | None = None
    description: str | None = None
    pattern: str | None = None
    positions: tuple[int, ...] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    unit_frames: int = MOST_FRAMES
    most_attempts: int = MOST_ATTEMPTS
    samples: int = SAMPLES


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What will be done: the dataset, the job, and where its frames come from. ``raw_bytes`` of all pixels."""

    dataset: DatasetDraft
    job: JobDraft
    source: JobSource
    raw_bytes: int
    sampled: int
    notes: tuple[str, ...] = ()


def plan_job(request: JobRequest, settings: Settings) -> JobPlan:
    """Return the plan of a job, after its source was opened, and of a described one some frames were read.

    Raises
    ------
    ConfigError
        All that is wrong in a configuration, with the place of each.
    ReaderError
        The source is refused; names file and cause.
    UsageError
        No serial was given and the source suggests none.
    """
    _check_name(request.source)
    found = grid_source(request.source, pattern=request.pattern, settings=request.settings)
    if found is None:
        return _plan_acquisition(request, settings)
    return _plan_grid(request, settings, found)


def _check_name(source: str) -> None:
    """Refuse a name that the catalog could not give back: other computers open the source by it."""
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{source!r} is not valid Unicode", hint="rename it") from error


def _plan_acquisition(request: JobRequest, settings: Settings) -> JobPlan:
    path = Path(request.source).absolute()
    if request.settings:
        raise UsageError(f"{path.name} takes no settings ({', '.join(request.settings)})")
    if settings.upload.upload_type is not UploadType.FRAMES:
        raise ConfigError("upload_type is 'file': jobs are of frames", hint="name another config")
    row = ManifestRow(0, _serial(request, None), path, request.description, request.positions)
    upload = Planner(settings).plan(row, str(path))
    source = JobSource(
        upload.reader or "",
        upload.source,
        upload.options,
        upload.mark,
        unit_frames=frames_a_unit(upload.frame_bytes, request.unit_frames),
    )
    with source.open() as reader:
        count = sum(1 for _ in source.units(reader, upload.draft.nbr_objects))
    job = _job(request, source, upload.draft, count, config={})
    return JobPlan(upload.draft, job, source, upload.raw_bytes, 0, upload.notes)


def _plan_grid(request: JobRequest, settings: Settings, found: GridSource) -> JobPlan:
    with open_grid(_with_depth(found.settings)) as reader:
        sampled = _try(reader, request.samples)
        # with type and colours in them: a tile of any other kind is refused wherever it is read
        options = ReaderOptions(settings=reader.settings)
        path = _absolute(request.source)
        source = JobSource(GRID, path, options, unit_frames=request.unit_frames)
        draft = _draft(request, settings, found, source, reader)
        count = sum(1 for _ in source.units(reader, reader.grid.nbr_frames))
        job = _job(request, source, draft, count, config=found.config)
        notes = (*found.notes, *reader.acquisition.notes)
        return JobPlan(draft, job, source, _nbr_bytes(reader), sampled, notes)


def _absolute(source: str) -> Path:
    """Return a path that does not depend on the working folder; an address as it is."""
    return Path(source) if "://" in source else Path(source).absolute()


def _with_depth(settings: JSONObject) -> JSONObject:
    """Return settings whose planes of a single tile share a unit: the order of the frames is the same."""
    grid = grid_of(settings)
    if grid.nbr_positions > 1 or grid.depth > 1:
        return settings
    return {**settings, "grid": replace(grid, depth=MOST_FRAMES).to_json()}


def _nbr_bytes(reader: GridReader) -> int:
    """Return the bytes of all pixels of a grid."""
    import numpy as np

    grid, acquisition = reader.grid, reader.acquisition
    pixels = (grid.x[1] - grid.x[0]) * (grid.y[1] - grid.y[0])
    planes = grid.nbr_slices * grid.nbr_timepoints
    return planes * pixels * (acquisition.colors or 1) * np.dtype(acquisition.dtype).itemsize


def _try(reader: GridReader, count: int) -> int:
    """Return how many frames were read, spread over the source; the first that fails names the others' number."""
    problems: list[ImagingDBError] = []
    frames = reader.sample(count) if count else []
    for frame in frames:
        try:
            reader.read(frame)
        except ImagingDBError as error:
            problems.append(error)
    if problems:
        first = problems[0]
        if len(problems) > 1:
            first.message += f" (so it is with {len(problems)} of {len(frames)} that were tried)"
        raise first
    return len(frames)


def _draft(
    request: JobRequest,
    settings: Settings,
    found: GridSource,
    source: JobSource,
    reader: GridReader,
) -> DatasetDraft:
    serial, store = _serial(request, found.serial), settings.store
    acquisition = reader.acquisition
    metadata = {**acquisition.metadata, **found.metadata}
    return DatasetDraft(
        serial=str(serial),
        acquired_at=serial.acquired_at,
        upload_type=UploadType.FRAMES,
        description=request.description or found.description,
        microscope=settings.upload.microscope,
        parent_serial=None,
        # not of how it is cut into units, nor of where its configuration lies
        fingerprint=_sha256([source.reader, source.options.settings, settings.upload.frames_codec]),
        storage=store.storage,
        storage_access=store.access,
        storage_dir=storage_dir(UploadType.FRAMES, str(serial)),
        nbr_objects=acquisition.nbr_frames,
        acquisition=replace(acquisition, metadata=metadata),
        metadata=metadata,
        codec=settings.upload.frames_codec,
    )


def _serial(request: JobRequest, suggested: str | None) -> DatasetId:
    text = request.serial or suggested
    if text is None:
        raise UsageError(
            f"{request.source} does not tell the id of the dataset",
            hint="name it with --serial",
        )
    return DatasetId.parse(text)


def _job(
    request: JobRequest, source: JobSource, draft: DatasetDraft, count: int, *, config: JSONObject
) -> JobDraft:
    kept: JSONObject = {
        "config": config,
        "codec": draft.codec,
        "storage": draft.storage,
        "storage_access": draft.storage_access,
    }
    described = source.to_json()
    return JobDraft(
        uuid=uuid.uuid4().hex,
        source=described,
        config=kept,
        config_sha256=_sha256([draft.serial, described, kept]),
        nbr_units=count,
        nbr_frames=draft.nbr_objects,
        origin=new_token(),
        most_attempts=request.most_attempts,
    )


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
