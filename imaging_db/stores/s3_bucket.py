"""Single requests to one bucket: the short way where there is one, else through boto3."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from boto3.session import Session
from botocore.exceptions import ClientError

from imaging_db.errors import StoreDenied, StoreUnavailable
from imaging_db.model import is_sha256
from imaging_db.stores.s3_client import new_client
from imaging_db.stores.s3_errors import (
    BROKEN_BODY,
    FOREIGN,
    MISSING,
    error_code,
    given_up,
    is_no_bucket,
    mapped,
    no_bucket,
    one_line,
)
from imaging_db.stores.s3_retry import Patience
from imaging_db.stores.s3_short import ShortWay, find_short_way
from imaging_db.stores.s3_watch import Watch, answer_of, size_of
from imaging_db.stores.stream import CHUNK_BYTES

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from types_boto3_s3.client import S3Client

_T = TypeVar("_T")

_BODY_ATTEMPTS = 4
_PROBE_CONNECT_SECONDS = 5.0
_PROBE_READ_SECONDS = 7.0
_PROBE_ATTEMPTS = 2
_DELETE_CONNECT_SECONDS = 5.0
_DELETE_READ_SECONDS = 12.0
_HEADERS = {  # parameters of boto3 and the headers that they become: Amazon S3 API reference, PutObject
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ContentMD5": "Content-MD5",
    "IfNoneMatch": "If-None-Match",
}
_CHECKSUM_TOO = {"x-amz-checksum-mode": "ENABLED"}


@dataclass(frozen=True, slots=True)
class Head:
    """What a server tells of an object: its size, its ETag, two SHA-256, and when it was put.

    ``sha256`` is the hex one that we left with it, ``checksum`` the base64 one that the server keeps, of
    the whole or of the parts; each is empty where there is none.
    """

    size: int
    etag: str
    sha256: str
    checksum: str
    modified: str


class Bucket:
    """One bucket for all threads; every error comes out in our words.

    A request is tried ``attempts`` times, as long as ``patience`` lasts. One connection for each thread
    that is in a request is kept open.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str | None,
        region: str | None,
        connect_seconds: float,
        read_seconds: float,
        attempts: int,
        patience: Patience,
    ) -> None:
        at = f" at {endpoint_url}" if endpoint_url else ""
        self.name = name
        self.address = f"s3://{name}{at}"
        self.patience = patience
        self._endpoint = endpoint_url or "Amazon S3"
        self._connect = partial(
            new_client,
            endpoint_url=endpoint_url,
            region=region,
            connect_seconds=connect_seconds,
            read_seconds=read_seconds,
            attempts=attempts,
            patience=patience,
        )
        self._quick = partial(
            new_client,
            endpoint_url=endpoint_url,
            region=region,
            connect_seconds=min(connect_seconds, _PROBE_CONNECT_SECONDS),
            read_seconds=min(read_seconds, _PROBE_READ_SECONDS),
            attempts=min(attempts, _PROBE_ATTEMPTS),
        )
        self._hasty = partial(
            new_client,
            endpoint_url=endpoint_url,
            region=region,
            connect_seconds=min(connect_seconds, _DELETE_CONNECT_SECONDS),
            read_seconds=min(read_seconds, _DELETE_READ_SECONDS),
            attempts=attempts,
        )
        self.watch = Watch(read_seconds)
        self._find_short_way = partial(
            find_short_way,
            timeout=(connect_seconds, read_seconds),
            patience=patience,
            attempts=attempts,
            watch=self.watch,
        )
        self._guard = RLock()
        self._session: Session | None = None
        self._open: tuple[S3Client, ShortWay | None] | None = None
        self._deleting: S3Client | None = None

    def put(
        self, key: str, data: bytes | memoryview, *, sha256: str, options: Mapping[str, str]
    ) -> str:
        """Put ``data`` in one request and return its ETag; its SHA-256 is left with it.

        ``options`` are named as boto3 names them.
        """
        client, short = self._ways()
        headers = {"x-amz-meta-sha256": sha256, **_as_headers(options)}
        etag = short.put(key, data, sha256=sha256, headers=headers) if short else None
        if etag is None:
            done = client.put_object(
                Bucket=self.name,
                Key=key,
                Body=bytes(data),
                Metadata={"sha256": sha256},
                **options,  # type: ignore[arg-type]  # all of them are texts
            )
            etag = done.get("ETag", "")
            self.genuine(done)
        return etag

    def put_part(
        self,
        key: str,
        data: bytes,
        *,
        upload: str,
        number: int,
        sha256: str,
        sums: Mapping[str, str],
    ) -> str:
        """Put part ``number`` of the multipart upload ``upload`` and return its ETag."""
        client, short = self._ways()
        query = {"partNumber": str(number), "uploadId": upload}
        headers = _as_headers(sums)
        etag = short.put(key, data, sha256=sha256, headers=headers, query=query) if short else None
        if etag is not None:
            self.patience.renew()
            return etag
        done = client.upload_part(
            Bucket=self.name,
            Key=key,
            Body=data,
            PartNumber=number,
            UploadId=upload,
            **sums,  # type: ignore[arg-type]  # all of them are texts
        )
        return done["ETag"]

    def get(self, key: str) -> bytes:
        """Return the bytes of an object; a cut answer is asked for again."""
        with self.errors(key):
            short = self._ways()[1]
            data = short.get(key) if short else None
            return self._read(key, lambda body: body.read()) if data is None else data

    def sha256_of(self, key: str) -> str:
        """Return the hex SHA-256 of an object's bytes; reads them all, in pieces."""

        def digest(body: StreamingBody) -> str:
            found = hashlib.sha256()
            for chunk in body.iter_chunks(CHUNK_BYTES):
                found.update(chunk)
            return found.hexdigest()

        return self._read(key, digest)

    def head(self, key: str, *, checksum: bool = False) -> Head | None:
        """Return what the server tells of an object, None where nothing is there.

        Its ``checksum`` is only asked for where it is needed: that may need more rights (of KMS).
        """
        with self.errors(key):
            try:
                return self._head(key, _CHECKSUM_TOO if checksum else {})
            except ClientError as error:
                if error_code(error) in MISSING:
                    return None
                raise

    def body(self, key: str) -> StreamingBody:
        """Return the answer's body as a stream, to be closed by the caller."""
        with self.errors(key):
            answer = self.client().get_object(Bucket=self.name, Key=key)
            try:
                self.genuine(answer)
            except StoreUnavailable:
                answer["Body"].close()
                raise
            return answer["Body"]

    def genuine(self, answer: Mapping[str, object]) -> None:
        """Raise where S3 cannot have answered that: the page of a proxy or a hotel is a 200, too."""
        if "ETag" not in answer and "IsTruncated" not in answer:
            raise StoreUnavailable(
                f"{self.address}: the answer does not come from S3", hint="check the endpoint_url"
            )

    def wait(self, attempt: int, *, attempts: int, cause: str) -> bool:
        """Wait before the next attempt; return False at once where there shall be none."""
        seconds = self.patience.pause(attempt, attempts=attempts, where=self._endpoint, cause=cause)
        if seconds is not None:
            time.sleep(seconds)
        return seconds is not None

    def client(self) -> S3Client:
        """Return the client of boto3 that all threads share."""
        return self._ways()[0]

    @contextlib.contextmanager
    def quick_client(self, patience: Patience) -> Iterator[S3Client]:
        """Return a client with short time-outs and little ``patience``, closed at the end."""
        with self._guard:
            client, _ = self._made(partial(self._quick, patience=patience))
        with contextlib.closing(client):
            yield client

    def delete(self, key: str, *, patience: Patience) -> None:
        """Delete an object, with short time-outs and little ``patience``: the right to do so may pass."""
        with self.errors(key), patience.operation():
            with self._guard:
                if self._deleting is None:
                    self._deleting, _ = self._made(partial(self._hasty, patience=patience))
                client = self._deleting
            client.delete_object(Bucket=self.name, Key=key)

    def close(self) -> None:
        """Close all connections; the bucket may be used again."""
        with self._guard:
            ways, self._open, self._session = self._open, None, None
            deleting, self._deleting = self._deleting, None
        self.watch.close()
        if deleting is not None:
            deleting.close()
        if ways is not None:
            for way in ways:
                if way is not None:
                    way.close()

    @contextlib.contextmanager
    def errors(self, key: str = "") -> Iterator[None]:
        """Raise what boto3 and its libraries raise as our own errors; one operation for the patience."""
        try:
            with self.patience.operation():
                yield
        except FOREIGN as error:
            if is_no_bucket(error):
                raise no_bucket(self.name, self._endpoint) from error
            found = mapped(error, address=self.address, key=key)
            raise given_up(found, after=self.patience.waited) from error

    def _head(self, key: str, headers: Mapping[str, str]) -> Head:
        client, short = self._ways()
        known = short.head(key, headers) if short else None
        if known is None:
            mode: dict[str, Any] = {"ChecksumMode": "ENABLED"} if headers else {}
            answer = client.head_object(Bucket=self.name, Key=key, **mode)
            self.genuine(answer)
            known = answer["ResponseMetadata"]["HTTPHeaders"]
        found = {name.lower(): value for name, value in known.items()}
        sha256 = found.get("x-amz-meta-sha256", "")
        return Head(
            size=int(found.get("content-length", -1)),
            etag=found["etag"],
            sha256=sha256 if is_sha256(sha256) else "",
            checksum=found.get("x-amz-checksum-sha256", ""),
            modified=found.get("last-modified", ""),
        )

    def _read(self, key: str, consume: Callable[[StreamingBody], _T]) -> _T:
        """Return what ``consume`` makes of the body; botocore does not try a cut body again."""
        with self.errors(key):
            for attempt in range(1, _BODY_ATTEMPTS + 1):
                with contextlib.closing(self.body(key)) as body:
                    try:
                        with self.watch.over(answer_of(body), size_of(body)):
                            return consume(body)
                    except BROKEN_BODY:
                        cause = "the answer was cut"
                        if not self.wait(attempt, attempts=_BODY_ATTEMPTS, cause=cause):
                            raise
        raise StoreUnavailable(f"{self.address}: {key}: the answer was cut")

    def _ways(self) -> tuple[S3Client, ShortWay | None]:
        ways = self._open
        if ways is None:
            with self._guard:
                ways = self._open = self._open or self._new_ways()
        return ways

    def _new_ways(self) -> tuple[S3Client, ShortWay | None]:
        client, session = self._made(self._connect)
        return client, self._find_short_way(client, self.name, session=session)

    def _made(self, connect: Callable[[Session], S3Client]) -> tuple[S3Client, Session]:
        try:
            session = self._session = self._session or Session()
            client = connect(session)
        except ValueError as error:
            raise StoreDenied(
                f"{self.address}: {one_line(error)}", hint="correct endpoint_url"
            ) from error
        self._endpoint = client.meta.endpoint_url  # the environment may name one, too
        return client, session


def _as_headers(options: Mapping[str, str]) -> dict[str, str]:
    return {_HEADERS[name]: value for name, value in options.items()}
