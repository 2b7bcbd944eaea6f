"""What belongs to a catalog and what to nobody: in doubt a thing is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaging_db.config import StoreSettings
from imaging_db.model import Dataset, DatasetStatus, UploadType
from imaging_db.stores.memory import MemoryStore
from imaging_db.testing.store_actions import put
from imaging_db.transfer.orphans import Names, Owners, folder_of, folders, without_row

HERE = StoreSettings("local", "/data/lab")
SERIAL = "ISP-2018-06-08-15-45-00-0001"


def dataset(serial: str = SERIAL, **values: object) -> Dataset:
    known = Dataset(
        serial=serial,
        status=DatasetStatus.READY,
        upload_type=UploadType.FRAMES,
        description=None,
        microscope=None,
        acquired_at=None,
        parent_serial=None,
        storage="local",
        storage_access="/data/lab",
        storage_dir=f"raw_frames/{serial}",
        fingerprint=None,
        nbr_objects=1,
        created_at=None,
        published_at=None,
    )
    return replace(known, **values)  # type: ignore[arg-type]


def owners(*datasets: Dataset) -> Owners:
    found = Owners()
    for one in datasets:
        found.add(one, HERE)
    return found


def test_the_folder_of_a_key() -> None:
    assert folder_of("raw_frames/one/im.png") == "raw_frames/one"
    assert folder_of("raw_files/one/a/b/c.txt") == "raw_files/one"
    for key in ("raw_frames/im.png", "other/one/im.png", "im.png", ".imaging_db-1.part"):
        assert folder_of(key) == ""


def test_folders_are_met_once_each_with_all_their_objects() -> None:
    store = MemoryStore()
    names = ("a", "a-b", "a.c", "a0", "b/c")  # they sort between a/ and a/... in other orders
    for name in names:
        for number in range(3):
            put(store, f"raw_frames/{name}/{number}", b"x")
    put(store, "raw_frames/no_folder", b"x")
    put(store, "elsewhere/a/b", b"x")
    put(store, "raw_files/a/b", b"x")
    found = [(directory, len(list(objects))) for directory, objects in folders(store)]
    assert dict(found) == {
        "raw_files/a": 1,
        "raw_frames/a": 3,
        "raw_frames/a-b": 3,
        "raw_frames/a.c": 3,
        "raw_frames/a0": 3,
        "raw_frames/b": 3,
    }
    assert len(found) == 6


def test_a_folder_whose_objects_nobody_takes_is_passed_over() -> None:
    store = MemoryStore()
    for number in range(6):
        put(store, f"raw_frames/{number // 3}/{number}", b"x")
    assert [directory for directory, _ in folders(store)] == ["raw_frames/0", "raw_frames/1"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("im_c000.png", True),
        ("IM_C000.PNG", True),  # as a file system without case may list it
        ("d\u00e9tail.txt", True),
        ("de\u0301tail.txt", True),  # as macOS may list it
        ("im_c001.png", False),
        ("", False),
    ],
)
def test_names_are_known_however_a_file_system_spells_them(name: str, known: bool) -> None:
    names = Names(["im_c000.png", "a/b.bin", "d\u00e9tail.txt"])
    assert (name in names) is known


def test_names_are_known_in_any_order_and_number() -> None:
    listed = [f"im_c{number:03d}.png" for number in range(2000)]  # 1000 sorts before 999
    names = Names(reversed(listed))
    assert all(name in names for name in listed)
    assert "im_c2000.png" not in names
    assert "anything" not in Names([])


def test_what_has_no_row() -> None:
    store = MemoryStore()
    for name in ("a", "b", "sub/a", "sub/b"):
        put(store, f"raw_files/one/{name}", b"x")
    found = without_row(store.list("raw_files/one"), "raw_files/one", Names(["a", "sub/b"]))
    assert [one.key for one in found] == ["raw_files/one/b", "raw_files/one/sub/a"]


def test_the_folder_decides_and_not_the_serial() -> None:
    known = owners(dataset(storage_dir="raw_frames/renamed"))
    (owner,) = known.of_folder("raw_frames/renamed")
    assert owner.serial == SERIAL
    assert known.of_folder(f"raw_frames/{SERIAL}") == []
    assert known.of_serial(SERIAL) == owner


def test_a_folder_is_known_whatever_its_case() -> None:
    known = owners(dataset())
    assert known.of_folder(f"raw_frames/{SERIAL.lower()}")
    assert known.of_serial(SERIAL.lower())


def test_a_dataset_of_another_store_keeps_its_folder_and_is_not_looked_for_here() -> None:
    (owner,) = owners(dataset(storage_access="/data/other")).of_folder(f"raw_frames/{SERIAL}")
    assert not owner.here
    (old,) = owners(dataset(storage=None, storage_access=None)).of_folder(f"raw_frames/{SERIAL}")
    assert old.here


def test_rows_that_share_a_folder_are_both_met() -> None:
    known = owners(dataset(), dataset(f"{SERIAL}~2", storage_dir=f"raw_frames/{SERIAL}"))
    assert len(known.of_folder(f"raw_frames/{SERIAL}")) == 2


def test_a_dataset_that_became_ready_meanwhile_is_one() -> None:
    known = owners(dataset(status=DatasetStatus.PENDING), dataset())
    assert len(known.of_folder(f"raw_frames/{SERIAL}")) == 1


@pytest.mark.parametrize(
    ("storage_dir", "odd"),
    [
        (f"raw_frames/{SERIAL}", False),
        (f"raw_frames/{SERIAL}/", False),
        (f"raw_frames/lab/{SERIAL}", True),
        ("raw_frames", True),
    ],
)
def test_around_a_folder_that_is_not_laid_out_as_ours_nothing_is_touched(
    storage_dir: str, odd: bool
) -> None:
    known = owners(dataset(storage_dir=storage_dir))
    assert known.is_odd("raw_frames/lab") is odd
    assert not known.is_odd("raw_files/lab")
