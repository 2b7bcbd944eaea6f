"""The frames of a planned export: their rows by position, their pixels verified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imaging_db import failpoints
from imaging_db.catalog import Catalog
from imaging_db.errors import CatalogUnavailable
from imaging_db.export.plan import ExportPlan
from imaging_db.model import FrameCoords, IndexRange, StoredFrame
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.fetch import decode_checked, fetch_frame, frame_bytes
from imaging_db.transfer.pool import REMOTE_GETS, worker_count

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class FrameSource:
    """Where the frames of a plan come from; safe for threads."""

    catalog: Catalog
    store: Store
    plan: ExportPlan
    asked_workers: int | None = None

    @cached_property
    def workers(self) -> int:
        """Return how many threads to read with, so that the frames in work stay within bounds."""
        remote = REMOTE_GETS if self.plan.dataset.storage == "s3" else 0
        size = frame_bytes(self.plan.acquisition)
        return worker_count(self.asked_workers, frame_bytes=size, remote=remote)

    def rows(self, position: int, *, with_metadata: bool = False) -> dict[FrameCoords, StoredFrame]:
        """Return the rows of the frames of one position; about half a kilobyte each.

        Raises
        ------
        CatalogUnavailable
            The dataset was replaced since the plan was made: these are rows of other frames.
        """
        only = replace(self.plan.selection, positions=(IndexRange(position, position + 1),))
        frames = self.catalog.frames(self.plan.serial, only, with_metadata=with_metadata)
        found = {frame.coords: frame for frame in frames}
        self.require_unchanged()
        return found

    def frames(self) -> Iterator[StoredFrame]:
        """Yield all frames with their metadata; at the end raises as `rows`."""
        yield from self.catalog.frames(self.plan.serial, self.plan.selection)
        self.require_unchanged()

    def require_unchanged(self) -> None:
        """Let pass a dataset that is the one that was planned: what was read before is of it, then."""
        dataset = self.plan.dataset
        if self.catalog.dataset(dataset.serial).published_at != dataset.published_at:
            raise CatalogUnavailable(
                f"{dataset.serial} was replaced while it was read", hint="rerun"
            )

    def stored(self, frame: StoredFrame) -> bytes:
        """Return the bytes of a frame as they are stored, verified; raises as `fetch_frame`."""
        data = fetch_frame(frame, store=self.store, directory=self.plan.dataset.storage_dir)
        failpoints.reach("object.fetched")
        return data

    def read(self, frame: StoredFrame) -> npt.NDArray[Any]:
        """Return the pixels of a frame, ``(Y, X)`` or ``(Y, X, S)``, after both hashes were compared.

        Raises
        ------
        IntegrityError
            The object is missing or damaged.
        """
        key = object_key(self.plan.dataset.storage_dir, frame.file_name)
        pixels: npt.NDArray[Any] = decode_checked(self.stored(frame), frame, key=key)
        return pixels
