"""The short way: what goes it, what is left to boto3, and that it is signed as boto3 signs."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from boto3.session import Session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from imaging_db.errors import ChecksumMismatch, StoreDenied
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.s3 import S3Store
from imaging_db.stores.s3_client import new_client
from imaging_db.stores.s3_retry import Patience, Teller
from imaging_db.stores.s3_short import ShortWay, find_short_way
from imaging_db.stores.s3_signature import Signer, canonical_query
from imaging_db.stores.s3_watch import Watch
from imaging_db.testing.store_actions import put, put_stream
from tests.support.strict_s3 import StrictS3

MIB = 2**20


def open_store(url: str | None = None) -> S3Store:
    return S3Store("lab", endpoint_url=url, part_bytes=5 * MIB, attempts=3, read_seconds=5)


def short_way(bucket: str = "lab", *, endpoint: str | None = None) -> ShortWay | None:
    """The short way that boto3's settings of this moment lead to; nothing is sent."""
    patience = Patience(1, Teller())
    session = Session()
    client = new_client(
        session,
        endpoint_url=endpoint,
        region=None,
        connect_seconds=1,
        read_seconds=1,
        attempts=1,
        patience=patience,
    )
    try:
        return find_short_way(
            client,
            bucket,
            session=session,
            timeout=(1, 1),
            patience=patience,
            attempts=1,
            watch=Watch(1),
        )
    finally:
        client.close()


