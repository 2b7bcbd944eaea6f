"""Which indices a selection of frames has on each axis, read from the indexes alone where that is possible."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, func, select

from imaging_db.catalog import selections
from imaging_db.catalog.datasets import AnyRow, ready_row
from imaging_db.catalog.frame_rows import ORDER
from imaging_db.catalog.tables import AcquisitionRow, FrameRow
from imaging_db.catalog.transactions import Transactions
from imaging_db.errors import NothingSelected
from imaging_db.model import FrameCoords, FrameSelection

FrameKind: TypeAlias = "tuple[int | None, int | None, int | None, str | None]"
"""Height, width, colours and dtype of a frame, None where that is not recorded."""

_MOST_KINDS = 10
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class FrameAxes:
    """The indices that selected frames have on each axis, ascending, and how many frames there are.

    ``kinds`` are the different sizes and types of them, ten at most; ``every_position`` are the positions
    of the whole dataset, in the order of the names in its acquisition.
    """

    number: int
    channels: tuple[int, ...]
    slices: tuple[int, ...]
    timepoints: tuple[int, ...]
    positions: tuple[int, ...]
    every_position: tuple[int, ...]
    kinds: tuple[FrameKind, ...]

    @property
    def block(self) -> int:
        """Return how many frames the whole block has that these indices span."""
        axes = (self.channels, self.slices, self.timepoints, self.positions)
        return len(axes[0]) * len(axes[1]) * len(axes[2]) * len(axes[3])


class Axes:
    """What arrays of frames ask of a catalog."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def of(self, serial: str, selection: FrameSelection) -> FrameAxes:
        """Return the indices that a selection's frames have.

        Raises
        ------
        DatasetNotFound, NothingSelected
            None can be seen; it holds files, not frames.
        """
        return self._transactions.read(lambda connection: _axes(connection, serial, selection))

    def absent(self, serial: str, selection: FrameSelection) -> tuple[FrameCoords, ...]:
        """Return the first ten frames, in the order of the names, that the block lacks. Raises as `of`."""
        return self._transactions.read(lambda connection: _absent(connection, serial, selection))


def _axes(connection: Connection, serial: str, selection: FrameSelection) -> FrameAxes:
    """Return what the indexes of the table tell; no row is read where all frames are of a kind."""
    shared = _acquisition(connection, serial)
    wanted = selections.conditions(connection, shared.id, selection)
    c, z, t, p = (_distinct(connection, axis, wanted) for axis in ORDER)
    everywhere = FrameRow.frames_global_id == shared.id
    whole = selection == FrameSelection()
    number = connection.scalar(select(func.count()).select_from(FrameRow).where(*wanted))
    return FrameAxes(
        number=int(number or 0),
        channels=c,
        slices=z,
        timepoints=t,
        positions=p,
        every_position=p if whole else _distinct(connection, FrameRow.pos_idx, [everywhere]),
        kinds=_kinds(connection, shared, wanted),
    )


def _absent(
    connection: Connection, serial: str, selection: FrameSelection
) -> tuple[FrameCoords, ...]:
    """Return what a walk over the block and over the rows, both in the order of the names, finds missing."""
    wanted = selections.conditions(connection, _acquisition(connection, serial).id, selection)
    axes = (_distinct(connection, axis, wanted) for axis in ORDER)
    rows = connection.execute(
        select(*ORDER).where(*wanted).order_by(*ORDER), execution_options={"yield_per": 1000}
    )
    found: list[FrameCoords] = []
    row = next(rows, None)
    for coords in product(*axes):
        if row is not None and tuple(row) == coords:
            row = next(rows, None)
            continue
        found.append(FrameCoords(*coords))
        if len(found) == _MOST_TOLD:
            break
    rows.close()
    return tuple(found)


def _acquisition(connection: Connection, serial: str) -> AnyRow:
    dataset = ready_row(connection, serial)
    columns = (AcquisitionRow.im_height, AcquisitionRow.im_width, AcquisitionRow.im_colors)
    statement = select(AcquisitionRow.id, *columns, AcquisitionRow.dtype)
    found = connection.execute(statement.where(AcquisitionRow.dataset_id == dataset.id))
    row = found.one_or_none()
    if row is None:
        raise NothingSelected(
            f"{serial} holds files, not frames", hint="download it, or name one of frames"
        )
    return row


def _distinct(
    connection: Connection, axis: Any, wanted: list[ColumnElement[bool]]
) -> tuple[int, ...]:
    return tuple(sorted(connection.scalars(select(axis).where(*wanted).distinct())))


def _kinds(
    connection: Connection, shared: AnyRow, wanted: list[ColumnElement[bool]]
) -> tuple[FrameKind, ...]:
    """Return the different kinds; an acquisition that tells all four has one, and no row is looked at."""
    own = (shared.im_height, shared.im_width, shared.im_colors, shared.dtype)
    if None not in own:
        return (own,)
    columns = (FrameRow.height, FrameRow.width, FrameRow.colors, FrameRow.dtype)
    kinds = [func.coalesce(column, value) for column, value in zip(columns, own, strict=True)]
    rows = connection.execute(select(*kinds).where(*wanted).distinct().limit(_MOST_KINDS))
    return tuple(sorted((tuple(row) for row in rows), key=str))
