"""Bytes from web servers: asked for again where the reason may pass, refused where it will not."""

from __future__ import annotations

import http.client
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from imaging_db.errors import CorruptSource, StoreUnavailable, UnsupportedFormat

MOST_TRIES = 5
TIMEOUT_SECONDS = 30.0
PAUSE_SECONDS = 0.5
_PIECE = 2**20
_OK, _TOO_MANY, _OWN_FAILURE = 200, 429, 500


class _Passing(Exception):
    """Why an answer did not come, or not whole, that may be otherwise the next time."""


class WebServer:
    """Asks for bytes over http and https, five times where it may help. Safe for threads.

    Waits up to ``pause_seconds`` after the first failure, twice that after each further one. No answer for
    ``timeout_seconds`` is a failure. Only http and https are followed, wherever a server points to; the
    ``headers``, which may hold a secret, are not sent there.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._timeout, self._pause = timeout_seconds, pause_seconds
        self._headers = dict(headers or {})
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            self._opener.add_handler(handler)

    def get(self, url: str, *, most_bytes: int) -> bytes:
        """Return what is at an address, all of it.

        Raises
        ------
        CorruptSource
            The server refuses (such as 403 or 404); tells the status.
        UnsupportedFormat
            It sends more than ``most_bytes``.
        StoreUnavailable
            It does not answer, not in time, not whole, or with a failure of its own (429, 5xx).
        """
        attempt = 1
        while True:
            try:
                return self._once(url, most_bytes)
            except _Passing as error:
                if attempt == MOST_TRIES:
                    cause = f"{shown_url(url)}: {error}, {MOST_TRIES} times"
                    raise StoreUnavailable(cause, hint="rerun later") from error.__cause__
            longest = self._pause * 2 ** (attempt - 1)
            time.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - no secret
            attempt += 1

    def _request(self, url: str) -> urllib.request.Request:
        request = urllib.request.Request(url)  # noqa: S310 - the opener knows http and https alone
        for name, value in self._headers.items():
            request.add_unredirected_header(name, value)
        return request

    def _once(self, url: str, most_bytes: int) -> bytes:
        try:
            with self._opener.open(self._request(url), timeout=self._timeout) as response:
                if response.status != _OK:
                    raise _refused(url, response.status, response.reason)
                return _whole(response, url, most_bytes)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == _TOO_MANY or error.code >= _OWN_FAILURE:
                    raise _Passing(f"the server answers {error.code} {error.reason}") from error
                raise _refused(url, error.code, error.reason) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                cause = f"its certificate is not trusted: {error.reason.verify_message}"
                raise CorruptSource(shown_url(url), cause) from error
            raise _Passing(f"cannot be reached: {_said(error.reason)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Passing(f"the answer breaks off: {_said(error)}") from error


def check_url(url: str) -> str | None:
    """Return what is wrong with the address of a source, None where nothing is."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not host:
        return "must begin with http:// or https:// and name a server"
    if parts.username or parts.password:
        return "must hold no user name or password: settings are kept in the catalog"
    return "must end before '?' and '#'" if parts.query or parts.fragment else None


def shown_url(url: str) -> str:
    """Return an address without what may be secret in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _whole(response: http.client.HTTPResponse, url: str, most_bytes: int) -> bytes:
    pieces, size = [], 0
    while piece := response.read(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > most_bytes:
            raise UnsupportedFormat(
                shown_url(url), f"sends more than {most_bytes} bytes for one tile"
            )
    if response.length:  # what a short answer still owes; reading in pieces does not tell
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)


def _refused(url: str, status: int, reason: str) -> CorruptSource:
    return CorruptSource(shown_url(url), f"the server answers {status} {reason}".rstrip())


def _said(error: object) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return f"{error.expected} bytes are missing"
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text or type(error).__name__
