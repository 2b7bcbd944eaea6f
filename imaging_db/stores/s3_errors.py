"""What S3, its many look-alikes and botocore say, in our words."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from imaging_db.errors import (
    ImagingDBError,
    ObjectNotFound,
    StoreDenied,
    StoreUnavailable,
    UnsafePath,
)

FOREIGN = (ClientError, BotoCoreError, HTTPError)
BROKEN_BODY = (IncompleteReadError, ResponseStreamingError, ReadTimeoutError, HTTPError)

EXISTS = {"PreconditionFailed", "412"}
TRY_AGAIN = {"ConditionalRequestConflict", "OperationAborted", "409"}
DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest"}
NOT_IMPLEMENTED = {"NotImplemented", "501", "UnsupportedOperation"}
MISSING = {"NoSuchKey", "NotFound", "404", "NoSuchVersion"}
UPLOAD_GONE = {"NoSuchUpload"}

_OF_ONE_KEY = {"GetObject", "HeadObject"}

_CREDENTIALS_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run 'aws configure'"
)
_DENIED: dict[str, tuple[str, str]] = {
    "InvalidBucketName": ("the bucket name is not valid", "correct storage_access"),
    "AccessDenied": ("access denied", "let these credentials list, get, put and delete there"),
    "403": ("access denied", "let these credentials list, get, put and delete there"),
    "AllAccessDisabled": ("access denied", "ask the owner of the bucket"),
    "AccountProblem": ("access denied", "ask the owner of the account"),
    "InvalidAccessKeyId": ("the access key is unknown", "check AWS_ACCESS_KEY_ID or AWS_PROFILE"),
    "SignatureDoesNotMatch": ("the secret key is wrong", "check AWS_SECRET_ACCESS_KEY"),
    "ExpiredToken": ("the credentials have expired", "renew them and rerun"),
    "ExpiredTokenException": ("the credentials have expired", "renew them and rerun"),
    "TokenRefreshRequired": ("the credentials have expired", "renew them and rerun"),
    "InvalidToken": ("the session token is not valid", "check AWS_SESSION_TOKEN"),
    "PermanentRedirect": (
        "the bucket is in another region",
        "set AWS_DEFAULT_REGION to its region",
    ),
    "301": ("the bucket is in another region", "set AWS_DEFAULT_REGION to its region"),
    "AuthorizationHeaderMalformed": (
        "the region is wrong",
        "set AWS_DEFAULT_REGION to the bucket's",
    ),
    "IllegalLocationConstraintException": ("the region is wrong", "set AWS_DEFAULT_REGION"),
    "MethodNotAllowed": ("the server refuses this operation", "check the endpoint_url"),
}
_FULL = {
    "XMinioStorageFull",
    "QuotaExceeded",
    "InsufficientStorage",
    "507",
    "QuotaExceededException",
}
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_NETWORK = (
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)


def error_code(error: ClientError) -> str:
    """Return the code of an answer, such as ``NoSuchKey``; its HTTP status where there is none."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code or str(_status(error))


def is_no_bucket(error: Exception) -> bool:
    """Return True where a server says that the bucket is missing, or says so of all it is asked.

    Only reading one object may end in a 404 because of its key; S3 has no other reason for a 404 than
    the bucket, and a server that is none answers 404 to everything.
    """
    if not isinstance(error, ClientError):
        return False
    code = error_code(error)
    return code == "NoSuchBucket" or (code in MISSING and error.operation_name not in _OF_ONE_KEY)


def no_bucket(bucket: str, endpoint: str) -> StoreDenied:
    """Return our error for what `is_no_bucket`."""
    return StoreDenied(
        f"no bucket '{bucket}' at {endpoint}, or that is no S3 server",
        hint="check storage_access and endpoint_url",
    )


