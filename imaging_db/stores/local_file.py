"""A file of a local store that is being read."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from imaging_db.errors import StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class ObjectFile(io.FileIO):
    """An open file of the store, with our errors; the buffer above it asks for large pieces only."""

    def __init__(self, handle: int, *, address: str, key: str) -> None:
        super().__init__(handle, "rb")
        self._address = address
        self._key = key

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` and return how many bytes that took, 0 at the end."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise self._unavailable(error) from error

    def readall(self) -> bytes:
        """Return everything that is left."""
        try:
            return super().readall()
        except OSError as error:
            raise self._unavailable(error) from error

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to ``offset`` and return where that is."""
        try:
            return super().seek(offset, whence)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> StoreUnavailable:
        cause = error.strerror or str(error)
        return StoreUnavailable(f"{self._address}: {self._key}: {cause}", hint="check the disk")
