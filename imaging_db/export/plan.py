"""What an export will write: the frames that are meant, where each lies, what is missing; nothing is read."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from imaging_db.catalog import Catalog
from imaging_db.errors import NothingSelected, UsageError
from imaging_db.model import Acquisition, Dataset, FrameCoords, FrameSelection, StoredFrame
from imaging_db.transfer.channels import absent, with_numeric_names
from imaging_db.transfer.fetch import wrong_count

_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """The indices of one axis that are exported, in order, and what each is called (None: no name)."""

    indices: tuple[int, ...]
    names: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def place(self, index: int) -> int:
        """Return where an index of the dataset lies in what is exported, from 0."""
        return self.indices.index(index)


@dataclass(frozen=True, slots=True)
class Window:
    """Between which intensities the frames of a channel lie; None where nothing was measured.

    ``low`` and ``high`` are what to show: percentiles where they were measured, else the extremes.
    """

    minimum: float | None = None
    maximum: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """One dataset and the selection of its frames that is exported.

    ``height``, ``width``, ``colors`` (samples a pixel) and ``dtype`` are those of every frame; they are
    None, and ``ragged`` says in words how frames differ, where they are not all alike. ``nbr_missing``
    counts the holes, frames that the axes span and the dataset does not have; ``missing`` are the first
    of them. ``windows`` has one entry a channel. Pixel sizes are in micrometres, ``time_interval_s``
    in seconds, None where unknown.
    ``fingerprint`` is a hex SHA-256 over the coordinates and pixel hashes of all frames.
    """

    dataset: Dataset
    acquisition: Acquisition
    selection: FrameSelection
    channels: Axis
    slices: Axis
    timepoints: Axis
    positions: Axis
    height: int | None
    width: int | None
    colors: int | None
    dtype: str | None
    nbr_frames: int
    fingerprint: str
    ragged: str | None = None
    nbr_missing: int = 0
    missing: tuple[FrameCoords, ...] = ()
    windows: tuple[Window, ...] = ()

    @property
    def serial(self) -> str:
        """Return the dataset's id."""
        return self.dataset.serial

    @property
    def pixel_size_x_um(self) -> float | None:
        """Return the width of a pixel in micrometres, None where unknown."""
        return _length(self.acquisition.pixel_size_x_um)

    @property
    def pixel_size_y_um(self) -> float | None:
        """Return the height of a pixel in micrometres, None where unknown."""
        return _length(self.acquisition.pixel_size_y_um)

    @property
    def z_step_um(self) -> float | None:
        """Return the distance of two exported slices in micrometres, None where unknown or uneven."""
        return _scaled(self.acquisition.z_step_um, self.slices)

    @property
    def time_interval_s(self) -> float | None:
        """Return the time between two exported timepoints in seconds, None where unknown or uneven."""
        return _scaled(self.acquisition.time_interval_s, self.timepoints)

    @property
    def sizes(self) -> dict[str, int | None]:
        """Return how long each axis is; height, width and colors are None where frames differ."""
        return {
            "positions": len(self.positions),
            "timepoints": len(self.timepoints),
            "channels": len(self.channels),
            "slices": len(self.slices),
            "height": self.height,
            "width": self.width,
            "colors": self.colors,
        }

    def coords(self, position: int) -> Iterator[FrameCoords]:
        """Yield what a position should hold, holes too, by timepoint, channel and slice."""
        axes = (self.timepoints.indices, self.channels.indices, self.slices.indices)
        for t, c, z in itertools.product(*axes):
            yield FrameCoords(c, z, t, position)

    def at(self, *, channel: int, slice_: int, timepoint: int, position: int) -> FrameCoords:
        """Return the frame at a place, counted from 0 on each exported axis."""
        return FrameCoords(
            self.channels.indices[channel],
            self.slices.indices[slice_],
            self.timepoints.indices[timepoint],
            self.positions.indices[position],
        )

    def require_alike(self) -> RasterShape:
        """Return the shape of every frame.

        Raises
        ------
        UsageError
            Frames differ in size or type.
        """
        if self.ragged or None in (self.height, self.width, self.dtype):
            raise UsageError(
                f"{self.serial}: one array cannot hold it: {self.ragged or 'its frames have no size'}",
                hint="select frames that are alike, or export --to tif-folder",
            )
        return RasterShape(self.height or 0, self.width or 0, self.colors or 1, self.dtype or "")

    def require_complete(self, fill: float | None) -> None:
        """Let pass a plan without holes, or whose holes shall be filled.

        Raises
        ------
        UsageError
            Frames are missing and no value was named for them; or the pixels cannot hold that value.
        """
        if fill is not None:
            check_fill(fill, self.dtype)
        if self.nbr_missing and fill is None:
            told = ", ".join(str(coords) for coords in self.missing)
            more = ", ..." if self.nbr_missing > len(self.missing) else ""
            frames = "frame is" if self.nbr_missing == 1 else "frames are"
            raise UsageError(
                f"{self.serial}: {self.nbr_missing} {frames} missing: {told}{more}",
                hint="select what is there, or name a value for their pixels with --fill",
            )


