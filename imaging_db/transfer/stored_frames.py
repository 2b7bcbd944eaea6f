"""Frames on their way into a store: read, hashed, measured, encoded, put, by as many threads as asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial

from imaging_db.model import SourceFrame, StoredFrame
from imaging_db.readers.base import Reader
from imaging_db.stores.base import Store
from imaging_db.transfer.pool import REMOTE_PUTS, Second, piped, pooled, worker_count
from imaging_db.transfer.store_object import FrameObject, ObjectMaker, put_object

_AHEAD = 512  # objects that go on being stored while a batch is made durable
_WAITING_BYTES = 64 * 2**20  # encoded, not yet put into a remote store

Stored = tuple[StoredFrame, int]
"""The row of a frame that is in the store, and the bytes of its pixels."""


@dataclass(frozen=True, slots=True)
class Threads:
    """How many threads read and encode, and how many put into the store, 0 where the first do that too."""

    encoders: int
    putters: int = 0

    @classmethod
    def of(cls, storage: str, asked: int | None, *, frame_bytes: int) -> Threads:
        """Return how many suit a store: encoders fill the cores, a put that waits for a network waits apart."""
        encoders = worker_count(asked, frame_bytes=frame_bytes)
        if storage == "local":
            return cls(encoders)
        return cls(encoders, worker_count(asked, frame_bytes=0, remote=REMOTE_PUTS))


@dataclass(frozen=True)
class FrameWriter:
    """Stores frames of one open reader below one prefix: what an upload and a unit of a job have in common."""

    maker: ObjectMaker
    store: Store

    @classmethod
    def of(cls, reader: Reader, store: Store, *, directory: str, codec: str) -> FrameWriter:
        """Return the writer of a reader's frames, asked to keep them in ``codec``."""
        return cls(ObjectMaker(reader, directory, codec), store)

    def written(
        self,
        frames: Iterable[SourceFrame],
        threads: Threads,
        *,
        unread: Callable[[Stored], object] | None = None,
    ) -> Generator[Stored, None, None]:
        """Yield row and raw bytes of each frame once it is stored, in the order in which they finish.

        In threads of its own, or in the caller's where one encoder does everything. The first error ends
        the rest; ``unread`` is called for each result that was not asked for any more.

        Raises
        ------
        ReaderError
            The pixels of a frame cannot be read.
        ObjectConflict
            The store holds other pixels under a frame's key.
        """
        put = partial(put_object, store=self.store)
        if threads.putters:
            second: Second[FrameObject, Stored] = Second(
                put, threads.putters, _size, _WAITING_BYTES
            )
            return piped(
                self.maker.make,
                frames,
                second,
                workers=threads.encoders,
                ahead=_AHEAD,
                unread=unread,
            )
        if threads.encoders == 1 and unread is None:
            return (put(self.maker.make(frame)) for frame in frames)
        return pooled(
            lambda frame: put(self.maker.make(frame)),
            frames,
            workers=threads.encoders,
            ahead=_AHEAD,
            unread=unread,
        )


def _size(made: FrameObject) -> int:
    return made.size
