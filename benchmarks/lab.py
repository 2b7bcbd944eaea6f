"""A lab of one folder and a SQLite catalog, worked with through the commands, as its users do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import Outcome, run_python

COMMANDS = {
    "data_uploader": "imaging_db.cli.data_uploader",
    "data_downloader": "imaging_db.cli.data_downloader",
    "query_data": "imaging_db.cli.query_data",
    "imaging-db": "imaging_db",
}


@dataclass(frozen=True, slots=True)
class Lab:
    """The folder that holds login, config, catalog and store."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Lab:
        """Return an empty lab in a folder that exists."""
        store = folder / "store"
        store.mkdir()
        database = {"drivername": "sqlite", "dbname": str(folder / "catalog.sqlite")}
        settings = {"storage": "local", "storage_access": str(store), "microscope": "Benchmark"}
        for name, values in (("login", database), ("config", settings)):
            path = folder / f"{name}.json"
            path.write_text(json.dumps(values), encoding="utf-8")
            path.chmod(0o600)
        return cls(folder)

    def call(self, command: str, *arguments: str | Path) -> Outcome:
        """Run one of `COMMANDS` with this lab's login and config; return what it cost."""
        names = {"IMAGING_DB_LOGIN": "login", "IMAGING_DB_CONFIG": "config"}
        files = {variable: str(self.folder / f"{name}.json") for variable, name in names.items()}
        return run_python("-m", COMMANDS[command], *arguments, env=files)

    def upload(self, sources: Sequence[Path], *options: str) -> Outcome:
        """Upload each source as a dataset of its own, with options of the command; return what it cost."""
        rows = [f"{serial(n)},{source},a benchmark" for n, source in enumerate(sources, 1)]
        text = "\n".join(["dataset_id,file_name,description", *rows, ""])
        (self.folder / "rows.csv").write_text(text, encoding="utf-8")
        return self.call("data_uploader", "--csv", self.folder / "rows.csv", *options)


def serial(number: int) -> str:
    """Return the id of a lab's dataset, counted from 1."""
    return f"BENCH-2026-01-01-00-{number // 60 % 60:02d}-{number % 60:02d}-{number:04d}"
