"""repair beside others who write, and in which store: it never damages what is right."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imaging_db import ImagingDB
from imaging_db.catalog import Catalog
from imaging_db.config import StoreSettings
from imaging_db.errors import (
    CatalogUnavailable,
    DatasetNotFound,
    StoreDenied,
)
from imaging_db.stores.base import Store
from imaging_db.stores.local import LocalStore
from imaging_db.transfer.repair import Repairer, RepairReport
from imaging_db.transfer.replacements import SecondStore
from tests.reliability.repairing import AtFirst, age, check_whole, repair
from tests.support.acquisitions import imagej_stack
from tests.support.commands import Commands, commands  # noqa: F401 - a fixture
from tests.support.lab import Lab, build_lab
from tests.support.rot import (
    everything,
    rot,
    second_store,
    with_files,
    with_stack,
)

# --- beside others


@pytest.mark.fault("C5")
@pytest.mark.parametrize("combination", ["sqlite+local", "postgres+local"])
def test_a_dataset_that_is_replaced_meanwhile_is_left_alone(
    combination: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    lab = build_lab(combination, request.getfixturevalue, tmp_path)
    source, other = with_stack(lab), lab.folder / "other.tif"
    imagej_stack(other, seed=5)
    rot(lab)

    def replace() -> None:
        lab.upload_one(other, overwrite=True)

    with pytest.raises(CatalogUnavailable, match="was replaced while it was read; rerun"):
        repair(lab, source=source, progress=AtFirst(replace))
    with ImagingDB(lab.settings) as db:
        assert db.check(lab.serial(), read_data=True).wrong == 0


@pytest.mark.fault("C5")
@pytest.mark.parametrize("combination", ["sqlite+local", "postgres+local"])
def test_who_wants_to_delete_waits_until_objects_are_back(
    combination: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    lab = build_lab(combination, request.getfixturevalue, tmp_path)
    with_stack(lab)
    order: list[str] = []
    with Catalog.open(lab.settings.database) as catalog:
        dataset = catalog.dataset(lab.serial())

        def delete() -> None:
            with Catalog.open(lab.settings.database) as another:
                another.begin_delete(lab.serial(), token="another")
            order.append("hidden")

        thread = threading.Thread(target=delete)

        def put_back(hashes: object, until: float) -> list[Any]:
            thread.start()
            thread.join(0.3)
            order.append("put back")
            return []

        catalog.upkeep.mend(dataset, [], put_back)
        thread.join(20)
        assert order == ["put back", "hidden"]
        with pytest.raises(DatasetNotFound):
            catalog.upkeep.mend(dataset, [], put_back)


@dataclass
class BeforePuts:
    """A store that does something before it puts, such as waiting."""

    store: Store
    what: Callable[[], object]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put_stream(self, key: str, stream: Any, **options: Any) -> bool:
        self.what()
        return self.store.put_stream(key, stream, **options)


@dataclass
class Beside:
    """A repair from a second store, in a thread beside the test."""

    lab: Lab
    before_puts: Callable[[], object]
    patience: float | None = None
    outcome: RepairReport | Exception | None = None

    def __enter__(self) -> Beside:
        self.thread = threading.Thread(target=self._repair)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(30)

    def _repair(self) -> None:
        copy = SecondStore(LocalStore(self.lab.folder / "second"), workers=1)
        store = LocalStore(Path(self.lab.settings.store.access))
        with Catalog.open(self.lab.settings.database, patience=self.patience) as catalog:
            slow: Any = BeforePuts(store, self.before_puts)
            try:
                dataset = catalog.dataset(self.lab.serial())
                self.outcome = Repairer(catalog, slow, [copy], 1).repair(dataset)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.outcome = error


@pytest.mark.fault("C5")
@pytest.mark.parametrize("files", [False, True], ids=["frames", "large files"])
def test_a_repair_whose_transaction_was_cut_takes_nothing_of_what_was_uploaded_since(
    files: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL lets others in once the connection is gone; the repair may not have heard of it."""
    lab = build_lab("postgres+local", request.getfixturevalue, tmp_path)
    monkeypatch.setattr("imaging_db.catalog.repairs.HELD_SECONDS", 0.3)
    if files:
        monkeypatch.setattr("imaging_db.transfer.repair._HELD_BYTES", 100)
        lab, other = with_files(lab)
        second_store(lab)
        (other / "a.bin").write_bytes(b"other bytes")
    else:
        with_stack(lab)
        second_store(lab)
        other = lab.folder / "other.tif"
        imagej_stack(other, seed=5)
    rot(lab, ("flip",) * 4)
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(20)

    with Beside(lab, wait, patience=1.0) as beside:
        assert begun.wait(10)
        lab.upload_one(other, overwrite=True)
        go_on.set()
    assert isinstance(beside.outcome, CatalogUnavailable)
    assert "was replaced while it was read" in str(beside.outcome)
    with ImagingDB(lab.settings) as db:
        assert db.check(lab.serial(), read_data=True).wrong == 0


