"""One dataset of an open database, and selections of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imaging_db.model import (
    Acquisition,
    Annotation,
    AnnotationChange,
    AnnotationEdit,
    Dataset,
    Expression,
    FrameSelection,
    StoredFile,
    StoredFrame,
    UploadType,
    parse_expression,
)
from imaging_db.model.selection import Chosen

if TYPE_CHECKING:
    import dask.array
    import numpy.typing as npt
    import pandas as pd
    import xarray

    from imaging_db.api.database import ImagingDB


class DatasetView:
    """One dataset of an open database."""

    def __init__(self, db: ImagingDB, dataset: Dataset) -> None:
        self._db = db
        self.dataset = dataset

    @property
    def acquisition(self) -> Acquisition:
        """Return sizes, types and metadata of a frames dataset."""
        return self._db.catalog.acquisition(self.dataset.serial)

    @property
    def codec(self) -> str | None:
        """Return how the frames are kept: png, jxl or tiff; None for files.

        What a codec does not hold is kept as TIFF, so a dataset of several types may have a few of those.
        """
        if self.dataset.upload_type is UploadType.FILE:
            return None
        return self.dataset.codec or self._usual_codec()

    def _usual_codec(self) -> str:
        """Datasets of a time without a choice have what their type calls for, the original's PNG."""
        from imaging_db.codecs import DEFAULT_CODEC, codec_for

        found, original = self.acquisition, self.dataset.fingerprint is None
        if original or found.dtype is None or found.height is None or found.width is None:
            return DEFAULT_CODEC
        return codec_for(found.dtype, (found.height, found.width, found.colors or 1))

    @property
    def channels(self) -> list[tuple[int, str | None]]:
        """Return index and name of every channel."""
        return self._db.catalog.channels(self.dataset.serial)

    @property
    def positions(self) -> list[tuple[int, str | None]]:
        """Return index and name of every position."""
        return self._db.catalog.positions(self.dataset.serial)

    @property
    def files(self) -> list[StoredFile]:
        """Return the files of a dataset that was stored as it is."""
        return list(self._db.catalog.files(self.dataset.serial))

    @property
    def tags(self) -> list[str]:
        """Return the keys that people gave it without a value."""
        return [one.key for one in self._annotations() if one.value is None]

    @property
    def notes(self) -> dict[str, str]:
        """Return the values that people gave it, by key."""
        return {one.key: one.value for one in self._annotations() if one.value is not None}

    def annotate(
        self, *tags: str, author: str | None = None, **notes: str
    ) -> list[AnnotationChange]:
        """Give it tags and notes, all or none, and return what each came to.

        A note whose key is no name in Python is set with ``db.annotations.set(serial, key, value)``.

        Raises
        ------
        UsageError
            A key, value or author that cannot be kept.
        """
        given = [*((tag, None) for tag in tags), *notes.items()]
        edits = [AnnotationEdit(self.dataset.serial, key, value) for key, value in given]
        return self._db.annotations.edit(edits, author=author)

    def _annotations(self) -> list[Annotation]:
        return self._db.annotations.of(self.dataset.serial)

    def frames(
        self,
        channels: Chosen = None,
        *,
        slices: Chosen = None,
        timepoints: Chosen = None,
        positions: Chosen = None,
        where: str | Expression | None = None,
    ) -> Frames:
        """Return a selection of frames, lazily: indices, ranges, slices, lists; channels also by name.

        ``where`` is asked of every frame beside them; docs/queries.md tells the language.

        Raises
        ------
        UsageError
            A value that is none of these.
        """
        from imaging_db.transfer.channels import with_numeric_names

        selection = FrameSelection.of(
            channels,
            slices=slices,
            timepoints=timepoints,
            positions=positions,
            where=parse_expression(where) if isinstance(where, str) else where,
        )
        catalog, serial = self._db.catalog, self.dataset.serial
        return Frames(self._db, self.dataset, with_numeric_names(catalog, serial, selection))

    def stack(self, **selection: Any) -> tuple[npt.NDArray[Any], str]:
        """Return ``(array, dims)`` of a selection; see `Frames.stack`."""
        return self.frames(**selection).stack()

    def quality(self, **selection: Any) -> pd.DataFrame:
        """Return a pandas table with the quality of a selection; see `Frames.quality`."""
        return self.frames(**selection).quality()

    def __repr__(self) -> str:
        kind = "frames" if self.dataset.upload_type is UploadType.FRAMES else "files"
        return f"<{self.dataset.serial}: {self.dataset.nbr_objects} {kind}>"


