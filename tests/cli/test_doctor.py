"""imaging-db doctor tells what is safe and what is not, and leaves no trace."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging_db.cli import doctor_places
from imaging_db.cli import main as imaging_db_command
from imaging_db.config import DatabaseSettings, StoreSettings
from imaging_db.model import sha256_of_bytes
from imaging_db.stores import selftest
from imaging_db.stores.local import LocalStore
from imaging_db.stores.memory import MemoryStore
from tests.support.lab import Lab, make_lab
from tests.support.postgres import PASSWORD
from tests.support.s3 import SECRET_KEY
from tests.support.strict_s3 import StrictS3

Found = dict[str, dict[str, str]]
OBJECT_CHECKS = ("put", "never replaces", "checksums", "read back", "listing", "durable", "delete")


class Doctor:
    """Asks the doctor about a lab; ``code`` is its exit code, ``said`` all that it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = -1
        self.said = ""

    def __call__(self, lab: Lab) -> Found:
        login, config = lab.write_files()
        return self.about(login, config)

    def about(self, login: Path, config: Path) -> Found:
        words = ["doctor", "--json", "--login", str(login), "--config", str(config)]
        self.code = imaging_db_command.main(words)
        out, err = self._capsys.readouterr()
        self.said += out + err
        return {check["check"]: check for check in json.loads(out)}


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(capsys)


def lab_at(server: StrictS3, folder: Path) -> Lab:
    store = StoreSettings("s3", "lab", server.url)
    return make_lab(DatabaseSettings("sqlite", str(folder / "catalog.sqlite")), store, folder)


@pytest.mark.fault("S2")
def test_every_lab_is_tried_and_left_as_it_was(lab: Lab, doctor: Doctor) -> None:
    from imaging_db import ImagingDB

    with ImagingDB(lab.settings) as db:
        db.init()
    found = doctor(lab)
    assert doctor.code == 0
    assert {found[name]["state"] for name in OBJECT_CHECKS} <= {"ok", "warning"}
    assert found["store clock"]["state"] == "ok"
    assert lab.settings.database.is_sqlite or found["database clock"]["state"] == "ok"
    assert lab.keys() == []
    assert PASSWORD not in doctor.said
    assert SECRET_KEY not in doctor.said


def test_a_folder_tells_how_files_get_their_names(small_lab: Lab, doctor: Doctor) -> None:
    found = doctor(small_lab)
    assert found["never replaces"]["text"] == "files get their names by a hard link"
    assert "sync" in found["durable"]["text"]
    assert not list(Path(small_lab.settings.store.access).iterdir())


@pytest.mark.fault("N10")
def test_a_server_that_ignores_if_none_match_is_a_warning(
    rclone_bucket: StoreSettings, tmp_path: Path, doctor: Doctor
) -> None:
    database = DatabaseSettings("sqlite", str(tmp_path / "catalog.sqlite"))
    found = doctor(make_lab(database, rclone_bucket, tmp_path))
    assert doctor.code == 0
    assert found["never replaces"]["state"] == "warning"
    assert "puts look first" in found["never replaces"]["text"]
    assert found["checksums"]["state"] == "warning"
    assert "imaging-db verify" in found["checksums"]["hint"]


@pytest.mark.parametrize(
    ("mode", "state"), [("honour", "ok"), ("ignore", "warning"), ("reject", "warning")]
)
def test_what_a_server_does_with_a_condition_is_told(
    mode: str, state: str, aws_credentials: None, tmp_path: Path, doctor: Doctor
) -> None:
    with StrictS3(conditional=mode) as server:
        found = doctor(lab_at(server, tmp_path))
        assert found["never replaces"]["state"] == state
        assert found["checksums"]["state"] == "ok"
        assert server.objects == {}


def test_a_server_without_checksums_is_a_warning(
    aws_credentials: None, tmp_path: Path, doctor: Doctor
) -> None:
    with StrictS3(checksums=False) as server:
        assert doctor(lab_at(server, tmp_path))["checksums"]["state"] == "warning"


@pytest.mark.fault("N12")
@pytest.mark.parametrize("seconds", [0, -60, 3600])
def test_the_clock_of_the_server_is_compared(
    seconds: int, strict_s3: StrictS3, tmp_path: Path, doctor: Doctor
) -> None:
    strict_s3.clock_off = seconds
    found = doctor(lab_at(strict_s3, tmp_path))
    if seconds == 3600:
        failed = [check for check in found.values() if check["state"] == "failed"]
        assert doctor.code == 5
        assert all("clock" in f"{check}" for check in failed)
        return
    assert (found["store clock"]["state"], doctor.code) == ("note" if seconds else "ok", 0)


def test_a_bucket_that_is_not_there_ends_with_its_code(
    strict_s3: StrictS3, tmp_path: Path, doctor: Doctor
) -> None:
    store = StoreSettings("s3", "nowhere", strict_s3.url)
    database = DatabaseSettings("sqlite", str(tmp_path / "catalog.sqlite"))
    found = doctor(make_lab(database, store, tmp_path))
    assert doctor.code == 2
    assert "no bucket" in found["store"]["text"]
    assert "put" not in found


