"""Where the blocks of an array come from: small, it travels to workers, and opens what it needs there."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from imaging_db.api.arrays_plan import ArrayPlan, Axis
from imaging_db.api.arrays_process import keep_freed_memory, opened_here
from imaging_db.api.frame_cache import shared_cache
from imaging_db.errors import DatasetNotFound, IntegrityError, StoreUnavailable
from imaging_db.model import (
    FrameCoords,
    FrameSelection,
    IndexRange,
    StoredFrame,
    sha256_of_bytes,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from imaging_db.api.opened import Opened

Rows: TypeAlias = "dict[FrameCoords, StoredFrame]"
Place: TypeAlias = "tuple[int, ...]"
"""Where a block lies in the array: its number along T, P, C and Z."""

_ROWS_AT_ONCE = 64
_MOST_GROUPS = 256
_groups: OrderedDict[tuple[str, Place], Rows] = OrderedDict()
_guard = threading.Lock()


class ArraySource:
    """Gives the frames of an `ArrayPlan`, verified. Safe for threads.

    It is pickled without anything open: settings, the dataset, and its axes. A process that unpickles it
    opens the database by itself. The settings may hold a password, so nothing of them is ever printed.
    """

    def __init__(
        self, db: Opened, plan: ArrayPlan, *, fill: npt.NDArray[Any] | None, cache: bool
    ) -> None:
        """Take ``fill``, an array without dimensions, for frames that are absent; None where none may be."""
        self._settings = db.settings
        self._store_named = db.store_named
        self._dataset = plan.dataset
        self._axes = plan.axes
        self._names = plan.selection.channel_names
        self._frame_shape = plan.frame_shape
        self._dtype = plan.dtype
        self._fill = fill
        self._cache = cache
        store = db.store_of(plan.dataset).address
        dataset = (
            db.settings.database.address,
            store,
            plan.dataset.serial,
            plan.dataset.published_at,
        )
        self._identity = _digest(*dataset)
        self._chosen = _chosen(db, plan) if fill is not None else None
        chosen = None if self._chosen is None else sha256(self._chosen.tobytes()).hexdigest()
        told = (self._axes, self._names, self._frame_shape, self._dtype, fill, chosen)
        self.token = _digest(self._identity, *told)
        self._db: weakref.ref[Opened] | None = weakref.ref(db)

    def block(self, block_id: Sequence[int]) -> npt.NDArray[Any]:
        """Return one block: the frame at a place of the array, with all dimensions of the array.

        Raises
        ------
        IntegrityError
            The object is missing or damaged.
        DatasetNotFound
            The dataset was deleted or replaced since the array was made.
        """
        place = tuple(block_id[:4])
        t, p, c, z = (axis[number] for axis, number in zip(self._axes, place, strict=True))
        pixels = self._at(place, FrameCoords(c, z, t, p))
        return pixels.reshape(1, 1, 1, 1, *self._frame_shape)

    def read(self, frame: StoredFrame) -> npt.NDArray[Any]:
        """Return the pixels of a frame, past the cache; raises `IntegrityError` as `block` does."""
        try:
            return self._decoded(frame)
        except (IntegrityError, StoreUnavailable):  # it may have been damaged on the way
            return self._verified(frame)

    def __repr__(self) -> str:
        return f"<frames of {self._dataset.serial}>"

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_db": None}

    def _at(self, place: Place, coords: FrameCoords) -> npt.NDArray[Any]:
        if self._chosen is not None and not self._chosen[place]:
            return self._filled(coords)
        found = self._cached(coords)
        if found is not None:
            return found
        frame = self._row(place, coords)
        if frame is None:
            return self._filled(coords)
        try:
            pixels = self._decoded(frame)
        except (IntegrityError, StoreUnavailable):  # or it was repaired since its row was read
            frame = self._row(place, coords, again=True)
            if frame is None:
                return self._filled(coords)
            pixels = self._verified(frame)
        return self._keep(coords, pixels)

    def _cached(self, coords: FrameCoords) -> npt.NDArray[Any] | None:
        return shared_cache().get((self._identity, coords)) if self._cache else None

    def _keep(self, coords: FrameCoords, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._cache:
            shared_cache().put((self._identity, coords), pixels)
        return pixels

    def _filled(self, coords: FrameCoords) -> npt.NDArray[Any]:
        import numpy as np

        if self._fill is None:
            raise IntegrityError(
                f"the catalog has lost the row of frame {coords} of {self._dataset.serial}",
                hint="restore the catalog from a backup, or upload the source again with --overwrite",
            )
        return np.full(self._frame_shape, self._fill, self._dtype)

    def _decoded(self, frame: StoredFrame) -> npt.NDArray[Any]:
        """Return the pixels of a frame: of an object whose bytes are as recorded, else if they agree themselves.

        Hashing the object is less work than hashing what it decodes to.
        """
        from imaging_db.codecs import decode_frame
        from imaging_db.stores.layout import object_key
        from imaging_db.transfer.fetch import decode_checked, pixel_bytes

        if frame.sha256 is None:
            return self._verified(frame)
        store = self._opened().store_of(self._dataset)
        key = object_key(self._dataset.storage_dir, frame.file_name)
        data = store.get(key)
        if sha256_of_bytes(data) != frame.object_sha256:
            return self._fitting(decode_checked(data, frame, key=key), key)
        most = pixel_bytes(frame)
        pixels = decode_frame(
            data, dtype=frame.dtype, codec=frame.codec, where=key, most_bytes=most
        )
        return self._fitting(pixels, key)

    def _verified(self, frame: StoredFrame) -> npt.NDArray[Any]:
        """Return the pixels of a frame after both hashes were compared; asks the store twice if need be."""
        from imaging_db.stores.layout import object_key
        from imaging_db.transfer.fetch import decode_checked, fetch_frame

        directory = self._dataset.storage_dir
        store = self._opened().store_of(self._dataset)
        key = object_key(directory, frame.file_name)
        data = fetch_frame(frame, store=store, directory=directory)
        return self._fitting(decode_checked(data, frame, key=key), key)

    def _fitting(self, pixels: npt.NDArray[Any], key: str) -> npt.NDArray[Any]:
        if pixels.shape != self._frame_shape or pixels.dtype.name != self._dtype:
            raise IntegrityError(
                f"{key} is {pixels.shape} {pixels.dtype.name}, its dataset {self._frame_shape} {self._dtype}"
            )
        return pixels

    def _opened(self) -> Opened:
        """Return the database that the array was made from while it is open, else this process's own."""
        keep_freed_memory()
        db = None if self._db is None else self._db()
        if db is not None and db.is_open:
            return db
        return opened_here(self._settings, store_named=self._store_named)

    def _row(self, place: Place, coords: FrameCoords, *, again: bool = False) -> StoredFrame | None:
        """Return the row of a frame, read with those around it: neighbours are asked for together."""
        corner, box = self._box(place)
        key = (self.token, corner)
        with _guard:
            rows = None if again else _groups.get(key)
        if rows is None:
            rows = self._read_rows(box)
            with _guard:
                _groups[key] = rows
                while len(_groups) > _MOST_GROUPS:
                    _groups.popitem(last=False)
        return rows.get(coords)

    def _box(self, place: Place) -> tuple[Place, list[Axis]]:
        """Return where the group of a block begins, and its indices on each axis: Z first, then C, T, P."""
        sizes, left = [1, 1, 1, 1], _ROWS_AT_ONCE
        for axis in (3, 2, 0, 1):
            sizes[axis] = max(1, min(left, len(self._axes[axis])))
            left //= sizes[axis]
        corner = tuple(number - number % size for number, size in zip(place, sizes, strict=True))
        whole = zip(self._axes, corner, sizes, strict=True)
        return corner, [axis[start : start + size] for axis, start, size in whole]

    def _read_rows(self, box: Sequence[Axis]) -> Rows:
        timepoints, positions, channels, slices = map(_ranges, box)
        selection = FrameSelection(
            channels=channels, slices=slices, timepoints=timepoints, positions=positions
        )
        catalog, serial = self._opened().catalog, self._dataset.serial
        frames = [*catalog.frames(serial, selection, with_metadata=False)]
        # looked at afterwards: what was read before can only be of this dataset, then
        if catalog.dataset(serial).published_at != self._dataset.published_at:
            raise DatasetNotFound(
                f"{serial} was replaced since the array was made", hint="open it again"
            )
        wanted = self._names
        return {f.coords: f for f in frames if wanted is None or f.channel_name in wanted}


def _chosen(db: Opened, plan: ArrayPlan) -> npt.NDArray[np.bool_] | None:
    """Return which frames of the block a query chose, by T, P, C and Z; None where none was asked.

    It is remembered, and not asked again: tags, which it may ask for, change.
    """
    if plan.selection.where is None:
        return None
    import numpy as np

    chosen = np.zeros(plan.shape[:4], bool)
    places = [{index: place for place, index in enumerate(axis)} for axis in plan.axes]
    for frame in db.catalog.frames(plan.dataset.serial, plan.selection, with_metadata=False):
        c, z, t, p = frame.coords
        place = [axis.get(index) for axis, index in zip(places, (t, p, c, z), strict=True)]
        if None not in place:
            chosen[tuple(place)] = True
    return chosen


def _ranges(axis: Axis) -> tuple[IndexRange, ...]:
    if isinstance(axis, range):
        return (IndexRange(axis[0], axis[-1] + 1, axis.step if len(axis) > 1 else 1),)
    return tuple(IndexRange(index, index + 1) for index in axis)


def _digest(*told: object) -> str:
    return sha256(repr(told).encode()).hexdigest()[:32]
