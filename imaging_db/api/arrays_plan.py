"""What an array of frames will look like: its axes, its type, what is known of its coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from imaging_db.errors import NothingSelected, UsageError
from imaging_db.model import Acquisition, Dataset, FrameSelection

if TYPE_CHECKING:
    from imaging_db.api.opened import Opened
    from imaging_db.catalog.axes import FrameAxes, FrameKind

Axis: TypeAlias = "range | tuple[int, ...]"
"""Indices of one axis, ascending; a range wherever they are evenly spaced, which stays small."""


@dataclass(frozen=True, slots=True)
class ArrayPlan:
    """The block of frames that an array holds.

    It has ``number`` frames; the others of the block, if any, are absent. ``axes`` are the indices that
    are present, in the order T P C Z; ``frame_shape`` is ``(Y, X)`` or ``(Y, X, S)``. ``channel_names``
    and ``position_names`` go with their axes, None where one is unknown.
    """

    dataset: Dataset
    acquisition: Acquisition
    selection: FrameSelection
    number: int
    axes: tuple[Axis, Axis, Axis, Axis]
    frame_shape: tuple[int, ...]
    dtype: str
    channel_names: tuple[str | None, ...]
    position_names: tuple[str | None, ...]

    @property
    def dims(self) -> str:
        """Return the letters of the dimensions: ``TPCZYX``, or ``TPCZYXS`` for colour."""
        return "TPCZYXS"[: 4 + len(self.frame_shape)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the length of each dimension."""
        return (*map(len, self.axes), *self.frame_shape)


def plan_array(
    db: Opened, dataset: Dataset, selection: FrameSelection, *, may_lack: bool
) -> ArrayPlan:
    """Return what an array of the selected frames will be; no frame is read.

    Raises
    ------
    NothingSelected
        No frame matches, or the dataset holds files.
    UsageError
        Frames differ in size or type, or some of the block are absent and it may not lack any.
    """
    axes = db.catalog.axes.of(dataset.serial, selection)
    if not axes.number:
        raise NothingSelected(f"{dataset.serial}: no frame matches")
    if axes.number < axes.block and not may_lack:
        raise _absent(db, dataset.serial, selection, axes)
    height, width, colors, dtype = _only_kind(dataset.serial, axes.kinds)
    acquisition = db.catalog.acquisition(dataset.serial)
    channel_names = dict(db.catalog.channels(dataset.serial))
    position_names = _position_names(db, dataset.serial, acquisition, axes)
    return ArrayPlan(
        dataset=dataset,
        acquisition=acquisition,
        selection=selection,
        number=axes.number,
        axes=(
            compact(axes.timepoints),
            compact(axes.positions),
            compact(axes.channels),
            compact(axes.slices),
        ),
        frame_shape=(height, width) if colors == 1 else (height, width, colors),
        dtype=dtype,
        channel_names=tuple(channel_names.get(index) for index in axes.channels),
        position_names=tuple(position_names.get(index) for index in axes.positions),
    )


def compact(indices: Sequence[int]) -> Axis:
    """Return ascending indices as a range where they are evenly spaced."""
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    even = range(indices[0], indices[-1] + 1, step)
    return even if len(even) == len(indices) and tuple(even) == tuple(indices) else tuple(indices)


def _only_kind(serial: str, kinds: Sequence[FrameKind]) -> tuple[int, int, int, str]:
    alike = {(height, width, colors or 1, dtype) for height, width, colors, dtype in kinds}
    if len(alike) > 1:
        told = ", ".join(sorted(_told(kind) for kind in alike))
        raise UsageError(
            f"{serial}: the frames differ in size or type and cannot be one array: {told}",
            hint="select frames of one kind",
        )
    height, width, colors, dtype = alike.pop()
    if height is None or width is None or dtype is None:
        raise UsageError(f"{serial}: the size of the frames is not recorded")
    return height, width, colors, dtype


def _told(kind: tuple[int | None, int | None, int, str | None]) -> str:
    height, width, colors, dtype = kind
    return f"{height} x {width}{'' if colors == 1 else f' x {colors}'} {dtype}"


def _absent(db: Opened, serial: str, selection: FrameSelection, axes: FrameAxes) -> UsageError:
    lacking = axes.block - axes.number
    first = [str(coords) for coords in db.catalog.axes.absent(serial, selection)]
    more = ", ..." if lacking > len(first) else ""
    return UsageError(
        f"{serial}: {lacking} of the {axes.block} frames of the block are absent: "
        f"{', '.join(first)}{more}",
        hint="name a value to fill them with, such as fill=0, or select less",
    )


def _position_names(
    db: Opened, serial: str, acquisition: Acquisition, axes: FrameAxes
) -> dict[int, str | None]:
    """Return names by index: of an acquisition, which has one for each, else as the frames have them."""
    if len(acquisition.position_names) == len(axes.every_position):
        return dict(zip(axes.every_position, acquisition.position_names, strict=True))
    return dict(db.catalog.positions(serial))
