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
from imaging_db.stores.s3_client import S3Traits, integrity
from imaging_db.stores.s3_errors import FOREIGN
from imaging_db.stores.stream import SourceStream

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
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

    def send(self, client: S3Client, bucket: str, traits: S3Traits, **condition: Any) -> str:
        """Send everything and return the ETag.

        ``condition`` goes to the request that makes the object visible.
        """

    def check(self) -> None:
        """Raise `ChecksumMismatch` where the bytes here are not those of ``sha256``."""


@dataclass(frozen=True)
class Body:
    """Bytes that are sent in one PUT."""

    key: str
    data: bytes
    sha256: str
    composite: None = None

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    def send(self, client: S3Client, bucket: str, traits: S3Traits, **condition: Any) -> str:
        """Send everything in one request; return its ETag."""
        done = client.put_object(
            Bucket=bucket,
            Key=self.key,
            Body=self.data,
            Metadata={"sha256": self.sha256},
            **integrity(self.data, sha256=self.sha256, traits=traits),
            **condition,
        )
        return done.get("ETag", "")

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

    def send(self, client: S3Client, bucket: str, traits: S3Traits, **condition: Any) -> str:
        """Send all parts and complete the upload; abort it on anything else, an interrupt too."""
        target: dict[str, Any] = {"Bucket": bucket, "Key": self.key}
        options: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if traits.checksums else {}
        if self._given:
            options["Metadata"] = {"sha256": self._given}
        upload = client.create_multipart_upload(**target, **options)
        target["UploadId"] = upload["UploadId"]
        try:
            parts = list(self._send_parts(client, target, traits))
            done = client.complete_multipart_upload(
                **target, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            with contextlib.suppress(*FOREIGN):  # what is left, the bucket's lifecycle rule removes
                client.abort_multipart_upload(**target)
            raise
        return done.get("ETag", "")

    def check(self) -> None:
        """Return at once: the bytes are compared while they are read."""

    def _send_parts(
        self, client: S3Client, target: dict[str, Any], traits: S3Traits
    ) -> Iterator[CompletedPartTypeDef]:
        for number, data in enumerate(self._chunks(sha256=self._given), 1):
            sums = integrity(data, sha256=sha256_of_bytes(data), traits=traits)
            done = client.upload_part(**target, PartNumber=number, Body=data, **sums)
            part: CompletedPartTypeDef = {"PartNumber": number, "ETag": done["ETag"]}
            if traits.checksums:
                part["ChecksumSHA256"] = sums["ChecksumSHA256"]
            yield part

    def _chunks(self, *, sha256: str | None = None) -> Iterator[bytes]:
        return self._source.chunks(sha256=sha256, chunk_bytes=self.part_bytes)
