"""Databases as the original imagingDB left them: both generations, with rows such as labs have.

The tables are written out in SQL, as the original's SQLAlchemy of 2018 and 2019 made them: every column
but ``id`` may be NULL, nothing is unique but ``id``, and foreign keys have PostgreSQL's own names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from sqlalchemy import Connection, text

from imaging_db.catalog.transactions import Transactions
from imaging_db.config.settings import DatabaseSettings

REVISIONS = ("818bfb535590", "7a7422f19234", "bae28d7da970", "8e0d2514fd1f")
FRAMES_SERIAL = "ISP-2018-06-08-15-45-00-0001"
FILE_SERIAL = "ML-2018-07-12-18-15-00-0001"
CHILD_SERIAL = "ISP-2018-09-01-10-00-00-0002"

_TABLES = {
    "data_set": """
        CREATE TABLE data_set (
            id {serial}, dataset_serial VARCHAR, description VARCHAR, microscope VARCHAR,
            frames BOOLEAN, date_time {time}, parent_id INTEGER,
            CONSTRAINT data_set_pkey PRIMARY KEY (id),
            CONSTRAINT data_set_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES data_set (id))""",
    "frames_global": """
        CREATE TABLE frames_global (
            id {serial}, nbr_frames INTEGER, im_width INTEGER, im_height INTEGER,
            nbr_slices INTEGER, nbr_channels INTEGER, im_colors INTEGER, nbr_timepoints INTEGER,
            nbr_positions INTEGER, bit_depth VARCHAR, {folder} VARCHAR, metadata_json {json},
            dataset_id INTEGER,
            CONSTRAINT frames_global_pkey PRIMARY KEY (id),
            CONSTRAINT frames_global_dataset_id_fkey
                FOREIGN KEY (dataset_id) REFERENCES data_set (id))""",
    "frames": """
        CREATE TABLE frames (
            id {serial}, channel_idx INTEGER, slice_idx INTEGER, time_idx INTEGER, pos_idx INTEGER,
            channel_name VARCHAR, file_name VARCHAR, {sha256} metadata_json {json},
            frames_global_id INTEGER,
            CONSTRAINT frames_pkey PRIMARY KEY (id),
            CONSTRAINT frames_frames_global_id_fkey
                FOREIGN KEY (frames_global_id) REFERENCES frames_global (id))""",
    "file_global": """
        CREATE TABLE file_global (
            id {serial}, {folder} VARCHAR, {file_name} {sha256} metadata_json {json},
            dataset_id INTEGER,
            CONSTRAINT file_global_pkey PRIMARY KEY (id),
            CONSTRAINT file_global_dataset_id_fkey
                FOREIGN KEY (dataset_id) REFERENCES data_set (id))""",
}


@dataclass(frozen=True)
class Generation:
    """One form of the original's tables."""

    year: int
    folder: str
    hashes: bool

    def create(self, connection: Connection) -> None:
        """Make the tables."""
        postgresql = connection.dialect.name == "postgresql"
        words = {
            "serial": "SERIAL NOT NULL" if postgresql else "INTEGER NOT NULL",
            "time": "TIMESTAMP WITHOUT TIME ZONE" if postgresql else "DATETIME",
            "json": "JSONB" if postgresql else "JSON",
            "folder": self.folder,
            "sha256": "sha256 VARCHAR," if self.hashes else "",
            "file_name": "file_name VARCHAR," if self.hashes else "",
        }
        for statement in _TABLES.values():
            connection.execute(text(statement.format(**words)))


OF_2018 = Generation(2018, "s3_dir", hashes=False)
OF_2019 = Generation(2019, "storage_dir", hashes=True)


