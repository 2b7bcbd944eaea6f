"""One boto3 client for all threads, and what the server behind it can do."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import ClientError

from imaging_db.stores.base import temporary_name
from imaging_db.stores.s3_errors import EXISTS, NOT_IMPLEMENTED, TRY_AGAIN, error_code
from imaging_db.stores.s3_retry import Patience, retry_requests

if TYPE_CHECKING:
    from boto3.session import Session
    from types_boto3_s3.client import S3Client

CONNECTIONS = 64

_PROBE = b"imaging_db looks what this server can do"
_REFUSED = 400


@dataclass(frozen=True, slots=True)
class S3Traits:
    """What a server does beside storing.

    ``conditional``: it honours ``If-None-Match: *`` on a PUT. ``checksums``: it refuses bytes that do
    not have the SHA-256 sent along. S3 itself does both; many look-alikes ignore one or both silently.
    """

    conditional: bool
    checksums: bool


def new_client(
    session: Session,
    *,
    endpoint_url: str | None,
    region: str | None,
    connect_seconds: float,
    read_seconds: float,
    attempts: int,
    patience: Patience,
) -> S3Client:
    """Return a client; making one is not thread-safe, using it is.

    ``session`` knows this computer and its user; the first client that it makes takes a tenth of a second,
    others next to nothing. The client sends a request at most ``attempts`` times, and not again once
    ``patience`` is at its end.
    """
    core = session._session  # boto3 does not tell what else the file of settings says
    chosen = core.get_scoped_config().get("s3") or {}
    special: dict[str, Any] = {}
    if endpoint_url and not _is_aws(endpoint_url) and "addressing_style" not in chosen:
        special["addressing_style"] = "path"  # look-alikes seldom have a host name for each bucket
    if _is_encrypted(endpoint_url):
        special["payload_signing_enabled"] = False  # TLS and the checksum of the body guard it
    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},  # see retry_requests
        max_pool_connections=CONNECTIONS,
        user_agent_extra="imaging_db",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3=special,  # type: ignore[arg-type]  # a plain dict of the documented keys
    )
    client = session.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)
    retry_requests(client, patience, attempts=attempts)
    client.meta.events.register("before-call.s3.HeadBucket", _ask_once)
    return client


def find_traits(client: S3Client, bucket: str) -> S3Traits:
    """Return what the server can do, by trying on an object that is deleted again; S3 is not asked."""
    if _is_aws(client.meta.endpoint_url):
        return S3Traits(conditional=True, checksums=True)
    target: dict[str, Any] = {"Bucket": bucket, "Key": temporary_name()}
    versions: list[str] = []
    try:
        return S3Traits(
            conditional=_is_conditional(client, target, versions),
            checksums=_checks_sums(client, target, versions),
        )
    finally:
        for version in {*versions} or {""}:
            client.delete_object(**target | ({"VersionId": version} if version else {}))


def try_to_write(client: S3Client, bucket: str) -> None:
    """Begin an upload to S3 and abort it: needs the right to put, and leaves not even a version.

    Look-alikes are not asked: `find_traits` has put something there.
    """
    if not _is_aws(client.meta.endpoint_url):
        return
    target: dict[str, Any] = {"Bucket": bucket, "Key": temporary_name()}
    upload = client.create_multipart_upload(**target)
    client.abort_multipart_upload(**target, UploadId=upload["UploadId"])


def base64_of(sha256: str) -> str:
    """Return a hex digest as S3 writes it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _ask_once(*, context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from asking for a region without end.

    It asks for the bucket when a request is sent elsewhere without a word where to; a server that sends
    everything elsewhere would be asked again for each such question.
    """
    if "s3_redirect" in context:
        context["s3_redirect"]["redirected"] = True


def _is_conditional(client: S3Client, target: dict[str, Any], versions: list[str]) -> bool:
    try:
        for _ in range(2):
            done = client.put_object(**target, Body=_PROBE, IfNoneMatch="*")
            versions.append(done.get("VersionId", ""))
    except ClientError as error:
        code = error_code(error)
        if code in EXISTS or code in TRY_AGAIN:
            return True
        if code in NOT_IMPLEMENTED or code == "InvalidArgument":
            return False
        raise
    return False


def _checks_sums(client: S3Client, target: dict[str, Any], versions: list[str]) -> bool:
    wrong = base64_of(hashlib.sha256(b"something else").hexdigest())
    try:
        done = client.put_object(**target, Body=_PROBE, ChecksumSHA256=wrong)
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == _REFUSED:
            return True
        raise
    versions.append(done.get("VersionId", ""))
    return False


def _is_aws(endpoint_url: str) -> bool:
    host = urlsplit(endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))


def _is_encrypted(endpoint_url: str | None) -> bool:
    configured = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return (endpoint_url or configured or "https://").startswith("https://")
