"""One frame or one file from its source into the store."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from imaging_db import failpoints
from imaging_db.codecs import decode_frame, encode_frame
from imaging_db.codecs.quality import measure
from imaging_db.errors import (
    ChecksumMismatch,
    CorruptSource,
    IntegrityError,
    ObjectConflict,
    SourceChanged,
)
from imaging_db.model import (
    SourceFile,
    SourceFrame,
    StoredFile,
    StoredFrame,
    sha256_of_bytes,
    sha256_of_pixels,
)
from imaging_db.readers.base import Reader
from imaging_db.readers.frame_buffer import FrameBuffer
from imaging_db.stores.base import Store
from imaging_db.stores.layout import frame_name, object_key
from imaging_db.transfer.fetch import pixel_bytes
from imaging_db.transfer.pool import StopFlag

_CHUNK = 4 * 2**20


@dataclass(frozen=True, slots=True)
class FrameObject:
    """A frame on its way into the store: its key, its bytes with their SHA-256, the row that it will have.

    ``raw_bytes`` is the size of its pixels.
    """

    key: str
    data: bytes
    sha256: str
    row: StoredFrame
    raw_bytes: int

    @property
    def size(self) -> int:
        """Return how many bytes will be stored."""
        return len(self.data)


class ObjectMaker:
    """Makes objects of the frames of an open reader; each thread reads into memory that it keeps."""

    def __init__(self, reader: Reader, directory: str, codec: str) -> None:
        self._reader = reader
        self._directory = directory
        self._codec = codec
        self._thread = _Memory()

    def make(self, frame: SourceFrame) -> FrameObject:
        """Return a frame as it will be stored: read, hashed, measured, encoded, hashed again.

        Raises
        ------
        ReaderError
            The pixels cannot be read.
        """
        pixels = self._reader.read(frame, out=self._thread.buffer.for_frame(frame))
        failpoints.reach("frame.read")
        sha256, quality = sha256_of_pixels(pixels), measure(pixels)
        encoded = encode_frame(pixels, codec=self._codec)
        failpoints.reach("frame.encoded")
        name = frame_name(frame.coords, encoded.suffix)
        row = StoredFrame(
            coords=frame.coords,
            file_name=name,
            sha256=sha256,
            object_sha256=encoded.sha256,
            object_size=len(encoded.data),
            codec=encoded.codec,
            width=pixels.shape[1],
            height=pixels.shape[0],
            colors=pixels.shape[2] if pixels.ndim == 3 else 1,
            dtype=frame.dtype,
            channel_name=frame.channel_name,
            position_name=frame.position_name,
            metadata=frame.metadata,
            quality=quality,
        )
        key = object_key(self._directory, name)
        return FrameObject(key, encoded.data, encoded.sha256, row, pixels.nbytes)


class _Memory(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.buffer = FrameBuffer()


def put_object(made: FrameObject, *, store: Store) -> tuple[StoredFrame, int]:
    """Return the row of a frame and the bytes of its pixels, once it is in the store.

    Raises
    ------
    ObjectConflict
        The store holds other pixels under the frame's key.
    """
    row = made.row
    try:
        store.put(made.key, made.data, sha256=made.sha256)
    except ObjectConflict as conflict:
        row = _with_same_pixels(row, made.key, store, conflict)
    return row, made.raw_bytes


def _with_same_pixels(
    row: StoredFrame, key: str, store: Store, conflict: ObjectConflict
) -> StoredFrame:
    """An interrupted run of an older version may have encoded the same pixels to other bytes."""
    data = store.get(key)
    try:
        most = pixel_bytes(row)
        pixels = decode_frame(data, dtype=row.dtype, where=key, most_bytes=most)
    except IntegrityError:
        raise conflict from None
    if sha256_of_pixels(pixels) != row.sha256:
        raise conflict
    return replace(row, object_sha256=sha256_of_bytes(data), object_size=len(data))


def store_file(
    file: SourceFile, *, store: Store, directory: str, stop: StopFlag | None = None
) -> StoredFile:
    """Return the row of one file, once its bytes are in the store; read twice, in bounded memory.

    Raises
    ------
    SourceChanged
        Its size or time changed meanwhile.
    """
    before = _state(file.path)
    sha256 = sha256_of_file(file.path, stop=stop)
    key = object_key(directory, file.name)
    try:
        with StoppableFile(file.path, stop or StopFlag()) as stream:
            store.put_stream(key, stream, size=before[0], sha256=sha256)
    except ChecksumMismatch as error:
        raise _changed(file.path) from error
    except OSError as error:
        raise CorruptSource(file.path, error.strerror or "cannot be read") from error
    if _state(file.path) != before:
        raise _changed(file.path)
    return StoredFile(file.name, sha256, before[0])


class StoppableFile(io.FileIO):
    """A file for reading that raises `Stop` once the flag is set."""

    def __init__(self, path: Path, stop: StopFlag) -> None:
        super().__init__(path, "rb")
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        self._stop.check()
        return super().read(-1 if size is None else size) or b""


def _changed(path: Path) -> SourceChanged:
    return SourceChanged(path, "was written to while it was read", hint="rerun when it rests")


def sha256_of_file(path: Path, *, stop: StopFlag | None = None) -> str:
    """Return the hex SHA-256 of a file's bytes, in bounded memory.

    Raises
    ------
    CorruptSource
        It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with StoppableFile(path, stop or StopFlag()) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise CorruptSource(path, error.strerror or "cannot be read") from error
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise SourceChanged(path, f"went away while it was read ({error.strerror})") from error
    return found.st_size, found.st_mtime_ns, found.st_ino
