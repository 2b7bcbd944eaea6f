"""A store or a catalog that fails at its first call, its second, and so on, until the upload is through.

After each failure nothing partial is seen, and the same command gives what an undisturbed run gives.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from imaging_db import ImagingDB
from imaging_db.config import Settings
from imaging_db.errors import CatalogUnavailable, ImagingDBError, StoreUnavailable
from imaging_db.model import UploadType
from imaging_db.transfer import UploadReport
from tests.support.acquisitions import imagej_stack
from tests.support.faulty import Faulty
from tests.support.lab import Lab, build_lab
from tests.torture.amount import daily

STORE = ("put", "put_stream", "flush", "list", "delete", "get", "stat")
CATALOG = (
    "claim", "renew", "release", "stored_coords", "stored_names", "add_frames", "add_files",
    "publish", "withdraw", "begin_delete", "finish_delete",
)  # fmt: skip
Rows = dict[str, tuple[str | None, str | None, int | None]]


def full() -> StoreUnavailable:
    return StoreUnavailable("the store is full", hint="free space and rerun", transient=False)


def gone() -> CatalogUnavailable:
    return CatalogUnavailable("the database went away", hint="rerun later")


FAULTS = [
    ("store", full, False, "store fails-before the call"),
    ("store", full, True, "store fails-after the call"),
    ("store", KeyboardInterrupt, True, "Ctrl-C in the store-after the call"),
    ("store", KeyboardInterrupt, False, "Ctrl-C in the store-before the call"),
    ("catalog", gone, True, "catalog fails-after the call"),
    ("catalog", gone, False, "catalog fails-before the call"),
    ("catalog", KeyboardInterrupt, False, "Ctrl-C in the catalog-before the call"),
    ("catalog", KeyboardInterrupt, True, "Ctrl-C in the catalog-after the call"),
]
FAULT = pytest.mark.parametrize(
    ("part", "error", "late"),
    daily([pytest.param(part, error, late, id=name) for part, error, late, name in FAULTS], 2),
)
"""Every part with every error, before the call or after it; both of each in `make torture`."""


@contextmanager
def failing(
    settings: Settings, part: str, fail_at: int, error: Callable[[], BaseException], *, late: bool
) -> Iterator[tuple[ImagingDB, Faulty]]:
    """An open database whose store or catalog fails at one call."""
    with ImagingDB(settings) as db:
        db.init()
        if part == "store":
            faulty = Faulty(db.store, STORE, fail_at, error, late=late)
            db._stores[settings.store] = faulty  # type: ignore[assignment]
        else:
            faulty = Faulty(db.catalog, CATALOG, fail_at, error, late=late)
            db._catalog = faulty  # type: ignore[assignment]
        yield db, faulty


def upload(db: ImagingDB, path: Path, **options: bool) -> UploadReport | BaseException:
    """The report of the only row, or what stopped the upload."""
    try:
        (report,) = db.upload(path, workers=1, **options)
    except (ImagingDBError, KeyboardInterrupt) as error:
        return error
    return report.error or report


def rows(lab: Lab, number: int) -> Rows | None:
    """What the catalog says of each object of a dataset, None where it cannot be seen."""
    with ImagingDB(lab.settings) as db:
        if db.find(lab.serial(number)) is None:
            return None
        view = db.dataset(lab.serial(number))
        if view.dataset.upload_type is UploadType.FILE:
            return {file.name: (file.sha256, file.sha256, file.size) for file in view.files}
        return {f.file_name: (f.sha256, f.object_sha256, f.object_size) for f in view.frames()}


def keys(lab: Lab, number: int) -> list[str]:
    """The names of a dataset's objects in the store."""
    found = lab.keys()
    return sorted(key.split("/", 2)[2] for key in found if lab.serial(number) in key)


def verified(lab: Lab, number: int) -> bool:
    with ImagingDB(lab.settings) as db:
        return not db.verify(lab.serial(number)).failures


