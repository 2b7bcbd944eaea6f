"""What killed runs left in a bucket: uploads in parts that nobody completed, and objects of a probe."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from imaging_db.errors import StoreUnavailable, UnsafePath
from imaging_db.stores.base import Leftover, is_temporary
from imaging_db.stores.layout import own_folders
from imaging_db.stores.s3_bucket import Bucket
from imaging_db.stores.s3_errors import NOT_IMPLEMENTED, UPLOAD_GONE, error_code

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_log = logging.getLogger(__name__)
_PROBES = ".imaging_db-"
_UNKNOWN = NOT_IMPLEMENTED | {"MethodNotAllowed", "405", "AccessDenied", "403"}


def clock(bucket: Bucket) -> datetime:
    """Return the server's clock, from the date of an answer."""
    with bucket.errors():
        answer = bucket.client().list_objects_v2(Bucket=bucket.name, MaxKeys=1)
        bucket.genuine(answer)
    found = time_told(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    if found is None:
        raise StoreUnavailable(f"{bucket.address}: the answer has no date", transient=False)
    return found


def time_told(text: str) -> datetime | None:
    """Return the time of a header such as ``Date``, None where it tells none."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def find_leftovers(bucket: Bucket, start: str) -> Iterator[Leftover]:
    """Yield unfinished uploads in parts of keys that begin with ``start``, a thousand a request.

    Where ``start`` is empty, what a killed probe had put, and such uploads in the folders that this
    program writes to: a bucket may hold other things too.
    """
    if start:
        yield from _uploads(bucket, start)
        return
    yield from _probes(bucket)
    for folder in own_folders():
        yield from _uploads(bucket, f"{folder}/")


def _uploads(bucket: Bucket, start: str) -> Iterator[Leftover]:
    markers: dict[str, str] = {"Prefix": start}
    while True:
        with bucket.errors():
            page = _uploads_page(bucket, markers)
        for found in page.get("Uploads", []):
            yield _leftover(bucket, found)
        if not page.get("IsTruncated"):
            return
        markers |= {
            "KeyMarker": page["NextKeyMarker"],
            "UploadIdMarker": page.get("NextUploadIdMarker", ""),
        }


def discard(bucket: Bucket, leftover: Leftover) -> bool:
    """Abort an unfinished upload, or delete what a probe had put; return False where it was gone."""
    if not leftover.upload:
        return _delete_probe(bucket, leftover.key)
    client = bucket.client()
    with bucket.errors(leftover.key):
        try:
            client.abort_multipart_upload(
                Bucket=bucket.name, Key=leftover.key, UploadId=leftover.upload
            )
        except ClientError as error:
            if error_code(error) in UPLOAD_GONE:
                return False
            raise
    return True


def _uploads_page(bucket: Bucket, markers: Mapping[str, str]) -> dict[str, Any]:
    try:
        page = bucket.client().list_multipart_uploads(
            Bucket=bucket.name,
            **markers,  # type: ignore[arg-type]  # both are texts
        )
    except ClientError as error:
        if error_code(error) not in _UNKNOWN:
            raise
        _log.warning(
            "%s does not list unfinished uploads (%s); let a lifecycle rule remove them",
            bucket.address,
            error_code(error),
        )
        return {}
    return dict(page)


def _probes(bucket: Bucket) -> Iterator[Leftover]:
    with bucket.errors():
        pages = bucket.client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket.name, Prefix=_PROBES):
            bucket.genuine(page)
            for found in page.get("Contents", []):
                if is_temporary(found["Key"]):
                    yield Leftover(found["Key"], found["Size"], modified=found["LastModified"])


def _delete_probe(bucket: Bucket, key: str) -> bool:
    if not is_temporary(key.rpartition("/")[2]):
        raise UnsafePath(f"{key!r} is no temporary object")
    if bucket.head(key) is None:
        return False
    with bucket.errors(key):
        bucket.client().delete_object(Bucket=bucket.name, Key=key)
    return True


def _leftover(bucket: Bucket, found: Mapping[str, Any]) -> Leftover:
    key, upload = found["Key"], found["UploadId"]
    with bucket.errors(key):
        size = _size_of(bucket.client(), bucket.name, key, upload)
    return Leftover(key, size, modified=found.get("Initiated"), upload=upload)


def _size_of(client: S3Client, bucket: str, key: str, upload: str) -> int:
    """Return how many bytes the parts of an upload have so far."""
    pages = client.get_paginator("list_parts")
    try:
        return sum(
            part["Size"]
            for page in pages.paginate(Bucket=bucket, Key=key, UploadId=upload)
            for part in page.get("Parts", [])
        )
    except ClientError as error:
        if error_code(error) in UPLOAD_GONE | _UNKNOWN:
            return 0
        raise
