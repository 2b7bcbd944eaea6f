"""A lab: one database, one store, a folder of sources, and the commands over them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imaging_db import ImagingDB
from imaging_db.codecs import decode_frame
from imaging_db.config import DatabaseSettings, Settings, StoreSettings, UploadSettings
from imaging_db.model import FrameCoords, FrameSelection, sha256_of_pixels
from imaging_db.transfer import DownloadReport, UploadReport
from tests.torture.amount import daily

ID = "LAB-2020-01-02-03-04-05-{:04d}"


@dataclass
class Lab:
    """Uploads and downloads through the Python API, with real database and store."""

    settings: Settings
    folder: Path
    reports: list[UploadReport] = field(default_factory=list)

    def serial(self, number: int = 1) -> str:
        return ID.format(number)

    def config(self, **upload: Any) -> Lab:
        """The same lab with other upload settings."""
        return replace(self, settings=replace(self.settings, upload=UploadSettings(**upload)))

    def csv(self, *sources: Path | str, rows: Iterable[dict[str, str]] | None = None) -> Path:
        """A CSV with one row for each source, numbered from 1; or with the given rows."""
        listed = list(
            rows
            or (
                {"dataset_id": self.serial(i), "file_name": str(s)}
                for i, s in enumerate(sources, 1)
            )
        )
        path = self.folder / "files.csv"
        names = list(dict.fromkeys(name for row in listed for name in row))
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows(listed)
        return path

    def upload(self, *sources: Path | str, **options: Any) -> list[UploadReport]:
        return self.upload_csv(self.csv(*sources), **options)

    def upload_csv(self, path: Path, **options: Any) -> list[UploadReport]:
        with ImagingDB(self.settings) as db:
            return db.upload(path, **options)

    def upload_one(self, source: Path | str, **options: Any) -> UploadReport:
        """Upload one source; raise the error of its row, if it failed."""
        (report,) = self.upload(source, **options)
        if report.error is not None:
            raise report.error
        return report

    def download(self, number: int = 1, dest: str = "dest", **selection: Any) -> DownloadReport:
        options = {k: selection.pop(k) for k in ("metadata", "objects") if k in selection}
        with ImagingDB(self.settings) as db:
            return db.download(
                self.serial(number),
                self.folder / dest,
                selection=FrameSelection.of(**selection) if selection else None,
                **options,
            )

    def frames_on_disk(self, number: int = 1, dest: str = "dest") -> dict[FrameCoords, str]:
        """Pixel hashes of downloaded frames, decoded from the files themselves."""
        folder = self.folder / dest / self.serial(number)
        with (folder / "frames_meta.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        found = {}
        for row in rows:
            indices = [
                int(row[name]) for name in ("channel_idx", "slice_idx", "time_idx", "pos_idx")
            ]
            data = (folder / row["file_name"]).read_bytes()
            found[FrameCoords(*indices)] = sha256_of_pixels(decode_frame(data, dtype=row["dtype"]))
        return found

    def keys(self) -> list[str]:
        """Every object in the store."""
        with ImagingDB(self.settings) as db:
            return [found.key for found in db.store.list("")]

    def serials(self) -> list[str]:
        with ImagingDB(self.settings) as db:
            return [dataset.serial for dataset in db.datasets()]

    def write_files(self) -> tuple[Path, Path]:
        """Login and config files that say what the settings say, for the command lines."""
        database, store = self.settings.database, self.settings.store
        login: dict[str, Any] = {"drivername": database.drivername, "dbname": database.dbname}
        if not database.is_sqlite:
            login |= {"username": database.username, "password": database.password or ""}
            login |= {"host": database.host, "port": database.port}
        config = {
            "storage": store.storage,
            "storage_access": store.access,
            "microscope": "Test scope",
        }
        if store.endpoint_url:
            config["endpoint_url"] = store.endpoint_url
        paths = (self.folder / "db_credentials.json", self.folder / "config.json")
        for path, value in zip(paths, (login, config), strict=True):
            path.write_text(json.dumps(value))
            path.chmod(0o600)
        return paths


def make_lab(database: DatabaseSettings, store: StoreSettings, folder: Path) -> Lab:
    """A lab whose work happens in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if store.storage == "local":
        Path(store.access).mkdir(parents=True, exist_ok=True)
    return Lab(Settings(database, store), folder)


@pytest.fixture
def small_lab(tmp_path: Path, sqlite_template: Path) -> Lab:
    """SQLite and a folder: what a newcomer has after the first command."""
    store = StoreSettings("local", str(tmp_path / "store"))
    return make_lab(_migrated(sqlite_template, tmp_path), store, tmp_path)


@pytest.fixture
def new_lab(tmp_path: Path) -> Lab:
    """SQLite and a folder: what a newcomer has before it, no catalog yet."""
    store = StoreSettings("local", str(tmp_path / "store"))
    return make_lab(DatabaseSettings("sqlite", str(tmp_path / "catalog.sqlite")), store, tmp_path)


_COMBINATIONS = ("sqlite+local", "postgres+local", "postgres+moto", "sqlite+moto")


@pytest.fixture(params=daily(_COMBINATIONS, 2))
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """Every database with every kind of store; every day each of them once."""
    return build_lab(request.param, request.getfixturevalue, tmp_path)


def build_lab(combination: str, fixture: Callable[[str], Any], folder: Path) -> Lab:
    """A lab such as ``postgres+rclone``, with an empty database and an empty store."""
    database_name, store_name = combination.split("+")
    buckets = {"moto": "s3_bucket", "rclone": "rclone_bucket"}
    database = (
        fixture("postgres_catalog_settings")
        if database_name == "postgres"
        else _migrated(fixture("sqlite_template"), folder)
    )
    store = (
        fixture(buckets[store_name])
        if store_name in buckets
        else StoreSettings("local", str(folder / "store"))
    )
    return make_lab(database, store, folder)


def _migrated(template: Path, folder: Path) -> DatabaseSettings:
    """A copy of a migrated SQLite file: to migrate one takes a fifth of a second."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.sqlite"
    shutil.copyfile(template, path)
    return DatabaseSettings("sqlite", str(path))


def errors_of(reports: Sequence[UploadReport]) -> list[str]:
    """What failed, a line each."""
    return [str(report.error) for report in reports if report.error is not None]