@contextmanager
def told(agents: list[str]) -> Iterator[str]:
    """A server that has one object everywhere and notes who asks."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            agents.append(self.headers["User-Agent"].split("/")[0])
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_is_taken(aws_credentials: None) -> None:
    agents: list[str] = []
    with told(agents) as url:
        store = open_store(url)
        assert store.get("raw_frames/a/im 1.png") == b"ok"
        store.close()
    assert agents == ["imaging_db"]


@pytest.mark.parametrize("token", [None, "a passing token/+="])
def test_signs_as_boto3_does(monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    """A part with a checksum under an odd key: the same headers, the same signature."""
    now = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    monkeypatch.setattr("time.gmtime", now.timetuple)
    data, secrets = b"pixels", ReadOnlyCredentials("AKIA", "a secret/+", token)
    path = quote("/lab/odd/100% (\N{MICRO SIGN}m) a+b&c=d~.png", safe="/~")
    query = {"uploadId": "a/b+c=~", "partNumber": "2"}
    headers = {"Host": "127.0.0.1:9000", "x-amz-checksum-sha256": "abc=", "If-None-Match": "*"}
    url = f"http://127.0.0.1:9000{path}"
    theirs = AWSRequest("PUT", url, headers=headers, data=data, params=query)
    S3SigV4Auth(secrets, "s3", "eu-west-1").add_auth(theirs)
    ours = Signer("eu-west-1").signed(
        "PUT",
        path,
        query=canonical_query(query),
        headers=headers,
        sha256=sha256_of_bytes(data),
        credentials=secrets,
    )
    assert ours == dict(theirs.headers.items())


def test_the_key_of_another_day_or_secret_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    signer, found = Signer("eu-west-1"), []
    days = [datetime(2026, 2, day, tzinfo=UTC) for day in (27, 28, 28, 27)]
    for day, secret in zip(days, ["one", "one", "two", "one"], strict=True):
        monkeypatch.setattr("time.gmtime", day.timetuple)
        asked: dict[str, Any] = {"query": "", "headers": {}, "sha256": "0" * 64}
        asked["credentials"] = ReadOnlyCredentials("AKIA", secret, None)
        found.append(signer.signed("GET", "/a", **asked)["Authorization"])
        assert found[-1] == Signer("eu-west-1").signed("GET", "/a", **asked)["Authorization"]
    assert len(set(found)) == 3


def test_goes_through_the_proxy_of_the_environment(
    aws_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents: list[str] = []
    with told(agents) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        store = open_store("http://s3.of.the.lab:9000")
        assert store.get("raw_frames/a/im 1.png") == b"ok"
        store.close()
    assert agents == ["imaging_db"]


WHERE = [
    ({}, "lab", "https://lab.s3.eu-west-1.amazonaws.com/", "eu-west-1"),
    ({}, "dotted.name", "https://s3.eu-west-1.amazonaws.com/dotted.name/", "eu-west-1"),
    (
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        "lab",
        "https://lab.s3.dualstack.eu-west-1.amazonaws.com/",
        "eu-west-1",
    ),
    (
        {"AWS_ENDPOINT_URL_S3": "http://minio.lab:9000"},
        "lab",
        "http://minio.lab:9000/lab/",
        "eu-west-1",
    ),
    (
        {},
        "arn:aws:s3:us-west-2:123456789012:accesspoint/scope",
        "https://scope-123456789012.s3-accesspoint.us-west-2.amazonaws.com/",
        "us-west-2",
    ),
]


@pytest.mark.parametrize(("environment", "bucket", "url", "region"), WHERE)
def test_leads_where_boto3_would_go(
    aws_credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    bucket: str,
    url: str,
    region: str,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n    us_east_1_regional_endpoint = regional\n")
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    short = short_way(bucket)
    assert short is not None
    assert (short.url, short.region) == (url, region)
    short.close()


@pytest.mark.parametrize(
    "bucket",
    [
        "lab--use1-az4--x-s3",
        "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
        "not a/bucket",
    ],
)
def test_is_none_where_other_rules_apply(aws_credentials: None, bucket: str) -> None:
    assert short_way(bucket) is None


def test_is_none_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert short_way() is None


def test_profile_and_session_token_are_used(
    strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = "aws_access_key_id=OF_THE_PROFILE\naws_secret_access_key=x\naws_session_token=passing\n"
    (tmp_path / "credentials").write_text(f"[microscope]\n{keys}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "microscope")
    store = open_store(strict_s3.url)
    assert put(store, "a", b"x") is True
    last = strict_s3.headers[-1]
    assert last["User-Agent"] == "imaging_db"
    assert "Credential=OF_THE_PROFILE/" in last["Authorization"]
    assert last["X-Amz-Security-Token"] == "passing"
    store.close()


def test_the_given_sha256_is_what_the_server_checks(strict_s3: StrictS3) -> None:
    """Whole objects and parts: signed hash and checksum are of the bytes, computed once by the caller."""
    store = open_store(strict_s3.url)
    store.probe()
    assert put(store, "a", b"pixels") is True
    assert strict_s3.headers[-1]["X-Amz-Content-SHA256"] == sha256_of_bytes(b"pixels")
    data = bytes(6 * MIB)
    assert put_stream(store, "b", data) is True
    sent_requests = zip(strict_s3.requests, strict_s3.headers, strict=True)
    parts = [sent for request, sent in sent_requests if "partNumber" in request]
    assert {sent["User-Agent"] for sent in parts} == {"imaging_db"}
    assert [sent["X-Amz-Content-SHA256"] for sent in parts] == [
        hashlib.sha256(data[: 5 * MIB]).hexdigest(),
        hashlib.sha256(data[5 * MIB :]).hexdigest(),
    ]
    with pytest.raises(ChecksumMismatch):
        store.put("c", b"other bytes", sha256=sha256_of_bytes(b"pixels"))
    store.close()


def test_memory_is_not_copied_for_it(strict_s3: StrictS3) -> None:
    """A view of a larger buffer, as an encoder hands it out."""
    buffer = bytearray(b"head" + bytes(100_000) + b"tail")
    view = memoryview(buffer)[4:-4]
    store = open_store(strict_s3.url)
    assert store.put("a", view, sha256=sha256_of_bytes(bytes(view))) is True
    assert strict_s3.headers[-1]["User-Agent"] == "imaging_db"
    assert store.get("a") == bytes(100_000)
    store.close()


def test_is_left_where_it_leads_elsewhere(strict_s3: StrictS3) -> None:
    """A bucket of another region: boto3 follows, and is asked at once from then on."""
    store = open_store(strict_s3.url)
    put(store, "a", b"x")
    strict_s3.fault("HEAD", status=301, code="PermanentRedirect")
    store.stat("a")
    assert [sent["User-Agent"] == "imaging_db" for sent in strict_s3.headers[-2:]] == [True, False]
    assert store.get("a") == b"x"
    assert strict_s3.headers[-1]["User-Agent"] != "imaging_db"
    store.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (400, "RequestTimeout"), (400, "XAmzContentSHA256Mismatch")],
)
def test_is_taken_again_after_passing_trouble(strict_s3: StrictS3, status: int, code: str) -> None:
    store = open_store(strict_s3.url)
    store.traits()
    strict_s3.fault("PUT", status=status, code=code)
    assert put(store, "a", b"x") is True
    assert strict_s3.headers[-1]["User-Agent"] != "imaging_db"
    assert put(store, "b", b"x") is True
    assert strict_s3.headers[-1]["User-Agent"] == "imaging_db"
    store.close()


def test_a_refusal_is_told_at_once(strict_s3: StrictS3) -> None:
    """It would not be another answer through boto3."""
    store = open_store(strict_s3.url)
    put(store, "a", b"x")
    strict_s3.fault("PUT", status=403, code="SignatureDoesNotMatch")
    strict_s3.requests.clear()
    with pytest.raises(StoreDenied, match="the secret key is wrong"):
        put(store, "b", b"x")
    assert strict_s3.requests == ["PUT /lab/b"]
    store.close()