@pytest.mark.fault("S2")
@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_files_with_secrets_that_others_can_read_are_warned_of(
    strict_s3: StrictS3, tmp_path: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, config = lab_at(strict_s3, tmp_path).write_files()
    login.write_text(json.dumps(json.loads(login.read_text()) | {"password": PASSWORD}))
    remark = {"microscope": "its password is on the wall"}
    config.write_text(json.dumps(json.loads(config.read_text()) | remark))
    keys = tmp_path / "credentials"
    keys.write_text(f"[default]\naws_secret_access_key = {SECRET_KEY}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    for path in (login, config, keys):
        path.chmod(0o644)
    found = doctor.about(login, config)
    assert {found[name]["state"] for name in ("login", "config", "S3 credentials")} == {"warning"}
    assert found["login"]["hint"] == f"chmod 600 {login}"
    assert PASSWORD not in doctor.said
    assert SECRET_KEY not in doctor.said


def test_an_endpoint_with_a_password_is_refused_and_not_repeated(
    small_lab: Lab, doctor: Doctor
) -> None:
    login, config = small_lab.write_files()
    url = f"https://somebody:{PASSWORD}@s3.example.invalid"
    config.write_text(json.dumps({"storage": "s3", "storage_access": "lab", "endpoint_url": url}))
    found = doctor.about(login, config)
    assert doctor.code == 2
    assert "endpoint_url" in found["settings"]["text"]
    assert PASSWORD not in doctor.said


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_a_catalog_that_everyone_can_write_is_warned_of(small_lab: Lab, doctor: Doctor) -> None:
    from imaging_db import ImagingDB

    with ImagingDB(small_lab.settings) as db:
        db.init()
    assert doctor(small_lab)["catalog file"]["state"] == "ok"
    Path(small_lab.settings.database.dbname).chmod(0o666)
    assert doctor(small_lab)["catalog file"]["state"] == "warning"


def test_what_is_armed_for_tests_is_warned_of(
    small_lab: Lab, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "failpoints" not in doctor(small_lab)
    monkeypatch.setenv("IMAGING_DB_FAILPOINT", "folder.locked:kill")
    assert doctor(small_lab)["failpoints"]["state"] == "warning"


@pytest.mark.fault("S6")
def test_ways_that_others_can_listen_to_are_told(
    tmp_path: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imaging_db.cli import doctor_network

    store = StoreSettings("s3", "lab", "http://s3.example.invalid:9000")
    monkeypatch.setenv("http_proxy", f"http://somebody:{PASSWORD}@proxy.example.invalid:3128")
    plain, proxy = doctor_network.store(store)
    assert (plain.state, proxy.state) == ("warning", "note")
    assert "proxy.example.invalid" in proxy.text
    assert PASSWORD not in f"{plain}{proxy}"
    database = DatabaseSettings("postgresql+psycopg2", "lab", host="db.example.invalid")
    (note,) = doctor_network.database(database)
    assert (note.state, "PGSSLMODE=verify-full" in note.hint) == ("note", True)
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert not list(doctor_network.database(database))


@pytest.mark.fault("B11")
@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph"])
def test_a_disk_of_the_network_is_recognised(kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    share = tmp_path / "the share"
    place = str(share).replace(" ", r"\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/lab {place} {kind} rw 0 0\n")
    assert doctor_places.network_of(share / "catalog.sqlite", mounts) == kind
    assert doctor_places.network_of(tmp_path / "the share too", mounts) is None


def test_a_store_that_lies_is_found_out(tmp_path: Path) -> None:
    class Forgetful(MemoryStore):
        def get(self, key: str) -> bytes:
            return super().get(key)[:-1]

    found = {check.check: check for check in selftest.self_test(Forgetful())}
    assert found["read back"].state == "failed"
    assert found["read back"].exit_code == 6
    assert {c.state for c in found.values() if c.check != "read back"} == {"ok"}


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    class Interrupted(LocalStore):
        def flush(self) -> None:
            raise KeyboardInterrupt

    store = Interrupted(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        selftest.self_test(store)
    assert not list((tmp_path / "store").rglob("*"))


def test_what_a_killed_self_test_left_is_removed_by_the_next(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("old", "new"):
        store.put(f"{selftest.FOLDER}/{name}/object", b"x", sha256=sha256_of_bytes(b"x"))
    yesterday = time.time() - 2 * 24 * 3600
    os.utime(tmp_path / selftest.FOLDER / "old" / "object", (yesterday, yesterday))
    selftest.self_test(store)
    assert [found.key for found in store.list("")] == [f"{selftest.FOLDER}/new/object"]


def test_a_full_store_is_told_once(
    tmp_path: Path, faulty_put: Callable[[Path], LocalStore]
) -> None:
    (check,) = selftest.self_test(faulty_put(tmp_path / "store"))
    assert (check.check, check.state, check.exit_code) == ("put", "failed", 5)
    assert "free space" in check.hint


@pytest.fixture
def faulty_put() -> Callable[[Path], LocalStore]:
    from imaging_db.errors import StoreUnavailable

    class Full(LocalStore):
        def put(self, key: str, data: bytes | memoryview, *, sha256: str) -> bool:
            raise StoreUnavailable(f"{self.address} is full", hint="free space and rerun")

    return Full