class Frames:
    """A lazy selection of frames of one dataset: nothing is read before it is asked for."""

    def __init__(self, db: ImagingDB, dataset: Dataset, selection: FrameSelection) -> None:
        self._db = db
        self._dataset = dataset
        self.selection = selection

    def __len__(self) -> int:
        return self._db.catalog.count_frames(self._dataset.serial, self.selection)

    def __iter__(self) -> Iterator[StoredFrame]:
        return self._db.catalog.frames(self._dataset.serial, self.selection)

    def read(self, frame: StoredFrame) -> npt.NDArray[Any]:
        """Return the pixels of one frame, ``(Y, X)`` or ``(Y, X, S)``, after its hashes were compared."""
        from imaging_db.stores.layout import object_key
        from imaging_db.transfer.fetch import decode_checked, fetch_frame

        directory = self._dataset.storage_dir
        data = fetch_frame(frame, store=self._db.store_of(self._dataset), directory=directory)
        pixels: npt.NDArray[Any] = decode_checked(
            data, frame, key=object_key(directory, frame.file_name)
        )
        return pixels

    def stack(self, *, fill: float | None = None) -> tuple[npt.NDArray[Any], str]:
        """Return ``(array, dims)``: the frames as one array in the order X Y [G] Z C T P, and its letters.

        Raises
        ------
        UsageError
            Frames differ in size, or some are absent and no ``fill`` was named.
        IntegrityError
            An object is missing or damaged.
        """
        from imaging_db.errors import NothingSelected
        from imaging_db.transfer.fetch import frame_bytes
        from imaging_db.transfer.pool import REMOTE_GETS, worker_count
        from imaging_db.transfer.stack import read_stack

        rows = self._db.catalog.frames(self._dataset.serial, self.selection, with_metadata=False)
        frames = list(rows)
        if not frames:
            raise NothingSelected(f"{self._dataset.serial}: no frame matches")
        remote = REMOTE_GETS if self._dataset.storage == "s3" else 0
        size = frame_bytes(self._db.catalog.acquisition(self._dataset.serial))
        workers = worker_count(None, frame_bytes=size, remote=remote)
        return read_stack(frames, self.read, workers=workers, fill=fill)

    def to_numpy(self, *, fill: float | None = None) -> npt.NDArray[Any]:
        """Return the frames as one array of T P C Z Y X, and S for colour; see `arrays.numpy_array`."""
        from imaging_db.api.arrays import numpy_array

        return numpy_array(self._db, self._dataset, self.selection, fill=fill)

    def to_dask(self, *, fill: float | None = None, cache: bool = True) -> dask.array.Array:
        """Return the frames as a lazy array, dimensions as `to_numpy`; see `arrays.dask_array`."""
        from imaging_db.api.arrays import dask_array

        return dask_array(self._db, self._dataset, self.selection, fill=fill, cache=cache)

    def to_xarray(self, *, fill: float | None = None, cache: bool = True) -> xarray.DataArray:
        """Return the frames as a lazy array with coordinates; see `arrays.data_array`."""
        from imaging_db.api.arrays import data_array

        return data_array(self._db, self._dataset, self.selection, fill=fill, cache=cache)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas table, one row a frame, with the columns of frames_meta.csv."""
        import pandas as pd

        from imaging_db.transfer.metadata_files import FRAME_COLUMNS, frame_record

        return pd.DataFrame([frame_record(f) for f in self], columns=list(FRAME_COLUMNS))

    def quality(self) -> pd.DataFrame:
        """Return a pandas table, one row a frame: its figures, and in ``flagged`` what is suspicious about it.

        See `imaging_db.api.quality.frame_table`.
        """
        from imaging_db.api.quality import frame_table

        catalog, serial = self._db.catalog, self._dataset.serial
        return frame_table(catalog.frames(serial, self.selection, with_metadata=False))