class OriginalDatabase:
    """Writes rows as the original did, and reads whatever is there."""

    def __init__(
        self, settings: DatabaseSettings, generation: Generation, revision: str | None = None
    ) -> None:
        self.settings = settings
        self.generation = generation
        self._transactions = Transactions(settings, create=True)
        self._transactions.write(lambda connection: self._create(connection, revision))

    def _create(self, connection: Connection, revision: str | None) -> None:
        self.generation.create(connection)
        if revision is not None:
            connection.execute(
                text(
                    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
                )
            )
            if revision:
                self._insert(connection, "alembic_version", version_num=revision)

    def close(self) -> None:
        """Close the connections."""
        self._transactions.close()

    def insert(self, table: str, **values: Any) -> None:
        """Insert one row; values that are dicts become JSON. The next id follows one given by hand."""
        self._transactions.write(lambda connection: self._insert(connection, table, **values))
        if "id" in values and not self.settings.is_sqlite:
            self.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
            )

    def insert_many(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows in one transaction."""

        def work(connection: Connection) -> None:
            for row in rows:
                self._insert(connection, table, **row)

        self._transactions.write(work)

    def _insert(self, connection: Connection, table: str, **values: Any) -> None:
        plain = {
            name: json.dumps(value) if isinstance(value, dict | list) else value
            for name, value in values.items()
        }
        columns = ", ".join(plain)
        marks = ", ".join(f":{name}" for name in plain)
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({marks})"), plain)

    def execute(self, statement: str) -> None:
        """Run one statement."""
        self._transactions.write(lambda connection: connection.execute(text(statement)))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        return self._transactions.read(
            lambda connection: [tuple(row) for row in connection.execute(text(statement))]
        )

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every table that is there with its columns and rows, to be compared."""
        from sqlalchemy import inspect

        def read(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
            found: dict[str, list[tuple[Any, ...]]] = {}
            inspector = inspect(connection)
            for table in sorted(inspector.get_table_names()):
                columns = [(c["name"], str(c["type"])) for c in inspector.get_columns(table)]
                rows = connection.execute(text(f"SELECT * FROM {table} ORDER BY 1"))
                found[table] = [tuple(columns), *(tuple(map(str, row)) for row in rows)]
            return found

        return self._transactions.read(read)

    # --- datasets as the original's uploader wrote them

    def add_dataset(
        self, number: int, serial: str | None, *, frames: bool | None, **values: Any
    ) -> None:
        """Insert a row of ``data_set``."""
        self.insert("data_set", id=number, dataset_serial=serial, frames=frames, **values)

    def add_acquisition(
        self, number: int, dataset: int | None, folder: str | None, **values: Any
    ) -> None:
        """Insert a row of ``frames_global``; without frames."""
        known: dict[str, Any] = {
            "nbr_frames": 12,
            "im_width": 2048,
            "im_height": 1024,
            "nbr_slices": 3,
            "nbr_channels": 2,
            "im_colors": 1,
            "nbr_timepoints": 2,
            "nbr_positions": 1,
            "bit_depth": "uint16",
            "metadata_json": {
                "Summary": {"PixelType": "GRAY16"},
                "file_origin": "/Volumes/a/b.tif",
            },
        }
        known[self.generation.folder] = folder
        self.insert("frames_global", id=number, dataset_id=dataset, **(known | values))

    def frame(
        self, acquisition: int | None, c: int, z: int, t: int, p: int, **values: Any
    ) -> dict[str, Any]:
        """Return a row of ``frames``."""
        known: dict[str, Any] = {
            "channel_idx": c,
            "slice_idx": z,
            "time_idx": t,
            "pos_idx": p,
            "channel_name": ("phase", "405")[c % 2],
            "file_name": f"im_c{c:03d}_z{z:03d}_t{t:03d}_p{p:03d}.png",
            "metadata_json": {
                "MicroManagerMetadata": {"ChannelIndex": c, "Slice": z, "Exposure-ms": 2.5}
            },
            "frames_global_id": acquisition,
        }
        if self.generation.hashes:
            known["sha256"] = hashlib.sha256(f"{acquisition} {c} {z} {t} {p}".encode()).hexdigest()
        return known | values

    def add_frames(
        self, acquisition: int | None, c: int = 2, z: int = 3, t: int = 2, p: int = 1
    ) -> None:
        """Insert the frames of a full acquisition."""
        sizes = (range(c), range(z), range(t), range(p))
        self.insert_many("frames", [self.frame(acquisition, *coords) for coords in product(*sizes)])

    def add_file(
        self, dataset: int | None, folder: str | None, name: str | None, **values: Any
    ) -> None:
        """Insert a row of ``file_global``, as its generation would."""
        known: dict[str, Any] = {
            self.generation.folder: folder,
            "metadata_json": {"file_origin": f"/Volumes/data/exports/{name}"},
            "dataset_id": dataset,
        }
        if self.generation.hashes:
            known |= {"file_name": name, "sha256": hashlib.sha256(str(name).encode()).hexdigest()}
        self.insert("file_global", **(known | values))

    def fill(self) -> None:
        """Insert a small lab: an acquisition of 12 frames, its child of 12, and a file."""
        time = "2018-06-08 15:45:00"
        self.add_dataset(
            1, FRAMES_SERIAL, frames=True, date_time=time, description="first", microscope="Leica"
        )
        self.add_acquisition(1, 1, f"raw_frames/{FRAMES_SERIAL}")
        self.add_frames(1)
        self.add_dataset(2, FILE_SERIAL, frames=False, date_time="2018-07-12 18:15:00")
        self.add_file(2, f"raw_files/{FILE_SERIAL}", "scan.czi")
        self.add_dataset(3, CHILD_SERIAL, frames=True, date_time="2018-09-01 10:00:00", parent_id=1)
        self.add_acquisition(2, 3, f"raw_frames/{CHILD_SERIAL}")
        self.add_frames(2)
