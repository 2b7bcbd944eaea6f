"""One suite over every store: in memory, in a folder, in two independent S3 servers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging_db.config.settings import StoreSettings
from imaging_db.stores.base import Store
from imaging_db.stores.local import LocalStore
from imaging_db.stores.memory import MemoryStore
from imaging_db.stores.s3 import S3Store
from imaging_db.stores.wrappers import RetryingStore
from imaging_db.testing.store_contract import StoreContract
from tests.support.strict_s3 import StrictS3

MIB = 2**20


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore("lab")


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = LocalStore(tmp_path / "store")
        store.probe()
        yield store
        store.close()
        left = [path for path in tmp_path.rglob("*") if path.name.startswith(".imaging_db")]
        assert left == []


class TestLocalStoreWithoutHardLinks(TestLocalStore):
    """As on FAT, exFAT and some shares."""

    @pytest.fixture(autouse=True)
    def no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)


class TestS3StoreOnMoto(StoreContract):
    @pytest.fixture
    def store(self, s3_bucket: StoreSettings) -> Iterator[Store]:
        store = S3Store(s3_bucket.access, endpoint_url=s3_bucket.endpoint_url, part_bytes=5 * MIB)
        yield store
        store.close()


class TestS3StoreOnRclone(StoreContract):
    """A server that ignores If-None-Match: S3Store notices and looks before it puts."""

    @pytest.fixture
    def store(self, rclone_bucket: StoreSettings) -> Iterator[Store]:
        store = S3Store(
            rclone_bucket.access, endpoint_url=rclone_bucket.endpoint_url, part_bytes=5 * MIB
        )
        yield store
        store.close()


class TestRetryingStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return RetryingStore(MemoryStore("lab"))


class TestS3StoreOnStrictServer(StoreContract):
    """A server that checks everything that S3 checks."""

    @pytest.fixture
    def store(self, strict_s3: StrictS3) -> Iterator[Store]:
        store = S3Store("lab", endpoint_url=strict_s3.url, part_bytes=5 * MIB)
        yield store
        store.close()
        assert strict_s3.uploads == {}


class TestS3StoreTheLongWay(StoreContract):
    """A bucket to which the short way does not lead: boto3 does everything."""

    many = 20

    @pytest.fixture
    def store(self, strict_s3: StrictS3) -> Iterator[Store]:
        store = S3Store("lab", endpoint_url=strict_s3.url, part_bytes=5 * MIB)
        strict_s3.fault("HEAD", status=301, code="PermanentRedirect")
        assert store.stat("a") is None
        assert store.stat("a") is None
        assert strict_s3.headers[-1]["User-Agent"] != "imaging_db"
        yield store
        store.close()
        assert strict_s3.uploads == {}
