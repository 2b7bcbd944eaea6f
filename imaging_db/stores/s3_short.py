"""The short way to an object in S3: one request, signed with what is known already, sent once.

boto3 spends one to two milliseconds and a second SHA-256 on each request; for objects of one megabyte
that is more than everything else. What it knows is used (where to send, for which region, in whose
name, through which proxy), its layers are not. Where there is no proxy, `imaging_db.stores.s3_line` sends.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.compat import HTTPHeaders
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from imaging_db.stores.s3_client import CONNECTIONS
from imaging_db.stores.s3_errors import DAMAGED, FOREIGN, error_code
from imaging_db.stores.s3_line import BLOCK_BYTES, Line
from imaging_db.stores.s3_retry import Patience, passing, server_of
from imaging_db.stores.s3_signature import ALGORITHM, Signer, canonical_query
from imaging_db.stores.s3_watch import Watch

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.credentials import Credentials
    from types_boto3_s3.client import S3Client

_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of b""
_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}
_REFUSED = {403, 404, 409, 412}
_ELSEWHERE = {301, 302, 307, 308, 400}


class ShortWay:
    """Requests for objects below ``url``. None as an answer means: take the long way, through boto3.

    Only a plain success counts here, and a refusal that another attempt cannot change, raised as the
    `ClientError` that boto3 would raise. Everything else (no answer, an answer that is cut, a server
    that is busy, a page of somebody else) was the first of the ``attempts`` that ``patience`` counts:
    boto3 makes the others, and explains. A server that sends requests elsewhere, or does not understand
    them, is left to boto3 from then on.
    """

    def __init__(
        self,
        url: str,
        *,
        region: str,
        credentials: Credentials,
        session: URLLib3Session,
        line: Line | None,
        patience: Patience,
        attempts: int,
        watch: Watch,
    ) -> None:
        self.url = url
        self.region = region
        parts = urlsplit(url)
        usual = ":443" if parts.scheme == "https" else ":80"
        self._host = parts.netloc.rpartition("@")[2].removesuffix(usual)
        self._path = parts.path
        self._server = url.removesuffix(parts.path)
        self._signer = Signer(region)
        self._credentials = credentials
        self._session = session
        self._line = line
        self._patience = patience
        self._attempts = attempts
        self._watch = watch
        self._leads_there = True

    def put(
        self,
        key: str,
        data: bytes | memoryview,
        *,
        sha256: str,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> str | None:
        """Put ``data``, whose hex SHA-256 is the signed one; return the ETag."""
        answer = self._ask("PUT", key, data=data, sha256=sha256, headers=headers, query=query)
        return None if answer is None else answer.headers["ETag"]

    def head(self, key: str, headers: Mapping[str, str]) -> Mapping[str, str] | None:
        """Return the headers of an object, whatever the case of their names."""
        answer = self._ask("HEAD", key, headers=headers)
        return None if answer is None else answer.headers

    def get(self, key: str) -> bytes | None:
        """Return all bytes of an object."""
        answer = self._ask("GET", key)
        if answer is None:
            return None
        data = answer.content
        if answer.headers.get("Content-Length", str(len(data) or -1)) == str(len(data)):
            return data
        self._leave("the answer was cut")
        return None

    def close(self) -> None:
        """Close all connections."""
        self._session.close()
        if self._line is not None:
            self._line.close()

    def _ask(
        self,
        method: str,
        key: str,
        *,
        data: bytes | memoryview = b"",
        sha256: str = _NOTHING,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> AWSResponse | None:
        if not self._leads_there:
            return None
        path, search = self._path + quote(key, safe="/~"), canonical_query(query or {})
        given = {"Host": self._host, **(headers or {})}
        try:
            signed = self._signer.signed(
                method,
                path,
                query=search,
                headers=given,
                sha256=sha256,
                credentials=self._credentials.get_frozen_credentials(),
            )
            signed["User-Agent"] = "imaging_db"
            if method == "PUT":
                signed["Content-Length"] = str(len(data))
            target = f"{path}?{search}" if search else path
            answer = self._send(method, target, signed, data)
            error = _refusal(method, answer) if answer.status_code > 300 else None
        except BotoCoreError as none:
            self._leave(passing(None, none))
            return None
        except HTTPError:
            self._leave("the answer was cut")
            return None
        return self._judged(answer, error)

    def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        data: bytes | memoryview,
    ) -> AWSResponse:
        if self._line is not None:
            return self._line.send(method, target, headers=headers, data=data)
        body = data if len(data) <= BLOCK_BYTES else _blocks(data)
        url = self._server + target
        answer = self._session.send(
            AWSPreparedRequest(method, url, HeadersDict(headers), body, True)  # type: ignore[arg-type]
        )
        with self._watch.over(answer.raw, int(answer.headers.get("Content-Length", 0))):
            answer.content  # noqa: B018 - reads it
        return answer

    def _judged(self, answer: AWSResponse, error: ClientError | None) -> AWSResponse | None:
        if error is None:
            if answer.status_code == 200 and "ETag" in answer.headers:
                return answer
            answer.raw.close()
            self._leave(None)
            return None
        if answer.status_code in _REFUSED:
            raise error
        cause = passing((answer, dict(error.response)), None)
        if cause is None and answer.status_code in _ELSEWHERE and error_code(error) not in DAMAGED:
            self._leads_there = False
        self._leave(cause)
        return None

    def _leave(self, cause: str | None) -> None:
        """Leave the rest to boto3, after a pause where ``cause`` may pass by itself."""
        if cause is not None:
            where = server_of(self.url)
            seconds = self._patience.pause(1, attempts=self._attempts, where=where, cause=cause)
            time.sleep(seconds or 0)
        self._patience.spend(attempts=1)


def _blocks(data: bytes | memoryview) -> list[memoryview]:
    """Return ``data`` in pieces, uncopied: one ``sendall`` of it all would have to end in one time-out."""
    whole = memoryview(data)
    return [whole[at : at + BLOCK_BYTES] for at in range(0, len(whole), BLOCK_BYTES)]


def _refusal(method: str, answer: AWSResponse) -> ClientError:
    """Return the error that boto3 would make of an answer."""
    parts = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content}
    told = create_parser("rest-xml").parse(parts, None)  # type: ignore[arg-type]  # no shape
    return ClientError(told, _OPERATIONS[method])


def find_short_way(
    client: S3Client,
    bucket: str,
    *,
    session: Session,
    timeout: tuple[float, float],
    patience: Patience,
    attempts: int,
    watch: Watch,
) -> ShortWay | None:
    """Return the short way to the objects of ``bucket``, None where there is none.

    boto3 prepares and signs a request that is then not sent, and shows by it where it would have gone.
    There is no short way where it signs by other rules: access points of many regions, S3 Express,
    signatures of version 2, no credentials. ``client`` must not be in use by other threads yet;
    ``timeout`` is of connecting and of reading, in seconds.
    """
    credentials = session.get_credentials()
    request = _prepared(client, bucket)
    if credentials is None or request is None:
        return None
    region = _region_of(request)
    if region is None:
        return None
    verify, proxies = _certificates(session), get_environ_proxies(request.url)
    http = URLLib3Session(
        verify=verify,  # type: ignore[arg-type]  # or a file, as boto3 gives it
        proxies=proxies,
        timeout=timeout,  # type: ignore[arg-type]  # or a pair
        max_pool_connections=CONNECTIONS,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],  # type: ignore[list-item]
    )
    line = None if proxies else Line(request.url, verify=verify, timeout=timeout, watch=watch)
    return ShortWay(
        request.url.removesuffix("key"),
        region=region,
        credentials=credentials,
        session=http,
        line=line,
        patience=patience,
        attempts=attempts,
        watch=watch,
    )


def _region_of(request: AWSPreparedRequest) -> str | None:
    """Return the region that a request is signed for, None where it is signed by other rules than ours."""
    signed = request.headers.get("Authorization", b"")
    signed = signed.decode() if isinstance(signed, bytes) else signed
    algorithm, _, rest = signed.partition(" Credential=")
    scope = rest.partition(",")[0].split("/")  # access key, date, region, service, aws4_request
    if algorithm != ALGORITHM or len(scope) < 5 or scope[-2] != "s3":
        return None
    return scope[-3]


def _prepared(client: S3Client, bucket: str) -> AWSPreparedRequest | None:
    """Return the request that ``client`` would send for an object; none where it has no credentials."""
    seen: list[AWSPreparedRequest] = []

    def keep_back(request: AWSPreparedRequest, **_: Any) -> Any:
        seen.append(request)
        return AWSResponse(request.url, 404, HTTPHeaders(), _Empty())

    client.meta.events.register("before-send.s3.HeadObject", keep_back)
    try:
        client.head_object(Bucket=bucket, Key="key")
    except FOREIGN:
        pass  # its 404; what else is wrong, the first request that is sent will tell
    finally:
        client.meta.events.unregister("before-send.s3.HeadObject", keep_back)
    return seen[0] if seen else None


class _Empty:
    """The body of an answer that nobody gave."""

    def stream(self, *_: object) -> tuple[bytes, ...]:
        """Return no pieces."""
        return ()


def _certificates(session: Session) -> str | bool:
    """Return the file of certificates that boto3 would use, True for its own."""
    core = session._session  # boto3 does not tell it
    chosen = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return str(chosen) if chosen else True
