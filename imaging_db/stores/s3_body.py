"""The body of an answer of S3 as a stream."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from imaging_db.stores.s3_errors import BROKEN_BODY, mapped
from imaging_db.stores.s3_watch import Watch, answer_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody


class ObjectStream(io.RawIOBase):
    """The body of an answer as a raw stream, with our errors."""

    def __init__(self, body: StreamingBody, *, address: str, key: str, watch: Watch) -> None:
        super().__init__()
        self._body = body
        self._watch = watch
        self._address = address
        self._key = key

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` and return how many bytes that took, 0 at the end."""
        view = memoryview(buffer).cast("B")
        try:
            with self._watch.over(answer_of(self._body), len(view)):
                data = self._body.read(len(view))
        except BROKEN_BODY as error:
            raise mapped(error, address=self._address, key=self._key) from error
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            self._body.close()
        super().close()
