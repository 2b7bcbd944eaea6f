"""One suite over every store: in memory, in a folder, in two independent S3 servers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from imaging_db.config.settings import StoreSettings
from imaging_db.errors import UnsafePath
from imaging_db.stores.base import Leftover, Store, temporary_name
from imaging_db.stores.local import LocalStore
from imaging_db.stores.memory import MemoryStore
from imaging_db.stores.s3 import S3Store
from imaging_db.stores.wrappers import RetryingStore
from imaging_db.testing.store_actions import keys, put
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

    def test_finds_what_a_killed_run_left_and_removes_it(
        self, store: Store, tmp_path: Path
    ) -> None:
        """With the folders that this leaves empty; objects and folders of other programs stay."""
        put(store, "raw_frames/one/a.png", b"object")
        folders = ("", "raw_frames/one/", "raw_files/y/z/")
        names = [f"{folder}{temporary_name()}" for folder in folders]
        for name in names:
            path = tmp_path / "store" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
        theirs = tmp_path / "store" / "backups" / temporary_name()
        theirs.parent.mkdir()
        theirs.write_bytes(b"not ours")
        left = list(store.leftovers())
        assert sorted(one.key for one in left) == sorted(names)
        assert all(one.size == 4 and one.modified is not None for one in left)
        assert [store.discard(one) for one in left] == [True] * 3
        assert [store.discard(one) for one in left] == [False] * 3
        assert list(store.leftovers()) == []
        assert keys(store) == ["raw_frames/one/a.png"]
        assert not (tmp_path / "store" / "raw_files").exists()
        theirs.unlink()

    def test_no_leftover_leads_out_of_the_store(self, store: Store, tmp_path: Path) -> None:
        outside = tmp_path / temporary_name()
        outside.write_bytes(b"not ours")
        (tmp_path / "store" / "link").symlink_to(tmp_path)
        assert list(store.leftovers()) == []
        for key in (f"../{outside.name}", f"link/{outside.name}"):
            with pytest.raises(UnsafePath):
                store.discard(Leftover(key, 1))
        assert outside.read_bytes() == b"not ours"
        outside.unlink()


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

    def test_finds_uploads_that_were_never_completed_and_aborts_them(
        self, store: Store, s3_bucket: StoreSettings
    ) -> None:
        """Also those that began twice under one key, and what a killed probe had put."""
        client = boto3.client("s3", endpoint_url=s3_bucket.endpoint_url)
        bucket = s3_bucket.access
        for key in ("raw_files/one/a.bin", "raw_files/one/a.bin", "raw_files/two/b.bin"):
            begun = client.create_multipart_upload(Bucket=bucket, Key=key)
            client.upload_part(
                Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"half"
            )
        client.create_multipart_upload(Bucket=bucket, Key="backups/of_another_program.tar")
        probe = temporary_name()
        client.put_object(Bucket=bucket, Key=probe, Body=b"probe")
        client.close()
        put(store, "raw_files/one/c.bin", b"object")
        left = list(store.leftovers())
        assert [one.key for one in left if one.upload] == [
            "raw_files/one/a.bin",
            "raw_files/one/a.bin",
            "raw_files/two/b.bin",
        ]
        assert [(one.key, one.size) for one in left if not one.upload] == [(probe, 5)]
        assert {one.size for one in left if one.upload} == {4}
        assert all(one.modified is not None for one in left)
        assert [store.discard(one) for one in left] == [True] * 4
        assert store.discard(left[-1]) is False
        assert list(store.leftovers()) == []
        assert keys(store) == ["raw_files/one/c.bin"]


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
