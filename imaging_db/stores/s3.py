"""A store in an S3 bucket: each object one conditional PUT with its SHA-256."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import ClientError

from imaging_db import failpoints
from imaging_db.errors import ObjectConflict, StoreUnavailable, UnsafePath
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.backoff import seconds_passed
from imaging_db.stores.base import Leftover, ObjectInfo, check_key
from imaging_db.stores.keylock import KeyLocks
from imaging_db.stores.s3_body import ObjectStream
from imaging_db.stores.s3_bucket import Bucket
from imaging_db.stores.s3_client import S3Traits, base64_of, find_traits, try_to_write
from imaging_db.stores.s3_errors import DAMAGED, EXISTS, TRY_AGAIN, UPLOAD_GONE, error_code
from imaging_db.stores.s3_leftovers import clock, discard, find_leftovers, time_told
from imaging_db.stores.s3_retry import Patience, Teller
from imaging_db.stores.s3_upload import Body, Parts, Upload
from imaging_db.stores.stream import CHUNK_BYTES, SourceStream

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_log = logging.getLogger(__name__)

_PART_BYTES = 16 * 2**20
_PUT_ATTEMPTS = 6
_PROBE_PATIENCE = 15.0
_DELETE_PATIENCE = 8.0


class S3Store:
    """Keys to objects of ``bucket``; credentials and region are found by boto3's own rules.

    A put is a PUT with ``If-None-Match: *`` and a SHA-256. An answer that says "it is there" is a
    question: what is there is compared, because it may be ours, from an earlier run or from an attempt
    whose answer got lost. Streams above ``part_bytes`` go in parts; unfinished ones are aborted, and a
    lifecycle rule of the bucket should remove what a killed process left.

    Servers that do not honour ``If-None-Match`` are recognised by trying once. There a put looks and
    puts, one thread a key at a time, and looks again where the answer does not prove that the bytes have
    arrived: within one process that is as good. Of two processes that put different bytes under one key at the
    same instant both may succeed and one copy stay; the claim of a dataset in the catalog keeps them
    apart.

    What is needed for every frame (put, get, stat) is one request, signed here and sent once; anything
    but a plain success is asked again through boto3. See `imaging_db.stores.s3_short`.

    A request is tried ``attempts`` times with growing random pauses, but never again when the first
    trouble of its operation is more than ``patience_seconds`` ago (of large streams: of its part). So
    nothing takes longer than that and three time-outs, one of them for clearing up: five minutes with
    the defaults; a server that is silent from the start is given up after three, one that refuses
    connections after half a minute. A probe has its own, short time-outs: half a minute in all. So has
    a deletion, which must not outlive the right to it: it ends within `DELETE_SECONDS`. The
    first time that anything has to wait is logged, once for all threads; an error tells for how long
    was tried.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        connect_seconds: float = 10.0,
        read_seconds: float = 60.0,
        attempts: int = 8,
        patience_seconds: float = 90.0,
        part_bytes: int = _PART_BYTES,
    ) -> None:
        self._teller = Teller()
        self._delete_patience = Patience(min(patience_seconds, _DELETE_PATIENCE), self._teller)
        self._bucket = Bucket(
            bucket,
            endpoint_url=endpoint_url,
            region=region,
            connect_seconds=connect_seconds,
            read_seconds=read_seconds,
            attempts=attempts,
            patience=Patience(patience_seconds, self._teller),
        )
        self._part_bytes = part_bytes
        self._guard = threading.Lock()
        self._known_traits: S3Traits | None = None
        self._locks = KeyLocks()

    @property
    def address(self) -> str:
        """Return ``s3://bucket``, with the endpoint where it is not S3 itself."""
        return self._bucket.address

    def traits(self) -> S3Traits:
        """Return what the server can do; asks it once."""
        known = self._known_traits
        if known is None:
            with self._bucket.errors(), self._guard:
                known = self._known_traits = self._known_traits or self._ask_traits(
                    self._bucket.client()
                )
        return known

    def probe(self, *, write: bool = True) -> None:
        """Check that the bucket can be listed and, with ``write``, that objects can be put.

        Somebody waits for it: a server that does not answer is given up within half a minute.
        """
        bucket, patience = self._bucket, Patience(_PROBE_PATIENCE, self._teller)
        with bucket.errors(), patience.operation(), bucket.quick_client(patience) as client:
            bucket.genuine(client.list_objects_v2(Bucket=bucket.name, MaxKeys=1))
            if write:
                found = self._ask_traits(client)
                with self._guard:
                    self._known_traits = found
                try_to_write(client, bucket.name)

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` under ``key`` if nothing is there; return False where the same bytes were."""
        body = data if isinstance(data, bytes) else memoryview(data).cast("B")
        return self._create(Body(check_key(key), body, sha256))

    def put_stream(
        self, key: str, stream: BinaryIO, *, size: int, sha256: str | None = None
    ) -> bool:
        """Put ``size`` bytes of ``stream``, one part in memory at a time; otherwise as `put`."""
        source = SourceStream(stream, size=size, key=check_key(key))
        if size <= self._part_bytes:
            data = b"".join(source.chunks(sha256=sha256))
            return self.put(key, data, sha256=sha256 or sha256_of_bytes(data))
        return self._create(Parts(key, source, part_bytes=self._part_bytes, sha256=sha256))

    def get(self, key: str) -> bytes:
        """Return the bytes under ``key``, or raise `ObjectNotFound`; a cut answer is asked for again."""
        return self._bucket.get(check_key(key))

    def open(self, key: str) -> BinaryIO:
        """Return a stream over the bytes under ``key``; raises `StoreUnavailable` where it is cut."""
        body = self._bucket.body(check_key(key))
        raw = ObjectStream(body, address=self.address, key=key, watch=self._bucket.watch)
        return io.BufferedReader(raw, CHUNK_BYTES)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and SHA-256 of ``key``, None where nothing is there."""
        head = self._bucket.head(check_key(key))
        if head is None:
            return None
        return ObjectInfo(key, head.size, head.sha256 or None, time_told(head.modified))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder ``prefix``, a thousand a request."""
        start = f"{check_key(prefix)}/" if prefix else ""
        bucket = self._bucket
        with bucket.errors(prefix):
            pages = bucket.client().get_paginator("list_objects_v2")
            left = iter(pages.paginate(Bucket=bucket.name, Prefix=start))
        while True:
            with bucket.errors(prefix):
                page = next(left, None)
                if page is None:
                    return
                bucket.genuine(page)
            for found in page.get("Contents", []):
                if _is_key(found["Key"]):
                    yield ObjectInfo(found["Key"], found["Size"], modified=found["LastModified"])

    def delete(self, key: str) -> bool:
        """Delete ``key``; return False where nothing was there."""
        asked = seconds_passed()
        if self._bucket.head(check_key(key)) is None:
            return False
        if seconds_passed() - asked > _DELETE_PATIENCE:
            raise StoreUnavailable(
                f"{self.address}: {key}: it was looked at for too long to be deleted yet",
                hint="rerun",
            )
        self._bucket.delete(key, patience=self._delete_patience)
        return True

    def now(self) -> datetime:
        """Return the server's clock, in whole seconds."""
        return clock(self._bucket)

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """Yield uploads in parts that nobody has completed, and what a killed probe had put."""
        return find_leftovers(self._bucket, f"{check_key(prefix)}/" if prefix else "")

    def discard(self, leftover: Leftover) -> bool:
        """Abort an upload in parts; return False where it was gone."""
        return discard(self._bucket, leftover)

    def flush(self) -> None:
        """Return at once: S3 answers a put when it is durable."""

    def close(self) -> None:
        """Close all connections; the store may be used again."""
        self._bucket.close()

    def _create(self, upload: Upload) -> bool:
        """Put ``upload``; look before and after where a condition is not honoured, or costs much.

        Some servers honour it for one PUT and not for parts, and parts are worth a look before.
        """
        with self._bucket.errors(upload.key):
            condition = {"IfNoneMatch": "*"} if self.traits().conditional else {}
            if condition and isinstance(upload, Body):
                return self._send(upload, **condition) is not None
            with self._locks.hold(upload.key):
                if self._is_there(upload):
                    return False
                etag = self._send(upload, **condition)
                if etag is None:
                    return False
                self._confirm(upload, etag)
                return True

    def _send(self, upload: Upload, **condition: str) -> str | None:
        """Send ``upload`` and return its ETag, None where its bytes are there already."""
        for attempt in range(1, _PUT_ATTEMPTS + 1):
            try:
                failpoints.reach("object.written")
                etag = upload.send(self._bucket, self.traits(), **condition)
                failpoints.reach("object.named")
                return etag
            except ClientError as error:
                last = error
            code = error_code(last)
            if code in EXISTS or code in UPLOAD_GONE:
                if self._is_there(upload):
                    return None
            elif code in DAMAGED:
                upload.check()
            elif code not in TRY_AGAIN:
                raise last
            cause = f"it answers {code}"
            if not self._bucket.wait(attempt, attempts=_PUT_ATTEMPTS, cause=cause):
                break
        raise StoreUnavailable(
            f"{self.address}: {upload.key}: {code} after {attempt} attempts",
            hint="rerun later",
        ) from last

    def _is_there(self, upload: Upload) -> bool:
        """Return True where the bytes of ``upload`` are there, False where nothing is.

        A checksum that the server has verified and that is equal settles it. Anything else, such as
        another checksum (which may be one of parts), is settled by reading.
        """
        head = self._bucket.head(upload.key, checksum=True)
        if head is None:
            return False
        if head.size == upload.size:
            if self._has_checksum(upload, head.checksum):
                return True
            if self._bucket.sha256_of(upload.key) == upload.sha256:
                return True
        raise ObjectConflict(upload.key, self.address)

    def _has_checksum(self, upload: Upload, kept: str) -> bool:
        if not kept or not self.traits().checksums:
            return False  # a sum that a server only repeats proves nothing
        return kept == (upload.composite if "-" in kept else base64_of(upload.sha256))

    def _confirm(self, upload: Upload, etag: str) -> None:
        """Check that what was put is there whole, where the answer has not proved it."""
        if upload.has_arrived(etag, self.traits()):
            return
        head = self._bucket.head(upload.key)
        if head is not None and head.size == upload.size and head.etag == etag:
            return
        if not self._is_there(upload):
            raise StoreUnavailable(f"{self.address}: {upload.key} vanished after it was put")

    def _ask_traits(self, client: S3Client) -> S3Traits:
        found = find_traits(client, self._bucket.name)
        if not found.conditional:
            _log.warning("%s does not honour If-None-Match: puts look first", self.address)
        return found


def _is_key(text: str) -> bool:
    try:
        check_key(text)
    except UnsafePath:
        return False
    return True
