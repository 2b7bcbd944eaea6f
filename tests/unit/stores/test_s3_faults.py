"""What S3Store makes of refusals, lost answers and damaged bytes: against a server that does them."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest

from imaging_db.errors import (
    ChecksumMismatch,
    ImagingDBError,
    ObjectConflict,
    StoreDenied,
    StoreUnavailable,
)
from imaging_db.model import sha256_of_bytes
from imaging_db.stores.s3 import S3Store
from imaging_db.stores.s3_client import S3Traits
from imaging_db.testing.store_actions import keys, put, put_stream
from tests.support.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.strict_s3 import StrictS3

MIB = 2**20


def open_store(url: str, **options: float) -> S3Store:
    settings: dict[str, float] = {"connect_seconds": 2, "read_seconds": 5, "attempts": 3} | options
    return S3Store("lab", endpoint_url=url, part_bytes=5 * MIB, **settings)  # type: ignore[arg-type]


@pytest.fixture
def store(strict_s3: StrictS3) -> Iterator[S3Store]:
    """A store whose server has been looked at already, so that planned faults meet the test's requests."""
    store = open_store(strict_s3.url)
    store.probe()
    strict_s3.requests.clear()
    yield store
    store.close()


class TestPassingTrouble:
    @pytest.mark.fault("N1")
    def test_is_not_noticed(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", status=503, code="SlowDown", times=2)
        assert put(store, "a", b"x") is True
        assert strict_s3.requests == ["PUT /lab/a"] * 3

    @pytest.mark.parametrize("kind", ["reset", "lose answer"])
    @pytest.mark.fault("N3")
    def test_connection_that_breaks(self, strict_s3: StrictS3, store: S3Store, kind: str) -> None:
        strict_s3.fault("PUT", kind)
        put(store, "a", b"x")
        assert store.get("a") == b"x"

    @pytest.mark.fault("N9")
    def test_race_that_is_not_decided(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", status=409, code="ConditionalRequestConflict", times=2)
        assert put(store, "a", b"x") is True

    @pytest.mark.parametrize("kind", ["truncate", "reset"])
    @pytest.mark.fault("N5")
    def test_answer_that_is_cut(self, strict_s3: StrictS3, store: S3Store, kind: str) -> None:
        put(store, "a", bytes(100_000))
        strict_s3.fault("GET", kind, times=2)
        assert store.get("a") == bytes(100_000)

    @pytest.mark.fault("N6")
    def test_body_damaged_on_the_way(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", "damage")
        assert put(store, "a", b"pixels") is True
        assert strict_s3.objects["a"].data == b"pixels"

    @pytest.mark.fault("N6")
    def test_part_damaged_on_the_way(self, strict_s3: StrictS3, store: S3Store) -> None:
        data = bytes(11 * MIB)
        strict_s3.fault("PUT", "damage", containing="partNumber=2")
        assert put_stream(store, "a", data) is True
        assert strict_s3.objects["a"].data == data
        assert strict_s3.uploads == {}


class TestLostAnswer:
    @pytest.mark.fault("N4")
    def test_is_our_own_object(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", "lose answer")
        assert put(store, "a", b"x") is False
        assert strict_s3.requests == ["PUT /lab/a", "PUT /lab/a", "HEAD /lab/a"]

    @pytest.mark.fault("N4")
    def test_of_somebody_else_is_a_conflict(self, strict_s3: StrictS3, store: S3Store) -> None:
        put(store, "a", b"theirs")
        strict_s3.fault("PUT", "reset")
        with pytest.raises(ObjectConflict):
            put(store, "a", b"ours..")
        assert store.get("a") == b"theirs"

    @pytest.mark.fault("N4")
    def test_of_the_last_step_of_a_large_file(self, strict_s3: StrictS3, store: S3Store) -> None:
        data = bytes(11 * MIB)
        strict_s3.fault("POST", "lose answer", containing="uploadId=")
        put_stream(store, "a", data)
        assert strict_s3.objects["a"].data == data

    @pytest.mark.fault("N4")
    def test_that_was_deleted_meanwhile_is_put_again(
        self, strict_s3: StrictS3, store: S3Store
    ) -> None:
        strict_s3.fault("PUT", status=412, code="PreconditionFailed")
        assert put(store, "a", b"x") is True


class TestWhatIsThere:
    def test_is_compared_by_its_checksum(self, strict_s3: StrictS3, store: S3Store) -> None:
        put(store, "a", b"x")
        strict_s3.requests.clear()
        assert put(store, "a", b"x") is False
        assert strict_s3.requests == ["PUT /lab/a", "HEAD /lab/a"]

    def test_large_file_is_compared_without_being_moved(
        self, strict_s3: StrictS3, store: S3Store
    ) -> None:
        data = bytes(11 * MIB)
        put_stream(store, "a", data)
        strict_s3.requests.clear()
        assert put_stream(store, "a", data) is False
        assert strict_s3.requests == ["HEAD /lab/a"]

    def test_is_read_where_no_checksum_is_kept(self, strict_s3: StrictS3, store: S3Store) -> None:
        put(store, "a", b"x")
        strict_s3.objects["a"].headers.clear()
        assert put(store, "a", b"x") is False
        with pytest.raises(ObjectConflict):
            put(store, "a", b"y")


class TestLastingTrouble:
    @pytest.mark.parametrize("kind", ["status", "reset"])
    @pytest.mark.fault("N2")
    def test_is_given_up(self, strict_s3: StrictS3, store: S3Store, kind: str) -> None:
        strict_s3.fault("PUT", kind, status=503, code="SlowDown", times=1000)
        with pytest.raises(StoreUnavailable, match="s3://lab at http") as raised:
            put(store, "a", b"x")
        assert raised.value.exit_code == 5
        assert keys(store) == []

    @pytest.mark.fault("N3")
    def test_silence_is_given_up(self, strict_s3: StrictS3) -> None:
        store = open_store(strict_s3.url, read_seconds=0.2, attempts=2)
        strict_s3.fault("GET", "wait", times=10, seconds=1)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            store.probe()
        assert time.monotonic() - begun < 5
        store.close()

    @pytest.mark.fault("N9")
    def test_race_without_end_is_given_up(
        self, strict_s3: StrictS3, store: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        strict_s3.fault("PUT", status=409, code="ConditionalRequestConflict", times=1000)
        with pytest.raises(StoreUnavailable, match="ConditionalRequestConflict"):
            put(store, "a", b"x")

    @pytest.mark.fault("N5")
    def test_cut_answers_are_given_up(
        self, strict_s3: StrictS3, store: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        put(store, "a", bytes(100_000))
        strict_s3.fault("GET", "truncate", times=1000)
        with pytest.raises(StoreUnavailable, match="the answer was cut"):
            store.get("a")

    @pytest.mark.fault("N3")
    def test_cut_stream_is_an_error(self, strict_s3: StrictS3, store: S3Store) -> None:
        put(store, "a", bytes(100_000))
        strict_s3.fault("GET", "truncate")
        with store.open("a") as stream, pytest.raises(StoreUnavailable, match="the answer was cut"):
            stream.read()

    @pytest.mark.fault("N11")
    def test_failed_upload_of_parts_is_aborted(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", status=500, times=1000, containing="partNumber=2")
        with pytest.raises(StoreUnavailable):
            put_stream(store, "a", bytes(11 * MIB))
        assert strict_s3.uploads == {}
        assert keys(store) == []

    @pytest.mark.fault("N6")
    def test_wrong_checksum_is_the_callers_fault(
        self, store: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        with pytest.raises(ChecksumMismatch):
            store.put("a", b"damaged in memory", sha256=sha256_of_bytes(b"what it was"))
        assert keys(store) == []


SKEW = "<RequestTime>20261120T100000Z</RequestTime><ServerTime>2026-11-20T12:03:00Z</ServerTime>"

DENIALS = [
    (404, "NoSuchBucket", "no bucket 'lab' at http"),
    (403, "AccessDenied", "access denied"),
    (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
    (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
    (400, "ExpiredToken", "expired; renew"),
    (400, "InvalidToken", "AWS_SESSION_TOKEN"),
    (400, "AuthorizationHeaderMalformed", "AWS_DEFAULT_REGION"),
    (418, "Teapot", "418"),
]


class TestRefusals:
    @pytest.mark.parametrize(("status", "code", "text"), DENIALS)
    @pytest.mark.fault("N7")
    def test_name_what_to_mend(
        self, strict_s3: StrictS3, store: S3Store, status: int, code: str, text: str
    ) -> None:
        strict_s3.fault("GET", status=status, code=code, times=10)
        with pytest.raises(StoreDenied) as raised:
            store.probe()
        check_message(raised.value, text)
        assert raised.value.exit_code == 2
        assert len(strict_s3.requests) <= 2, "a refusal is not tried again and again"

    @pytest.mark.fault("N12")
    def test_clock(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", status=403, code="RequestTimeTooSkewed", extra=SKEW)
        with pytest.raises(StoreUnavailable) as raised:
            put(store, "a", b"x")
        check_message(raised.value, "local clock differs from s3://lab")
        check_message(raised.value, "by 2 h 3 min; set the clock")

    def test_full(self, strict_s3: StrictS3, store: S3Store) -> None:
        strict_s3.fault("PUT", status=507, code="XMinioStorageFull", times=10)
        with pytest.raises(StoreUnavailable, match="is full") as raised:
            put(store, "a", b"x")
        assert raised.value.transient is False

    @pytest.mark.parametrize(
        "page", [b"<html>welcome to the hotel</html>", b"<p>not closed", b"text"]
    )
    @pytest.mark.fault("N5")
    def test_web_page_instead_of_an_answer(
        self, strict_s3: StrictS3, store: S3Store, page: bytes
    ) -> None:
        """It is neither an empty bucket nor a put that was done nor an object."""
        calls = (
            ("GET", store.probe),
            ("GET", lambda: keys(store)),
            ("PUT", lambda: put(store, "a", b"x")),
            ("HEAD", lambda: store.stat("a")),
            ("GET", lambda: store.get("a")),
        )
        for method, call in calls:
            strict_s3.fault(method, "page", times=3, page=page)
            with pytest.raises(StoreUnavailable, match=r"not come from S3|answers 500") as raised:
                call()
            check_message(raised.value, "s3://lab")
            strict_s3.faults.clear()


class TestBeforeAnyRequest:
    @pytest.mark.fault("N7")
    def test_no_credentials(self, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        message = denied(strict_s3.url)
        assert "credentials not found; set AWS_ACCESS_KEY_ID" in message

    def test_half_of_the_credentials(
        self, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "credentials" in denied(strict_s3.url)

    @pytest.mark.fault("N7")
    def test_no_such_profile(self, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        assert "nobody" in denied(strict_s3.url)

    @pytest.mark.parametrize("url", ["nonsense", "ftp//x", "http://"])
    def test_no_url(self, aws_credentials: None, url: str) -> None:
        assert "endpoint_url" in denied(url)

    def test_no_bucket_name(self, strict_s3: StrictS3) -> None:
        store = S3Store("not a/bucket", endpoint_url=strict_s3.url)
        with pytest.raises(StoreDenied) as raised:
            store.probe()
        store.close()
        check_message(raised.value, "bucket")

    @pytest.mark.parametrize("host", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
    @pytest.mark.fault("N2")
    def test_nobody_answers(self, aws_credentials: None, host: str) -> None:
        store = open_store(host, attempts=2)
        with pytest.raises(StoreUnavailable) as raised:
            store.probe()
        check_message(raised.value, "check the network and the endpoint_url")
        check_message(raised.value, host)
        store.close()


class TestServersThatKnowLess:
    @pytest.mark.parametrize("conditional", ["ignore", "reject"])
    @pytest.mark.parametrize("checksums", [True, False])
    @pytest.mark.fault("N10")
    def test_are_recognised(self, aws_credentials: None, conditional: str, checksums: bool) -> None:
        with StrictS3(conditional=conditional, checksums=checksums) as server:
            store = open_store(server.url)
            store.probe()
            assert store.traits() == S3Traits(conditional=False, checksums=checksums)
            assert server.objects == {}
            assert put(store, "a", b"x") is True
            assert put(store, "a", b"x") is False
            with pytest.raises(ObjectConflict):
                put(store, "a", b"y")
            assert server.objects["a"].data == b"x"
            store.close()

    @pytest.mark.fault("N6")
    def test_are_sent_the_oldest_checksum(self, aws_credentials: None) -> None:
        with StrictS3(conditional="ignore", checksums=False) as server:
            store = open_store(server.url)
            store.probe()
            server.fault("PUT", "damage")
            assert put(store, "a", b"pixels") is True
            assert server.objects["a"].data == b"pixels"
            store.close()

    @pytest.mark.parametrize(
        ("checksums", "md5", "looks"), [(True, False, 1), (False, True, 1), (False, False, 2)]
    )
    @pytest.mark.fault("N10")
    def test_are_looked_at_again_where_the_answer_proves_nothing(
        self, aws_credentials: None, checksums: bool, md5: bool, looks: int
    ) -> None:
        with StrictS3(conditional="ignore", checksums=checksums, md5=md5) as server:
            store = open_store(server.url)
            store.probe()
            server.requests.clear()
            assert put(store, "a", b"pixels") is True
            assert server.requests == ["HEAD /lab/a", "PUT /lab/a", "HEAD /lab/a"][: looks + 1]
            store.close()

    def test_another_process_that_overwrites_is_noticed(self, aws_credentials: None) -> None:
        """Its put comes between ours and our second look."""
        with StrictS3(conditional="ignore", checksums=False, md5=False) as server:
            store = open_store(server.url)
            store.probe()
            stolen = _stolen_after_put(server)
            with pytest.raises(ObjectConflict):
                put(store, "a", b"ours")
            assert stolen == ["a"]
            store.close()


def _stolen_after_put(server: StrictS3) -> list[str]:
    """Let somebody else's bytes replace each object right after it was put."""
    stolen: list[str] = []

    class Thief(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: str, stored: object) -> None:
            super().__setitem__(key, type(stored)(b"theirs"))  # type: ignore[call-arg]
            stolen.append(key)

    server.buckets["lab"] = Thief()
    return stolen


def test_secrets_stay_out_of_every_message(strict_s3: StrictS3, store: S3Store) -> None:
    leak = f"<Message>{SECRET_KEY}</Message><AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId>"
    for status, code, _ in DENIALS[:-1]:
        strict_s3.fault("GET", status=status, code=code, extra=leak, times=3)
        with pytest.raises(ImagingDBError) as raised:
            store.probe()
        assert SECRET_KEY not in str(raised.value)
        assert ACCESS_KEY not in str(raised.value)
    assert SECRET_KEY not in repr(store) + store.address


def test_metadata_tells_the_checksum(store: S3Store) -> None:
    put(store, "a", b"x")
    put_stream(store, "b", bytes(11 * MIB))
    for key, data in (("a", b"x"), ("b", bytes(11 * MIB))):
        found = store.stat(key)
        assert found is not None
        assert found.sha256 == sha256_of_bytes(data)


@pytest.mark.fault("N5")
def test_flipped_bit_in_an_answer_is_the_callers_to_find(
    strict_s3: StrictS3, store: S3Store
) -> None:
    """A store hands out what it got; whoever knows the checksum compares."""
    put(store, "a", b"pixels")
    strict_s3.fault("GET", "flip")
    assert store.get("a") != b"pixels"
    assert store.get("a") == b"pixels"


def test_large_parts_where_there_would_be_too_many() -> None:
    from imaging_db.stores.s3_upload import Parts
    from imaging_db.stores.stream import SourceStream

    tebibytes = SourceStream(io.BytesIO(), size=5 * 2**40, key="a")
    parts = Parts("a", tebibytes, part_bytes=16 * MIB, sha256=None)
    assert parts.part_bytes == 525 * MIB
    assert -(-parts.size // parts.part_bytes) <= 10_000


def denied(url: str) -> str:
    store = open_store(url)
    with pytest.raises(StoreDenied) as raised:
        store.probe()
    store.close()
    check_message(raised.value, "s3://lab")
    return str(raised.value)


def check_message(error: ImagingDBError, text: str) -> None:
    """One line that says what, where and what to do."""
    assert text in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 300