def mapped(error: Exception, *, address: str, key: str) -> ImagingDBError:
    """Return our error for one of `FOREIGN`; ``key`` may be empty. Holds no secret, one line."""
    where = f"{address}: {key}" if key else address
    if isinstance(error, ClientError):
        return _answer(error, address=address, key=key, where=where)
    if isinstance(error, NoCredentialsError):
        return StoreDenied(f"{address}: credentials not found", hint=_CREDENTIALS_HINT)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreDenied(f"{address}: credentials: {one_line(error)}", hint=_CREDENTIALS_HINT)
    if isinstance(error, SSLError):
        return StoreDenied(
            f"{address}: TLS: {one_line(error)}", hint="check the endpoint_url or set AWS_CA_BUNDLE"
        )
    if isinstance(error, ResponseParserError):
        return StoreUnavailable(
            f"{address}: the answer does not come from S3", hint="check the endpoint_url"
        )
    if isinstance(error, (*_NETWORK, HTTPError)):
        return StoreUnavailable(
            f"{where}: {_network(error)}", hint="check the network and the endpoint_url, then rerun"
        )
    return StoreDenied(f"{where}: {one_line(error)}", hint="check storage_access and endpoint_url")


def given_up(error: ImagingDBError, *, after: float) -> ImagingDBError:
    """Return an error that also tells for how many seconds was tried, where that was a second or more."""
    if after < 1 or not isinstance(error, StoreUnavailable):
        return error
    message = f"{error.message}, given up after {after:.0f} s"
    return StoreUnavailable(message, hint=error.hint, transient=error.transient)


def one_line(error: object) -> str:
    """Return an error's text as one line of at most 200 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _answer(error: ClientError, *, address: str, key: str, where: str) -> ImagingDBError:
    code, status = error_code(error), _status(error)
    if code in _DENIED:
        cause, hint = _DENIED[code]
        return StoreDenied(f"{address}: {cause}", hint=hint)
    if code in MISSING:
        return ObjectNotFound(key, address)
    if code == "RequestTimeTooSkewed":
        return StoreUnavailable(
            f"local clock differs from {address}{_skew(error)}",
            hint="set the clock",
            transient=False,
        )
    if code in _FULL:
        return StoreUnavailable(
            f"{address} is full ({code})", hint="free space and rerun", transient=False
        )
    if code == "KeyTooLongError":
        return UnsafePath(f"key {key[:40]!r}... is too long for {address}")
    if code == "InvalidObjectState":
        return StoreUnavailable(
            f"{where} is archived", hint="restore it and rerun", transient=False
        )
    if (
        status >= 500
        or status == 429
        or code in {*TRY_AGAIN, *DAMAGED, "SlowDown", "RequestTimeout"}
    ):
        return StoreUnavailable(
            f"{where}: the server answers {code} ({status})", hint="rerun later"
        )
    message = one_line(error.response.get("Error", {}).get("Message", ""))
    return StoreDenied(f"{where}: the server answers {code} ({status}) {message}".rstrip())


def _network(error: Exception) -> str:
    if isinstance(error, EndpointConnectionError):
        inner = str(error.kwargs.get("error", ""))
        unknown = "resolve" in inner or "getaddrinfo" in inner or "Name or service" in inner
        host = error.kwargs.get("endpoint_url", "the endpoint")
        return f"no such host: {host}" if unknown else f"cannot connect to {host}"
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        url = urlsplit(str(error.kwargs.get("endpoint_url", "")))
        return (
            f"no answer in time from {url.scheme}://{url.netloc}"
            if url.netloc
            else "no answer in time"
        )
    if isinstance(error, (IncompleteReadError, ResponseStreamingError)):
        return "the answer was cut"
    return one_line(error)


def _skew(error: ClientError) -> str:
    """Return by how much the clock is off, where the server tells."""
    found = error.response.get("Error", {})
    try:
        there = datetime.fromisoformat(str(found.get("ServerTime")))
        here = datetime.strptime(str(found.get("RequestTime")), "%Y%m%dT%H%M%S%z")
        off: timedelta = abs(there - here)
    except (ValueError, TypeError):
        return " by more than 15 minutes"
    minutes = round(off.total_seconds() / 60)
    return f" by {minutes // 60} h {minutes % 60} min"


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
