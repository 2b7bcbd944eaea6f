"""A store in an S3 bucket: each object one conditional PUT with its SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from botocore.exceptions import ClientError

from imaging_db.errors import (
    ObjectConflict,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
)
from imaging_db.model import is_sha256, sha256_of_bytes
from imaging_db.stores.base import ObjectInfo, check_key
from imaging_db.stores.keylock import KeyLocks
from imaging_db.stores.s3_body import ObjectStream
from imaging_db.stores.s3_client import (
    S3Traits,
    base64_of,
    find_traits,
    new_client,
    try_to_write,
)
from imaging_db.stores.s3_errors import (
    BROKEN_BODY,
    DAMAGED,
    EXISTS,
    FOREIGN,
    MISSING,
    TRY_AGAIN,
    UPLOAD_GONE,
    error_code,
    is_no_bucket,
    mapped,
    no_bucket,
    one_line,
)
from imaging_db.stores.s3_retry import Patience
from imaging_db.stores.s3_upload import Body, Parts, Upload
from imaging_db.stores.stream import CHUNK_BYTES, SourceStream

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_PART_BYTES = 16 * 2**20
_BODY_ATTEMPTS = 4
_PUT_ATTEMPTS = 6
_PROBE_CONNECT_SECONDS = 5.0
_PROBE_READ_SECONDS = 7.0
_PROBE_ATTEMPTS = 2
_PROBE_PATIENCE = 15.0


class S3Store:
    """Keys to objects of ``bucket``; credentials and region are found by boto3's own rules.

    A put is a PUT with ``If-None-Match: *`` and a SHA-256. An answer that says "it is there" is a
    question: what is there is compared, because it may be ours, from an earlier run or from an attempt
    whose answer got lost. Streams above ``part_bytes`` go in parts; unfinished ones are aborted, and a
    lifecycle rule of the bucket should remove what a killed process left.

    Servers that do not honour ``If-None-Match`` are recognised by trying once. There a put looks, puts
    and looks again, one thread a key at a time: within one process that is as good. Of two processes
    that put different bytes under one key at the same instant both may succeed and one copy stay; the
    claim of a dataset in the catalog keeps them apart.

    A request is tried ``attempts`` times with growing random pauses, but never again when the first
    trouble of its operation is more than ``patience_seconds`` ago (of large streams: of its part). So
    nothing takes longer than that and three time-outs, one of them for clearing up: five minutes with
    the defaults; a server that is silent from the start is given up after three, one that refuses
    connections after half a minute. A probe has its own, short time-outs: half a minute in all. The
    first time that an operation has to wait is logged.
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
        self._bucket = bucket
        self._endpoint_url = endpoint_url
        self._endpoint = endpoint_url or "Amazon S3"
        self._part_bytes = part_bytes
        self._patience = Patience(patience_seconds)
        self._connect = partial(
            new_client,
            endpoint_url,
            region=region,
            connect_seconds=connect_seconds,
            read_seconds=read_seconds,
            attempts=attempts,
            patience=self._patience,
        )
        self._quick = partial(
            new_client,
            endpoint_url,
            region=region,
            connect_seconds=min(connect_seconds, _PROBE_CONNECT_SECONDS),
            read_seconds=min(read_seconds, _PROBE_READ_SECONDS),
            attempts=min(attempts, _PROBE_ATTEMPTS),
        )
        self._guard = threading.RLock()
        self._open_client: S3Client | None = None
        self._known_traits: S3Traits | None = None
        self._locks = KeyLocks()

    @property
    def address(self) -> str:
        """Return ``s3://bucket``, with the endpoint where it is not S3 itself."""
        at = f" at {self._endpoint_url}" if self._endpoint_url else ""
        return f"s3://{self._bucket}{at}"

    def traits(self) -> S3Traits:
        """Return what the server can do; asks it once."""
        with self._errors(), self._guard:
            if self._known_traits is None:
                self._known_traits = self._ask_traits(self._client())
            return self._known_traits

    def probe(self, *, write: bool = True) -> None:
        """Check that the bucket can be listed and, with ``write``, that objects can be put.

        Somebody waits for it: a server that does not answer is given up within half a minute.
        """
        patience = Patience(_PROBE_PATIENCE)
        with self._errors(), patience.operation(), self._quick_client(patience) as client:
            self._genuine(client.list_objects_v2(Bucket=self._bucket, MaxKeys=1))
            if write:
                found = self._ask_traits(client)
                with self._guard:
                    self._known_traits = found
                try_to_write(client, self._bucket)

    def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
        """Put ``data`` under ``key`` if nothing is there; return False where the same bytes were."""
        body = Body(check_key(key), data if isinstance(data, bytes) else bytes(data), sha256)
        return self._create(body)

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
        return self._read(check_key(key), lambda body: body.read())

    def open(self, key: str) -> BinaryIO:
        """Return a stream over the bytes under ``key``; raises `StoreUnavailable` where it is cut."""
        raw = ObjectStream(self._body(check_key(key)), address=self.address, key=key)
        return io.BufferedReader(raw, CHUNK_BYTES)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and SHA-256 of ``key``, None where nothing is there."""
        head = self._head(check_key(key))
        if head is None:
            return None
        known = {name.lower(): value for name, value in head.get("Metadata", {}).items()}
        sha256 = known.get("sha256", "")
        return ObjectInfo(key, head["ContentLength"], sha256 if is_sha256(sha256) else None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder ``prefix``, a thousand a request."""
        start = f"{check_key(prefix)}/" if prefix else ""
        with self._errors(prefix):
            pages = self._client().get_paginator("list_objects_v2")
            left = iter(pages.paginate(Bucket=self._bucket, Prefix=start))
        while True:
            with self._errors(prefix):
                page = next(left, None)
                if page is None:
                    return
                self._genuine(page)
            for found in page.get("Contents", []):
                if _is_key(found["Key"]):
                    yield ObjectInfo(found["Key"], found["Size"])

    def delete(self, key: str) -> bool:
        """Delete ``key``; return False where nothing was there."""
        if self._head(check_key(key)) is None:
            return False
        with self._errors(key):
            self._client().delete_object(Bucket=self._bucket, Key=key)
        return True

    def flush(self) -> None:
        """Return at once: S3 answers a put when it is durable."""

    def close(self) -> None:
        """Close all connections; the store may be used again."""
        with self._guard:
            client, self._open_client = self._open_client, None
        if client is not None:
            client.close()

    def _create(self, upload: Upload) -> bool:
        """Put ``upload``; look before and after where a condition is not honoured, or costs much.

        Some servers honour it for one PUT and not for parts, and parts are worth a look before.
        """
        with self._errors(upload.key):
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
                etag = upload.send(self._client(), self._bucket, self.traits(), **condition)
                self._genuine({"ETag": etag} if etag else {})
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
            if not self._wait(attempt, attempts=_PUT_ATTEMPTS, cause=f"it answers {code}"):
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
        head = self._head(upload.key, ChecksumMode="ENABLED")
        if head is None:
            return False
        if head["ContentLength"] == upload.size:
            if self._has_checksum(upload, head.get("ChecksumSHA256", "")):
                return True
            if self._sha256_of(upload.key) == upload.sha256:
                return True
        raise ObjectConflict(upload.key, self.address)

    def _has_checksum(self, upload: Upload, kept: str) -> bool:
        if not kept or not self.traits().checksums:
            return False  # a sum that a server only repeats proves nothing
        return kept == (upload.composite if "-" in kept else base64_of(upload.sha256))

    def _confirm(self, upload: Upload, etag: str) -> None:
        """Check that what was put is there whole and was not replaced at once by someone else."""
        head = self._head(upload.key)
        if head is not None and head["ContentLength"] == upload.size and head.get("ETag") == etag:
            return
        if not self._is_there(upload):
            raise StoreUnavailable(f"{self.address}: {upload.key} vanished after it was put")

    def _head(self, key: str, **options: Any) -> HeadObjectOutputTypeDef | None:
        with self._errors(key):
            try:
                head = self._client().head_object(Bucket=self._bucket, Key=key, **options)
                self._genuine(head)
                return head
            except ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise

    def _sha256_of(self, key: str) -> str:
        def digest(body: StreamingBody) -> str:
            found = hashlib.sha256()
            for chunk in body.iter_chunks(CHUNK_BYTES):
                found.update(chunk)
            return found.hexdigest()

        return self._read(key, digest)

    def _read(self, key: str, consume: Callable[[StreamingBody], _T]) -> _T:
        """Return what ``consume`` makes of the body; botocore does not try a cut body again."""
        with self._errors(key):
            for attempt in range(1, _BODY_ATTEMPTS + 1):
                with contextlib.closing(self._body(key)) as body:
                    try:
                        return consume(body)
                    except BROKEN_BODY:
                        cause = "the answer was cut"
                        if not self._wait(attempt, attempts=_BODY_ATTEMPTS, cause=cause):
                            raise
        raise StoreUnavailable(f"{self.address}: {key}: the answer was cut")

    def _body(self, key: str) -> StreamingBody:
        with self._errors(key):
            answer = self._client().get_object(Bucket=self._bucket, Key=key)
            try:
                self._genuine(answer)
            except StoreUnavailable:
                answer["Body"].close()
                raise
            return answer["Body"]

    def _genuine(self, answer: Mapping[str, object]) -> None:
        """Raise where S3 cannot have answered that: the page of a proxy or a hotel is a 200, too."""
        if "ETag" not in answer and "IsTruncated" not in answer:
            raise StoreUnavailable(
                f"{self.address}: the answer does not come from S3", hint="check the endpoint_url"
            )

    def _wait(self, attempt: int, *, attempts: int, cause: str) -> bool:
        """Wait before the next attempt; return False at once where there shall be none."""
        seconds = self._patience.pause(
            attempt, attempts=attempts, where=self._endpoint, cause=cause
        )
        if seconds is not None:
            time.sleep(seconds)
        return seconds is not None

    def _ask_traits(self, client: S3Client) -> S3Traits:
        found = find_traits(client, self._bucket)
        if not found.conditional:
            _log.warning("%s does not honour If-None-Match: puts look first", self.address)
        return found

    def _client(self) -> S3Client:
        client = self._open_client
        if client is None:
            with self._guard:
                client = self._open_client = self._open_client or self._made(self._connect)
        return client

    @contextlib.contextmanager
    def _quick_client(self, patience: Patience) -> Iterator[S3Client]:
        with self._guard:
            client = self._made(partial(self._quick, patience=patience))
        with contextlib.closing(client):
            yield client

    def _made(self, connect: Callable[[], S3Client]) -> S3Client:
        try:
            client = connect()
        except ValueError as error:
            raise StoreDenied(
                f"{self.address}: {one_line(error)}", hint="correct endpoint_url"
            ) from error
        self._endpoint = client.meta.endpoint_url  # the environment may name one, too
        return client

    @contextlib.contextmanager
    def _errors(self, key: str = "") -> Iterator[None]:
        try:
            with self._patience.operation():
                yield
        except FOREIGN as error:
            if is_no_bucket(error):
                raise no_bucket(self._bucket, self._endpoint) from error
            raise mapped(error, address=self.address, key=key) from error


def _is_key(text: str) -> bool:
    try:
        check_key(text)
    except UnsafePath:
        return False
    return True
