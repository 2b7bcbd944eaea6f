"""Frames across datasets that fit a query: counted, listed, as a table, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imaging_db.api.dataset_view import DatasetView, Frames
from imaging_db.api.frame_record import DatasetFacts, value_of
from imaging_db.errors import NothingSelected, UsageError
from imaging_db.model import Dataset, Expression, FrameSelection, UploadType
from imaging_db.model.expression_parser import parse_field
from imaging_db.model.fields import Field, Kind

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from imaging_db.api.database import ImagingDB
    from imaging_db.catalog.search import Found, Place

COLUMNS = ("serial", "c", "z", "t", "p", "channel", "position", "name")
"""What is told of a frame where nothing else was asked for."""


@dataclass(frozen=True)
class FrameSearch:
    """The frames of all ready datasets that fit a query: nothing is asked before it is needed.

    They come ordered by serial, channel, slice, timepoint and position. Each use asks the catalog anew.
    """

    db: ImagingDB
    where: Expression

    def __len__(self) -> int:
        return self.db.catalog.search.count_frames(self.where)

    def __bool__(self) -> bool:
        return next(self.found(limit=1), None) is not None

    def __iter__(self) -> Iterator[Found]:
        return self.found()

    def found(
        self, *, after: Place | None = None, limit: int | None = None, metadata: bool = True
    ) -> Iterator[Found]:
        """Yield each frame with its serial; see `imaging_db.catalog.search.Search.frames`."""
        search = self.db.catalog.search
        return search.frames(self.where, after=after, limit=limit, with_metadata=metadata)

    def datasets(self) -> Iterator[Dataset]:
        """Yield the datasets that have such a frame, by serial, and those of files that fit themselves."""
        return self.db.catalog.search.datasets(self.where)

    def by_dataset(self) -> Iterator[tuple[DatasetView, Frames]]:
        """Yield each dataset that has such frames, and these; datasets of files have none."""
        for dataset in self.datasets():
            if dataset.upload_type is UploadType.FRAMES:
                selection = FrameSelection(where=self.where)
                yield DatasetView(self.db, dataset), Frames(self.db, dataset, selection)

    def records(
        self,
        columns: Sequence[str] = COLUMNS,
        *,
        after: Place | None = None,
        limit: int | None = None,
    ) -> Iterator[tuple[Place, list[Any]]]:
        """Yield the place of each frame, and its values in ``columns``: names of fields, as in queries.

        Raises
        ------
        UsageError
            A column is no field.
        """
        fields = [parse_field(name) for name in columns]
        return self._records(fields, after, limit)

    def _records(
        self, fields: Sequence[Field], after: Place | None, limit: int | None
    ) -> Iterator[tuple[Place, list[Any]]]:
        metadata = any(one.kind is Kind.JSON and one.name == "meta" for one in fields)
        facts: DatasetFacts | None = None
        for found in self.found(after=after, limit=limit, metadata=metadata):
            if facts is None or facts.serial != found.serial:
                facts = DatasetFacts(self.db.catalog, found.serial)
            yield found.place, [value_of(one, found.frame, facts) for one in fields]

    def to_dataframe(self, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
        """Return a pandas table, one row a frame; ``columns`` are names of fields, as in queries.

        Raises
        ------
        UsageError
            A column is no field.
        """
        import pandas as pd

        rows = (values for _, values in self.records(columns))
        return pd.DataFrame(rows, columns=list(columns))

    def to_numpy(self, *, workers: int | None = None) -> npt.NDArray[Any]:
        """Return all frames as one array, ``(N, Y, X)`` or ``(N, Y, X, S)``, in their order, verified.

        Raises
        ------
        NothingSelected
            No frame fits.
        UsageError
            Two frames differ in size or type; names both.
        IntegrityError
            An object is missing or damaged.
        """
        import numpy as np

        from imaging_db.transfer.pool import REMOTE_GETS, pooled, worker_count

        found = list(self.found(metadata=False))
        if not found:
            raise NothingSelected(f"no frame fits {self.where}")
        height, width, colors, dtype = _common(found)
        shape = (height, width) if colors == 1 else (height, width, colors)
        pixels = np.empty((len(found), *shape), dtype)
        datasets = [self.db.catalog.dataset(serial) for serial in {one.serial for one in found}]
        views = {one.serial: Frames(self.db, one, FrameSelection()) for one in datasets}

        def put(place: int) -> None:
            one = found[place]
            pixels[place] = views[one.serial].read(one.frame).reshape(shape)

        remote = REMOTE_GETS if any(one.storage == "s3" for one in datasets) else 0
        number = worker_count(workers, frame_bytes=pixels[0].nbytes, remote=remote)
        with closing(pooled(put, range(len(found)), workers=number)) as done:
            for _ in done:
                pass
        return pixels

    def __repr__(self) -> str:
        return f"<frames where {self.where}>"


def _common(found: Sequence[Found]) -> tuple[int, int, int, str]:
    """Return height, width, samples a pixel and type that all frames have."""
    kinds: dict[tuple[Any, ...], Found] = {}
    for one in found:
        frame = one.frame
        kinds.setdefault((frame.height, frame.width, frame.colors or 1, frame.dtype), one)
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise UsageError(
            f"the frames differ: {_told(one)} is {_size(first)}, {_told(other)} is {_size(second)}",
            hint="narrow the query, as in width = 512 and dtype = uint16",
        )
    (height, width, colors, dtype), one = next(iter(kinds.items()))
    if None in (height, width, dtype):
        raise UsageError(f"the size of {_told(one)} is not recorded")
    return height, width, colors, dtype


def _told(one: Found) -> str:
    return f"{one.serial} {one.frame.coords}"


def _size(kind: tuple[Any, ...]) -> str:
    height, width, colors, dtype = kind
    return f"{width} x {height} {dtype}" + ("" if colors == 1 else f" of {colors} samples")