def test_an_upload_beside_a_slow_repair_goes_on(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite lets one write at a time: a repair gives way every few seconds."""
    monkeypatch.setattr("imaging_db.catalog.repairs.HELD_SECONDS", 0.1)
    monkeypatch.setattr("imaging_db.transfer.repair._SHORT_SECONDS", 0.1)
    with_stack(small_lab, t=6)
    second_store(small_lab)
    rot(small_lab, ("delete",) * 23)
    other = small_lab.folder / "other.tif"
    imagej_stack(other, t=1, z=1, c=1, seed=5)
    rows = [{"dataset_id": small_lab.serial(2), "file_name": str(other)}]
    begun, uploaded, order = threading.Event(), threading.Event(), []

    def slowly() -> None:
        begun.set()
        order.append("put")
        uploaded.wait(0.15)

    with Beside(small_lab, slowly) as beside:
        assert begun.wait(10)
        (report,) = small_lab.upload_csv(small_lab.csv(rows=rows))
        order.append("uploaded")
        uploaded.set()
    assert report.error is None
    assert order[-1] == "put"
    assert isinstance(beside.outcome, RepairReport)
    assert (order.count("put"), beside.outcome.repaired) == (23, 23)


def test_two_repairs_at_once_end_well(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    age(small_lab)
    rot(small_lab)
    reports: list[RepairReport] = []
    threads = [
        threading.Thread(target=lambda: reports.append(repair(small_lab, source=source)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.failures for report in reports] == [()] * 4
    with ImagingDB(small_lab.settings) as db:
        assert db.check(small_lab.serial(), read_data=True).wrong == 0


# --- in which store


def with_store(lab: Lab, folder: Path) -> Lab:
    """The lab as another machine sees it, which has its store in another folder."""
    return replace(lab, settings=replace(lab.settings, store=StoreSettings("local", str(folder))))


@pytest.mark.fault("D10")
def test_nothing_is_put_into_a_bare_mount_point(small_lab: Lab) -> None:
    source, root = with_stack(small_lab), Path(small_lab.settings.store.access)
    root.rename(small_lab.folder / "disk")
    root.mkdir()
    with pytest.raises(StoreDenied, match="mount the disk"):
        repair(small_lab, source=source)
    assert list(root.iterdir()) == []


@pytest.mark.fault("D10")
@pytest.mark.parametrize(
    ("has_a_copy", "message"), [(False, "has nothing of it"), (True, "only stands in for it")]
)
def test_nothing_is_put_into_a_store_that_stands_in_for_the_recorded_one(
    has_a_copy: bool, message: str, small_lab: Lab
) -> None:
    source, root = with_stack(small_lab), Path(small_lab.settings.store.access)
    other = small_lab.folder / "other store"
    other.mkdir()
    if has_a_copy:
        rot(small_lab)
        shutil.copytree(root, other, dirs_exist_ok=True)
    root.rename(small_lab.folder / "disk")
    elsewhere = with_store(small_lab, other)
    before = everything(elsewhere)
    with pytest.raises(StoreDenied, match=message):
        repair(elsewhere, source=source)
    assert everything(elsewhere) == before


def test_a_copy_that_is_named_gets_what_is_recorded_and_no_row_is_changed(small_lab: Lab) -> None:
    source = with_stack(small_lab)
    age(small_lab)
    before, copy = everything(small_lab), second_store(small_lab)
    keys = rot(with_store(small_lab, Path(copy.access)), ("delete", "cut"))
    login, config = small_lab.write_files()
    with ImagingDB.connect(login, config, storage_access=copy.access) as db:
        report = db.repair(small_lab.serial(), source=source)
        assert (report.repaired, report.reencoded, report.wrong) == (1, 0, 1)
        assert f"{keys['delete']} can be encoded only to other bytes" in str(report.failures[0])
        report = db.repair(small_lab.serial(), second=small_lab.settings.store)
        assert (report.repaired, report.wrong) == (1, 0)
    check_whole(small_lab, before)
