"""The store contract over obstore (Rust object_store), as far as it goes; see docs/adr/0014.

Measured beside our S3 store and not for use: it cannot send a checksum that is known already nor a
Content-MD5, tells no error code, and does not wait as long or as short as we promise.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store as RustStore

from imaging_db.errors import ObjectConflict, ObjectNotFound
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import ObjectInfo, check_key
from imaging_db.stores.stream import SourceStream


class ObstoreStore:
    """Keys to objects of ``bucket`` at ``endpoint_url``; credentials from the environment."""

    def __init__(self, bucket: str, *, endpoint_url: str, **options: Any) -> None:
        self._store = RustStore(
            bucket,
            endpoint=endpoint_url,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            **options,
        )
        self.address = f"s3://{bucket} at {endpoint_url}"

    def probe(self, *, write: bool = True) -> None:
        """List one object."""
        next(iter(obstore.list(self._store, chunk_size=1)), None)

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` with a condition; False where the same bytes were."""
        try:
            obstore.put(
                self._store,
                check_key(key),
                data,
                attributes={"sha256": sha256},
                mode="create",
                use_multipart=False,
            )
        except AlreadyExistsError as error:
            if sha256_of_bytes(self.get(key)) != sha256:
                raise ObjectConflict(key, self.address) from error
            return False
        return True

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Put ``size`` bytes; all of them in memory, because a multipart upload takes no condition."""
        data = b"".join(SourceStream(stream, size=size, key=check_key(key)).chunks(sha256=sha256))
        return self.put(key, data, sha256=sha256 or sha256_of_bytes(data))

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``; copied from the buffer of Rust."""
        try:
            return bytes(obstore.get(self._store, check_key(key)).bytes())
        except FileNotFoundError as error:
            raise ObjectNotFound(key, self.address) from error

    def open(self, key: str) -> BinaryIO:
        """Return the bytes under ``key`` as a stream."""
        return io.BytesIO(self.get(key))

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the size of ``key``; the SHA-256 is not told."""
        try:
            return ObjectInfo(key, obstore.head(self._store, check_key(key))["size"])
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what lies below ``prefix``."""
        for page in obstore.list(self._store, prefix=check_key(prefix) if prefix else None):
            for found in page:
                yield ObjectInfo(found["path"], found["size"])

    def delete(self, key: str) -> bool:
        """Delete ``key``."""
        if self.stat(key) is None:
            return False
        obstore.delete(self._store, key)
        return True

    def flush(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Return at once: connections are closed when nobody holds the store."""