@dataclass(frozen=True, slots=True)
class RasterShape:
    """The shape and type that every frame of a plan has; ``colors`` are samples a pixel."""

    height: int
    width: int
    colors: int
    dtype: str

    @property
    def nbr_bytes(self) -> int:
        """Return the bytes of one frame's pixels."""
        import numpy as np

        return self.height * self.width * self.colors * int(np.dtype(self.dtype).itemsize)


def make_plan(
    catalog: Catalog, dataset: Dataset, selection: FrameSelection | None = None
) -> ExportPlan:
    """Return the plan for a selection of a dataset of frames.

    Raises
    ------
    NothingSelected
        No frame matches, or something that was asked for by itself is not there.
    IntegrityError
        The catalog has other rows than the dataset was published with.
    """
    serial = dataset.serial
    chosen = with_numeric_names(catalog, serial, selection or FrameSelection())
    found = _Survey()
    found.take(catalog.frames(serial, chosen, with_metadata=False))
    lacking = absent(catalog, serial, chosen)
    if not found.nbr_frames or lacking:
        why = f"there is no {', no '.join(lacking)}" if lacking else "no frame matches"
        raise NothingSelected(f"{serial}: {why}")
    if chosen.everything and found.nbr_frames != dataset.nbr_objects:
        raise wrong_count(dataset, found.nbr_frames)
    plan = found.plan(dataset, catalog.acquisition(serial), chosen)
    if not plan.nbr_missing:
        return plan
    return replace(plan, missing=catalog.axes.absent(serial, chosen)[:_MOST_TOLD])


def check_fill(fill: float, dtype: str | None) -> None:
    """Let pass a value that pixels of a type hold exactly; raises `UsageError` for others."""
    import numpy as np

    if dtype is None:
        return
    kind = np.dtype(dtype)
    if kind.kind == "f":
        most = float(np.finfo(kind).max)
        if abs(fill) > most and fill not in (float("inf"), -float("inf")):
            raise UsageError(f"--fill {fill:g}: {dtype} holds {-most:g} to {most:g}")
        return
    limits = np.iinfo(kind) if kind.kind in "iu" else None
    low, high = (limits.min, limits.max) if limits else (0, 1)
    if fill != fill or fill in (float("inf"), float("-inf")) or fill != int(fill):
        raise UsageError(f"--fill {fill}: {dtype} holds whole numbers only")
    if not low <= fill <= high:
        raise UsageError(f"--fill {fill:g}: {dtype} holds {low} to {high}")


