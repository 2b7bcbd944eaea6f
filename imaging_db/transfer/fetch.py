"""One object out of the store, checked against what the catalog recorded of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import IO, Any, TypeVar

from imaging_db.codecs import MOST_BYTES, decode_frame
from imaging_db.errors import (
    ChecksumMismatch,
    ImagingDBError,
    IntegrityError,
    ObjectNotFound,
    StoreUnavailable,
)
from imaging_db.model import (
    Acquisition,
    Dataset,
    StoredFile,
    StoredFrame,
    sha256_of_bytes,
    sha256_of_pixels,
)
from imaging_db.stores.base import Store
from imaging_db.stores.layout import object_key
from imaging_db.transfer.pool import StopFlag

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 4 * 2**20
_MEND = "imaging-db repair can put it back, from its source or a second store"
_LARGEST_PNG_PIXEL = 8


def fetch_frame(frame: StoredFrame, *, store: Store, directory: str) -> bytes:
    """Return the stored bytes of a frame, which are as recorded.

    What comes otherwise is asked for once more: it may have been damaged on the way.

    Raises
    ------
    ObjectNotFound
        The object is gone.
    ChecksumMismatch
        Its bytes, or for a row of the original imagingDB its pixels, differ from the record.
    """
    key = object_key(directory, frame.file_name)

    def fetch() -> bytes:
        data = store.get(key)
        if frame.object_sha256 is None:
            decode_checked(data, frame, key=key)
            return data
        found = sha256_of_bytes(data)
        if found != frame.object_sha256:
            raise ChecksumMismatch(key, expected=frame.object_sha256, found=found)
        return data

    return _twice(fetch)


def decode_checked(data: bytes, frame: StoredFrame, *, key: str) -> Any:
    """Return the pixels of a stored frame, compared with the recorded SHA-256 of its pixels.

    The original imagingDB handed RGB arrays to OpenCV, which stores them in reverse: where that order
    is what fits the record, the samples are turned back.

    Raises
    ------
    ChecksumMismatch
        The pixels differ from the record.
    IntegrityError
        The bytes are no picture.
    SchemaOutOfDate
        A newer version wrote them with a codec of its own.
    """
    most = pixel_bytes(frame)
    pixels = decode_frame(data, dtype=frame.dtype, codec=frame.codec, where=key, most_bytes=most)
    if frame.sha256 is None:
        return pixels
    found = sha256_of_pixels(pixels)
    if found == frame.sha256:
        return pixels
    if frame.object_sha256 is None and pixels.ndim == 3:
        turned = pixels[..., ::-1]
        if sha256_of_pixels(turned) == frame.sha256:
            return turned
    raise ChecksumMismatch(key, expected=frame.sha256, found=found)


def fetch_file(
    file: StoredFile,
    target: IO[bytes] | None,
    *,
    store: Store,
    directory: str,
    stop: StopFlag | None = None,
) -> int:
    """Return the size of a stored file after streaming it to ``target``, or only reading it.

    A stream that is cut, or comes otherwise than recorded, is begun once more.

    Raises
    ------
    ObjectNotFound, ChecksumMismatch
        The object is gone, or its bytes differ from the record.
    """

    def fetch() -> int:
        if target is not None and target.tell():
            target.seek(0)
            target.truncate()
        return _stream(file, target, object_key(directory, file.name), store, stop)

    return _twice(fetch)


def _stream(
    file: StoredFile, target: IO[bytes] | None, key: str, store: Store, stop: StopFlag | None
) -> int:
    digest, size = hashlib.sha256(), 0
    with store.open(key) as source:
        while chunk := _read(source, key, store):
            if stop is not None:
                stop.check()
            digest.update(chunk)
            size += len(chunk)
            if target is not None:
                target.write(chunk)
    if file.size is not None and size != file.size:
        raise IntegrityError(f"{key} has {size} bytes instead of {file.size}", hint=_MEND)
    if file.sha256 is not None and digest.hexdigest() != file.sha256:
        raise ChecksumMismatch(key, expected=file.sha256, found=digest.hexdigest())
    return size


def pixel_bytes(frame: StoredFrame) -> int:
    """Return how many bytes a frame's pixels may take; of rows of the original imagingDB a safe guess."""
    import numpy as np

    if not frame.width or not frame.height or not frame.dtype:
        return MOST_BYTES
    pixel = (frame.colors or 1) * np.dtype(frame.dtype).itemsize
    if frame.object_sha256 is None:  # which may say less of the colours
        pixel = max(pixel, _LARGEST_PNG_PIXEL)
    return frame.width * frame.height * pixel


def frame_bytes(acquisition: Acquisition) -> int:
    """Return the raw size of a frame; of a ragged dataset a generous guess."""
    import numpy as np

    sides = (acquisition.height or 4096) * (acquisition.width or 4096)
    return sides * (acquisition.colors or 1) * np.dtype(acquisition.dtype or "float32").itemsize


def wrong_count(dataset: Dataset, found: int) -> IntegrityError:
    """Return the error of a catalog that has other rows than its dataset was published with."""
    return IntegrityError(
        f"the catalog has {found} of the {dataset.nbr_objects} rows of {dataset.serial}",
        hint="restore the catalog from a backup, or upload the source again with --overwrite",
    )


def _twice(fetch: Callable[[], Result]) -> Result:
    """Return what ``fetch`` returns, at its second attempt where the first met damage or a cut stream."""
    try:
        return fetch()
    except ObjectNotFound:
        raise
    except (IntegrityError, StoreUnavailable) as error:
        if isinstance(error, StoreUnavailable) and not error.transient:
            raise
    return fetch()


def _read(source: IO[bytes], key: str, store: Store) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise StoreUnavailable(
            f"{key} cannot be read from {store.address}: {error.strerror or error}",
            hint="rerun later",
        ) from error


def damage_told(work: Callable[[Item], Result]) -> Callable[[Item], Result | ImagingDBError]:
    """Return ``work`` with what is missing or damaged as its result instead of an exception.

    One damaged object must not keep the good ones back; every other error still stops the run. Thousands
    may be kept: without their tracebacks, which would hold the bytes of each object.
    """

    def told(item: Item) -> Result | ImagingDBError:
        try:
            return work(item)
        except ImagingDBError as error:
            if error.exit_code != IntegrityError.exit_code:
                raise
            error.__traceback__ = error.__cause__ = error.__context__ = None
            return error

    return told