@pytest.fixture(params=["frames", "files"])
def bench(request: pytest.FixtureRequest, small_lab: Lab) -> tuple[Lab, Path]:
    """A lab and a source of a few frames or files."""
    source = small_lab.folder / "source"
    if request.param == "files":
        for name in ("a", "b", "sub/c"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(name.encode() * 100)
        return small_lab.config(upload_type=UploadType.FILE), source
    imagej_stack(source, t=1, z=3, c=1)
    return small_lab, source


def rerun(lab: Lab, path: Path, **options: bool) -> UploadReport:
    """The report of the same command run again, after the process of the first has ended.

    Here both runs are one process, so the claim of a run that did not hear that it had it looks alive.
    """
    statement = "UPDATE data_set SET claim_heartbeat = NULL WHERE status <> 'ready'"
    database = lab.settings.database
    if database.is_sqlite:
        connection = sqlite3.connect(database.dbname)
    else:
        names = {
            "user": database.username,
            "password": database.password,
            "dbname": database.dbname,
        }
        connection = psycopg2.connect(host=database.host, port=database.port, **names)
    with closing(connection), connection:
        connection.cursor().execute(statement)
    (report,) = lab.upload_csv(path, **options)
    return report


def row(lab: Lab, source: Path, number: int) -> Path:
    return lab.csv(rows=[{"dataset_id": lab.serial(number), "file_name": str(source)}])


@FAULT
def test_an_upload_that_fails_at_any_call_is_finished_by_the_same_command(
    bench: tuple[Lab, Path], part: str, error: Callable[[], BaseException], late: bool
) -> None:
    lab, source = bench
    lab.upload_csv(row(lab, source, 0))
    golden_rows, golden_keys = rows(lab, 0), keys(lab, 0)
    assert golden_rows
    failed: list[str] = []
    for fail_at in range(1, 100):
        path = row(lab, source, fail_at)
        with failing(lab.settings, part, fail_at, error, late=late) as (db, faulty):
            found = upload(db, path)
        if faulty.failed is None:
            assert isinstance(found, UploadReport), found
            break
        failed.append(faulty.failed)
        published = (faulty.failed, late) == ("publish", True)
        assert isinstance(found, BaseException) or published, failed
        assert rows(lab, fail_at) == (golden_rows if published else None), failed
        again = rerun(lab, path)
        assert again.error is None, failed
        assert rows(lab, fail_at) == golden_rows, failed
        assert keys(lab, fail_at) == golden_keys, failed
        assert verified(lab, fail_at), failed
    wanted = {"list", "flush"} if part == "store" else {"claim", "publish"}
    assert wanted <= set(failed), "the fault was never met where it matters"
    assert len(failed) < 99


@FAULT
def test_an_overwrite_that_fails_at_any_call_is_finished_by_the_same_command(
    small_lab: Lab, tmp_path: Path, part: str, error: Callable[[], BaseException], late: bool
) -> None:
    lab = small_lab
    old, new = tmp_path / "old.tif", tmp_path / "new.tif"
    imagej_stack(old, t=1, z=3, c=1, seed=1)
    imagej_stack(new, t=1, z=2, c=1, seed=2)
    lab.upload_csv(row(lab, new, 0))
    golden_rows, golden_keys = rows(lab, 0), keys(lab, 0)
    failed: list[str] = []
    for fail_at in range(1, 200):
        lab.upload_csv(row(lab, old, fail_at))
        old_rows = rows(lab, fail_at)
        path = row(lab, new, fail_at)
        with failing(lab.settings, part, fail_at, error, late=late) as (db, faulty):
            found = upload(db, path, overwrite=True)
        if faulty.failed is None:
            assert isinstance(found, UploadReport), found
            break
        failed.append(faulty.failed)
        seen = rows(lab, fail_at)
        assert seen is None or seen in (old_rows, golden_rows), failed
        assert seen is None or verified(lab, fail_at), failed
        again = rerun(lab, path, overwrite=True)
        assert again.error is None, failed
        assert rows(lab, fail_at) == golden_rows, failed
        assert keys(lab, fail_at) == golden_keys, failed
        assert verified(lab, fail_at), failed
    wanted = {"delete", "put"} if part == "store" else {"begin_delete", "finish_delete"}
    assert wanted <= set(failed), "the fault was never met where it matters"


def test_a_commit_to_postgresql_whose_answer_is_lost_is_finished_by_the_same_command(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    lab = build_lab("postgres+local", request.getfixturevalue, tmp_path)
    imagej_stack(tmp_path / "a.tif", t=1, z=2, c=1)
    lab.upload_csv(row(lab, tmp_path / "a.tif", 0))
    golden_rows, golden_keys = rows(lab, 0), keys(lab, 0)
    failed: list[str] = []
    for fail_at in range(1, 100):
        path = row(lab, tmp_path / "a.tif", fail_at)
        with failing(lab.settings, "catalog", fail_at, gone, late=True) as (db, faulty):
            upload(db, path)
        if faulty.failed is None:
            break
        failed.append(faulty.failed)
        assert rerun(lab, path).error is None, failed
        assert rows(lab, fail_at) == golden_rows, failed
        assert keys(lab, fail_at) == golden_keys, failed
    assert {"claim", "add_frames", "publish"} <= set(failed)
