"""A missing bucket, and a server that is no S3, are never taken for a missing object."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from imaging_db.errors import ObjectNotFound, StoreDenied
from imaging_db.stores.s3 import S3Store
from imaging_db.testing.store_actions import keys, put, put_stream
from tests.support.strict_s3 import StrictS3

MIB = 2**20
PAGE = b"<!doctype html><title>404</title><p>not here"


@pytest.fixture
def store(strict_s3: StrictS3) -> Iterator[S3Store]:
    store = S3Store("lab", endpoint_url=strict_s3.url, part_bytes=5 * MIB)
    store.probe()
    yield store
    store.close()


@pytest.mark.parametrize("page", [PAGE, b"<html><p>well formed</p></html>", b"not found", b""])
def test_server_that_knows_nothing(strict_s3: StrictS3, store: S3Store, page: bytes) -> None:
    """Any web server answers so, whatever it is asked."""
    put(store, "a", b"x")
    for method in ("GET", "PUT", "POST", "DELETE"):
        strict_s3.fault(method, "page", status=404, page=page, times=1000)
    calls: list[Callable[[], object]] = [
        store.probe,
        lambda: store.probe(write=False),
        lambda: keys(store),
        lambda: list(store.list("folder")),
        lambda: put(store, "b", b"x"),
        lambda: put_stream(store, "b", bytes(11 * MIB)),
        lambda: store.delete("a"),
    ]
    for call in calls:
        with pytest.raises(StoreDenied) as raised:
            call()
        assert str(raised.value) == (
            f"no bucket 'lab' at {strict_s3.url}, or that is no S3 server; "
            "check storage_access and endpoint_url"
        )
        assert raised.value.exit_code == 2


def test_missing_bucket(strict_s3: StrictS3) -> None:
    store = S3Store("nobody", endpoint_url=strict_s3.url)
    calls: list[Callable[[], object]] = [
        store.probe,
        lambda: put(store, "a", b"x"),
        lambda: keys(store),
        lambda: store.get("a"),
    ]
    for call in calls:
        with pytest.raises(StoreDenied, match=f"no bucket 'nobody' at {strict_s3.url}"):
            call()
    store.close()


def test_missing_bucket_of_an_endpoint_that_the_environment_names(
    strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", strict_s3.url)
    store = S3Store("nobody")
    with pytest.raises(StoreDenied, match=f"no bucket 'nobody' at {strict_s3.url}"):
        store.probe()
    store.close()


def test_only_a_key_is_missing_from_a_bucket(store: S3Store) -> None:
    with pytest.raises(ObjectNotFound, match=r"^im.png is missing from s3://lab at http"):
        store.get("im.png")