@dataclass
class _Survey:
    """One pass over the rows of the frames that are meant."""

    nbr_frames: int = 0
    kinds: dict[tuple[int | None, int | None, int | None, str | None], FrameCoords] = field(
        default_factory=dict
    )
    slices: set[int] = field(default_factory=set)
    timepoints: set[int] = field(default_factory=set)
    channel_names: dict[int, str | None] = field(default_factory=dict)
    position_names: dict[int, str | None] = field(default_factory=dict)
    windows: dict[int, _Extremes] = field(default_factory=dict)

    def take(self, frames: Iterable[StoredFrame]) -> None:
        digest = hashlib.sha256()
        for frame in frames:
            self.nbr_frames += 1
            coords = frame.coords
            digest.update(f"{coords} {frame.sha256} {frame.object_sha256}\n".encode())
            kind = (frame.height, frame.width, frame.colors or 1, frame.dtype)
            self.kinds.setdefault(kind, coords)
            self.slices.add(coords.slice)
            self.timepoints.add(coords.timepoint)
            self.channel_names.setdefault(coords.channel, frame.channel_name)
            self.position_names.setdefault(coords.position, frame.position_name)
            self.windows.setdefault(coords.channel, _Extremes()).take(frame)
        self.fingerprint = digest.hexdigest()

    def plan(
        self, dataset: Dataset, acquisition: Acquisition, selection: FrameSelection
    ) -> ExportPlan:
        alike = len(self.kinds) == 1
        height, width, colors, dtype = next(iter(self.kinds)) if alike else (None, None, None, None)
        channels = _axis(self.channel_names, self.channel_names)
        slices = _axis({}, self.slices)
        timepoints = _axis({}, self.timepoints)
        positions = _axis(self.position_names, self.position_names)
        axes = (channels, slices, timepoints, positions)
        nbr_missing = math.prod(map(len, axes)) - self.nbr_frames
        return ExportPlan(
            dataset,
            acquisition,
            selection,
            channels,
            slices,
            timepoints,
            positions,
            height,
            width,
            colors,
            dtype,
            self.nbr_frames,
            self.fingerprint,
            None if alike else self._difference(),
            nbr_missing,
            windows=tuple(self.windows[index].window() for index in channels.indices),
        )

    def _difference(self) -> str:
        (first, at_first), (second, at_second) = itertools.islice(self.kinds.items(), 2)
        return f"{at_first} is {_told(first)}, {at_second} is {_told(second)}"


@dataclass
class _Extremes:
    minimum: float | None = None
    maximum: float | None = None
    low: float | None = None
    high: float | None = None

    def take(self, frame: StoredFrame) -> None:
        found = frame.quality
        if found is None:
            return
        self.minimum = _least(self.minimum, found.minimum)
        self.maximum = _most(self.maximum, found.maximum)
        self.low = _least(self.low, getattr(found, "p01", None))
        self.high = _most(self.high, getattr(found, "p99", None))

    def window(self) -> Window:
        low = self.minimum if self.low is None else self.low
        high = self.maximum if self.high is None else self.high
        return Window(self.minimum, self.maximum, low, high)


def _least(known: float | None, found: float | None) -> float | None:
    return found if known is None else known if found is None else min(known, found)


def _most(known: float | None, found: float | None) -> float | None:
    return found if known is None else known if found is None else max(known, found)


def _axis(names: dict[int, str | None], indices: Iterable[int]) -> Axis:
    ordered = tuple(sorted(indices))
    return Axis(ordered, tuple(names.get(index) for index in ordered))


def _told(kind: tuple[int | None, int | None, int | None, str | None]) -> str:
    height, width, colors, dtype = kind
    samples = "" if colors in (None, 1) else f" x {colors}"
    return f"{width} x {height}{samples} {dtype}"


def _length(size: float | None) -> float | None:
    """Return a size; one of nothing, or less, is how a program said that it did not know."""
    return size if size is not None and 0 < size < math.inf else None


def _scaled(step: float | None, axis: Axis) -> float | None:
    """Return the step between exported indices, None where they are not evenly apart."""
    if not step:  # an interval of 0 says that nobody waited, not how long it took
        return None
    strides = {b - a for a, b in itertools.pairwise(axis.indices)} or {1}
    return step * strides.pop() if len(strides) == 1 else None
