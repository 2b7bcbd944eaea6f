"""Which requests to S3 are sent again, how long that goes on, and that somebody is told."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import HTTPClientError

from imaging_db.stores.backoff import backoff_seconds, seconds_passed

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_log = logging.getLogger(__name__)

_QUIET_SECONDS = 300.0

_PASSING_STATUS = {429, 500, 502, 503, 504}
_PASSING_CODES = {  # Amazon S3 API reference, "Error responses"; the others are of look-alikes
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
}


class Teller:
    """Says whom a store waits for, once for all its threads, and again only when that was long ago."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: float | None = None

    def tell(self, where: str, cause: str, seconds: float) -> None:
        """Log a warning, unless there was one in the last minutes: one trouble is one line."""
        now = time.monotonic()
        with self._lock:
            if self._told is not None and now - self._told < _QUIET_SECONDS:
                return
            self._told = now
        _log.warning("waiting for %s: %s, next attempt in %.1f s", where, cause, seconds)


class Patience(threading.local):
    """How long an operation of the store goes on after its first trouble; each thread has its own.

    One operation may be many requests; trouble that ended is forgotten where `renew` is called. All
    threads share the ``teller``.
    """

    def __init__(self, seconds: float, teller: Teller) -> None:
        self._seconds = seconds
        self._teller = teller
        self._depth = 0
        self._since: float | None = None
        self._spent = 0

    @property
    def waited(self) -> float:
        """Return for how many seconds this thread's operation has met trouble, 0 where it has not."""
        return 0.0 if self._since is None else seconds_passed() - self._since

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """Count what happens inside as one operation; operations inside it are part of it."""
        if self._depth == 0:
            self._since, self._spent = None, 0
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def renew(self, **_: object) -> None:
        """Forget the trouble: something large has gone well."""
        self._since = None

    def spend(self, *, attempts: int) -> None:
        """Count ``attempts`` of the next request as made already, by other means."""
        self._spent = attempts

    def pause(self, attempt: int, *, attempts: int, where: str, cause: str) -> float | None:
        """Return the seconds to wait after failed ``attempt`` (from 1), None where it is enough.

        What was spent before is counted, too. The first pause of many is logged as a warning.
        """
        now = seconds_passed()
        begun = self._since = now if self._since is None else self._since
        attempt += self._spent
        seconds = backoff_seconds(attempt)
        if attempt >= attempts or now + seconds - begun > self._seconds:
            return None
        self._teller.tell(where, cause, seconds)
        return seconds


def retry_requests(client: S3Client, patience: Patience, *, attempts: int) -> None:
    """Let ``client`` send a request up to ``attempts`` times, as long as ``patience`` lasts.

    In place of botocore's own rules, which know neither an end in seconds nor anybody to tell. A
    part that has arrived renews the patience: a large file may meet trouble more than once.
    """

    most = attempts

    def seconds(*, attempts: int, **event: Any) -> float | None:
        cause = passing(event["response"], event["caught_exception"])
        if cause is None:
            patience.spend(attempts=0)
            return None
        where = server_of(event["request_dict"]["url"])
        return patience.pause(attempts, attempts=most, where=where, cause=cause)

    client.meta.events.register("needs-retry.s3", seconds)  # type: ignore[arg-type]  # the answer counts
    client.meta.events.register("after-call.s3.UploadPart", patience.renew)


def passing(response: tuple[Any, dict[str, Any]] | None, error: Exception | None) -> str | None:
    """Return what failed, None where it did not fail or sending it again cannot help."""
    if isinstance(error, (NoConnection, HTTPClientError)):
        return "no answer" if "timeout" in type(error).__name__.lower() else "no connection"
    if response is None:
        return None
    status = response[0].status_code
    code = str(response[1].get("Error", {}).get("Code", ""))
    if status in _PASSING_STATUS or code in _PASSING_CODES:
        return f"it answers {code or status}"
    return None


def server_of(url: str) -> str:
    """Return the server of ``url`` for people, without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
