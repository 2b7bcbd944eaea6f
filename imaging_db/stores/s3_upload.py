"""What is being put into S3: a body in one request, or a stream in parts."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from imaging_db.errors import ChecksumMismatch
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.s3_bucket import Bucket
from imaging_db.stores.s3_client import S3Traits, base64_of
from imaging_db.stores.s3_errors import FOREIGN
from imaging_db.stores.stream import SourceStream

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_MOST_PARTS = 10_000  # Amazon S3 user guide, "multipart upload limits"
_MIB = 2**20


class Upload(Protocol):
    """Something to put, which can be sent again and compared with what is there."""

    @property
    def key(self) -> str:
        """Return where it goes."""

    @property
    def size(self) -> int:
        """Return the number of bytes."""

    @property
    def sha256(self) -> str:
        """Return the hex SHA-256 of the whole."""

    @property
    def composite(self) -> str | None:
        """Return the base64 SHA-256 that S3 would keep for its parts, None for one request."""

    def send(self, bucket: Bucket, traits: S3Traits, **condition: str) -> str:
        """Send everything and return the ETag.

        ``condition`` goes to the request that makes the object visible.
        """

    def has_arrived(self, etag: str, traits: S3Traits) -> bool:
        """Return True where a put that was answered with ``etag`` proves that these bytes are there."""

    def check(self) -> None:
        """Raise `ChecksumMismatch` where the bytes here are not those of ``sha256``."""


@dataclass(frozen=True)
class Body:
    """Bytes that are sent in one PUT."""

    key: str
    data: bytes | memoryview
    sha256: str
    composite: None = None

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    @cached_property
    def md5(self) -> bytes:
        """Return the MD5 of the bytes; it takes longer than all the rest of a put."""
        return md5_of(self.data)

    def send(self, bucket: Bucket, traits: S3Traits, **condition: str) -> str:
        """Send everything in one request; return its ETag."""
        sums = checksum(self.sha256) if traits.checksums else content_md5(self.md5)
        return bucket.put(self.key, self.data, sha256=self.sha256, options=sums | condition)

    def has_arrived(self, etag: str, traits: S3Traits) -> bool:
        """Return True where the server has compared a SHA-256, or answers with the right MD5."""
        return traits.checksums or etag.strip('"') == self.md5.hex()

    def check(self) -> None:
        """Raise `ChecksumMismatch` where the caller's SHA-256 is of other bytes."""
        found = sha256_of_bytes(self.data)
        if found != self.sha256:
            raise ChecksumMismatch(self.key, expected=self.sha256, found=found)


class Parts:
    """A stream that is sent in parts, each checked by the server; one part is in memory at a time.

    Parts are of ``part_bytes``, larger only where there would be more than 10 000 of them.
    """

    def __init__(
        self, key: str, source: SourceStream, *, part_bytes: int, sha256: str | None
    ) -> None:
        self.key = key
        self.size = source.size
        self._source = source
        self._given = sha256
        needed = -(-source.size // _MOST_PARTS)
        self.part_bytes = max(part_bytes, -(-needed // _MIB) * _MIB)

    @cached_property
    def sha256(self) -> str:
        """Return the hex SHA-256 of the whole; reads the stream where the caller did not know it."""
        return self._given or self._source.sha256()

    @cached_property
    def composite(self) -> str:
        """Return the SHA-256 of the SHA-256s of the parts, as S3 keeps it; reads the stream."""
        digests = [hashlib.sha256(part).digest() for part in self._chunks()]
        whole = base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()
        return f"{whole}-{len(digests)}"

    def send(self, bucket: Bucket, traits: S3Traits, **condition: str) -> str:
        """Send all parts and complete the upload; abort it on anything else, an interrupt too."""
        target: dict[str, Any] = {"Bucket": bucket.name, "Key": self.key}
        options: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if traits.checksums else {}
        if self._given:
            options["Metadata"] = {"sha256": self._given}
        client = bucket.client()
        upload = client.create_multipart_upload(**target, **options)
        target["UploadId"] = upload["UploadId"]
        try:
            parts = list(self._send_parts(bucket, upload["UploadId"], traits))
            done = client.complete_multipart_upload(
                **target,
                MultipartUpload={"Parts": parts},
                **condition,  # type: ignore[arg-type]  # all of them are texts
            )
        except BaseException:
            with contextlib.suppress(*FOREIGN):  # what is left, the bucket's lifecycle rule removes
                client.abort_multipart_upload(**target)
            raise
        bucket.genuine(done)
        return done.get("ETag", "")

    def has_arrived(self, etag: str, traits: S3Traits) -> bool:
        """Return False: each part may have been checked, not what was made of them."""
        return False

    def check(self) -> None:
        """Return at once: the bytes are compared while they are read."""

    def _send_parts(
        self, bucket: Bucket, upload: str, traits: S3Traits
    ) -> Iterator[CompletedPartTypeDef]:
        for number, data in enumerate(self._chunks(sha256=self._given), 1):
            sha256 = sha256_of_bytes(data)
            sums = checksum(sha256) if traits.checksums else content_md5(md5_of(data))
            etag = bucket.put_part(
                self.key, data, upload=upload, number=number, sha256=sha256, sums=sums
            )
            part: CompletedPartTypeDef = {"PartNumber": number, "ETag": etag}
            if traits.checksums:
                part["ChecksumSHA256"] = sums["ChecksumSHA256"]
            yield part

    def _chunks(self, *, sha256: str | None = None) -> Iterator[bytes]:
        return self._source.chunks(sha256=sha256, chunk_bytes=self.part_bytes)


def checksum(sha256: str) -> dict[str, str]:
    """Return the parameter by which a server that knows SHA-256 checks bytes on arrival."""
    return {"ChecksumSHA256": base64_of(sha256)}


def content_md5(md5: bytes) -> dict[str, str]:
    """Return the oldest such parameter; servers that ignore the newer ones often check it."""
    return {"ContentMD5": base64.b64encode(md5).decode()}


def md5_of(data: bytes | memoryview) -> bytes:
    """Return the MD5 of ``data``, as a check against accidents only."""
    return hashlib.md5(data, usedforsecurity=False).digest()
